//! As a vCon.

use std::sync::LazyLock;

use calldata_core::{Country, Session};
use calldata_interchange::vcon::{read, read_documents, write};
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::Value;

use crate::generated::{examples, session, stored};
use crate::native::{self, written};

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("../schemas/vcon-core-03.json")).expect("the schema is JSON");
    // The schema is of draft 7, which has no format of this name yet.
    let is_uuid = |text: &str| uuid::Uuid::try_parse(text).is_ok_and(|uuid| uuid.hyphenated().to_string() == text);
    jsonschema::options().should_validate_formats(true).with_format("uuid", is_uuid).build(&schema).expect("the schema is one")
});

fn vcon(session: &Session) -> String {
    let mut text = String::new();
    write(session, "acme \"GmbH\"\u{0}", &mut text);
    text
}

fn held(text: &str) -> Session {
    stored(read(text, Country::GERMANY).expect("what we wrote is read"))
}

/// What the draft asks of a vCon beyond its schema.
fn follows_the_draft(vcon: &Value) -> Result<(), TestCaseError> {
    let list = |name: &str| vcon[name].as_array().map_or(&[][..], Vec::as_slice);
    let (parties, dialogs) = (list("parties").len(), list("dialog").len());
    let within = |index: &Value, end: usize| index.as_u64().is_some_and(|index| usize::try_from(index).is_ok_and(|index| index < end));
    prop_assert!((3..=4).contains(&parties));
    for number in list("parties").iter().filter_map(|party| party.get("tel")) {
        let digits = number.as_str().and_then(|number| number.strip_prefix("tel:+")).unwrap_or_default();
        prop_assert!((1..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()));
    }
    for dialog in list("dialog") {
        prop_assert!(dialog["parties"].as_array().is_some_and(|of| of.len() == 2 && of.iter().all(|party| within(party, parties))));
        prop_assert!(dialog["body"].as_str().is_some_and(|body| !body.is_empty()) && dialog["encoding"] == "none");
    }
    for attachment in list("attachments") {
        prop_assert!(within(&attachment["party"], parties) && within(&attachment["dialog"], dialogs));
    }
    for analysis in list("analysis") {
        prop_assert!(analysis.get("dialog").is_none_or(|dialog| within(dialog, dialogs)));
    }
    for part in list("dialog").iter().chain(list("attachments")).chain(list("analysis")) {
        let text = part["encoding"] == "none" && part["body"].is_string();
        prop_assert!(text || (part["encoding"] == "json" && part.get("body").is_some()));
        prop_assert!(part["mediatype"].is_string() && part.get("url").is_none());
    }
    Ok(())
}

proptest! {
    #![proptest_config(examples())]

    #[test]
    fn every_vcon_is_one(session in session()) {
        let text = vcon(&session);
        let value: Value = serde_json::from_str(&text).expect("common readers read it");
        let errors: Vec<_> = SCHEMA.iter_errors(&value).map(|error| error.to_string()).collect();
        prop_assert!(errors.is_empty(), "{:?} in {}", errors, text);
        follows_the_draft(&value)?;
    }

    #[test]
    fn a_vcon_after_import_is_the_same_bytes(session in session()) {
        let text = vcon(&session);
        prop_assert_eq!(vcon(&held(&text)), text);
    }

    #[test]
    fn a_vcon_holds_all_that_a_document_holds(session in session()) {
        prop_assert_eq!(written(&held(&vcon(&session))), written(&session));
    }

    #[test]
    fn many_are_read_one_after_the_other(sessions in proptest::collection::vec(session(), 0..3)) {
        let text: String = sessions.iter().map(|session| vcon(session) + "\n").collect();
        let mut found = Vec::new();
        read_documents(text.as_bytes(), Country::GERMANY, |_, session| {
            found.push(written(&stored(session.expect("what we wrote is read"))));
            true
        })
        .expect("bytes can be read");
        prop_assert_eq!(found, sessions.iter().map(written).collect::<Vec<_>>());
    }
}

