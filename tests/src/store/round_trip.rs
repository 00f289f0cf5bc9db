//! What goes in comes out.

use std::time::Duration;

use calldata_core::{
    Answer, Details, DialogType, Fields, InvolveMode, JsonText, Recording, Session, SessionStore, Source, Timestamp, Turn, TurnSource,
};
use calldata_testkit::builders::{a_clock, a_post, a_session, an_import, json, session_id, start};
use calldata_testkit::engine::on_every_engine;

use super::{created_tenant, newest, of_call, stored};

/// Quotes, line ends, NUL, a non-character, combining marks, right-to-left, and a character of every plane that has any.
const HOSTILE: &str = "a\"b\\c'd;--\r\n\t\0\u{1}\u{7f}\u{85}\u{2028}\u{feff}\u{fffe}\u{ffff}e\u{301}\u{5d0}漢\u{1f4de}\u{20000}\u{30000}\u{e0041}\u{f0000}\u{10fffd}%s$1?";

/// A session in which everything is set, and nothing to anything simple.
fn everything() -> Details {
    let at = |ms| Some(Timestamp::clamped(ms));
    let text = |name: &str| format!("{name} {HOSTILE}");
    let hostile_json = |name: &str| JsonText::string(&text(name));
    let fields = format!(
        r#"{{"z":123456789012345678901234567890,"a":-1.50e-7,"a b":{},{}:[1,{{"y":2,"x":1.0}}],"nothing":null,"":true}}"#,
        hostile_json("field").as_str(),
        hostile_json("name").as_str(),
    );
    Details {
        country_code: Some(json("\"CH\"")),
        cti_call_id: Some(text("cti")),
        calling_number: Some(text("calling")),
        called_number: Some(text("called")),
        conversation: Some(hostile_json("conversation")),
        started_at: at(-62_167_219_200_000),
        ended_at: at(253_402_300_799_999),
        updated_at: at(-1),
        dialog_type: Some(DialogType::Other(text("kind"))),
        intent: Some(text("intent")),
        content: Some(json(&format!(
            r#"{{"b":{},"a":[12345678901234567890.12345678901234567890],"\u00e9":"\u00e9\/"}}"#,
            hostile_json("content").as_str()
        ))),
        fields: Fields::parse(&fields).unwrap(),
        recording: Some(Recording {
            file: Some(text("file")),
            location_id: Some(text("location")),
            announcement_file: Some(text("announcement")),
            pool_node: Some(i64::MIN),
            as_delivered: Some(text("delivered")),
        }),
        business_info: Some(json(&format!("[{}, 1e400]", hostile_json("business").as_str()))),
        flag: Some(text("flag")),
        turns: vec![
            Turn {
                no: text("no"),
                user_text: text("user"),
                intent: text("intent"),
                reply: text("reply"),
                requested_at: at(0),
                replied_at: at(1),
                by: TurnSource::Agent,
                mode: InvolveMode::Insertion,
            },
            Turn { mode: InvolveMode::Monitoring, ..Turn::default() },
            Turn::default(),
        ],
        answers: vec![
            Answer {
                no: Some(text("no")),
                series: Some(text("series")),
                question: Some(text("question")),
                question_type: Some(text("type")),
                intent: Some(text("intent")),
                original: Some(text("original")),
                created_at: at(2),
            },
            Answer::default(),
        ],
        source: Source::Oifde,
        // Identifiers cannot hold NUL; everything else they can.
        ..a_session(&HOSTILE.replace('\0', ""), &HOSTILE.replace('\0', ""))
    }
}

#[test]
fn a_session_with_everything_comes_back_with_every_field_equal() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let details = everything();
        let write = an_import(&tenant, &HOSTILE.replace('\0', ""), &clock, details.clone());
        let expected = Session { id: write.id.clone(), received_first: start(), received_last: start(), details: details.clone() };
        stored(database, write).await;
        let scope = tenant.scope(start());
        let found = database.newest(scope, &details.call_id, details.caller.key()).await.unwrap();
        assert_eq!(found.as_ref(), Some(&expected));
        // The caller's Debug shows nothing, and equality of texts is what this is about.
        assert_eq!(found.unwrap().details.caller.spelling(), details.caller.spelling());
        let page = database.history(scope, &of_call(details.call_id.as_str())).await.unwrap();
        assert_eq!(page.sessions, [expected]);
    });
}

#[test]
fn a_session_with_nothing_comes_back_with_nothing() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let details = Details { fields: Fields::default(), ..a_session("call", "anonymous") };
        stored(database, a_post(&tenant, "s", &clock, details.clone())).await;
        assert_eq!(newest(database, tenant.scope(start()), "call", "anonymous").await.unwrap().details, details);
    });
}

#[test]
fn every_kind_of_dialog_and_source_comes_back() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let kinds = [None, Some(DialogType::Voice), Some(DialogType::Outbound), Some(DialogType::Chatbot), Some(DialogType::Ivr)];
        let sources = [Source::Parloa, Source::Oifde, Source::Native];
        for (no, (dialog_type, source)) in kinds.into_iter().zip(sources.into_iter().cycle()).enumerate() {
            let call = format!("call-{no}");
            let details = Details { dialog_type, source, ..a_session(&call, "110") };
            stored(database, an_import(&tenant, &call, &clock, details.clone())).await;
            assert_eq!(newest(database, tenant.scope(start()), &call, "110").await.unwrap().details, details);
        }
    });
}

#[test]
fn a_megabyte_of_content_comes_back() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let content = JsonText::string(&"é\0x\u{1f4de}".repeat(150_000));
        assert!(content.as_str().len() > 1_000_000);
        let details = Details { content: Some(content), ..a_session("call", "110") };
        stored(database, a_post(&tenant, "s", &clock, details.clone())).await;
        assert!(newest(database, tenant.scope(start()), "call", "110").await.unwrap().details == details);
    });
}

#[test]
fn first_and_last_receipt_are_kept_to_the_millisecond() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let mut write = an_import(&tenant, "s", &clock, a_session("call", "110"));
        write.received_first = start().minus(Duration::from_millis(3));
        write.received_last = start().minus(Duration::from_millis(1));
        stored(database, write.clone()).await;
        let found = newest(database, tenant.scope(start()), "call", "110").await.unwrap();
        assert_eq!((found.id, found.received_first, found.received_last), (session_id("s"), write.received_first, write.received_last));
    });
}

#[test]
fn a_batch_larger_than_a_statement_is_stored_whole() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let post = |no: usize| a_post(&tenant, &format!("s{no:04}"), &clock, a_session(&format!("call-{no}"), "110"));
        let written = super::all_stored(database, (0..1_203).map(post).collect()).await;
        let expected: Vec<_> = (0..1_203).map(|no| calldata_core::port::Written::Created(session_id(&format!("s{no:04}")))).collect();
        assert_eq!(written, expected, "each result stands where its write stood");
        assert_eq!(database.history(tenant.scope(start()), &super::of_caller("110")).await.unwrap().total, 1_203);
    });
}
