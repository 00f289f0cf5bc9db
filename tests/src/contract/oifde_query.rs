//! `queryRecordHistory`: what is asked for, and which records come back (OIF-Q1 to OIF-Q7).

use std::sync::Arc;
use std::time::Duration;

use calldata_core::{Country, Details, SessionStore, Tenant, Timestamp, Zone};
use calldata_http::Limits;
use calldata_testkit::builders::{a_clock, a_session, a_tenant, an_import};
use calldata_testkit::client::Answer;
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::{Account, Gateway};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PATH: &str = "/oifde/rest/api/queryRecordHistory";
const PARAMETER: i64 = 10_000_002;
pub(super) const CALLER: &str = "+4930123456";

fn at(text: &str) -> Timestamp {
    Timestamp::parse_iso8601(text).unwrap()
}

/// Sessions to be stored, by identifier.
pub(super) fn begun_at(call: &str, caller: &str, started: Timestamp) -> Details {
    Details { started_at: Some(started), ..a_session(call, caller) }
}

pub(super) async fn store(gateway: &Gateway, tenant: &Tenant, sessions: impl IntoIterator<Item = (&str, Details)>) {
    let batch = sessions.into_iter().map(|(id, details)| an_import(tenant, id, &*gateway.clock, details)).collect();
    for written in gateway.database().write(batch).await {
        written.unwrap();
    }
}

/// Total and identifiers of the records that come back.
pub(super) async fn found(account: &Account, parameters: &str) -> (u64, Vec<String>) {
    let answer = account.history(parameters).await;
    let body = answer.json();
    assert_eq!((answer.status, &body["errorCode"], &body["errorMsg"]), (200, &0.into(), &"Success".into()), "{parameters}: {body}");
    let records = body["recordList"].as_array().unwrap();
    (body["total"].as_u64().unwrap(), records.iter().map(|record| record["logId"].as_str().unwrap().to_owned()).collect())
}

pub(super) async fn ids(account: &Account, parameters: &str) -> Vec<String> {
    found(account, parameters).await.1
}

