//! What is refused before a dialect sees it, with a bare status: requests that two readers could take for different ones, that are
//! larger than any of ours, or that a stranger's page sent.

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::RETRY_AFTER_S;
use crate::origins::Origins;

/// The longest URI, in bytes.
pub const MAX_URI_BYTES: usize = 8 << 10;
/// The largest head of a request, in bytes: its first line and its headers.
pub const MAX_HEAD_BYTES: usize = 16 << 10;
/// The most headers of a request.
pub const MAX_HEADERS: usize = 100;

/// Put beside a request whose head the server could not accept: it has this answer, and what else the request says is made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unacceptable(pub StatusCode);

/// Refuses, or passes on.
pub(crate) async fn accept(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    match refusal(&origins, &request) {
        Some(refusal) => refusal,
        None => next.run(request).await,
    }
}

/// The answer to a request that is refused.
pub(crate) fn refusal(origins: &Origins, request: &Request) -> Option<Response> {
    let unacceptable = request.extensions().get::<Unacceptable>().map(|unacceptable| unacceptable.0);
    let fault = || fault(request.method(), request.uri(), request.version(), request.headers());
    let foreign = || origins.refuse(request.method(), request.uri(), request.headers()).then_some(StatusCode::FORBIDDEN);
    let status = unacceptable.or_else(fault).or_else(foreign)?;
    let mut response = status.into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static(RETRY_AFTER_S));
    }
    // What follows on this connection cannot be trusted to be what it seems. HTTP/2 has frames, and no such header.
    if request.version() < Version::HTTP_2 && status != StatusCode::FORBIDDEN {
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    }
    Some(response)
}

/// What is wrong with a request, as far as it can be seen of one that was read.
fn fault(method: &Method, uri: &Uri, version: Version, headers: &HeaderMap) -> Option<StatusCode> {
    let uri_bytes = uri.path_and_query().map_or(0, |path| path.as_str().len()) + uri.authority().map_or(0, |host| host.as_str().len());
    if uri_bytes > MAX_URI_BYTES {
        return Some(StatusCode::URI_TOO_LONG);
    }
    // Nothing here is a proxy.
    if *method == Method::CONNECT {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    (has_user_info(uri) || !has_one_host(uri, version, headers)).then_some(StatusCode::BAD_REQUEST)
}

/// Headers of which a request has one at most, as they are usually written. Of two, a proxy in front may judge by the one and the gateway by
/// the other.
const SINGLE_HEADERS: [(HeaderName, &str); 7] = [
    (header::AUTHORIZATION, "Authorization"),
    (HeaderName::from_static("x-functions-key"), "x-functions-key"),
    (header::CONTENT_TYPE, "Content-Type"),
    (header::CONTENT_ENCODING, "Content-Encoding"),
    (HeaderName::from_static("idempotency-key"), "Idempotency-Key"),
    (header::IF_MATCH, "If-Match"),
    (HeaderName::from_static("last-event-id"), "Last-Event-ID"),
];

/// The header that is there more than once though a request has one at most, by its usual name. Each interface refuses it in its own words.
pub fn repeated_header(headers: &HeaderMap) -> Option<&'static str> {
    // Most requests repeat no header, which two numbers say.
    if headers.len() == headers.keys_len() {
        return None;
    }
    SINGLE_HEADERS.iter().find(|(name, _)| headers.get_all(name).iter().nth(1).is_some()).map(|(_, written)| *written)
}

/// Whether it is clear which host is meant. HTTP/1.0 need not name one; HTTP/2 has it in the URI, and then must not contradict itself.
fn has_one_host(uri: &Uri, version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    let Some(host) = host else {
        return version < Version::HTTP_11 || (version >= Version::HTTP_2 && uri.authority().is_some());
    };
    let Some(host) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else { return false };
    let agrees = version < Version::HTTP_2 || uri.authority().is_none_or(|authority| *authority == host);
    more.is_none() && agrees && !host.as_str().contains('@')
}

/// Whether a URI names a user before its host (`http://user:password@host/`): credentials that are read by some and not by others.
fn has_user_info(uri: &Uri) -> bool {
    uri.authority().is_some_and(|authority| authority.as_str().contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn fault_of(version: Version, uri: &str, hosts: &[&str]) -> Option<u16> {
        let request = hosts.iter().fold(Request::builder().version(version).uri(uri), |request, host| request.header("host", *host));
        let (parts, ()) = request.body(()).unwrap().into_parts();
        fault(&parts.method, &parts.uri, parts.version, &parts.headers).map(|status| status.as_u16())
    }

    #[test]
    fn it_must_be_clear_which_host_is_meant() {
        for host in ["a", "a:80", "127.0.0.1:8080", "[::1]:8080"] {
            assert_eq!(fault_of(Version::HTTP_11, "/", &[host]), None, "{host}");
        }
        for hosts in [&[][..], &["a", "a"], &["a", "b"], &[""], &["a b"], &["a/b"], &["u@a"], &["\u{e9}"]] {
            assert_eq!(fault_of(Version::HTTP_11, "/", hosts), Some(400), "{hosts:?}");
        }
        assert_eq!(fault_of(Version::HTTP_11, "http://a/", &[]), Some(400), "even where the URI names one");
        assert_eq!(fault_of(Version::HTTP_10, "/", &[]), None);
        assert_eq!(fault_of(Version::HTTP_2, "http://a/", &[]), None);
        assert_eq!(fault_of(Version::HTTP_2, "http://a/", &["A"]), None);
        assert_eq!(fault_of(Version::HTTP_2, "/", &["a"]), None);
        assert_eq!(fault_of(Version::HTTP_2, "/", &[]), Some(400));
        assert_eq!(fault_of(Version::HTTP_2, "http://a/", &["b"]), Some(400));
    }

    #[test]
    fn a_uri_names_no_user() {
        for uri in ["http://u@a/", "http://u:p@a/x", "http://@a/"] {
            assert_eq!(fault_of(Version::HTTP_11, uri, &["a"]), Some(400), "{uri}");
            assert_eq!(fault_of(Version::HTTP_2, uri, &[]), Some(400), "{uri}");
            assert_eq!(fault_of(Version::HTTP_10, uri, &[]), Some(400), "{uri}");
        }
        assert_eq!(fault_of(Version::HTTP_11, "http://a/u@b?c=d@e", &["a"]), None, "behind the host it is no user");
    }

    #[test]
    fn a_header_that_may_stand_once_and_stands_twice_is_found() {
        let of = |pairs: &[(&str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
            }
            repeated_header(&headers)
        };
        for (name, written) in SINGLE_HEADERS {
            let lower = name.as_str();
            assert_eq!(of(&[("accept", "a"), (lower, "x"), ("host", "h"), (lower, "x")]), Some(written));
            assert_eq!(of(&[(lower, "x"), ("accept", "a"), ("accept", "b")]), None, "{written}");
        }
    }

    #[test]
    fn a_uri_longer_than_any_of_ours_is_refused() {
        let longest = format!("/{}", "x".repeat(MAX_URI_BYTES - 1));
        assert_eq!(fault_of(Version::HTTP_11, &longest, &["a"]), None);
        assert_eq!(fault_of(Version::HTTP_11, &format!("{longest}x"), &["a"]), Some(414));
    }
}
