//! The properties, each over HTTP on every engine.

use std::collections::HashMap;

use calldata_core::fields::object_text;
use calldata_core::{Country, JsonKind, JsonText};
use calldata_testkit::client::Answer;
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::{Account, Gateway};
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::generators::{caller, fields, identifier, json as any_json, qa_records, record_details, text};
use crate::examples::examples;

/// Examples of each property on each engine.
const EXAMPLES: usize = 60;

/// The members of a JSON object in order, values as text.
type Members = Vec<(String, String)>;

fn members(text: &str) -> Members {
    let members = JsonText::parse(text).expect("the answer is JSON").members().expect("the answer is an object");
    members.into_iter().map(|(name, value)| (name, value.as_str().to_owned())).collect()
}

fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |encoded, byte| encoded + &format!("%{byte:02X}"))
}

/// The one record of a call.
fn only_record(answer: &Answer) -> Members {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct History<'a> {
        total: u64,
        #[serde(borrow)]
        record_list: Vec<&'a RawValue>,
    }
    let history: History<'_> = serde_json::from_str(answer.text()).expect("the answer is a history");
    assert_eq!((history.total, history.record_list.len()), (1, 1), "{}", answer.text());
    members(history.record_list[0].get())
}

fn value<'m>(members: &'m Members, name: &str) -> Option<&'m str> {
    members.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn string(text: &str) -> String {
    JsonText::string(text).as_str().to_owned()
}

/// Asks for a call in both dialects.
async fn both(account: &Account, call: &str, caller: &str) -> (Members, Members) {
    let fetched = account.get(&format!("caller={}&callid={}", encode(caller), encode(call))).await;
    let record = account.history(&format!("\"callId\":{}", string(call))).await;
    (members(fetched.text()), only_record(&record))
}

/// Of a name given twice the last value counts, at the place of the first.
fn deduplicated(fields: &[(String, JsonText)]) -> Members {
    let last: HashMap<_, _> = fields.iter().map(|(name, value)| (name, value)).collect();
    let mut kept: Members = Vec::new();
    for (name, _) in fields {
        if kept.iter().all(|(known, _)| known != name) {
            kept.push((name.clone(), last[name].as_str().to_owned()));
        }
    }
    kept
}

/// A name that is taken gets `input.` in front until nobody else has it.
fn renamed(name: &str, all: &Members, taken: &[&str]) -> String {
    let mut shown = name.to_owned();
    while taken.contains(&shown.as_str()) || (shown != name && all.iter().any(|(known, _)| *known == shown)) {
        shown.insert_str(0, "input.");
    }
    shown
}

#[test]
fn what_a_bot_posts_is_read_in_both_dialects_and_nothing_is_lost_or_invented() {
    let cases = examples(&(identifier(), caller(), prop::option::of(any_json()), fields()), EXAMPLES);
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for (number, (call, caller, content, fields)) in cases.iter().enumerate() {
            let call = format!("{number}-{call}");
            let mut input = vec![("callid".to_owned(), JsonText::string(&call)), ("callerid".to_owned(), JsonText::string(caller))];
            input.extend(content.clone().map(|content| ("content".to_owned(), content)));
            input.extend(fields.clone());
            let posted = account.post(&object_text(input.iter().map(|(name, value)| (name, value)))).await;
            assert_eq!(posted.text(), r#"{"choice":"success","output":{}}"#);
            let (fetched, record) = both(&account, &call, caller).await;

            let all = deduplicated(&input[2..]);
            let content = value(&all, "content");
            // Both spellings of one optional field: the last one posted counts.
            let conversation = last_of(&all, &["conversationid", "conversationId"]);
            let own: Members =
                all.iter().filter(|(name, _)| !matches!(name.as_str(), "content" | "conversationid" | "conversationId")).cloned().collect();

            let mut expected: Members = vec![
                ("caller".into(), string(caller)),
                ("callid".into(), string(&call)),
                ("timestamp".into(), string("2024-02-27T12:16:23.926Z")),
            ];
            expected.extend(content.map(|content| ("content".to_owned(), content.to_owned())));
            expected.extend(conversation.map(|conversation| ("conversationid".to_owned(), conversation.to_owned())));
            let fixed = ["caller", "callid", "timestamp", "content", "conversationid"];
            expected.extend(own.iter().map(|(name, value)| (renamed(name, &own, &fixed), value.clone())));
            assert_eq!(fetched, expected);

            let mut call_data: Members = content.iter().map(|content| ("content".to_owned(), (*content).to_owned())).collect();
            let read_elsewhere = |name: &str, value: &str| matches!(name, "turns" | "qaRecords") && is_empty_list(value);
            call_data.extend(
                own.iter()
                    .filter(|(name, value)| !read_elsewhere(name, value))
                    .map(|(name, value)| (renamed(name, &own, &["content"]), value.clone())),
            );
            let told = value(&record, "callData").map(|text| members(&JsonText::parse(text).unwrap().as_string().unwrap()));
            assert_eq!(told.unwrap_or_default(), call_data);
            for (name, expected) in [("callId", &call), ("callSorId", caller), ("callingNumber", caller)] {
                assert_eq!(value(&record, name), Some(string(expected).as_str()), "{name}");
            }
            let known = conversation.filter(|conversation| *conversation != "null");
            let flow = known.map(|conversation| JsonText::parse(conversation).unwrap().display().into_owned()).unwrap_or_default();
            assert_eq!(value(&record, "flowInstId"), Some(string(&flow).as_str()));
            let constant = [
                ("recordDetials", "[]"),
                ("qaRecords", "[]"),
                ("businessInfo", "null"),
                ("businessInfoStr", "\"\""),
                ("dialogType", "\"1\""),
                ("startTime", "1709036183926"),
                ("lastUpdateTime", "1709036183926"),
            ];
            for (name, expected) in constant {
                assert_eq!(value(&record, name), Some(expected), "{name}");
            }
        }
        gateway.stop().await;
    });
}

