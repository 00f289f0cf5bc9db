//! `import`.

use std::time::Duration;

use calldata_core::{CallId, Caller, Clock, Country, Details, JsonText, Session, SessionId, Source, SystemClock};
use calldata_interchange::vcon;
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::program::{Ended, Place};
use serde_json::{Value, json};

use super::{create_key, create_tenant, get, history};

fn import(place: &Place, format: &str, content: impl AsRef<[u8]>) -> Ended {
    place.write("file", content);
    place.run(&["import", "--client-id", "c", "--format", format, "file"])
}

/// The records of a call, asked for at a server that runs as long as that takes.
async fn records(place: &Place, key: &str, call: &str) -> Vec<Value> {
    let served = place.serve(&[]);
    let answer = history(&served.client(), "c", key, &format!(r#""callId":"{call}""#)).await;
    served.stop();
    answer["recordList"].as_array().unwrap().clone()
}

#[test]
fn bad_lines_are_reported_by_line_and_the_rest_is_loaded() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &[]);
        let lines = [
            r#"{"callId":"call","caller":"+4930123456","content":"first"}"#,
            "",
            "nonsense",
            r#"{"callId":"call"}"#,
            r#"{"callId":"call","caller":"+4930123456","colour":"blue"}"#,
            r#"{"id":"two","callId":"call","caller":"+4930123456"}"#,
            r#"{"callId":"call","caller":"a\u0000"}"#,
        ];
        let loaded = import(&place, "sessions", lines.join("\n"));
        assert_eq!((loaded.status, loaded.out.as_str()), (Some(1), "created 2, updated 0, rejected 4\n"));
        let said: Vec<_> = loaded.err.lines().collect();
        let reported = ["file: line 3: ", "file: line 4: ", "file: line 5: ", "file: line 7: ", "calldata-gateway: 4 could not be loaded"];
        assert_eq!(said.len(), reported.len(), "{said:?}");
        assert!(said.iter().zip(reported).all(|(line, beginning)| line.starts_with(beginning)), "{said:?}");
        assert!(said[1].contains("caller") && said[2].contains("colour"), "{said:?}");
        assert!(!loaded.err.contains("blue"), "what a line says is not repeated");
        assert_eq!(records(&place, &key, "call").await.len(), 2);
    });
}

#[test]
fn sessions_with_an_identifier_are_updated_when_they_are_loaded_again() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &[]);
        let both = |content| {
            format!(
                "{{\"id\":\"one\",\"callId\":\"call\",\"caller\":\"u\",\"content\":\"{content}\"}}\r\n{{\"id\":\"two\",\"callId\":\"call\",\"caller\":\"u\"}}\r\n"
            )
        };
        assert_eq!(import(&place, "sessions", both("before")).fine(), "created 2, updated 0, rejected 0\n");
        assert_eq!(import(&place, "sessions", both("after")).fine(), "created 0, updated 2, rejected 0\n");
        let records = records(&place, &key, "call").await;
        let of_one = records.iter().find(|record| record["logId"] == "one").unwrap();
        assert_eq!((records.len(), &of_one["callData"]), (2, &json!(r#"{"content":"after"}"#)));
    });
}

#[test]
fn a_session_whose_retention_has_ended_is_rejected() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &[]);
        let old = r#"{"id":"old","callId":"call","caller":"u","receivedAt":["2020-01-01T00:00:00Z","2020-01-01T00:00:00Z"]}"#;
        // When it began does not count.
        let long_ago = r#"{"id":"long-ago","callId":"call","caller":"u","startedAt":"2020-01-01T00:00:00Z"}"#;
        let loaded = import(&place, "sessions", format!("{long_ago}\n{old}\n"));
        assert_eq!((loaded.status, loaded.out.as_str()), (Some(1), "created 1, updated 0, rejected 1\n"));
        assert!(loaded.err.starts_with("file: line 2: its retention has ended\n"), "{}", loaded.err);
        let records = records(&place, &key, "call").await;
        assert_eq!(records.iter().map(|record| &record["logId"]).collect::<Vec<_>>(), ["long-ago"]);
    });
}

