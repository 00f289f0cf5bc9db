//! What every request and every answer passes.

use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tracing::Instrument;

use crate::origins::Origins;
use crate::requests;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A request id that a client brings along is kept up to this length.
const MAX_REQUEST_ID_BYTES: usize = 128;
/// On every answer (PAR-G12): call data belongs in no cache, no referrer, and is what its type says.
const HEADERS: [(HeaderName, &str); 3] =
    [(header::CACHE_CONTROL, "no-store"), (header::REFERRER_POLICY, "no-referrer"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];

/// Puts the shared layers around `router`: request id, log line, headers, what is refused before a dialect sees it, and an answer where
/// a handler panics.
pub fn around(router: Router, origins: &Origins) -> Router {
    let router = router.layer(middleware::from_fn_with_state(origins.clone(), requests::accept));
    let router = match origins.layer() {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router
        .layer(middleware::from_fn(log))
        .layer(CatchPanicLayer::custom(|_panic| StatusCode::INTERNAL_SERVER_ERROR.into_response()))
        .layer(middleware::map_response(with_headers))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .layer(middleware::map_request(without_odd_request_id))
}

async fn without_odd_request_id(mut request: Request) -> Request {
    let plain = |id: &HeaderValue| {
        !id.is_empty() && id.len() <= MAX_REQUEST_ID_BYTES && id.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
    };
    if !request.headers().get(&REQUEST_ID).is_some_and(plain) {
        request.headers_mut().remove(&REQUEST_ID);
    }
    request
}

async fn with_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// One line a request: the route's template and never the URL, which may hold a key and a phone number.
async fn log(request: Request, next: Next) -> Response {
    let id = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = known(request.method());
    let span = tracing::info_span!("request", id);
    let began = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let labels = [("route", route.clone()), ("method", method.to_owned())];
    metrics::histogram!("calldata_request_seconds", &labels).record(began.elapsed());
    let [route_label, method_label] = labels;
    let labels = [route_label, method_label, ("status", response.status().as_str().to_owned())];
    metrics::counter!("calldata_requests_total", &labels).increment(1);
    let elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(parent: &span, method, route, status = response.status().as_u16(), elapsed_ms, "answered");
    response
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
    fn a_method_that_nobody_knows_is_not_written_down() {
        assert_eq!(known(&Method::POST), "POST");
        assert_eq!(known(&Method::from_bytes(b"secret").unwrap()), "other");
    }
}
