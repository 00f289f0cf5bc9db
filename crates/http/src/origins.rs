//! Which web pages may talk to the gateway: none, unless they are named.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use serde::Deserialize;
use tower_http::cors::{AllowOrigin, CorsLayer};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// How long a browser may remember what it was told.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(600);

/// The origin of a web page, as browsers write it: `https://example.com`, without a slash behind.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub struct Origin(String);

/// The text is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an origin such as https://example.com, without a path")]
pub struct NoOrigin;

impl FromStr for Origin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let (scheme, authority) = text.split_once("://").ok_or(NoOrigin)?;
        let web = matches!(scheme, "http" | "https");
        let plain = !authority.is_empty() && !authority.contains(['/', '?', '#', '@', '*', ',', ' ']);
        if !web || !plain || text.parse::<Uri>().is_err() || HeaderValue::from_str(text).is_err() {
            return Err(NoOrigin);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl TryFrom<String> for Origin {
    type Error = NoOrigin;

    fn try_from(text: String) -> Result<Self, NoOrigin> {
        text.parse()
    }
}

/// The pages that may read answers, and send what changes something.
#[derive(Clone, Debug, Default)]
pub struct Origins(Arc<[Origin]>);

impl Origins {
    /// These, beside the gateway's own pages.
    pub fn new(origins: Vec<Origin>) -> Self {
        Self(origins.into())
    }

    /// Whether a request that changes something comes from the page of a stranger. Browsers say where the page is from; whoever is no
    /// browser says nothing.
    pub(crate) fn refuse(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
        if method.is_safe() {
            return false;
        }
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "cross-site"),
            (Some(origin), None) => !self.knows(origin) && !is_own(origin, uri, headers),
            (Some(_), Some(_)) => true,
        }
    }

    fn knows(&self, origin: &HeaderValue) -> bool {
        self.0.iter().any(|known| known.0.as_bytes() == origin.as_bytes())
    }

    /// Whether none is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What tells browsers that these pages may read the answers; nothing where none is named.
    pub(crate) fn layer(&self) -> Option<CorsLayer> {
        if self.is_empty() {
            return None;
        }
        let known = self.clone();
        let layer = CorsLayer::new()
            .allow_origin(AllowOrigin::predicate(move |origin, _| known.knows(origin)))
            .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                header::IF_MATCH,
                header::IF_NONE_MATCH,
                HeaderName::from_static("idempotency-key"),
                HeaderName::from_static("last-event-id"),
                HeaderName::from_static("x-functions-key"),
                HeaderName::from_static("x-request-id"),
            ])
            .expose_headers([
                header::ETAG,
                header::LOCATION,
                header::RETRY_AFTER,
                HeaderName::from_static("idempotency-replayed"),
                HeaderName::from_static("x-calldata-reason"),
                HeaderName::from_static("x-request-id"),
            ])
            .max_age(PREFLIGHT_MAX_AGE);
        Some(layer)
    }
}

/// Whether a page is the gateway's own, `/docs` for one. Only the host can be compared: behind a proxy that ends TLS the scheme that
/// the browser sees is not known here.
fn is_own(origin: &HeaderValue, uri: &Uri, headers: &HeaderMap) -> bool {
    let Some((scheme, authority)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else { return false };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |authority: &str| authority.strip_suffix(default_port).unwrap_or(authority).to_ascii_lowercase();
    host(uri, headers).is_some_and(|host| bare(host) == bare(authority))
}

/// The host that a request is for.
fn host<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Option<&'r str> {
    let of_uri = uri.authority().map(axum::http::uri::Authority::as_str);
    of_uri.or_else(|| headers.get(header::HOST).and_then(|host| host.to_str().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn refused(method: &str, headers: &[(&str, &str)]) -> bool {
        let origins = Origins::new(vec!["https://desk.example".parse().unwrap(), "http://127.0.0.1:3000".parse().unwrap()]);
        let request = headers.iter().fold(Request::builder().method(method), |request, (name, value)| request.header(*name, *value));
        let request = request.body(()).unwrap();
        origins.refuse(request.method(), request.uri(), request.headers())
    }

    #[test]
    fn a_stranger_s_page_may_not_change_anything() {
        let own = ("host", "gateway.example");
        for foreign in [
            "https://evil.example",
            "https://gateway.example.evil.example",
            "null",
            "",
            "gateway.example",
            "https://gateway.example:8443",
            "http://desk.example",
            "https://desk.example.evil.example",
            "chrome-extension://gateway.example",
        ] {
            assert!(refused("POST", &[own, ("origin", foreign)]), "{foreign}");
            assert!(refused("DELETE", &[own, ("origin", foreign)]), "{foreign}");
            assert!(!refused("GET", &[own, ("origin", foreign)]), "{foreign}");
        }
        assert!(refused("POST", &[own, ("origin", "https://gateway.example"), ("origin", "https://evil.example")]));
        assert!(refused("POST", &[own, ("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn own_and_named_pages_and_whoever_is_no_browser_may() {
        let own = ("host", "gateway.example");
        for fine in ["https://gateway.example", "https://gateway.example:443", "http://GATEWAY.example", "https://desk.example"] {
            assert!(!refused("POST", &[own, ("origin", fine)]), "{fine}");
        }
        assert!(!refused("POST", &[("host", "127.0.0.1:8080"), ("origin", "http://127.0.0.1:8080")]));
        assert!(!refused("POST", &[("host", "127.0.0.1:8080"), ("origin", "http://127.0.0.1:3000"), ("sec-fetch-site", "cross-site")]));
        assert!(!refused("POST", &[own]));
        assert!(!refused("POST", &[own, ("sec-fetch-site", "same-origin")]));
    }

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        assert_eq!("HTTPS://Desk.example:8443".parse::<Origin>(), Err(NoOrigin), "a scheme has one spelling");
        assert_eq!("https://Desk.example:8443".parse(), Ok(Origin("https://desk.example:8443".into())));
        for none in ["", "*", "null", "desk.example", "https://desk.example/", "https://*.example", "ftp://desk.example", "https://a,b"] {
            assert_eq!(none.parse::<Origin>(), Err(NoOrigin), "{none}");
        }
    }
}