/// The message of a parameter error.
pub(super) fn refused(answer: &Answer) -> String {
    let body = answer.json();
    assert_eq!((answer.status, body["errorCode"].as_i64()), (200, Some(PARAMETER)), "{body}");
    let message = body["errorMsg"].as_str().unwrap().to_owned();
    let members = format!(r#"{{"errorCode":{PARAMETER},"errorMsg":{},"total":0,"recordList":[]}}"#, serde_json::json!(message));
    assert_eq!(answer.text(), members);
    message
}

#[test]
fn oif_q1_null_and_empty_are_not_given_and_unknown_parameters_are_ignored() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        store(&gateway, &account.tenant, [("one", a_session("call", CALLER))]).await;
        let empty = r#""callId":"call","userMobile":"","ctiCallId":null,"beginTime":"","endTime":null,"pageNum":"","pageSize":null"#;
        assert_eq!(found(&account, empty).await, (1, vec!["one".to_owned()]));
        let unknown = r#""callId":"call","colour":{"a":[1]},"pagenum":"x","PageSize":7"#;
        assert_eq!(found(&account, unknown).await, (1, vec!["one".to_owned()]));
        assert!(refused(&account.history(r#""callId":"","userMobile":null"#).await).contains("callId"), "nothing is given here");
        gateway.stop().await;
    });
}

#[test]
fn oif_q1_parameters_are_strings_but_for_the_page() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        store(&gateway, &account.tenant, [("one", a_session("7", CALLER))]).await;
        for page in [r#""pageNum":"1","pageSize":"5""#, r#""pageNum":1,"pageSize":5"#, r#""pageNum":1,"pageSize":"5""#] {
            assert_eq!(found(&account, &format!(r#""callId":"7",{page}"#)).await, (1, vec!["one".to_owned()]), "{page}");
        }
        for name in ["callId", "userMobile", "ctiCallId", "beginTime", "endTime"] {
            for value in ["7", "true", "[]", "{}"] {
                let message = refused(&account.history(&format!(r#""callId":"7","{name}":{value}"#)).await);
                assert!(message.contains(name), "{name} {value}: {message}");
            }
        }
        gateway.stop().await;
    });
}

#[test]
fn oif_q2_one_of_three_must_be_given_and_all_that_are_must_match() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let (account, other) = (gateway.a_tenant("c").await, gateway.a_tenant("other").await);
        let with_cti = |call, caller, cti: &str| Details { cti_call_id: Some(cti.into()), ..a_session(call, caller) };
        let sessions = [
            ("a", with_cti("call-1", CALLER, "cti-1")),
            ("b", with_cti("call-2", CALLER, "cti-2")),
            ("c", with_cti("call-1", "+4940999999", "cti-2")),
            ("d", a_session("call-3", "user-7")),
        ];
        store(&gateway, &account.tenant, sessions).await;
        store(&gateway, &other.tenant, [("z", with_cti("call-1", CALLER, "cti-1"))]).await;
        for (parameters, expected) in [
            (r#""callId":"call-1""#, vec!["c", "a"]),
            (r#""userMobile":"+4930123456""#, vec!["b", "a"]),
            (r#""ctiCallId":"cti-2""#, vec!["c", "b"]),
            (r#""callId":"call-1","userMobile":"+4930123456""#, vec!["a"]),
            (r#""callId":"call-1","ctiCallId":"cti-2""#, vec!["c"]),
            (r#""userMobile":"+4930123456","ctiCallId":"cti-2""#, vec!["b"]),
            (r#""callId":"call-2","userMobile":"+4930123456","ctiCallId":"cti-2""#, vec!["b"]),
            (r#""callId":"call-2","userMobile":"+4930123456","ctiCallId":"cti-1""#, vec![]),
            (r#""callId":"CALL-1""#, vec![]),
            (r#""callId":"call-1\u0000""#, vec![]),
            (r#""userMobile":"user-7\u0000""#, vec![]),
        ] {
            assert_eq!(
                found(&account, parameters).await,
                (expected.len() as u64, expected.iter().map(ToString::to_string).collect()),
                "{parameters}"
            );
        }
        for nothing in ["", r#""pageNum":"1""#, r#""beginTime":"2024-01-01 00:00:00""#] {
            let message = refused(&account.history(nothing).await);
            assert!(["callId", "userMobile", "ctiCallId"].iter().all(|name| message.contains(name)), "{message}");
        }
        gateway.stop().await;
    });
}

#[test]
fn oif_q2_users_are_compared_as_phone_numbers() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let german = gateway.a_tenant("de").await;
        let swiss = gateway.add(Tenant { default_country: Country::parse("+41").unwrap(), ..a_tenant("ch") }).await;
        let number = |spelling, country| {
            let caller = calldata_core::Caller::new(spelling, country).unwrap();
            Details { caller, ..a_session("call", CALLER) }
        };
        store(&gateway, &german.tenant, [("de", number("030 123456", Country::GERMANY)), ("chat", a_session("call", "user-7"))]).await;
        store(&gateway, &swiss.tenant, [("ch", number("044 123 45 67", swiss.tenant.default_country))]).await;
        for spelling in ["030 123456", "+4930123456", "0049 30 12 34 56", "(030) 123456", "+49 (0)30 123456"] {
            assert_eq!(ids(&german, &format!(r#""userMobile":"{spelling}""#)).await, ["de"], "{spelling}");
        }
        for spelling in ["0441234567", "+41 44 123 45 67", "0041441234567"] {
            assert_eq!(ids(&swiss, &format!(r#""userMobile":"{spelling}""#)).await, ["ch"], "{spelling}");
        }
        assert_eq!(ids(&german, r#""userMobile":"user-7""#).await, ["chat"]);
        assert!(ids(&german, r#""userMobile":"0301234567""#).await.is_empty());
        gateway.stop().await;
    });
}

#[test]
fn oif_q3_times_are_inclusive_on_the_start_and_the_end_counts_its_whole_second() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let moments = ["2024-02-20T09:59:59.999Z", "2024-02-20T10:00:00.000Z", "2024-02-20T10:00:05.999Z", "2024-02-20T10:00:06.000Z"];
        let sessions = ["1", "2", "3", "4"].into_iter().zip(moments).map(|(id, moment)| (id, begun_at("call", CALLER, at(moment))));
        store(&gateway, &account.tenant, sessions).await;
        // Told by no bot: it began when it was received.
        store(&gateway, &account.tenant, [("5", a_session("call", CALLER))]).await;
        for (times, expected) in [
            (r#""beginTime":"2024-02-20 10:00:00","endTime":"2024-02-20 10:00:05""#, vec!["3", "2"]),
            (r#""beginTime":"2024-02-20 10:00:01""#, vec!["5", "4", "3"]),
            (r#""endTime":"2024-02-20 10:00:00""#, vec!["2", "1"]),
            (r#""beginTime":"2024-02-20 10:00:05","endTime":"2024-02-20 10:00:05""#, vec!["3"]),
            (r#""beginTime":"2024-02-27 12:16:23","endTime":"2024-02-27 12:16:23""#, vec!["5"]),
            (r#""beginTime":"0000-01-01 00:00:00","endTime":"9999-12-31 23:59:59""#, vec!["5", "4", "3", "2", "1"]),
        ] {
            assert_eq!(ids(&account, &format!(r#""callId":"call",{times}"#)).await, expected, "{times}");
        }
        gateway.stop().await;
    });
}

#[test]
fn oif_q3_another_format_or_a_begin_after_the_end_is_refused() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for wrong in [
            "2024-02-20",
            "2024-02-20T10:00:00",
            "2024-02-20T10:00:00Z",
            "2024-02-20 10:00",
            "2024-02-20 10:00:00.000",
            "20-02-2024 10:00:00",
            "2024-2-20 10:00:00",
            " 2024-02-20 10:00:00",
            "2024-02-30 10:00:00",
            "2024-13-01 10:00:00",
            "2024-02-20 24:00:00",
            "2024-02-20 10:60:00",
            "2024-02-20 10:00:60",
            "1708423200000",
            "yesterday",
            "+024-02-20 10:00:00",
            "２024-02-20 10:00:0",
        ] {
            for name in ["beginTime", "endTime"] {
                let message = refused(&account.history(&format!(r#""callId":"call","{name}":"{wrong}""#)).await);
                assert!(message.contains(name), "{wrong}: {message}");
            }
        }
        let swapped = r#""callId":"call","beginTime":"2024-02-20 10:00:01","endTime":"2024-02-20 10:00:00""#;
        assert!(refused(&account.history(swapped).await).contains("beginTime"));
        gateway.stop().await;
    });
}

#[test]
fn oif_q3_a_tenant_may_have_a_zone_of_its_own_with_its_clock_changes() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        gateway.clock.advance(Duration::from_secs(86_400 * 300));
        let berlin = gateway.add(Tenant { oifde_zone: Zone::parse("Europe/Berlin").unwrap(), ..a_tenant("c") }).await;
        let sessions = [
            ("winter", at("2024-02-20T09:00:00Z")),
            // Clocks go from 02:00 to 03:00 at 01:00 UTC.
            ("before-spring", at("2024-03-31T00:59:59Z")),
            ("after-spring", at("2024-03-31T01:00:00Z")),
            // 02:30 happens twice: at 00:30 UTC and at 01:30 UTC.
            ("autumn-first", at("2024-10-27T00:30:00Z")),
            ("autumn-second", at("2024-10-27T01:30:00Z")),
        ];
        store(&gateway, &berlin.tenant, sessions.map(|(id, moment)| (id, begun_at("call", CALLER, moment)))).await;
        for (begin, end, expected) in [
            ("2024-02-20 10:00:00", "2024-02-20 10:00:00", vec!["winter"]),
            ("2024-02-20 09:00:00", "2024-02-20 09:59:59", vec![]),
            ("2024-10-27 02:30:00", "2024-10-27 02:30:00", vec!["autumn-second", "autumn-first"]),
            ("2024-10-27 02:30:01", "2024-10-27 02:45:00", vec!["autumn-second"]),
            ("2024-10-27 02:00:00", "2024-10-27 02:29:59", vec!["autumn-first"]),
            ("2024-10-27 03:00:00", "2024-10-27 03:30:00", vec![]),
            ("2024-03-31 01:59:59", "2024-03-31 03:00:00", vec!["after-spring", "before-spring"]),
            // Neither exists: from 01:00 before the change, until 03:30 after it.
            ("2024-03-31 02:00:00", "2024-03-31 02:30:00", vec!["after-spring", "before-spring"]),
            ("2024-03-31 03:00:00", "2024-03-31 03:30:00", vec!["after-spring"]),
        ] {
            let times = format!(r#""callId":"call","beginTime":"{begin}","endTime":"{end}""#);
            assert_eq!(ids(&berlin, &times).await, expected, "{times}");
        }
        gateway.stop().await;
    });
}

#[test]
fn oif_q6_code_message_total_and_list_are_in_every_answer() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let empty = account.history(r#""callId":"none""#).await;
        assert_eq!(empty.text(), r#"{"errorCode":0,"errorMsg":"Success","total":0,"recordList":[]}"#);
        assert_eq!(empty.header("content-type"), Some("application/json;charset=UTF-8"));
        let post = async |body: String| gateway.client.request("POST", PATH, &[], body.into_bytes()).await;
        let failures = [
            post(String::new()).await,
            post(format!(r#"{{"tenantId":"{}"}}"#, account.tenant.oifde_id)).await,
            account.history_with("nonsense", "").await,
            account.history("").await,
        ];
        for answer in failures {
            let body = answer.json();
            let names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names, ["errorCode", "errorMsg", "total", "recordList"]);
            assert_ne!(body["errorCode"], 0);
            assert_eq!((&body["total"], &body["recordList"]), (&0.into(), &serde_json::json!([])));
            assert!(body["errorMsg"].as_str().is_some_and(|message| !message.is_empty()));
        }
        gateway.stop().await;
    });
}

#[test]
fn oif_q7_another_method_or_a_body_that_is_no_json_object_is_a_parameter_error() {
    on_every_engine(async |database| {
        let limits = Limits { body_bytes: 1_000, ..Limits::default() };
        let gateway = Gateway::start_with(database.database().clone(), Arc::new(a_clock()), limits).await;
        let account = gateway.a_tenant("c").await;
        let good = format!(r#"{{"tenantId":"{}","authToken":"{}","callId":"call"}}"#, account.tenant.oifde_id, account.key);
        for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let answer = gateway.client.request(method, PATH, &[], good.clone().into_bytes()).await;
            assert!(refused(&answer).contains("method"), "{method}");
        }
        let post = async |body: &[u8]| gateway.client.request("POST", PATH, &[], body.to_vec()).await;
        let deep = "[".repeat(900);
        for body in [
            &b""[..],
            b"nonsense",
            b"[]",
            b"null",
            b"7",
            b"\"text\"",
            b"{\"tenantId\":",
            b"tenantId=x&authToken=y",
            b"{\"a\":\"\xff\"}",
            deep.as_bytes(),
        ] {
            assert!(refused(&post(body).await).contains("body"), "{}", String::from_utf8_lossy(body));
        }
        let large = format!("{}{}", good, " ".repeat(1_000));
        assert!(refused(&post(large.as_bytes()).await).contains("body"));
        for content_type in ["application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense"] {
            let answer = gateway.client.request("POST", PATH, &[("content-type", content_type)], good.clone().into_bytes()).await;
            assert_eq!((answer.status, &answer.json()["errorCode"]), (200, &0.into()), "{content_type}");
        }
        gateway.stop().await;
    });
}

#[test]
fn oif_q7_a_body_over_64_kib_is_a_parameter_error() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let body = format!(r#"{{"tenantId":"{}","authToken":"{}","callId":"call"}}"#, account.tenant.oifde_id, account.key);
        let post = async |length: usize| {
            let padded = body.clone() + &" ".repeat(length - body.len());
            gateway.client.request("POST", PATH, &[], padded.into_bytes()).await
        };
        assert_eq!(post(64 << 10).await.json()["errorCode"], 0);
        assert!(refused(&post((64 << 10) + 1).await).contains("body is too large"));
        gateway.stop().await;
    });
}

#[test]
fn oif_q7_who_cannot_be_answered_in_time_is_told_to_come_again() {
    on_every_engine(async |database| {
        let limits = Limits { deadline: Duration::ZERO, ..Limits::default() };
        let gateway = Gateway::start_with(database.database().clone(), Arc::new(a_clock()), limits).await;
        let account = gateway.a_tenant("c").await;
        // Both have to look for the key in the database, and have no time for that.
        let answers = [(account.history("").await, r#","total":0,"recordList":[]"#), (account.gettoken(&account.key).await, "")];
        for (answer, rest) in answers {
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
            let message = "The system is busy, please repeat the request";
            assert_eq!(answer.text(), format!(r#"{{"errorCode":10000001,"errorMsg":"{message}"{rest}}}"#));
        }
        gateway.stop().await;
    });
}

#[test]
fn oif_q7_a_body_that_does_not_arrive_in_time_is_a_parameter_error() {
    on_every_engine(async |database| {
        let limits = Limits { deadline: Duration::from_millis(400), ..Limits::default() };
        let gateway = Gateway::start_with(database.database().clone(), Arc::new(a_clock()), limits).await;
        for (path, rest) in [(PATH, r#","total":0,"recordList":[]"#), ("/oifde/rest/api/gettoken", "")] {
            let mut stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
            // The body never comes to its end.
            let begun = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{");
            stream.write_all(begun.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("\r\nconnection: close"), "{head}");
            let message = "Parameter error: body did not arrive in time";
            assert_eq!(body, format!(r#"{{"errorCode":10000002,"errorMsg":"{message}"{rest}}}"#));
        }
        gateway.stop().await;
    });
}
