//! What every request and every answer passes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use metrics::SharedString;

use crate::answers::Waited;
use crate::origins::Origins;
use crate::request_id::{REQUEST_ID, RequestId};
use crate::requests;
use crate::source::TrustedPeer;
use crate::trace::{self, Done, Outcome};

/// On every answer (PAR-G12): call data belongs in no cache, no referrer, and is what its type says.
const HEADERS: [(HeaderName, &str); 3] =
    [(header::CACHE_CONTROL, "no-store"), (header::REFERRER_POLICY, "no-referrer"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];

/// Puts what is shared around `router`: request id, log line, headers, what is refused before a dialect sees it, and an answer where
/// a handler panics.
pub fn around(router: Router, origins: &Origins) -> Router {
    let router = router.layer(middleware::from_fn_with_state(origins.clone(), requests::accept));
    let router = match origins.layer() {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.layer(middleware::from_fn(routed))
}

async fn routed(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    answered(route.map_or("none".into(), SharedString::from), request, |request| next.run(request)).await
}

/// The same around one operation that no router leads to: the busiest ones cost half as much without one.
///
/// It is not for gateways that some [`Origins`] may use: what those are told is only in [`around`].
pub async fn around_one<W>(origins: &Origins, route: &'static str, request: Request, work: impl FnOnce(Request) -> W + Send) -> Response
where
    W: Future<Output = Response> + Send,
{
    let work = |request| async move {
        match requests::refusal(origins, &request) {
            Some(refusal) => refusal,
            None => work(request).await,
        }
    };
    answered(SharedString::const_str(route), request, work).await
}

/// Works on a request, and gives its answer what every answer has. One line a request: the route's template and never the URL, which
/// may hold a key and a phone number.
async fn answered<W>(route: SharedString, request: Request, work: impl FnOnce(Request) -> W) -> Response
where
    W: Future<Output = Response> + Send,
{
    let id = RequestId::of(request.headers());
    let method = known(request.method());
    let trusted = request.extensions().get::<TrustedPeer>().is_some();
    let traced = trace::of_request(request.headers(), trusted).map(|context| (context, trace::now()));
    let context = traced.map(|(context, _)| context);
    let began = Instant::now();
    // In a box: most connections are idle, and need no room for it.
    let mut work = Box::pin(work(request));
    let mut response = std::future::poll_fn(|cx| poll_caught(&id, context, work.as_mut(), cx)).await;
    let elapsed = began.elapsed();
    let dialect = ("dialect", SharedString::const_str(dialect_of(&route)));
    let labels = [dialect, ("route", route.clone()), ("method", SharedString::const_str(method))];
    if response.extensions().get::<Waited>().is_some() {
        metrics::histogram!("calldata_wait_seconds", &labels).record(elapsed);
    } else {
        metrics::histogram!("calldata_request_seconds", &labels).record(elapsed);
    }
    let [dialect, route_label, method_label] = labels;
    let labels = [dialect, route_label, method_label, ("status", label(response.status()))];
    metrics::counter!("calldata_requests_total", &labels).increment(1);
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let at_work = id.at_work();
    tracing::info!(method, route = &*route, status = response.status().as_u16(), elapsed_ms, "answered");
    drop(at_work);
    let id = id.into_value();
    if let Some((context, began)) = traced {
        let request_id = id.to_str().unwrap_or_default();
        let outcome = Outcome::Answered { method, route: &route, status: response.status().as_u16(), request_id };
        trace::tell(&Done { context, name: &format!("{method} {route}"), began, took: elapsed, outcome });
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Works on the request of this id and place in a trace; a panic is the end of its work.
fn poll_caught<W: Future<Output = Response>>(
    id: &RequestId,
    context: Option<trace::Context>,
    work: Pin<&mut W>,
    cx: &mut Context<'_>,
) -> Poll<Response> {
    let _at_work = (id.at_work(), trace::at_work(context));
    let polled = catch_unwind(AssertUnwindSafe(|| work.poll(cx)));
    polled.unwrap_or_else(|_| Poll::Ready(StatusCode::INTERNAL_SERVER_ERROR.into_response()))
}

/// A status as a label; those that are usual without an allocation.
fn label(status: StatusCode) -> SharedString {
    const USUAL: [(StatusCode, &str); 7] = [
        (StatusCode::OK, "200"),
        (StatusCode::UNAUTHORIZED, "401"),
        (StatusCode::FORBIDDEN, "403"),
        (StatusCode::NOT_FOUND, "404"),
        (StatusCode::TOO_MANY_REQUESTS, "429"),
        (StatusCode::INTERNAL_SERVER_ERROR, "500"),
        (StatusCode::SERVICE_UNAVAILABLE, "503"),
    ];
    let usual = USUAL.into_iter().find(|(known, _)| *known == status);
    usual.map_or_else(|| status.as_str().to_owned().into(), |(_, text)| SharedString::const_str(text))
}

/// Whose words are spoken on a route.
fn dialect_of(route: &str) -> &'static str {
    const DIALECTS: [(&str, &str); 3] = [("/api/", "parloa"), ("/oifde/", "oifde"), ("/v1/", "native")];
    DIALECTS.into_iter().find(|(start, _)| route.starts_with(start)).map_or("none", |(_, dialect)| dialect)
}

/// A method that HTTP does not know is a word of the client's own.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::routing;
    use tower::ServiceExt;

    async fn fails() -> StatusCode {
        panic!("secret")
    }

    #[tokio::test]
    async fn a_panic_ends_one_request_and_is_told_without_its_words() {
        let router =
            around(Router::new().route("/", routing::get(fails)).route("/fine", routing::get(|| async { "fine" })), &Origins::default());
        let ask = |path: &str| router.clone().oneshot(Request::builder().uri(path).header(header::HOST, "x").body(Body::empty()).unwrap());
        let failed = ask("/").await.unwrap();
        assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(failed.headers()[header::CACHE_CONTROL], "no-store");
        assert!(failed.headers().contains_key(REQUEST_ID));
        assert!(to_bytes(failed.into_body(), 100).await.unwrap().is_empty());
        assert_eq!(ask("/fine").await.unwrap().status(), StatusCode::OK);
    }

    #[test]
    fn a_status_is_its_digits() {
        for status in [200, 204, 401, 404, 418, 500, 503] {
            assert_eq!(&*label(StatusCode::from_u16(status).unwrap()), status.to_string());
        }
    }

    #[test]
    fn a_method_that_nobody_knows_is_not_written_down() {
        assert_eq!(known(&Method::POST), "POST");
        assert_eq!(known(&Method::from_bytes(b"secret").unwrap()), "other");
    }
}
