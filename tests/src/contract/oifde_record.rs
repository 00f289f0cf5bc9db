//! The record of `queryRecordHistory`, as it comes back (OIF-R1 to OIF-R5).

use calldata_testkit::engine::{TestDatabase, on_every_engine};
use calldata_testkit::gateway::{Account, Gateway};
use calldata_testkit::program::Place;
use serde_json::{Value, json};

const DOCUMENTED: &str = include_str!("../../golden/oifde-response.json");

/// Loads a file through the command line; gives what is printed.
fn import(database: &TestDatabase, account: &Account, format: &str, content: &str) -> String {
    let place = Place::with_database(database);
    place.write("file", content);
    place.run(&["import", "--client-id", &account.tenant.client_id, "--format", format, "file"]).fine()
}

/// The text of the only record of a call.
async fn record(account: &Account, call: &str) -> String {
    let answer = account.history(&format!(r#""callId":"{call}""#)).await;
    let text = answer.text().strip_prefix(r#"{"errorCode":0,"errorMsg":"Success","total":1,"recordList":["#);
    text.and_then(|text| text.strip_suffix("]}")).unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

async fn record_json(account: &Account, call: &str) -> Value {
    serde_json::from_str(&record(account, call).await).unwrap()
}

/// A record that says everything that one can say, of this tenant.
fn full(tenant_id: &str) -> Value {
    json!({
        "logId": "log-1", "tenantId": tenant_id, "callSorId": "+4930123456", "callId": "call-1", "ctiCallId": "cti-1", "callingNumber": "+4930123457",
        "calledNumber": "8991", "startTime": 1_618_558_942_001_i64, "endTime": 1_618_559_267_002_i64, "lastUpdateTime": 1_618_559_267_003_i64,
        "flowInstId": "flow-1", "dialogType": "4", "callData": "{\"content\":\"x\",\"b\":1,\"a\":\"2\"}", "locationId": 3, "flag": "0",
        "businessInfo": {"z": [1, null], "a": "text"},
        "businessInfoStr": "{\"yugaoFileName\":\"g.wav\",\"locationId\":\"3\",\"recordFileName\":\"Y:/f.wav\"}",
        "recordDetials": [
            { "interNo": "1", "userSaying": "Hi", "intention": "greet", "systemReply": "Hello", "timestamp": 1_618_558_954_002_i64,
              "requsetTime": 1_618_558_954_001_i64, "responseSource": 1, "involveMode": 2 },
            { "interNo": "2", "userSaying": "", "intention": "", "systemReply": "", "timestamp": 0, "requsetTime": 0, "responseSource": 0, "involveMode": 1 },
            { "interNo": "3", "userSaying": "Bye", "intention": "", "systemReply": "Bye", "timestamp": 1_618_558_955_000_i64, "requsetTime": 0,
              "responseSource": 0, "involveMode": 0 },
        ],
        "qaRecords": [
            { "interNo": "1", "seriesId": "100", "questionTitle": "Well?", "questionType": "2", "answerIntent": "Yes.", "originalAnswer": "Sure.",
              "createTime": 1_650_774_697_000_i64 },
            { "questionTitle": "And now?" },
        ],
    })
}

fn answer_of(records: &Value) -> String {
    json!({ "errorCode": 0, "errorMsg": "Success", "total": 1, "recordList": [records] }).to_string()
}

#[test]
fn oif_r1_every_member_of_the_tables_comes_back_by_its_name_and_type() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let full = full(&account.tenant.oifde_id);
        assert_eq!(import(database, &account, "oifde", &answer_of(&full)), "created 1, updated 0, rejected 0\n");
        assert_eq!(record(&account, "call-1").await, full.to_string());
        gateway.stop().await;
    });
}

#[test]
fn oif_r1_what_is_told_natively_comes_back_by_the_names_of_this_dialect() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let session = json!({
            "callId": "call-1", "caller": "+4930123456", "startedAt": "2021-04-16T07:42:22.001Z", "endedAt": "2021-04-16T07:47:47Z",
            "updatedAt": "2021-04-16T07:50:00Z", "businessInfo": [1], "flag": "f", "fields": { "b": 1, "a": 2 }, "content": "learned",
            "turns": [{ "no": "1", "userText": "Hi", "requestedAt": "2021-04-16T07:42:34Z", "repliedAt": "2021-04-16T07:42:35.5Z", "by": "agent", "mode": "insertion" },
                      { "no": "2", "by": "bot", "mode": "monitoring" }],
            "answers": [{ "createdAt": "2022-04-24T04:31:37Z", "original": "Yes" }],
        });
        import(database, &account, "sessions", &session.to_string());
        let record = record_json(&account, "call-1").await;
        let times = ["startTime", "endTime", "lastUpdateTime"].map(|name| record[name].as_i64());
        assert_eq!(times, [Some(1_618_558_942_001), Some(1_618_559_267_000), Some(1_618_559_400_000)]);
        let turn = |time: [i64; 2], text: &str, no: &str, numbers: [u8; 2]| {
            json!({ "interNo": no, "userSaying": text, "intention": "", "systemReply": "", "timestamp": time[1], "requsetTime": time[0],
                "responseSource": numbers[0], "involveMode": numbers[1] })
        };
        let turns = json!([turn([1_618_558_954_000, 1_618_558_955_500], "Hi", "1", [1, 2]), turn([0, 0], "", "2", [0, 1])]);
        assert_eq!(record["recordDetials"], turns);
        assert_eq!(record["qaRecords"], json!([{ "originalAnswer": "Yes", "createTime": 1_650_774_697_000_i64 }]));
        assert_eq!((&record["businessInfo"], &record["flag"]), (&json!([1]), &json!("f")));
        assert_eq!(record["callData"], r#"{"content":"learned","b":1,"a":2}"#);
        gateway.stop().await;
    });
}

