use std::sync::Arc;

use super::*;
use crate::tenant::tests::tenant;
use crate::{CallId, Caller, Country, KeyId, Scopes, SessionId};

const FIELDS: &str = r#"{"topic":"t-topic","intent":"t-intent","turns":[{"userText":"t-said"}],"qaRecords":[{"original":"t-answer"}],"cticallid":"t-cti","ctiCallId":"t-cti","callednumber":"t-called","endtime":5}"#;

fn masking(minutes: u32, names: &[&str]) -> Masking {
    Masking::new(minutes, names.iter().map(|name| (*name).to_owned()).collect()).unwrap()
}

/// A session in which every text that can be masked is another one.
fn session(source: Source) -> Session {
    let text = |text: &str| Some(text.to_owned());
    let mut details = Details::new(CallId::new("c").unwrap(), Caller::new("u", Country::GERMANY).unwrap(), source);
    details.cti_call_id = text("t-cti");
    details.called_number = text("t-called");
    details.ended_at = Some(Timestamp::clamped(5));
    details.intent = text("t-intent");
    details.content = Some(JsonText::string("t-content"));
    details.fields = Fields::parse(FIELDS).unwrap();
    details.recording = Some(Recording {
        file: text("t-file"),
        location_id: text("node"),
        announcement_file: text("t-announcement"),
        pool_node: Some(7),
        as_delivered: text("t-delivered"),
    });
    details.business_info = Some(JsonText::string("t-info"));
    let turn = Turn { user_text: "t-said".into(), intent: "t-wish".into(), reply: "t-reply".into(), ..Turn::default() };
    details.turns = vec![turn, Turn::default()];
    let answer = Answer { question: text("asked"), intent: text("t-meant"), original: text("t-answer"), ..Answer::default() };
    details.answers = vec![answer, Answer::default()];
    let received = Timestamp::clamped(60_000);
    Session { id: SessionId::new("s").unwrap(), received_first: received, received_last: received, details }
}

/// All that a session tells, as texts.
fn texts(session: &Session) -> Vec<String> {
    let details = &session.details;
    let json = [&details.content, &details.business_info].into_iter().flatten().map(|json| json.as_str().to_owned());
    let recording = details.recording.iter().flat_map(|recording| [&recording.file, &recording.announcement_file, &recording.as_delivered]);
    let facts = [&details.cti_call_id, &details.called_number, &details.intent].into_iter().chain(recording).flatten().cloned();
    let turns = details.turns.iter().flat_map(|turn| [&turn.user_text, &turn.intent, &turn.reply]).cloned();
    let answers = details.answers.iter().flat_map(|answer| [&answer.question, &answer.intent, &answer.original]).flatten().cloned();
    let fields = details.fields.iter().map(|(_, value)| value.as_str().to_owned());
    json.chain(facts).chain(turns).chain(answers).chain(fields).collect()
}

fn tells(session: &Session, text: &str) -> bool {
    texts(session).iter().any(|told| told.contains(text))
}

fn masked(source: Source, names: &[&str]) -> Session {
    let mut session = session(source);
    masking(0, names).mask(&mut session, Timestamp::clamped(0));
    session
}

#[test]
fn each_name_hides_what_it_names_wherever_it_is_told_and_nothing_else() {
    let all = [
        "t-topic",
        "t-intent",
        "t-said",
        "t-wish",
        "t-reply",
        "t-answer",
        "t-meant",
        "t-cti",
        "t-called",
        "t-content",
        "t-info",
        "t-file",
        "t-announcement",
        "t-delivered",
        "asked",
    ];
    let cases: [(&[&str], &[&str]); 14] = [
        (&["content"], &["t-content"]),
        (&["turns"], &["t-said", "t-wish", "t-reply"]),
        (&["answers"], &["t-answer", "t-meant"]),
        (&["qaRecords"], &["t-answer", "t-meant"]),
        (&["intent"], &["t-intent"]),
        (&["businessInfo"], &["t-info"]),
        (&["recording"], &["t-file", "t-announcement", "t-delivered"]),
        (&["topic"], &["t-topic"]),
        (&["ctiCallId"], &["t-cti"]),
        (&["calledNumber"], &["t-called"]),
        (&["*"], &["t-topic", "t-intent", "t-said", "t-wish", "t-reply", "t-answer", "t-meant", "t-cti", "t-called"]),
        (&["Topic", "topi", "nothing"], &[]),
        (&["topic", "content"], &["t-topic", "t-content"]),
        (&["*", "content", "businessInfo", "recording"], &all[..14]),
    ];
    for (names, hidden) in cases {
        let masked = masked(Source::Parloa, names);
        for text in all {
            assert_eq!(tells(&masked, text), !hidden.contains(&text), "{names:?} {text}: {:?}", texts(&masked));
        }
    }
}