#[test]
fn par_g10_what_expired_once_stays_gone_and_older_sessions_can_be_loaded_after_the_retention_was_raised() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &[]);
        let days_ago = |id: &str, days: u64| {
            let received = SystemClock::default().now().minus(Duration::from_secs(days * 86_400));
            format!(r#"{{"id":"{id}","callId":"call","caller":"u","receivedAt":["{received}","{received}"]}}"#)
        };
        import(&place, "sessions", days_ago("twenty", 20)).fine();
        let keep = async |days: &str| {
            place.run(&["tenant", "update", "c", "--retention-days", days]).fine();
            let records = records(&place, &key, "call").await;
            records.iter().map(|record| record["logId"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(keep("60").await, ["twenty"]);
        assert!(keep("10").await.is_empty());
        assert!(keep("365").await.is_empty(), "expired once");
        import(&place, "sessions", days_ago("hundred", 100)).fine();
        assert_eq!(keep("200").await, ["hundred"]);
    });
}

#[test]
fn oif_r2_answers_of_another_system_are_loaded_and_asked_for_again() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &[]);
        let documented = include_str!("../../golden/oifde-response.json");
        assert_eq!(import(&place, "oifde", documented).fine(), "created 1, updated 0, rejected 0\n");
        assert_eq!(import(&place, "oifde", documented).fine(), "created 0, updated 1, rejected 0\n");
        let mut expected: Value = serde_json::from_str(documented).unwrap();
        let expected = expected["recordList"][0].take();
        let expected = Value::Object(
            expected
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.clone(), if name == "tenantId" { json!("t-c") } else { value.clone() }))
                .collect(),
        );
        let found = records(&place, &key, expected["callId"].as_str().unwrap()).await;
        assert_eq!(json!(found).to_string(), json!([expected]).to_string(), "key for key in order");
    });
}

#[test]
fn bad_records_are_reported_by_number_and_the_rest_is_loaded() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &[]);
        let good = |id: &str| json!({ "logId": id, "callId": "call", "callSorId": "u" });
        let first = json!({ "errorCode": 0, "recordList": [good("one"), { "callId": "call", "callSorId": "u" }, good("two")] });
        let second = json!({ "recordList": [{ "logId": "x", "callId": "call", "callSorId": "u", "startTime": "blue" }, good("three")] });
        let loaded = import(&place, "oifde", format!("{first}\n{second}\n{{\"recordList\":[nonsense"));
        assert_eq!((loaded.status, loaded.out.as_str()), (Some(1), "created 3, updated 0, rejected 3\n"));
        let said: Vec<_> = loaded.err.lines().collect();
        let reported = [
            "file: record 2: logId is missing",
            "file: record 4: startTime must be a whole number",
            "file: after record 5: is not valid JSON",
            "calldata-gateway: 3 ",
        ];
        assert!(said.len() == 4 && said.iter().zip(reported).all(|(line, beginning)| line.starts_with(beginning)), "{said:?}");
        let mut ids: Vec<_> =
            records(&place, &key, "call").await.iter().map(|record| record["logId"].as_str().unwrap().to_owned()).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["one", "three", "two"]);
    });
}

#[test]
fn a_table_is_loaded_and_bad_rows_are_reported_by_row() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &[]);
        let table = concat!(
            "caller,callId,id,content,calledNumber\r\n",
            "'+4930123456,call,one,\"{\"\"a\"\":\r\n1.10}\",'+4989123\r\n",
            "u,call,two,blue,\r\n",
            "u,call,three\r\n",
            "u,call,four,,\r\n",
        );
        let loaded = import(&place, "csv", table);
        assert_eq!((loaded.status, loaded.out.as_str()), (Some(1), "created 2, updated 0, rejected 2\n"));
        let said: Vec<_> = loaded.err.lines().collect();
        assert_eq!(said[..2], ["file: row 3: content: not valid JSON", "file: row 4: has no cell for `content`"]);
        let records = records(&place, &key, "call").await;
        let of_one = records.iter().find(|record| record["logId"] == "one").unwrap();
        assert_eq!(of_one["callData"], json!(r#"{"content":{"a":1.10}}"#));
        assert_eq!((&of_one["callSorId"], &of_one["calledNumber"]), (&json!("+4930123456"), &json!("+4989123")));
        let other = import(&place, "csv", "caller,callId,colour\nu,call,blue\n");
        assert_eq!((other.status, other.err.lines().next()), (Some(1), Some("file: row 1: unknown column `colour`")));
    });
}