#[test]
fn oif_r2_the_documented_record_comes_back_key_for_key_and_value_for_value() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        assert_eq!(import(database, &account, "oifde", DOCUMENTED), "created 1, updated 0, rejected 0\n");
        let mut expected: Value = serde_json::from_str(DOCUMENTED).unwrap();
        expected["recordList"][0]["tenantId"] = json!(account.tenant.oifde_id);
        let expected = expected.to_string();
        for parameters in [r#""userMobile":"10086""#, r#""callId":"16185589414826353c2c0036c0292e43ca7a4""#] {
            assert_eq!(account.history(parameters).await.text(), expected, "{parameters}");
        }
        let times = r#""userMobile":"10086","beginTime":"2021-04-16 07:42:22","endTime":"2021-04-16 07:42:22""#;
        assert_eq!(account.history(times).await.text(), expected);
        gateway.stop().await;
    });
}

#[test]
fn oif_r2_importing_a_record_again_updates_it() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let mut changing = full(&account.tenant.oifde_id);
        import(database, &account, "oifde", &answer_of(&changing));
        for (name, value) in
            [("startTime", json!(1_618_558_942_999_i64)), ("flag", json!("1")), ("callSorId", json!("user-9")), ("qaRecords", json!([]))]
        {
            changing[name] = value;
        }
        assert_eq!(import(database, &account, "oifde", &answer_of(&changing)), "created 0, updated 1, rejected 0\n");
        assert_eq!(record(&account, "call-1").await, changing.to_string());
        let before = account.history(r#""userMobile":"+4930123456""#).await.json();
        assert_eq!(before["total"], 0, "the user it had is forgotten");
        gateway.stop().await;
    });
}

#[test]
fn oif_r2_an_identifier_is_unique_in_its_tenant_and_the_tenant_of_a_record_is_who_asks() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let (one, two) = (gateway.a_tenant("one").await, gateway.a_tenant("two").await);
        let named_otherwise = full("xxxxxx");
        let created = "created 1, updated 0, rejected 0\n";
        assert_eq!(import(database, &one, "oifde", &answer_of(&named_otherwise)), created);
        let mut other = named_otherwise.clone();
        other["flag"] = json!("of two");
        assert_eq!(import(database, &two, "oifde", &answer_of(&other)), created);
        for (account, flag) in [(&one, "0"), (&two, "of two")] {
            let record = record_json(account, "call-1").await;
            assert_eq!(
                (&record["logId"], &record["tenantId"], &record["flag"]),
                (&json!("log-1"), &json!(account.tenant.oifde_id), &json!(flag))
            );
        }
        gateway.stop().await;
    });
}

