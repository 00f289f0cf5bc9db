//! What every request of the dialect passes: its parameters are read once, the vendor's health check is answered, time is bounded.

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use calldata_http::{Shared, Stay, holding};

use crate::get;
use crate::query::Query;
use crate::speech;

pub(crate) async fn front(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let query = Query::parse(request.uri().query());
    let method = request.method().clone();
    if matches!(method, Method::GET | Method::HEAD | Method::POST) && query.get("parloa-health-check").is_some() {
        return ().into_response();
    }
    // PAR-P8; a fetch that waits is given the time it asked for on top. Nothing else has a `wait` (PAR-G11).
    let fetches = matches!(method, Method::GET | Method::HEAD);
    let wait = fetches.then(|| get::wait_of(&query)).flatten().unwrap_or_default();
    let deadline = shared.limits.deadline + wait;
    let seat = match shared.admission.enter(if wait.is_zero() { Stay::Working } else { Stay::Waiting }) {
        Ok(seat) => seat,
        Err(refusal) => return speech::refused(&method, refusal),
    };
    request.extensions_mut().insert(query);
    request.extensions_mut().insert(seat.clone());
    // A write that is under way goes on when its request is dropped here (PAR-P8).
    let response = tokio::time::timeout(deadline, next.run(request)).await.unwrap_or_else(|_| speech::busy(&method));
    holding(response, seat)
}
