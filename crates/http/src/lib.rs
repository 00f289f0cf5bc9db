//! What the API crates share: the services behind them, body and time limits, request ids, where a request comes from and what is
//! refused at once, the layers around every answer, health.
//!
//! The words in which an error is told belong to the dialects; nothing here speaks to a client except the health endpoints.
//! Arrows: core. To add something that every request passes: [`layers`].

pub mod admission;
pub mod answers;
pub mod body;
pub mod health;
pub mod layers;
pub mod lockout;
pub mod memory_budget;
pub mod origins;
mod recognition;
mod request_id;
pub mod requests;
mod shared;
pub mod source;
pub mod trace;

use std::time::Duration;

use axum::http::HeaderValue;

pub use admission::{Admission, Refusal, Seat, Stay};
pub use answers::{Streamed, Waited, holding};
pub use body::{BodyError, read_body};
pub use lockout::Lockout;
pub use memory_budget::{Charge, MemoryBudget, OverBudget, RequestMemory};
pub use origins::Origins;
pub use recognition::{ConnectionTrust, Proof, RequestOrigin};
pub use request_id::with_request_id;
pub use requests::repeated_header;
pub use shared::{BatchLimits, Limits, Shared};
pub use source::{Source, TrustedPeer, TrustedProxies};

/// The value of `Retry-After`, in seconds, of an answer that says "busy".
pub const RETRY_AFTER_S: &str = "1";

/// The value of `Retry-After` for this span, in whole seconds, at least one.
pub fn retry_after(span: Duration) -> HeaderValue {
    HeaderValue::from(span.as_secs() + u64::from(span.subsec_nanos() > 0 || span.is_zero()))
}

/// Writes down that an answer ended early for a reason that is no failure of the gateway.
pub fn log_ended(operation: &'static str, reason: &dyn std::error::Error) {
    tracing::info!(operation, reason = %reason, "answer broken off");
}

/// Writes down why an answer of status 500 or 503 was given; the answer itself does not say.
pub fn log_failure(operation: &'static str, error: &dyn std::error::Error) {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(source) = cause {
        causes.push(source.to_string());
        cause = source.source();
    }
    tracing::error!(operation, error = %error, causes = causes.join(": "), "request failed");
}