fn last_of<'m>(all: &'m Members, names: &[&str]) -> Option<&'m str> {
    all.iter().rev().find(|(name, _)| names.contains(&name.as_str())).map(|(_, value)| value.as_str())
}

/// Of what the generators make, only an empty list (or its text) can be taken for turns.
fn is_empty_list(value: &str) -> bool {
    let value = JsonText::parse(value).unwrap();
    let list = match value.kind() {
        JsonKind::String => JsonText::parse(&value.as_string().unwrap()).ok(),
        _ => Some(value),
    };
    list.is_some_and(|list| list.as_str() == "[]")
}

#[test]
fn turns_and_answers_of_a_post_are_those_of_the_record() {
    let cases = examples(&(caller(), record_details(), qa_records(), any::<bool>()), EXAMPLES);
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for (number, (caller, turns, answers, as_text)) in cases.iter().enumerate() {
            let call = format!("call-{number}");
            let given = |items: &[Value]| if *as_text { Value::from(Value::from(items).to_string()) } else { Value::from(items) };
            let input = json!({ "callid": call, "callerid": caller, "turns": given(turns), "qaRecords": given(answers), "x": 1 });
            assert_eq!(account.post(&input.to_string()).await.json()["choice"], "success");
            let (fetched, record) = both(&account, &call, caller).await;
            assert_eq!(value(&fetched, "turns"), Some(given(turns).to_string().as_str()), "given back as posted");
            assert_eq!(value(&fetched, "qaRecords"), Some(given(answers).to_string().as_str()));
            assert_eq!(serde_json::from_str::<Value>(value(&record, "recordDetials").unwrap()).unwrap(), Value::from(turns.clone()));
            assert_eq!(serde_json::from_str::<Value>(value(&record, "qaRecords").unwrap()).unwrap(), Value::from(answers.clone()));
            assert_eq!(value(&record, "callData"), Some(r#""{\"x\":1}""#), "left out of the call data");
        }
        gateway.stop().await;
    });
}

#[test]
fn oif_r2_an_imported_record_comes_back_as_it_was_and_answers_a_fetch() {
    let optional = || prop::option::of(text());
    let texts = (identifier(), caller(), optional(), optional(), text(), text(), optional(), optional());
    let times = (1_i64..4_000_000_000_000, prop::option::of(1_i64..4_000_000_000_000), 1_i64..4_000_000_000_000);
    let cases =
        examples(&(texts, times, prop::option::of(any_json()), record_details(), qa_records(), prop::option::of(any::<i32>())), EXAMPLES);
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for (number, (texts, times, business_info, turns, answers, location)) in cases.iter().enumerate() {
            let (call, caller, cti, call_data, called, flow, flag, dialog) = texts;
            let call = format!("{number}-{call}");
            let mut record = vec![
                ("logId", string(&format!("log-{number}"))),
                ("tenantId", string(&account.tenant.oifde_id)),
                ("callSorId", string(caller)),
                ("callId", string(&call)),
                ("ctiCallId", cti.as_ref().map_or("null".into(), |cti| string(cti))),
                ("callingNumber", string(flag.as_ref().unwrap_or(caller))),
                ("calledNumber", string(called)),
                ("startTime", times.0.to_string()),
            ];
            record.extend(times.1.map(|end| ("endTime", end.to_string())));
            record.extend([("lastUpdateTime", times.2.to_string()), ("flowInstId", string(flow))]);
            record.extend(dialog.as_ref().map(|dialog| ("dialogType", string(dialog))));
            record.extend(call_data.as_ref().map(|call_data| ("callData", string(call_data))));
            record.extend(location.map(|location| ("locationId", location.to_string())));
            record.extend(flag.as_ref().map(|flag| ("flag", string(flag))));
            record.push(("businessInfo", business_info.as_ref().map_or("null".into(), |info| info.as_str().to_owned())));
            record.push(("businessInfoStr", string(flow)));
            record.push(("recordDetials", Value::from(turns.clone()).to_string()));
            record.push(("qaRecords", Value::from(answers.clone()).to_string()));
            let text = object_text(record.iter().map(|(name, value)| (*name, JsonText::parse(value).unwrap())));
            let raw = RawValue::from_string(text.clone()).unwrap();
            let session = oifde_api::import::session_of(&raw, Country::GERMANY).unwrap();
            assert!(gateway.sessions().import(&account.tenant, vec![session]).await.remove(0).is_ok());

            let (fetched, read) = both(&account, &call, caller).await;
            let compact: Members = members(&text);
            assert_eq!(read, compact, "value for value and key for key");

            let mut expected: Members = vec![("caller".into(), string(caller)), ("callid".into(), string(&call))];
            expected.push(("timestamp".into(), string(&calldata_core::Timestamp::from_epoch_ms(times.2).unwrap().to_string())));
            expected.extend(call_data.as_ref().map(|call_data| ("content".to_owned(), string(call_data))));
            expected.extend((!flow.is_empty()).then(|| ("conversationid".to_owned(), string(flow))));
            let intent = turns.last().and_then(|turn| turn["intention"].as_str()).filter(|intent| !intent.is_empty());
            expected.extend(intent.map(|intent| ("intent".to_owned(), string(intent))));
            assert_eq!(fetched, expected);
        }
        gateway.stop().await;
    });
}