const SESSION: &str = concat!(
    r#"{"id":"018dea7e-a176-7abc-8def-0123456789ab","callId":"c","caller":"030 123456","calledNumber":"+4989123","countryCode":"+49","#,
    r#""startedAt":"2024-02-27T12:00:00.000Z","receivedAt":["2024-02-27T12:01:00.000Z","2024-02-27T12:02:00.000Z"],"intent":"pay","#,
    r#""content":"done","fields":{"n":1.10},"recording":{"file":"https://example.org/r.wav"},"#,
    r#""turns":[{"no":"1","userText":"","intent":"","reply":"Hello?","repliedAt":"2024-02-27T12:00:01.000Z","by":"bot","mode":"common"},"#,
    r#"{"no":"2","userText":"I want to pay","intent":"pay","reply":"Sure","by":"agent","mode":"insertion"}],"#,
    r#""answers":[{"no":"1","question":"q?"}],"source":"native"}"#
);

#[test]
fn a_vcon_looks_like_this() {
    let text = vcon(&stored(native::read(SESSION)));
    let expected = concat!(
        r#"{"uuid":"018dea7e-a176-7abc-8def-0123456789ab","created_at":"2024-02-27T12:01:00.000Z","updated_at":"2024-02-27T12:02:00.000Z","#,
        r#""parties":[{"tel":"tel:+4930123456"},{"tel":"tel:+4989123","name":"bot","validation":"none","type":"bot"},"#,
        r#"{"type":"organization","org":"acme \"GmbH\"\u0000"},{"name":"agent","validation":"none","type":"person"}],"#,
        r#""dialog":[{"type":"text","start":"2024-02-27T12:00:01.000Z","parties":[1,0],"mediatype":"text/plain","body":"Hello?","encoding":"none"},"#,
        r#"{"type":"text","start":"2024-02-27T12:00:00.000Z","parties":[0,3],"mediatype":"text/plain","body":"I want to pay","encoding":"none"},"#,
        r#"{"type":"text","start":"2024-02-27T12:00:00.000Z","parties":[3,0],"mediatype":"text/plain","body":"Sure","encoding":"none"}],"#,
        r#""analysis":[{"type":"intent","mediatype":"text/plain","vendor":"calldata-gateway","body":"pay","encoding":"none"},"#,
        r#"{"type":"intent","dialog":1,"mediatype":"text/plain","vendor":"calldata-gateway","body":"pay","encoding":"none"},"#,
        r#"{"type":"qa","mediatype":"application/json","vendor":"calldata-gateway","schema":"calldata-answers/1","#,
        r#""body":[{"no":"1","question":"q?"}],"encoding":"json"},"#,
        r#"{"type":"session","mediatype":"application/json","vendor":"calldata-gateway","schema":"calldata-session/1","#,
        r#""body":{"callId":"c","caller":"030 123456","countryCode":"+49","startedAt":"2024-02-27T12:00:00.000Z","#,
        r#""receivedAt":["2024-02-27T12:01:00.000Z","2024-02-27T12:02:00.000Z"],"recording":{"file":"https://example.org/r.wav"},"source":"native","#,
        r#""turns":[{"no":"1","replyDialog":0,"repliedAt":"2024-02-27T12:00:01.000Z","by":"bot","mode":"common"},"#,
        r#"{"no":"2","userDialog":1,"replyDialog":2,"by":"agent","mode":"insertion"}]},"encoding":"json"}],"#,
        r#""attachments":[{"purpose":"content","start":"2024-02-27T12:00:00.000Z","party":1,"dialog":0,"mediatype":"application/json","body":"done","encoding":"json"},"#,
        r#"{"purpose":"fields","start":"2024-02-27T12:00:00.000Z","party":1,"dialog":0,"mediatype":"application/json","body":{"n":1.10},"encoding":"json"}]}"#
    );
    assert_eq!(text, expected);
}

