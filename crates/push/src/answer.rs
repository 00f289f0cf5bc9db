//! What an endpoint answered.

use std::time::{Duration, UNIX_EPOCH};

use calldata_core::Timestamp;
use calldata_core::webhook::Failure;
use hyper::StatusCode;
use hyper::header::{HeaderMap, RETRY_AFTER};

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It has the message (2xx).
    Took,
    /// It is gone for good (410).
    Gone,
    /// It has it not, and asks to be left alone for a while or does not.
    Failed(Failure, Option<Duration>),
}

impl Answer {
    /// No redirect is followed: it could lead anywhere.
    pub(crate) fn of(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Self {
        match status {
            StatusCode::GONE => Self::Gone,
            status if status.is_success() => Self::Took,
            status => Self::Failed(Failure::Status(status.as_u16()), retry_after(headers, now)),
        }
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure, None)
    }
}

/// In seconds, or until a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::clamped(i64::try_from(date.as_millis()).ok()?).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: &str) -> Answer {
        let headers = [(RETRY_AFTER, retry_after.parse().unwrap())].into_iter().collect();
        // 2024-02-27T12:16:23.926Z
        Answer::of(StatusCode::from_u16(status).unwrap(), &headers, Timestamp::clamped(1_709_036_183_926))
    }

    #[test]
    fn a_status_says_whether_the_message_was_taken() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(answer(status, "7"), Answer::Took);
        }
        assert_eq!(answer(410, "7"), Answer::Gone);
        for status in [300, 301, 302, 304, 307, 308, 400, 401, 404, 429, 500, 503, 599, 999] {
            assert_eq!(answer(status, "x"), Answer::Failed(Failure::Status(status), None));
        }
    }

    #[test]
    fn an_endpoint_says_for_how_long_it_wants_to_be_left_alone() {
        for (said, s) in [
            ("0", Some(0.0)),
            (" 120 ", Some(120.0)),
            ("Tue, 27 Feb 2024 12:17:23 GMT", Some(59.074)),
            ("Tue, 27 Feb 2024 12:00:00 GMT", Some(0.0)),
            ("Sun Nov  6 08:49:37 1994", Some(0.0)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(answer(503, said), Answer::Failed(Failure::Status(503), s.map(Duration::from_secs_f64)), "{said}");
        }
    }
}