#[test]
fn the_mask_stands_where_something_was_and_nowhere_else() {
    let masked = masked(Source::Parloa, &["content", "turns", "answers", "intent", "topic", "endTime", "recording", "businessInfo"]);
    let details = masked.details;
    assert_eq!(details.content.unwrap().as_str(), r#""***""#);
    assert_eq!(details.business_info.unwrap().as_str(), r#""***""#);
    let [turn, silent] = &details.turns[..] else { panic!("both are there") };
    assert_eq!([&turn.user_text, &turn.intent, &turn.reply], ["***"; 3]);
    assert_eq!(*silent, Turn::default());
    assert_eq!((details.answers[0].original.as_deref(), &details.answers[1]), (Some("***"), &Answer::default()));
    assert_eq!((details.intent.as_deref(), details.ended_at), (Some("***"), None));
    let recording = details.recording.unwrap();
    assert_eq!((recording.location_id.as_deref(), recording.pool_node), (Some("node"), Some(7)));
    let fields = r#"{"topic":"***","intent":"***","turns":"***","qaRecords":"***","cticallid":"t-cti","ctiCallId":"t-cti","callednumber":"t-called","endtime":"***"}"#;
    assert_eq!(details.fields.as_json(), fields);
    let mut nothing = session(Source::Native);
    nothing.details = Details::new(nothing.details.call_id, nothing.details.caller, Source::Native);
    let before = nothing.clone();
    masking(0, &["*", "content", "turns", "answers", "intent", "recording", "businessInfo"]).mask(&mut nothing, Timestamp::clamped(0));
    assert_eq!(nothing, before);
}

#[test]
fn a_member_is_masked_by_its_name_whoever_told_it() {
    for source in [Source::Native, Source::Oifde, Source::Parloa] {
        let mut session = session(source);
        session.details.fields = Fields::default();
        (session.details.calling_number, session.details.flag) = (Some("t-calling".into()), Some("t-flag".into()));
        masking(0, &["ctiCallId", "callednumber", "callingNumber", "endedAt", "flag"]).mask(&mut session, Timestamp::clamped(0));
        let Details { cti_call_id, called_number, calling_number, flag, ended_at, .. } = session.details;
        assert_eq!([cti_call_id, called_number, calling_number, flag].map(|text| text.unwrap()), ["***"; 4], "{source:?}");
        assert_eq!(ended_at, None, "{source:?}");
    }
}

#[test]
fn what_was_told_apart_from_the_fields_is_no_user_defined_field() {
    let all_fields = masked(Source::Native, &["*"]);
    for text in ["t-said", "t-answer", "t-intent", "t-cti", "t-called"] {
        assert!(tells(&all_fields, text), "{text}");
    }
    assert_eq!(all_fields.details.ended_at, Some(Timestamp::clamped(5)));
    assert!(all_fields.details.fields.iter().all(|(_, value)| value.as_str() == r#""***""#));
}

#[test]
fn the_intent_that_stands_in_for_the_session_s_own_is_hidden_with_it() {
    let mut session = session(Source::Oifde);
    session.details.intent = None;
    session.details.turns.pop();
    masking(0, &["intent"]).mask(&mut session, Timestamp::clamped(0));
    assert_eq!((session.details.intent.as_deref(), session.last_turn_intent()), (Some("***"), Some("t-wish")));
    session.details.intent = None;
    session.details.turns.clear();
    masking(0, &["intent"]).mask(&mut session, Timestamp::clamped(0));
    assert_eq!(session.details.intent, None, "none is invented");
}

#[test]
fn it_begins_so_many_minutes_after_the_last_receipt() {
    let at = |ms| {
        let mut session = session(Source::Parloa);
        masking(2, &["content"]).mask(&mut session, Timestamp::clamped(ms));
        !tells(&session, "t-content")
    };
    assert_eq!([at(0), at(60_000), at(179_999), at(180_000), at(i64::MAX)], [false, false, false, true, true]);
}

#[test]
fn only_a_key_that_may_see_it_is_shown_what_its_tenant_has_masked() {
    let shown = |masking: Option<Masking>, scopes: Scopes| {
        let tenant = Arc::new(crate::Tenant { masking, ..tenant("c") });
        let mut session = session(Source::Parloa);
        hide(&Access { tenant, key: KeyId::random(), scopes }, &mut session, Timestamp::clamped(60_000));
        tells(&session, "t-content")
    };
    let content = || Some(masking(0, &["content"]));
    assert!(!shown(content(), Scopes::READ_WRITE) && !shown(content(), Scopes { admin: true, ..Scopes::READ }));
    assert!(shown(content(), Scopes { unmasked: true, ..Scopes::READ }) && shown(None, Scopes::READ));
}

#[test]
fn what_cannot_be_masked_is_refused() {
    let new = |minutes, names: &[&str]| Masking::new(minutes, names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(new(525_601, &["content"]), Err(InvalidMasking::TooLate));
    assert_eq!(new(0, &[]), Err(InvalidMasking::NoName));
    assert_eq!(new(0, &["content", ""]), Err(InvalidMasking::Name));
    assert_eq!(new(0, &["a\nb"]), Err(InvalidMasking::Name));
    assert_eq!(new(0, &["x".repeat(201).as_str()]), Err(InvalidMasking::Name));
    assert_eq!(new(0, &["x"; 101]), Err(InvalidMasking::TooManyNames));
    let twice = new(525_600, &["a", "b", "a"]).unwrap();
    assert_eq!((twice.after_minutes(), twice.names()), (525_600, &["a".to_owned(), "b".to_owned()][..]));
}
