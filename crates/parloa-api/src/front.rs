//! What every request of the dialect passes: its parameters are read once, the vendor's health check is answered, time is bounded.

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use calldata_http::{Shared, Stay, Waited, holding};
use tokio::time::Instant;

use crate::query::Query;
use crate::speech;
use crate::{get, post};

/// The same for the router.
pub(crate) async fn front(State(shared): State<Shared>, request: Request) -> Response {
    answer(&shared, request).await
}

/// Answers a request of the dialect, whatever its method.
pub async fn answer(shared: &Shared, request: Request) -> Response {
    let arrived = Instant::now();
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query());
    let fetches = matches!(parts.method, Method::GET | Method::HEAD);
    let stores = parts.method == Method::POST;
    if (fetches || stores) && query.get("parloa-health-check").is_some() {
        return ().into_response();
    }
    // PAR-P8; a fetch that waits is given the time it asked for on top. Nothing else has a `wait` (PAR-G11).
    let wait = fetches.then(|| get::wait_of(&query)).flatten().unwrap_or_default();
    let deadline = shared.limits.deadline + wait;
    let seat = match shared.admission.enter(if wait.is_zero() { Stay::Working } else { Stay::Waiting }, &parts.extensions) {
        Ok(seat) => seat,
        Err(refusal) => return speech::refused(&parts.method, refusal),
    };
    let work = async {
        if fetches {
            get::get(shared, &parts, &query, &seat).await
        } else if stores {
            post::post(shared, &parts, &query, &seat, body, arrived).await
        } else {
            StatusCode::METHOD_NOT_ALLOWED.into_response()
        }
    };
    // A write that is under way goes on when its request is dropped here (PAR-P8).
    let mut response = tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| speech::busy(&parts.method));
    if !wait.is_zero() {
        response.extensions_mut().insert(Waited);
    }
    holding(response, seat).await.unwrap_or_else(|refusal| speech::refused(&parts.method, refusal))
}
