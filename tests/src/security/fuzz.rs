//! What holds of every parser and renderer, on examples that are the same in every run. `just fuzz` searches further.

use calldata_testkit::fuzz::TARGETS;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::examples::examples;

/// Examples for each property.
const EXAMPLES: usize = 20_000;

/// What the formats are made of, so that chance gets beyond the first character.
const PIECES: [&str; 93] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "\\",
    "\\u0000",
    "\\ud83d\\ude00",
    "\\ud800",
    "\\n",
    "\\\"",
    " ",
    "\n",
    "\r\n",
    "\r",
    "\t",
    "\u{feff}",
    "\0",
    "é",
    "😀",
    "\u{fffe}",
    "<",
    ">",
    "&",
    "'",
    "<b>",
    "]]>",
    "&amp;",
    "--",
    "=",
    "%2B",
    "+",
    "-",
    ".",
    "0",
    "1",
    "49",
    "030",
    "1e400",
    "1.50",
    "-0",
    "9223372036854775807",
    "null",
    "true",
    "{\"input\":{\"callid\":\"1\",\"callerid\":\"2\"",
    "{\"recordList\":[",
    "{\"logId\":\"l\",\"callId\":\"c\",\"callSorId\":\"u\"",
    "{\"callId\":\"c\",\"caller\":\"030 1234567\"",
    "\"content\":",
    "\"conversationid\":",
    "\"countrycode\":\"CH\"",
    "\"timestamp\":",
    "\"turns\":[",
    "\"qaRecords\":[",
    "\"recordDetials\":[",
    "\"answers\":[",
    "{\"interNo\":\"1\",\"userSaying\":\"hi\"}",
    "{\"no\":\"1\",\"mode\":\"common\"}",
    "\"businessInfoStr\":",
    "\"businessInfo\":",
    "\"callData\":",
    "\"flag\":\"f\"",
    "\"locationId\":7",
    "\"recording\":{\"file\":\"f\",\"locationId\":\"7\"}",
    "\"dialogType\":\"voice\"",
    "\"dialogType\":\"9\"",
    "\"startTime\":1",
    "\"endTime\":",
    "\"source\":\"parloa\"",
    "\"source\":\"oifde\"",
    "\"fields\":{",
    "\"caller\":",
    "\"input.caller\":",
    "\"intent\":\"pay\"",
    "\"receivedAt\":[\"2024-02-27T12:12:00Z\",\"2024-02-27T12:13:00Z\"]",
    "caller=",
    "&callid=",
    "&format=",
    "&wait=30",
    "&timeLimit=",
    "tel:",
    "sip:",
    "@host",
    ";ext=1",
    "(0)",
    "/",
    "2024-02-27",
    "T12:16:23.926",
    "Z",
    "+01:00",
    "24:00:00",
];

/// Pieces in any order; a format's beginning, a few members and its end; and any bytes.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let piece = || prop_oneof![8 => prop::sample::select(PIECES.to_vec()).prop_map(str::to_owned), 1 => any::<String>()];
    let soup = vec(piece(), 0..24).prop_map(|pieces| pieces.concat());
    let value = || {
        let plain = prop_oneof![
            Just("null".to_owned()),
            any::<i64>().prop_map(|n| n.to_string()),
            any::<String>().prop_map(quoted),
            piece().prop_map(quoted)
        ];
        plain.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
                vec((any::<String>(), inner), 0..4).prop_map(|members| object("{", &members)),
            ]
        })
    };
    let name = prop_oneof![3 => any::<String>(), 2 => prop::sample::select(vec!["content", "caller", "input.caller", "turns", "qaRecords", "callData", "conversationid", "", "a b", "xml"]).prop_map(str::to_owned)];
    let beginning = prop::sample::select(vec![
        ("{\"input\":{\"callid\":\"1\",\"callerid\":\"2\",", "}"),
        ("[{\"logId\":\"l\",\"callId\":\"c\",\"callSorId\":\"u\",", "]"),
        ("{\"callId\":\"c\",\"caller\":\"030 1234567\",\"fields\":{", "}"),
        ("{", ""),
    ]);
    let document = (beginning, vec((name, value()), 1..6)).prop_map(|((before, after), members)| object(before, &members) + after);
    prop_oneof![3 => soup.prop_map(String::into_bytes), 3 => document.prop_map(String::into_bytes), 1 => vec(any::<u8>(), 0..64)]
}

fn quoted(text: String) -> String {
    serde_json::Value::from(text).to_string()
}

fn object(before: &str, members: &[(String, String)]) -> String {
    let members: Vec<_> = members.iter().map(|(name, value)| format!("{}:{value}", quoted(name.clone()))).collect();
    format!("{before}{}}}", members.join(","))
}

#[test]
fn parsers_and_renderers_hold_what_they_promise() {
    for input in examples(&input(), EXAMPLES) {
        // Of a failure the last line is the cause.
        println!("{}", input.escape_ascii());
        for (_, property) in TARGETS {
            property(&input);
        }
    }
}
