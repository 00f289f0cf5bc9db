//! Values that tend to break things: all of Unicode, NUL, markup, numbers of thirty digits, duplicate and colliding names, empty and
//! huge values.

use calldata_core::JsonText;
use proptest::collection::vec;
use proptest::prelude::*;

/// Names that mean something in one of the dialects, or collide with what means something.
const KNOWN_NAMES: [&str; 18] = [
    "caller",
    "input.caller",
    "input.input.caller",
    "callerId",
    "content",
    "input.content",
    "conversationid",
    "conversationId",
    "intent",
    "turns",
    "qaRecords",
    "cticallid",
    "ctiCallId",
    "calledNumber",
    "endtime",
    "logId",
    "error",
    "",
];

/// A text of a few characters from anywhere.
pub(super) fn text() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        4 => any::<char>(),
        3 => prop::char::range(' ', '~'),
        1 => prop::sample::select(vec!['\0', '\u{1}', '\u{b}', '\u{1b}', '\u{fffe}', '\r', '\n', '\t', '<', '>', '&', '"', '\'', '\\', '/', '\u{2028}', '\u{10ffff}']),
    ];
    let short = vec(character, 0..24).prop_map(|characters| characters.into_iter().collect::<String>());
    prop_oneof![
        8 => short,
        1 => prop::sample::select(vec!["", " ", "null", "undefined", "]]>", "--></script>", "{{7*7}}", "=1+1", "\u{feff}x", "x".repeat(40_000).leak()]).prop_map(str::to_owned),
    ]
}

/// A text that can be an identifier.
pub(super) fn identifier() -> impl Strategy<Value = String> {
    text()
        .prop_map(|text| text.replace('\0', "").chars().take(60).collect::<String>())
        .prop_filter("an identifier is not empty", |text| !text.is_empty())
}

/// A caller: a number in some spelling, or an id.
pub(super) fn caller() -> impl Strategy<Value = String> {
    let number = "(\\+49 ?|0049|0)(30|171|89)[ /-]?[1-9][0-9]{5,8}";
    prop_oneof![3 => number, 1 => identifier().prop_filter("what trims to nothing is no caller", |id| !id.trim().is_empty())]
}

/// Any JSON value, as compact text.
pub(super) fn json() -> impl Strategy<Value = JsonText> {
    json_text().prop_map(|text| JsonText::parse(&text).expect("what is generated is JSON"))
}

fn json_text() -> impl Strategy<Value = String> {
    let string = text().prop_map(|text| JsonText::string(&text).as_str().to_owned());
    let number = prop_oneof!["-?[1-9][0-9]{0,35}", "-?(0|[1-9][0-9]{0,10})\\.[0-9]{1,30}", "[1-9]\\.[0-9]{1,3}[eE][+-]?[0-9]{1,2}",];
    let leaf = prop_oneof![4 => string, 2 => number, 1 => prop::sample::select(vec!["null", "true", "false", "0", "-0", "\"\"", "\"\\u0041\\/\""]).prop_map(str::to_owned)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            vec((text(), inner), 0..4).prop_map(|members| {
                let members: Vec<_> =
                    members.into_iter().map(|(name, value)| format!("{}:{value}", JsonText::string(&name).as_str())).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// Fields in order, some names given twice, some of them known to a dialect.
pub(super) fn fields() -> impl Strategy<Value = Vec<(String, JsonText)>> {
    let name = prop_oneof![
        3 => text().prop_filter("a name that must hold a time or a country", |name| !matches!(name.as_str(), "timestamp" | "countrycode" | "countryCode" | "callid" | "callerid")),
        2 => prop::sample::select(KNOWN_NAMES.to_vec()).prop_map(str::to_owned),
    ];
    vec((name, json()), 0..10)
}

/// Turns by the names of OIFDE, as a record has them.
pub(super) fn record_details() -> impl Strategy<Value = Vec<serde_json::Value>> {
    let turn = (text(), text(), text(), text(), 0_i64..4_000_000_000_000, 0_i64..4_000_000_000_000, 0..2_u8, 0..3_u8);
    let turn = turn.prop_map(|(no, said, intention, reply, replied, asked, source, mode)| {
        serde_json::json!({
            "interNo": no, "userSaying": said, "intention": intention, "systemReply": reply, "timestamp": replied,
            "requsetTime": asked, "responseSource": source, "involveMode": mode,
        })
    });
    vec(turn, 0..4)
}

/// Answers by the names of OIFDE; what is unknown is absent.
pub(super) fn qa_records() -> impl Strategy<Value = Vec<serde_json::Value>> {
    let names = ["seriesId", "questionTitle", "questionType", "answerIntent", "originalAnswer"];
    let answer = (text(), vec(prop::option::of(text()), names.len()), prop::option::of(0_i64..4_000_000_000_000));
    let answer = answer.prop_map(move |(no, texts, created)| {
        let mut answer = serde_json::Map::from_iter([("interNo".to_owned(), no.into())]);
        answer.extend(names.iter().zip(texts).filter_map(|(name, text)| Some(((*name).to_owned(), text?.into()))));
        answer.extend(created.map(|created| ("createTime".to_owned(), created.into())));
        serde_json::Value::Object(answer)
    });
    vec(answer, 0..3)
}
