//! What holds of every parser and renderer, whatever it is given. Tests run these on a few thousand examples; `just fuzz` lets a fuzzer
//! look for a counterexample. To add one: a function here and a line in [`TARGETS`].

use std::collections::BTreeSet;

use calldata_core::fields::object_text;
use calldata_core::{CallerKey, Country, Fields, JsonText, NewSession, Session, SessionId, Timestamp, Zone};
use calldata_interchange::{SessionDocument, csv, vcon, write_session};
use oifde_api::import::{read_records, session_of};
use serde_json::value::RawValue;

use crate::builders::{session_id, start};
use crate::xml::{in_xml, members_of};

/// Panics when something does not hold of these bytes.
pub type Property = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: [(&str, Property); 9] = [
    ("json", json),
    ("fields", fields),
    ("timestamp", timestamp),
    ("caller", caller),
    ("post", post),
    ("query", query),
    ("oifde-body", oifde_body),
    ("import", import),
    ("session", session),
];

/// JSON that is taken can be read by others, is one line, and means the same when it is taken again.
fn json(data: &[u8]) {
    let Some(Ok(json)) = std::str::from_utf8(data).ok().map(JsonText::parse) else { return };
    serde_json::from_str::<&RawValue>(json.as_str()).expect("others can read it");
    assert!(!json.as_str().contains(['\n', '\r', '\t']), "one line: {json:?}");
    assert_eq!(JsonText::parse(json.as_str()).as_ref(), Ok(&json));
    if let Some(text) = json.as_string() {
        assert_eq!(JsonText::string(&text).as_string().as_ref(), Some(&text));
    }
    if let Some(items) = json.items() {
        let items: Vec<_> = items.iter().map(JsonText::as_str).collect();
        assert_eq!(format!("[{}]", items.join(",")), json.as_str());
    }
    if let Ok(members) = json.members() {
        let names: BTreeSet<_> = members.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), members.len(), "no name twice");
        let written = JsonText::parse(&object_text(members.iter().map(|(name, value)| (name, value)))).expect("members are JSON again");
        assert_eq!(written.members().as_ref(), Ok(&members));
    }
}

/// Fields come back as they were, and never under a name that is taken or given twice.
fn fields(data: &[u8]) {
    let Some(Ok(fields)) = std::str::from_utf8(data).ok().map(Fields::parse) else { return };
    let again = Fields::parse(fields.as_json()).expect("what was written can be read");
    assert_eq!(again.as_json(), fields.as_json());
    let taken = ["caller", "content", "input.caller"];
    let shown: Vec<_> = fields.beside(&taken).map(|(name, _)| name).collect();
    let distinct: BTreeSet<_> = shown.iter().map(String::as_str).chain(taken).collect();
    assert_eq!(distinct.len(), shown.len() + taken.len(), "{shown:?}");
}

/// A time that was read is written in a way that reads as the same time.
fn timestamp(data: &[u8]) {
    let Some(time) = std::str::from_utf8(data).ok().and_then(Timestamp::parse_lenient) else { return };
    assert_eq!(Timestamp::parse_iso8601(&time.to_string()), Some(time));
    assert_eq!(Timestamp::parse_lenient(&time.to_string()), Some(time));
    assert_eq!(Timestamp::from_epoch_ms(time.epoch_ms()), Some(time));
}

/// The form in which callers are compared is that of itself, and white space around a caller does not matter. The first byte chooses the
/// country.
fn caller(data: &[u8]) {
    let Some((&choice, spelling)) = data.split_first() else { return };
    let Ok(spelling) = std::str::from_utf8(spelling) else { return };
    let countries = ["DE", "CH", "US", "IT", "CN", "GB"];
    let code = countries.get(usize::from(choice) % countries.len()).copied().unwrap_or("DE");
    let country = Country::parse(code).expect("a country");
    let key = CallerKey::of(spelling, country);
    assert_eq!(CallerKey::of(key.as_str(), country), key, "{spelling:?} in {code}");
    assert_eq!(CallerKey::of(&format!("\t{spelling}\n"), country), CallerKey::of(spelling.trim(), country), "{spelling:?} in {code}");
}

/// A post that is taken is rendered in every format, and no value becomes markup or looks like another field.
fn post(data: &[u8]) {
    if let Some(session) = parloa_api::fuzz::posted(data) {
        rendered(session);
    }
}

/// A query never does more than ask for nothing.
fn query(data: &[u8]) {
    if let Ok(query) = std::str::from_utf8(data) {
        parloa_api::fuzz::asks(query);
    }
}

/// A body that is refused is refused in words of our own.
fn oifde_body(data: &[u8]) {
    let known = ["is not valid JSON", "cannot be read: not valid JSON", "cannot be read: not an object"];
    let known = known.into_iter().chain(["cannot be read: nested deeper than 128 levels", "cannot be read: holds an unpaired surrogate"]);
    if let Some(refusal) = oifde_api::fuzz::refusal(data) {
        assert!(known.into_iter().any(|words| refusal == format!("Parameter error: body {words}")), "{refusal}");
    }
}