#[test]
fn vcons_of_ours_and_of_others_are_loaded() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &[]);
        let told = Details::new(CallId::new("ours").unwrap(), Caller::new("+4930123456", Country::GERMANY).unwrap(), Source::Native);
        let now = SystemClock::default().now();
        let session = Session {
            id: SessionId::new("one").unwrap(),
            received_first: now.minus(Duration::from_secs(86_400)),
            received_last: now,
            details: Details { content: Some(JsonText::parse("1.10").unwrap()), flag: Some("f".into()), ..told },
        };
        let mut file = String::new();
        vcon::write(&session, "other", &mut file);
        file.push_str(
            r#"
            { "uuid": "018dea7e-a176-7abc-8def-0123456789ab", "created_at": "2024-02-27T12:00:00Z",
              "parties": [{ "tel": "tel:+4930123456" }, { "name": "desk" }],
              "dialog": [{ "type": "text", "start": "2024-02-27T12:00:00Z", "parties": [0, 1], "body": "hi", "encoding": "none" }] }
            { "payload": "blue", "signatures": [] }"#,
        );
        let loaded = import(&place, "vcon", &file);
        assert_eq!((loaded.status, loaded.out.as_str()), (Some(1), "created 2, updated 0, rejected 1\n"));
        assert!(loaded.err.starts_with("file: document 3: is signed") && !loaded.err.contains("blue"), "{}", loaded.err);
        let ours = records(&place, &key, "ours").await;
        let expected = (&json!("one"), &json!(r#"{"content":1.10}"#), &json!("f"));
        assert_eq!((&ours[0]["logId"], &ours[0]["callData"], &ours[0]["flag"]), expected);
        let foreign = records(&place, &key, "018dea7e-a176-7abc-8def-0123456789ab").await;
        assert_eq!((&foreign[0]["callSorId"], &foreign[0]["recordDetials"][0]["userSaying"]), (&json!("+4930123456"), &json!("hi")));
    });
}

#[test]
fn several_files_and_standard_input_are_loaded_in_one_go() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let session = |id: &str| format!(r#"{{"id":"{id}","callId":"call","caller":"u"}}"#);
        place.write("one", session("1"));
        place.write("two", format!("{}\nnonsense", session("2")));
        let command = ["import", "--client-id", "c", "--format", "sessions", "one", "two", "-"];
        let loaded = place.run_with_input(&command, &format!("nonsense\n{}", session("3")));
        assert_eq!((loaded.status, loaded.out.as_str()), (Some(1), "created 3, updated 0, rejected 2\n"));
        assert!(loaded.err.starts_with("two: line 2: ") && loaded.err.contains("\n-: line 1: "), "{}", loaded.err);
        let missing = place.run(&["import", "--client-id", "c", "--format", "sessions", "no-such-file"]);
        assert!(missing.failure().contains("no-such-file"));
        let nobody = place.run(&["import", "--client-id", "nobody", "--format", "sessions", "one"]);
        assert!(nobody.failure().contains("nobody"));
    });
}

#[test]
fn a_large_file_is_loaded_whole_and_in_order() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &[]);
        // The last one of an identifier counts.
        let lines: Vec<_> =
            (0..1_500).map(|n| format!(r#"{{"id":"id-{}","callId":"call","caller":"u","content":{n}}}"#, n % 1_000)).collect();
        assert_eq!(import(&place, "sessions", lines.join("\n")).fine(), "created 1000, updated 500, rejected 0\n");
        let served = place.serve(&[]);
        let found = history(&served.client(), "c", &key, r#""callId":"call","pageSize":5"#).await;
        assert_eq!(found["total"], 1_000);
        let newest = get(&served.client(), "c", &key, "callid=call&caller=u").await.json();
        assert!(newest["content"].as_u64().is_some_and(|n| n >= 500), "one that was loaded last: {newest}");
        served.stop();
    });
}

#[test]
fn what_the_operator_loads_is_noted_even_where_it_stops_half_way() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &["--scope", "admin"]);
        place.write("one", r#"{"callId":"call","caller":"u"}"#);
        place.run(&["import", "--client-id", "c", "--format", "sessions", "one", "no-such-file"]).failure();
        let served = place.serve(&[]);
        let (bearer, client) = (format!("Bearer {key}"), served.client());
        let headers = [("authorization", bearer.as_str())];
        let noted = client.request("GET", "/v1/audit?keyId=operator&action=wrote", &headers, Vec::new()).await.json();
        served.stop();
        let counts: Vec<_> = noted["items"].as_array().unwrap().iter().map(|entry| entry["sessions"].as_u64().unwrap()).collect();
        assert_eq!(counts, [1, 0], "what was loaded, and before it that loading began: {noted}");
    });
}
