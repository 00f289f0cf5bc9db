//! The dialect's words for errors (OIF-A4).

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use calldata_core::StoreError;
use calldata_http::{RETRY_AFTER_S, Refusal};
use serde::Serialize;

pub(crate) const CONTENT_TYPE: &str = "application/json;charset=UTF-8";

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("Internal error")]
    Internal,
    /// The outcome is open; the same request again is safe (OIF-Q7).
    #[error("The system is busy, please repeat the request")]
    Busy,
    /// The tenant has had its share (OIF-Q7).
    #[error("Too many requests, please repeat later")]
    TooMany {
        /// When to come again.
        retry_after: Duration,
    },
    /// Names the parameter.
    #[error("Parameter error: {0}")]
    Parameter(String),
    #[error("The token is missing or has expired")]
    TokenMissing,
    /// One answer for a wrong token, an unknown tenant, another tenant's token and a key that may not read.
    #[error("Token check failed")]
    TokenWrong,
    #[error("appSecret is missing")]
    SecretMissing,
    #[error("appSecret is wrong")]
    SecretWrong,
    #[error("Too many failures, locked for a few minutes")]
    Locked,
}

impl Failure {
    pub(crate) fn parameter(name: &str, rule: &str) -> Self {
        Self::Parameter(format!("{name} {rule}"))
    }

    pub(crate) fn code(&self) -> i32 {
        match self {
            Self::Internal | Self::Busy | Self::TooMany { .. } => 10_000_001,
            Self::Parameter(_) => 10_000_002,
            Self::TokenMissing => 900_001,
            Self::TokenWrong => 900_002,
            Self::SecretMissing => 200_800_001,
            Self::SecretWrong => 200_800_002,
            Self::Locked => 200_800_003,
        }
    }

    /// Answers with `body`, which tells this failure.
    pub(crate) fn answer(&self, body: &impl Serialize) -> Response {
        let mut response = answer(body);
        let (status, retry_after) = match self {
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, HeaderValue::from_static(RETRY_AFTER_S)),
            Self::TooMany { retry_after } => (StatusCode::TOO_MANY_REQUESTS, calldata_http::retry_after(*retry_after)),
            _ => return response,
        };
        *response.status_mut() = status;
        response.headers_mut().insert(header::RETRY_AFTER, retry_after);
        response
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full => Self::Busy,
            Refusal::TooMany { retry_after } => Self::TooMany { retry_after },
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Busy(_) | StoreError::NoRoom(_) | StoreError::OverQuota | StoreError::Unconfirmed(_) => {
                calldata_http::log_failure("records", &error);
                Self::Busy
            }
            StoreError::NoSuchTenant => Self::TokenWrong,
            StoreError::Taken(_) | StoreError::Failed(_) => {
                calldata_http::log_failure("records", &error);
                Self::Internal
            }
        }
    }
}

/// Answers with status 200, as everything is but being busy or asked too much.
pub(crate) fn answer(body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(body) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oif_a4_every_failure_has_its_code() {
        let codes = [
            (Failure::Internal, 10_000_001),
            (Failure::Busy, 10_000_001),
            (Failure::parameter("pageNum", "must be a number"), 10_000_002),
            (Failure::TokenMissing, 900_001),
            (Failure::TokenWrong, 900_002),
            (Failure::SecretMissing, 200_800_001),
            (Failure::SecretWrong, 200_800_002),
            (Failure::Locked, 200_800_003),
        ];
        for (failure, code) in codes {
            assert_eq!(failure.code(), code, "{failure}");
        }
        assert_eq!(Failure::parameter("pageNum", "must be a number").to_string(), "Parameter error: pageNum must be a number");
    }

    #[test]
    fn oif_q7_busy_is_503_with_retry_after_and_all_else_200() {
        let busy = Failure::Busy.answer(&1);
        assert_eq!((busy.status(), busy.headers()[header::RETRY_AFTER].to_str().unwrap()), (StatusCode::SERVICE_UNAVAILABLE, "1"));
        let flood = Failure::TooMany { retry_after: Duration::from_millis(1_200) }.answer(&1);
        assert_eq!((flood.status(), flood.headers()[header::RETRY_AFTER].to_str().unwrap()), (StatusCode::TOO_MANY_REQUESTS, "2"));
        let wrong = Failure::TokenWrong.answer(&1);
        assert_eq!((wrong.status(), wrong.headers().contains_key(header::RETRY_AFTER)), (StatusCode::OK, false));
        assert_eq!(wrong.headers()[header::CONTENT_TYPE], "application/json;charset=UTF-8");
    }

    #[test]
    fn what_the_store_could_not_do() {
        assert_eq!(Failure::from(StoreError::Busy("x".into())), Failure::Busy);
        assert_eq!(Failure::from(StoreError::Unconfirmed("x".into())), Failure::Busy);
        assert_eq!(Failure::from(StoreError::NoSuchTenant), Failure::TokenWrong);
        assert_eq!(Failure::from(StoreError::Taken("x")), Failure::Internal);
        assert_eq!(Failure::from(StoreError::Failed("x".into())), Failure::Internal);
    }
}
