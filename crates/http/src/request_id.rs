//! The id of a request: on its answer, and on every line that is logged while it is worked on.

use std::cell::Cell;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A request id that a client brings along is kept up to this length.
const MAX_REQUEST_ID_BYTES: usize = 128;

thread_local! {
    /// The request that this thread works on at present. A span of the log would do the same, and cost ten times as much.
    static AT_WORK: Cell<Option<HeaderValue>> = const { Cell::new(None) };
}

/// The id of a request: plain characters, whoever chose it.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// What the client brought along, where it is plain and there once; else a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut ids = headers.get_all(&REQUEST_ID).iter();
        match (ids.next(), ids.next()) {
            (Some(id), None) if is_plain(id.as_bytes()) => Self(id.clone()),
            _ => Self::random(),
        }
    }

    fn random() -> Self {
        let uuid = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        let mut text = Uuid::encode_buffer();
        let value = HeaderValue::from_str(uuid.hyphenated().encode_lower(&mut text));
        // The digits and hyphens of an identifier are always a header's value.
        Self(value.unwrap_or_else(|_| HeaderValue::from_static("none")))
    }

    /// The id as a header's value.
    pub(crate) fn into_value(self) -> HeaderValue {
        self.0
    }

    /// From now on this thread works on the request, until what is returned is dropped.
    pub(crate) fn at_work(&self) -> AtWork {
        AtWork { before: AT_WORK.replace(Some(self.0.clone())) }
    }
}

/// See [`RequestId::at_work`].
pub(crate) struct AtWork {
    before: Option<HeaderValue>,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        AT_WORK.set(self.before.take());
    }
}

/// Hands over the id of the request that this thread works on; `None` where it works on none.
pub fn with_request_id<R>(use_it: impl FnOnce(Option<&str>) -> R) -> R {
    let id = AT_WORK.take();
    let used = use_it(id.as_ref().and_then(|id| id.to_str().ok()));
    AT_WORK.set(id);
    used
}

fn is_plain(id: &[u8]) -> bool {
    !id.is_empty() && id.len() <= MAX_REQUEST_ID_BYTES && id.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(brought: &str) -> String {
        let headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(brought).unwrap())]);
        RequestId::of(&headers).into_value().to_str().unwrap().to_owned()
    }

    #[test]
    fn a_plain_id_is_kept_and_any_other_replaced() {
        assert_eq!(of("a-B_3.x"), "a-B_3.x");
        assert_eq!(of(&"x".repeat(128)), "x".repeat(128));
        for odd in ["", "a b", "a=b", "\"", "{", &"x".repeat(129)] {
            let made = of(odd);
            assert_eq!((made.len(), Uuid::parse_str(&made).unwrap().get_version_num()), (36, 4), "{odd:?}");
            assert_ne!(made, of(odd), "each is a new one");
        }
    }

    #[test]
    fn of_two_ids_none_is_kept() {
        let mut headers = HeaderMap::new();
        for id in ["one", "two"] {
            headers.append(REQUEST_ID, HeaderValue::from_static(id));
        }
        assert!(Uuid::parse_str(RequestId::of(&headers).into_value().to_str().unwrap()).is_ok());
    }

    #[test]
    fn a_thread_works_on_one_request_at_a_time_and_on_none_afterwards() {
        let known = || with_request_id(|id| id.map(str::to_owned));
        let id = |text| RequestId(HeaderValue::from_static(text));
        assert_eq!(known(), None);
        let outer = id("outer").at_work();
        assert_eq!(known().as_deref(), Some("outer"));
        let inner = id("inner").at_work();
        assert_eq!(known().as_deref(), Some("inner"));
        drop(inner);
        assert_eq!(known().as_deref(), Some("outer"));
        drop(outer);
        assert_eq!(known(), None);
    }
}