#[test]
fn oif_r2_what_is_unknown_is_null_absent_or_empty() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let posted = account.post(r#"{"callid":"posted","callerid":"+4930123456"}"#).await;
        assert_eq!(posted.status, 200);
        let bare = json!({ "logId": "log-2", "callSorId": "u", "callId": "bare", "startTime": 1, "lastUpdateTime": 2, "recordDetials": [{ "interNo": "1" }], "qaRecords": [{ "interNo": null }] });
        import(database, &account, "oifde", &answer_of(&bare));
        let tenant = &account.tenant.oifde_id;
        let of_posted = record(&account, "posted").await;
        let id = serde_json::from_str::<Value>(&of_posted).unwrap()["logId"].as_str().unwrap().to_owned();
        let expected = format!(
            r#"{{"logId":"{id}","tenantId":"{tenant}","callSorId":"+4930123456","callId":"posted","ctiCallId":null,"callingNumber":"+4930123456","calledNumber":"","startTime":1709036183926,"lastUpdateTime":1709036183926,"flowInstId":"","dialogType":"1","businessInfo":null,"businessInfoStr":"","recordDetials":[],"qaRecords":[]}}"#
        );
        assert_eq!(of_posted, expected);
        let turn = r#"{"interNo":"1","userSaying":"","intention":"","systemReply":"","timestamp":0,"requsetTime":0,"responseSource":0,"involveMode":0}"#;
        let expected = format!(
            r#"{{"logId":"log-2","tenantId":"{tenant}","callSorId":"u","callId":"bare","ctiCallId":null,"callingNumber":"u","calledNumber":"","startTime":1,"lastUpdateTime":2,"flowInstId":"","businessInfo":null,"businessInfoStr":"","recordDetials":[{turn}],"qaRecords":[{{}}]}}"#
        );
        assert_eq!(record(&account, "bare").await, expected);
        gateway.stop().await;
    });
}

#[test]
fn oif_r3_the_recording_is_described_by_a_text_whose_members_are_strings() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let all = r#"{"file":"f.wav","locationId":"7","announcementFile":"g.wav"}"#;
        let cases = [
            ("all", all, r#"{"yugaoFileName":"g.wav","locationId":"7","recordFileName":"f.wav"}"#, json!(7)),
            ("file", r#"{"file":"f.wav"}"#, r#"{"yugaoFileName":"null","locationId":"null","recordFileName":"f.wav"}"#, Value::Null),
            ("node", r#"{"locationId":"0"}"#, r#"{"yugaoFileName":"null","locationId":"0","recordFileName":"null"}"#, json!(0)),
            ("none", "{}", "", Value::Null),
        ];
        for (call, recording, expected, node) in cases {
            let session = format!(r#"{{"callId":"{call}","caller":"u","recording":{recording}}}"#);
            import(database, &account, "sessions", &session);
            let record = record_json(&account, call).await;
            assert_eq!((&record["businessInfoStr"], record.get("locationId").unwrap_or(&Value::Null)), (&json!(expected), &node), "{call}");
        }
        gateway.stop().await;
    });
}

#[test]
fn oif_r4_the_user_is_who_is_asked_for_and_the_called_number_is_that_of_the_bot() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        account.post(r#"{"callid":"voice","callerid":"030 123456","calledNumber":"+498001110000"}"#).await;
        account.post(r#"{"callid":"chat","callerid":"user-7","callednumber":899149138753490944}"#).await;
        for (call, user, called) in [("voice", "030 123456", "+498001110000"), ("chat", "user-7", "899149138753490944")] {
            let by_call = record_json(&account, call).await;
            assert_eq!((&by_call["callSorId"], &by_call["calledNumber"]), (&json!(user), &json!(called)));
            assert_eq!(by_call["callingNumber"], user, "none of its own is known");
            let user = by_call["callSorId"].as_str().unwrap();
            let by_user = account.history(&format!(r#""userMobile":"{user}""#)).await.json();
            assert_eq!(by_user["recordList"], json!([by_call]));
        }
        gateway.stop().await;
    });
}

#[test]
fn oif_r5_dialog_types_are_numbers_one_to_four() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let kinds = [("voice", "1"), ("outbound", "2"), ("chatbot", "3"), ("ivr", "4")];
        let sessions = kinds.map(|(kind, _)| format!(r#"{{"callId":"{kind}","caller":"u","dialogType":"{kind}"}}"#));
        import(database, &account, "sessions", &sessions.join("\n"));
        for (kind, number) in kinds {
            assert_eq!(record_json(&account, kind).await["dialogType"], number);
        }
        account.post(r#"{"callid":"posted","callerid":"u"}"#).await;
        assert_eq!(record_json(&account, "posted").await["dialogType"], "1", "a Parloa call");
        gateway.stop().await;
    });
}
