//! Sessions of every kind that the gateway can hold.

use calldata_core::json_text::push_string;
use calldata_core::{
    Answer, CallId, Caller, Country, Details, DialogType, Fields, InvolveMode, JsonKind, JsonText, NewSession, Recording, Session,
    SessionId, Source, Timestamp, Turn, TurnSource,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

/// Texts that break what is written carelessly.
pub fn text() -> impl Strategy<Value = String> {
    let hostile = select(vec![
        '\0', '\r', '\n', '\t', '\u{b}', '\u{1b}', '"', '\'', '=', '+', '-', '@', ',', ';', '\\', '/', '<', '&', '\u{7f}', '\u{85}',
        '\u{ad}', '\u{2028}', '\u{202e}', '\u{feff}', '\u{fffd}', '\u{fffe}', '\u{ff1d}', '😀', '0', 'a',
    ]);
    let made = vec(prop_oneof![3 => hostile, 1 => any::<char>()], 0..8).prop_map(String::from_iter);
    let known = select(vec!["", "null", "{}", "[]", "'", "''", "\"\"", "tel:", "other:", "+4930123456", "\r\n", "\u{feff}"]);
    prop_oneof![3 => made, 1 => known.prop_map(str::to_owned)]
}

fn identifier() -> impl Strategy<Value = String> {
    let made = text().prop_map(|text| text.replace('\0', "")).prop_filter("not empty", |text| !text.is_empty());
    let known =
        select(vec!["018dea7e-a176-7abc-8def-0123456789ab", "018DEA7E-A176-7ABC-8DEF-0123456789AB", "018dea7ea1767abc8def0123456789ab"]);
    prop_oneof![2 => made, 1 => known.prop_map(str::to_owned)]
}

fn caller() -> impl Strategy<Value = String> {
    let numbers =
        ["+4930123456", "030 / 123456", "0041 79 123 45 67", "110", "tel:+49-30-123456", "user-12345", "+", "+000", "+1234567890123456"];
    prop_oneof![identifier(), select(numbers.to_vec()).prop_map(str::to_owned)]
}

/// JSON as an author spells it.
pub fn json() -> impl Strategy<Value = JsonText> {
    let spelled = [
        "null",
        "true",
        "0",
        "-0.0",
        "1.10",
        "12E+3",
        "123456789012345678901234567890",
        "0.1234567890123456789",
        r#""\u0041\/""#,
        r#""\ud83d\ude00""#,
    ];
    let leaf = prop_oneof![select(spelled.to_vec()).prop_map(str::to_owned), text().prop_map(|text| JsonText::string(&text).into_string())];
    let tree = leaf.prop_recursive(4, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            vec((text(), inner), 0..4).prop_map(|members| object(&members)),
        ]
    });
    let deep = (0_usize..118).prop_map(|depth| "[".repeat(depth) + "1" + &"]".repeat(depth));
    prop_oneof![9 => tree, 1 => deep].prop_map(|text| JsonText::parse(&text).expect("generated JSON is JSON"))
}

fn object(members: &[(String, String)]) -> String {
    let mut text = "{".to_owned();
    for (index, (name, value)) in members.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { "," });
        push_string(&mut text, name);
        text.push(':');
        text.push_str(value);
    }
    text + "}"
}

fn fields() -> impl Strategy<Value = Fields> {
    vec((text(), json().prop_map(JsonText::into_string)), 0..4)
        .prop_map(|members| Fields::parse(&object(&members)).expect("an object of JSON"))
}

pub fn time() -> impl Strategy<Value = Timestamp> {
    let ends = select(vec![i64::MIN, -62_167_219_200_000, -1, 0, 999, 253_402_300_799_999, i64::MAX]);
    prop_oneof![1 => ends, 3 => -70_000_000_000_000_i64..260_000_000_000_000, 6 => 1_500_000_000_000_i64..1_900_000_000_000]
        .prop_map(Timestamp::clamped)
}

fn dialog_type() -> impl Strategy<Value = DialogType> {
    prop_oneof![
        select(vec![DialogType::Voice, DialogType::Outbound, DialogType::Chatbot, DialogType::Ivr]),
        text().prop_map(DialogType::Other)
    ]
}

fn turn() -> impl Strategy<Value = Turn> {
    let by = select(vec![TurnSource::Bot, TurnSource::Agent]);
    let mode = select(vec![InvolveMode::Common, InvolveMode::Monitoring, InvolveMode::Insertion]);
    (text(), text(), text(), text(), of(time()), of(time()), by, mode).prop_map(
        |(no, user_text, intent, reply, requested_at, replied_at, by, mode)| Turn {
            no,
            user_text,
            intent,
            reply,
            requested_at,
            replied_at,
            by,
            mode,
        },
    )
}

