//! What an endpoint is sent.

use calldata_core::webhook::Delivery;
use calldata_core::{EventKind, Session};
use calldata_interchange::write_session;

/// `{"type":"session.created","timestamp":"…Z","data":{"id":"…","session":{…}}}`. What was erased is named alone; everything else is told
/// as it is by now, and where it is no longer there, nothing is.
pub(crate) fn payload(delivery: &Delivery, session: Option<&Session>) -> Option<String> {
    let mut text = format!(r#"{{"type":"{}","timestamp":"{}","data":{{"id":"#, delivery.kind.name(), delivery.at);
    text.push_str(&serde_json::Value::from(delivery.session.as_str()).to_string());
    match (delivery.kind, session) {
        (EventKind::Erased, _) => {}
        (EventKind::Created | EventKind::Updated, Some(session)) => {
            text.push_str(r#","session":"#);
            write_session(session, &mut text);
        }
        (EventKind::Created | EventKind::Updated, None) => return None,
    }
    text.push_str("}}");
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use calldata_core::webhook::{DeliveryId, DeliveryNumber};
    use calldata_core::{CallId, Caller, Country, Details, SessionId, Source, Timestamp};

    fn delivery(kind: EventKind) -> Delivery {
        let at = Timestamp::clamped(1_709_036_183_926);
        let session = SessionId::new("s\"1").unwrap();
        Delivery {
            id: DeliveryId { epoch: None, number: DeliveryNumber::from_stored(1) },
            kind,
            session,
            at,
            attempts: 0,
            since: at,
            last_failure: None,
        }
    }

    fn session() -> Session {
        let at = Timestamp::clamped(1_709_036_183_926);
        let details = Details::new(CallId::new("c1").unwrap(), Caller::new("+49 30 123456", Country::GERMANY).unwrap(), Source::Parloa);
        Session { id: SessionId::new("s\"1").unwrap(), received_first: at, received_last: at, details }
    }

    #[test]
    fn a_session_is_told_in_its_native_shape() {
        let mut native = String::new();
        write_session(&session(), &mut native);
        for (kind, name) in [(EventKind::Created, "session.created"), (EventKind::Updated, "session.updated")] {
            let told = payload(&delivery(kind), Some(&session())).unwrap();
            let begin = format!(r#"{{"type":"{name}","timestamp":"2024-02-27T12:16:23.926Z","data":{{"id":"s\"1","session":"#);
            assert_eq!(told, format!("{begin}{native}}}}}"));
            assert!(serde_json::from_str::<serde_json::Value>(&told).is_ok());
        }
    }

    #[test]
    fn of_an_erased_session_the_name_is_told_and_of_one_that_is_gone_nothing() {
        let erased = r#"{"type":"session.erased","timestamp":"2024-02-27T12:16:23.926Z","data":{"id":"s\"1"}}"#;
        assert_eq!(payload(&delivery(EventKind::Erased), None).as_deref(), Some(erased));
        assert_eq!(payload(&delivery(EventKind::Erased), Some(&session())).as_deref(), Some(erased), "imported anew");
        assert_eq!(payload(&delivery(EventKind::Created), None), None);
        assert_eq!(payload(&delivery(EventKind::Updated), None), None);
    }
}
