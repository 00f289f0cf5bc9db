//! As the native interface shows it.

use calldata_core::{Country, NewSession, Session};
use calldata_interchange::{SessionDocument, write_session};
use proptest::prelude::*;

use crate::generated::{expected, session, stored};

pub fn written(session: &Session) -> String {
    let mut text = String::new();
    write_session(session, &mut text);
    text
}

pub fn read(text: &str) -> NewSession {
    SessionDocument::parse(text).and_then(|document| document.into_session(Country::GERMANY)).expect("what we wrote is read")
}

proptest! {
    #[test]
    fn a_session_is_read_as_it_was_written(session in session()) {
        let text = written(&session);
        prop_assert_eq!(read(&text), expected(&session), "{}", text);
    }

    #[test]
    fn export_after_import_is_the_same_bytes(session in session()) {
        let text = written(&session);
        prop_assert_eq!(written(&stored(read(&text))), text);
    }
}

#[test]
fn members_come_in_their_published_order_and_unknown_ones_are_left_out() {
    let full = concat!(
        r#"{"id":"s","callId":"c","caller":"030 1","ctiCallId":"t","callingNumber":"n","calledNumber":"d","conversationId":"v","countryCode":"+49","#,
        r#""startedAt":"2024-02-27T12:16:23.926Z","endedAt":"2024-02-27T12:16:24.000Z","updatedAt":"2024-02-27T12:16:25.000Z","#,
        r#""receivedAt":["2024-02-27T12:16:26.000Z","2024-02-27T12:16:27.000Z"],"dialogType":"ivr","intent":"pay","content":1e400,"fields":{"b":1,"a":1.10},"#,
        r#""recording":{"file":"f","locationId":"l","announcementFile":"a","poolNode":-7,"asDelivered":"{}"},"businessInfo":[1],"flag":"","#,
        r#""turns":[{"no":"","userText":"","intent":"","reply":"","by":"bot","mode":"common"},"#,
        r#"{"no":"2","userText":"u","intent":"i","reply":"r","requestedAt":"2024-02-27T12:16:23.926Z","repliedAt":"2024-02-27T12:16:23.927Z","by":"agent","mode":"insertion"}],"#,
        r#""answers":[{},{"no":"1","series":"s","question":"q","questionType":"t","intent":"i","original":"o","createdAt":"2024-02-27T12:16:23.926Z"}],"source":"oifde"}"#
    );
    assert_eq!(written(&stored(read(full))), full);
    let least = concat!(
        r#"{"id":"s","callId":"c","caller":"x","receivedAt":["2024-02-27T12:16:26.000Z","2024-02-27T12:16:26.000Z"],"fields":{},"#,
        r#""turns":[],"answers":[],"source":"native"}"#
    );
    assert_eq!(written(&stored(read(least))), least);
}