fn answer() -> impl Strategy<Value = Answer> {
    let given = || of(text());
    (given(), given(), given(), given(), given(), given(), of(time())).prop_map(
        |(no, series, question, question_type, intent, original, created_at)| Answer {
            no,
            series,
            question,
            question_type,
            intent,
            original,
            created_at,
        },
    )
}

fn recording() -> impl Strategy<Value = Recording> {
    let location = prop_oneof![text(), select(vec!["7", "-3", "007", "https://example.org/r.wav"]).prop_map(str::to_owned)];
    (of(text()), of(location), of(text()), of(any::<i64>()), of(text())).prop_map(
        |(file, location_id, announcement_file, pool_node, as_delivered)| Recording {
            file,
            location_id,
            announcement_file,
            pool_node,
            as_delivered,
        },
    )
}

fn country_code(source: Source) -> BoxedStrategy<JsonText> {
    let texts = select(vec!["+49", " 41", "CH", "0041", "", " "]).prop_map(JsonText::string);
    if source == Source::Parloa {
        prop_oneof![texts, select(vec!["null", "49"]).prop_map(|text| JsonText::parse(text).expect("this is JSON"))].boxed()
    } else {
        texts.boxed()
    }
}

fn posted(source: Source) -> BoxedStrategy<JsonText> {
    if source == Source::Parloa { json().boxed() } else { text().prop_map(|text| JsonText::string(&text)).boxed() }
}

/// A session as the gateway holds it after a post, an import or by the native interface.
pub fn session() -> impl Strategy<Value = Session> {
    select(vec![Source::Parloa, Source::Oifde, Source::Native]).prop_flat_map(|source| {
        let names =
            (identifier(), identifier(), caller(), of(country_code(source)), of(text()), of(text()), of(text()), of(posted(source)));
        let times = (of(time()), of(time()), of(time()), time(), time());
        let facts = (of(dialog_type()), of(text()), of(json()), fields(), of(recording()), of(json()), of(text()));
        let lists = (vec(turn(), 0..4), vec(answer(), 0..3));
        (names, times, facts, lists).prop_map(move |(names, times, facts, lists)| {
            let (id, call_id, spelling, country_code, cti_call_id, calling_number, called_number, conversation) = names;
            let (started_at, ended_at, updated_at, one, other) = times;
            let (dialog_type, intent, content, fields, recording, business_info, flag) = facts;
            let (turns, answers) = lists;
            let country = country_code.as_ref().and_then(|code| Country::parse(&code.display()).ok()).unwrap_or(Country::GERMANY);
            let caller = Caller::new(&spelling, country).expect("a caller without NUL");
            let details = Details {
                call_id: CallId::new(&call_id).expect("an identifier without NUL"),
                caller,
                country_code,
                cti_call_id,
                calling_number: calling_number.filter(|number| *number != spelling),
                called_number,
                conversation,
                started_at,
                ended_at,
                updated_at,
                dialog_type,
                intent,
                content: content.filter(|content| source == Source::Parloa || content.kind() != JsonKind::Null),
                fields,
                recording: recording.map(|recording| held(recording, source)),
                business_info: business_info.filter(|info| info.kind() != JsonKind::Null),
                flag,
                turns,
                answers,
                source,
            };
            Session {
                id: SessionId::new(&id).expect("an identifier without NUL"),
                received_first: one.min(other),
                received_last: one.max(other),
                details,
            }
        })
    })
}

/// Only an OIFDE record tells the node of the pool apart.
fn held(recording: Recording, source: Source) -> Recording {
    if source == Source::Oifde {
        return recording;
    }
    let pool_node = recording.location_id.as_deref().and_then(|id| id.parse().ok());
    Recording { pool_node, as_delivered: None, ..recording }
}

/// What must be read where that session was written.
pub fn expected(session: &Session) -> NewSession {
    let Session { id, received_first, received_last, details } = session.clone();
    let as_text = |posted: Option<JsonText>| {
        posted.filter(|posted| posted.kind() != JsonKind::Null).map(|posted| JsonText::string(&posted.display()))
    };
    let details = Details { country_code: as_text(details.country_code), conversation: as_text(details.conversation), ..details };
    NewSession { id: Some(id), received: Some((received_first, received_last)), details }
}

/// A session that was read, as it is held then.
pub fn stored(new: NewSession) -> Session {
    let NewSession { id, received, details } = new;
    let (received_first, received_last) = received.expect("it brought its receipts along");
    Session { id: id.expect("it brought its identifier along"), received_first, received_last, details }
}