#[test]
fn the_schema_notices_what_is_no_vcon() {
    let good: Value = serde_json::from_str(&vcon(&stored(native::read(SESSION)))).unwrap();
    assert!(SCHEMA.is_valid(&good));
    for (pointer, wrong) in [
        ("/uuid", "018dea7e"),
        ("/created_at", "2024-02-27"),
        ("/dialog/0/type", "speech"),
        ("/dialog/0/start", "soon"),
        ("/analysis/0/encoding", "x"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = wrong.into();
        assert!(!SCHEMA.is_valid(&bad), "{pointer}");
    }
}

#[test]
fn an_identifier_that_is_no_uuid_gets_one_by_identifier_and_first_receipt() {
    let mut session = stored(native::read(&SESSION.replace("018dea7e-a176-7abc-8def-0123456789ab", "one")));
    let uuid = |session: &Session| {
        let mut text = String::new();
        write(session, "t", &mut text);
        let value: Value = serde_json::from_str(&text).expect("a vCon is JSON");
        value["uuid"].as_str().expect("a vCon has a UUID").to_owned()
    };
    let made = uuid(&session);
    assert_eq!((made.as_bytes()[14], uuid(&session)), (b'8', made.clone()), "version 8, and stable");
    let later = Session { received_first: session.received_first.plus(std::time::Duration::from_millis(1)), ..session.clone() };
    assert_ne!(uuid(&later), made);
    session.id = calldata_core::SessionId::new("two").unwrap();
    assert_ne!(uuid(&session), made);
    assert_eq!(held(&vcon(&session)).id.as_str(), "two");
}

#[test]
fn what_was_taken_out_of_a_vcon_is_not_known_afterwards() {
    let text = vcon(&stored(native::read(SESSION)));
    let redacted =
        text.replace(r#""body":"I want to pay","encoding":"none""#, r#""encoding":"none""#).replace(r#""tel":"tel:+4989123","#, "");
    let details = held(&redacted).details;
    assert_eq!((details.turns[1].user_text.as_str(), details.turns[1].reply.as_str()), ("", "Sure"));
    assert_eq!(details.called_number, None);
}

#[test]
fn a_vcon_of_another_system_is_read_as_far_as_it_is_understood() {
    let text = r#"{"vcon":"0.4.0","uuid":"018dea7e-a176-7abc-8def-0123456789ab","created_at":"2024-02-27T12:00:00Z","updated_at":"2024-02-27T13:00:00Z",
        "subject":"a bill","extensions":["x"],"parties":[{"name":"desk","type":"bot"},{"tel":"tel:+4930123456"},{"name":"Ada","type":"person"}],
        "dialog":[
            {"type":"text","start":"2024-02-27T12:00:00+01:00","parties":[0,1],"body":"Hello?","encoding":"none","mediatype":"text/plain"},
            {"type":"text","start":"2024-02-27T11:00:01Z","parties":[0,1],"originator":1,"body":"My bill","encoding":"none"},
            {"type":"text","start":"2024-02-27T11:00:02Z","parties":1,"body":"is wrong"},
            {"type":"recording","start":"2024-02-27T11:00:00Z","url":"https://example.org/r.wav","content_hash":"sha512-x","mediatype":"audio/x-wav"},
            {"type":"text","start":"2024-02-27T11:00:03Z","parties":[2],"body":"I see","encoding":"none"},
            {"type":"text","start":"2024-02-27T11:00:04Z","parties":[2],"body":"bW9yZQ","encoding":"base64url"},
            {"type":"text","start":"2024-02-27T11:00:05Z","parties":[2],"body":"Bye","encoding":"none"}],
        "analysis":[{"type":"session","vendor":"other","body":{"a":1.10},"encoding":"json"}],"attachments":[{"party":0,"dialog":0,"start":"2024-02-27T12:00:00Z"}]}"#;
    let session = read(text, Country::GERMANY).unwrap();
    assert_eq!((session.id.unwrap().as_str(), session.received), ("018dea7e-a176-7abc-8def-0123456789ab", None));
    let details = session.details;
    assert_eq!((details.call_id.as_str(), details.caller.spelling()), ("018dea7e-a176-7abc-8def-0123456789ab", "+4930123456"));
    assert_eq!(details.started_at.unwrap().to_string(), "2024-02-27T11:00:00.000Z");
    assert_eq!(details.updated_at.unwrap().to_string(), "2024-02-27T13:00:00.000Z");
    assert_eq!(details.recording.unwrap().file.as_deref(), Some("https://example.org/r.wav"));
    let expected =
        r#"[{"no":"","userText":"","intent":"","reply":"Hello?","repliedAt":"2024-02-27T11:00:00.000Z","by":"bot","mode":"common"},"#
            .to_owned()
            + r#"{"no":"","userText":"My bill","intent":"","reply":"","requestedAt":"2024-02-27T11:00:01.000Z","by":"bot","mode":"common"},"#
            + r#"{"no":"","userText":"is wrong","intent":"","reply":"I see","requestedAt":"2024-02-27T11:00:02.000Z","repliedAt":"2024-02-27T11:00:03.000Z","by":"agent","mode":"common"},"#
            + r#"{"no":"","userText":"","intent":"","reply":"Bye","repliedAt":"2024-02-27T11:00:05.000Z","by":"agent","mode":"common"}]"#;
    let mut turns = String::new();
    calldata_interchange::write_turns(&details.turns, &mut turns);
    assert_eq!(turns, expected);
    let field = |name: &str| details.fields.get(name).unwrap().as_str();
    assert_eq!(field("vconSubject"), r#""a bill""#);
    assert_eq!(field("vconAnalysis"), r#"[{"type":"session","vendor":"other","body":{"a":1.10},"encoding":"json"}]"#);
    assert_eq!(field("vconAttachments"), r#"[{"party":0,"dialog":0,"start":"2024-02-27T12:00:00Z"}]"#);
    assert!(field("vconDialog").contains("sha512-x") && field("vconDialog").contains("bW9yZQ"), "{}", field("vconDialog"));
    assert_eq!(details.fields.iter().count(), 4);
}

#[test]
fn who_is_told_to_be_a_bot_has_not_called_where_there_is_anybody_besides() {
    for (parties, caller) in [
        (r#"{"mailto":"a@example.org"},{"name":"Support","type":"bot"}"#, "a@example.org"),
        (r#"{"type":"bot","tel":"tel:+49800123456"},{"tel":"tel:+4930123456"}"#, "+4930123456"),
        (r#"{"name":"user-1"},{"tel":"tel:+49800123456","name":"bot","type":"bot"}"#, "user-1"),
        (r#"{"type":"organization","org":"acme","name":"acme"},{"name":"Al"}"#, "Al"),
        (r#"{"role":"Agent","tel":"tel:+49800123456"},{"name":"Al","role":"customer"}"#, "Al"),
        (r#"{"name":"Al"},{"tel":"tel:+4930123456"}"#, "+4930123456"),
        (r#"{"type":"bot","name":"Robbie"}"#, "Robbie"),
    ] {
        let session = read(&format!(r#"{{"uuid":"u","parties":[{parties}]}}"#), Country::GERMANY).unwrap();
        assert_eq!(session.details.caller.spelling(), caller, "{parties}");
    }
}

#[test]
fn what_is_no_vcon_that_can_be_read_is_refused() {
    let cases = [
        (r#"{"payload":"x","signatures":[]}"#, "is signed: its payload has to be verified and taken out first"),
        (r#"{"ciphertext":"x"}"#, "is encrypted"),
        (r#"{"uuid":"u","critical":["x"],"parties":[{"name":"secret"}]}"#, "critical names extensions, and none is known here"),
        (r#"{"parties":[{"name":"secret"}]}"#, "missing field `uuid`"),
        (r#"{"uuid":"u"}"#, "missing field `parties`"),
        (r#"{"uuid":"u","parties":[{"name":""},{}]}"#, "missing field `parties`"),
        (r#"{"uuid":"u","parties":{}}"#, "parties must be an array"),
        (r#"{"uuid":"u","parties":["secret"]}"#, "parties[0] is not an object"),
        (r#"{"uuid":"","parties":[{"name":"x"}]}"#, "id is empty"),
        ("[]", "not an object"),
        ("secret", "not valid JSON"),
    ];
    for (text, reason) in cases {
        assert_eq!(read(text, Country::GERMANY).unwrap_err().to_string(), reason, "{text}");
    }
    let ours = |body: &str| {
        let analysis = format!(r#"{{"type":"session","vendor":"calldata-gateway","schema":"calldata-session/1","body":{body}}}"#);
        let text = format!(r#"{{"uuid":"u","parties":[{{"name":"x"}}],"dialog":[],"analysis":[{analysis}]}}"#);
        read(&text, Country::GERMANY).map(|session| session.details.turns.len()).map_err(|error| error.to_string())
    };
    assert_eq!(ours(r#"{"callId":"c","turns":[{"userDialog":7}]}"#), Ok(1), "a dialog that is gone");
    assert_eq!(ours("7"), Err("analysis has a session whose body is not an object".into()));
    assert_eq!(ours("{}"), Err("missing field `callId`".into()));
    assert_eq!(ours(r#"{"callId":"c","colour":"secret"}"#), Err("unknown field `colour`".into()));
    assert_eq!(ours(r#"{"callId":"c","turns":["secret"]}"#), Err("turns[0] is not an object".into()));
    assert_eq!(ours(r#"{"callId":"c","turns":{}}"#), Err("turns must be an array".into()));
}
