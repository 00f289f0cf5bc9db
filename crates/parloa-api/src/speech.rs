//! The dialect's words for everything that is not a success.

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use calldata_core::{GrantError, StoreError};
use calldata_http::{RETRY_AFTER_S, Refusal};

use crate::render::JSON;

/// PAR-A4: nothing tells one kind of wrong from another.
pub(crate) fn not_recognised() -> Response {
    StatusCode::UNAUTHORIZED.into_response()
}

/// PAR-A4: a live key without the scope.
pub(crate) fn not_permitted() -> Response {
    StatusCode::FORBIDDEN.into_response()
}

/// PAR-P5: an input error that a bot's author can mend; any other status would send the bot down its error branch.
pub(crate) fn fail(error: &str) -> Response {
    with_status(StatusCode::OK, failure(error))
}

/// PAR-P8: the body is over the limit.
pub(crate) fn too_large() -> Response {
    with_status(StatusCode::PAYLOAD_TOO_LARGE, failure("the body is too large"))
}

/// PAR-P8: the body did not arrive within the deadline.
pub(crate) fn too_slow() -> Response {
    with_status(StatusCode::REQUEST_TIMEOUT, failure("the body did not arrive in time"))
}

/// PAR-P8: too busy, or the outcome is not known; the same request again is safe.
pub(crate) fn busy(method: &Method) -> Response {
    let mut response = with_status(StatusCode::SERVICE_UNAVAILABLE, error_for(method, "busy, please repeat the request"));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
    response
}

/// Turned away before any work was done.
pub(crate) fn refused(method: &Method, refusal: Refusal) -> Response {
    match refusal {
        Refusal::Full => busy(method),
        Refusal::TooMany { retry_after } => {
            let mut response = with_status(StatusCode::TOO_MANY_REQUESTS, error_for(method, "too many requests, please repeat later"));
            response.headers_mut().insert(header::RETRY_AFTER, calldata_http::retry_after(retry_after));
            response
        }
    }
}

/// The right ended while the request was under way: it is answered as if it came now.
pub(crate) fn grant_error(method: &Method, error: GrantError) -> Response {
    match error {
        GrantError::Revoked => not_recognised(),
        GrantError::ScopeRemoved(_) => not_permitted(),
        GrantError::Unavailable => busy(method),
    }
}

/// What the store could not do.
pub(crate) fn store_error(method: &Method, error: &StoreError) -> Response {
    match error {
        StoreError::Busy(_) | StoreError::NoRoom(_) | StoreError::Unconfirmed(_) => {
            calldata_http::log_failure("calldata", error);
            busy(method)
        }
        // The same request would be refused again, so that no status asks for it.
        StoreError::OverQuota => fail("the storage quota is used up, nothing was stored"),
        StoreError::NoSuchTenant => not_recognised(),
        StoreError::Taken(_) | StoreError::Failed(_) => {
            calldata_http::log_failure("calldata", error);
            with_status(StatusCode::INTERNAL_SERVER_ERROR, error_for(method, "internal error"))
        }
    }
}

fn error_for(method: &Method, error: &str) -> serde_json::Value {
    if *method == Method::POST { failure(error) } else { serde_json::json!({ "error": error }) }
}

fn failure(error: &str) -> serde_json::Value {
    serde_json::json!({ "choice": "fail", "output": { "error": error } })
}

fn with_status(status: StatusCode, body: serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, JSON)], body.to_string()).into_response()
}