/// A record that is taken comes back, and the one that came back comes back as it is; it is rendered in the other dialect too.
fn import(data: &[u8]) {
    let mut taken = Vec::new();
    // How reading ends does not matter; what was read until then counts.
    let _ = read_records(data, |record| {
        taken.extend(session_of(record, Country::GERMANY));
        true
    });
    for session in taken {
        recorded(session);
    }
}

/// A session that is taken says what its document says, and is told in both dialects.
fn session(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(session) = SessionDocument::parse(text).and_then(|document| document.into_session(Country::GERMANY)) else { return };
    let document = JsonText::parse(text).and_then(|text| text.members()).expect("a session is an object");
    let said = |name: &str| document.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.as_string());
    let details = &session.details;
    assert_eq!(said("callId").as_deref(), Some(details.call_id.as_str()));
    assert_eq!(said("caller").as_deref(), Some(details.caller.spelling()));
    assert_eq!(
        (said("ctiCallId"), said("intent"), said("flag")),
        (details.cti_call_id.clone(), details.intent.clone(), details.flag.clone())
    );
    assert_eq!(said("id").as_deref(), session.id.as_ref().map(SessionId::as_str));
    exchanged(copy(&session));
    recorded(session);
}

/// A session is told the same again after it was read from its document, its table or its vCon.
fn exchanged(session: NewSession) {
    let session = held(session);
    let document = |session: &Session| {
        let mut text = String::new();
        write_session(session, &mut text);
        text
    };
    let table = |session: &Session| {
        let mut table = Vec::new();
        csv::write_header(&mut table);
        csv::write_row(session, &Zone::berlin(), &mut table);
        table
    };
    let vcon = |session: &Session| {
        let mut text = String::new();
        vcon::write(session, "tenant", &mut text);
        text
    };
    let read = SessionDocument::parse(&document(&session)).and_then(|document| document.into_session(Country::GERMANY));
    assert_eq!(document(&held(read.expect("our own document can be taken"))), document(&session));
    let read = vcon::read(&vcon(&session), Country::GERMANY);
    assert_eq!(document(&held(read.expect("our own vCon can be taken"))), document(&session));
    csv::read(table(&session).as_slice(), Country::GERMANY, |_, read| {
        assert_eq!(table(&held(read.expect("our own table can be taken"))), table(&session));
        true
    })
    .expect("bytes can be read");
}

fn held(session: NewSession) -> Session {
    let NewSession { id, received, details } = session;
    let (received_first, received_last) = received.unwrap_or((start(), start()));
    Session { id: id.unwrap_or_else(|| session_id("made-up")), received_first, received_last, details }
}

/// The record of a session, taken for an import, gives that record again.
fn recorded(session: NewSession) {
    let record = |session| oifde_api::fuzz::record(session, session_id("made-up"), start()).expect("a record can be written");
    let once = record(copy(&session));
    rendered(session);
    let raw: &RawValue = serde_json::from_str(&once).expect("a record is JSON");
    let again = session_of(raw, Country::GERMANY).expect("our own record can be taken");
    assert_eq!(record(again), once);
}

fn copy(session: &NewSession) -> NewSession {
    NewSession { id: session.id.clone(), received: session.received, details: session.details.clone() }
}

fn rendered(session: NewSession) {
    let answers = parloa_api::fuzz::answers(session, session_id("made-up"), start()).expect("every format can be written");
    let members = JsonText::parse(&answers.json).and_then(|json| json.members()).expect("JSON is an object");
    let told: Vec<_> = members.iter().map(|(name, value)| (name.clone(), value.display().into_owned())).collect();
    assert_eq!(told, answers.members);
    assert_eq!(members_of(&answers.xml), answers.members.iter().map(|(name, value)| (in_xml(name), in_xml(value))).collect::<Vec<_>>());
    // Five rows are always there; two of them have no member where nothing was posted.
    let absent = ["content", "conversationid"].iter().filter(|name| answers.members.iter().all(|(known, _)| known != *name)).count();
    let rows = answers.members.len() + absent;
    for page in &answers.html {
        assert_eq!(page.matches("<tr>").count(), rows, "{page}");
        assert_eq!(page.matches('<').count(), page.matches('>').count(), "{page}");
        assert_eq!(page.matches('<').count(), MARKUP + MARKUP_OF_A_ROW * rows, "{page}");
        assert!(!page.contains('\0'), "{page}");
    }
    // A name may begin like the continuation of a line; no break of a line may end one.
    let indented = answers.members.iter().filter(|(name, _)| name.starts_with("    ")).count();
    for text in &answers.text {
        assert_eq!(text.matches("\n    ").count() - indented + rows, text.matches('\n').count(), "{text}");
        assert!(!text.contains('\r'), "{text}");
    }
}

/// Tags of a page without rows, and of each row.
const MARKUP: usize = 14;
const MARKUP_OF_A_ROW: usize = 6;
