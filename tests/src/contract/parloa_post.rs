//! `POST /api/CallData` (PAR-P1 to PAR-P6, PAR-P8; PAR-P7 is in `parloa_replay`).

use std::time::{Duration, Instant};

use calldata_http::Limits;
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::Gateway;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::parloa_requests::{SUCCESS, chunked, error_of, fetch, post_head, raw, records_of, store};

const REQUIRED: &str = "Required Attributes: callid, callerid";

#[test]
fn par_p1_every_key_beside_input_may_be_absent_or_anything() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for (number, rest) in ["", r#","context":{"turn":1}"#, r#","context":null"#, r#","context":"x","more":[1]"#].iter().enumerate() {
            let answer = account.post_body(format!(r#"{{"input":{{"callid":"{number}","callerid":"a"}}{rest}}}"#)).await;
            assert_eq!(answer.text(), SUCCESS, "{rest}");
            let expected = format!(r#"{{"caller":"a","callid":"{number}","timestamp":"2024-02-27T12:16:23.926Z"}}"#);
            assert_eq!(fetch(&account, &number.to_string(), "a").await.text(), expected, "nothing of it becomes a field");
        }
        gateway.stop().await;
    });
}

#[test]
fn par_p1_the_body_is_json_whatever_its_content_type() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let types = [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/json; charset=latin1",
            "nonsense",
        ];
        for (number, content_type) in types.iter().enumerate() {
            let headers = [("x-functions-key", account.key.as_str()), ("content-type", content_type)];
            let headers = if content_type.is_empty() { &headers[..1] } else { &headers };
            let body = format!(r#"{{"input":{{"callid":"{number}","callerid":"ü"}}}}"#);
            let answer = gateway.client.request("POST", "/api/CallData?clientId=c", headers, body.into()).await;
            assert_eq!((answer.status, answer.text()), (200, SUCCESS), "{content_type}");
            assert_eq!(fetch(&account, &number.to_string(), "ü").await.json()["caller"], "ü");
        }
        gateway.stop().await;
    });
}

#[test]
fn par_p1_chunked_bodies_count() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let body = br#"{"input":{"callid":"1","callerid":"a","text":"\u00fc in many chunks"}}"#;
        let mut request = post_head(&account, "transfer-encoding: chunked\r\n").into_bytes();
        request.extend(chunked(body, 7));
        let answer = raw(gateway.address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(SUCCESS), "{answer}");
        assert_eq!(fetch(&account, "1", "a").await.json()["text"], "ü in many chunks");
        gateway.stop().await;
    });
}

#[test]
fn par_p2_call_and_caller_are_required_as_text_or_number() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let misnamed = account.post_body(include_str!("../../golden/parloa-post-misnamed.json")).await;
        assert_eq!(
            (misnamed.status, misnamed.text()),
            (200, r#"{"choice":"fail","output":{"error":"Required Attributes: callid, callerid"}}"#)
        );
        for missing in ["", "null", "true", "false", "{}", "[]", r"[1]", r#"{"a":"1"}"#, r#""""#] {
            let [call, caller] =
                ["callid", "callerid"].map(|name| if missing.is_empty() { "\"x\":1".to_owned() } else { format!("\"{name}\":{missing}") });
            for input in [format!(r#"{{{call},"callerid":"1"}}"#), format!(r#"{{"callid":"1",{caller}}}"#), format!("{{{call},{caller}}}")]
            {
                assert_eq!(error_of(&account.post(&input).await), REQUIRED, "{input}");
            }
        }
        assert_eq!(error_of(&account.post(r#"{"callId":"1","callerId":"1"}"#).await), REQUIRED, "names of fields have one spelling");
        assert_eq!(records_of(&account, "1").await, 0);
        for (number, digits) in [
            ("10086", "10086"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("1.50", "1.50"),
            ("-7", "-7"),
            ("1e3", "1e3"),
        ] {
            store(&account, &format!(r#"{{"callid":{number},"callerid":{number}}}"#)).await;
            let fetched = fetch(&account, digits, digits).await.json();
            assert_eq!((fetched["callid"].as_str(), fetched["caller"].as_str()), (Some(digits), Some(digits)), "as text");
        }
        gateway.stop().await;
    });
}

#[test]
fn par_p3_success_is_told_once_the_record_is_there_for_everybody() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let second = Gateway::start_with(database.open_again().await, gateway.clock.clone(), Limits::default()).await;
        for call in 0..20 {
            let answer = account.post(&format!(r#"{{"callid":{call},"callerid":"a"}}"#)).await;
            assert_eq!((answer.status, answer.text()), (200, r#"{"choice":"success","output":{}}"#));
            assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
            let path = format!("/api/CallData?clientId=c&code=secret-of-c&callid={call}&caller=a");
            assert_eq!(second.client.request("GET", &path, &[], Vec::new()).await.json()["callid"], call.to_string());
        }
        second.stop().await;
        gateway.stop().await;
    });
}

#[test]
fn par_p4_values_and_order_are_kept_as_posted() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let fields = r#""z":"text","n":123456789012345678901234567890.10,"json":"{\"a\": [1, 2]}","o":{"b":1.0,"a":[null,true,{}]},"e":"","null":null,"a":-0,"callId":"other","content2":1E+2"#;
        store(
            &account,
            &format!(r#"{{"z0":1,"conversationId":"k","callerid":"a","content":"x","callid":"1","countryCode":"CH",{fields}}}"#),
        )
        .await;
        let expected = format!(
            r#"{{"caller":"a","callid":"1","timestamp":"2024-02-27T12:16:23.926Z","content":"x","conversationid":"k","countrycode":"CH","z0":1,{fields}}}"#
        );
        assert_eq!(fetch(&account, "1", "a").await.text(), expected);
        account.post_body(include_str!("../../golden/parloa-post-fields.json")).await;
        let documented = r#"{"caller":"+4112345678","callid":"12345","timestamp":"2024-02-27T12:16:23.926Z","content":"The user spoke to the bot","destination":"someServiceQueue","intent":"doSomeCoolThing","sessionid":"d69130c6fe02bf8110a25d191c5ec6de"}"#;
        assert_eq!(fetch(&account, "12345", "+41 12345678").await.text(), documented);
        gateway.stop().await;
    });
}

#[test]
fn par_p4_optional_fields_have_two_spellings_and_any_value() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for (number, name) in ["conversationid", "conversationId"].iter().enumerate() {
            for (kind, value) in ["\"k\"", "7", "null", r#"{"a":[1]}"#].iter().enumerate() {
                let call = format!("{number}-{kind}");
                store(&account, &format!(r#"{{"callid":"{call}","callerid":"a","{name}":{value},"content":{value}}}"#)).await;
                let text = fetch(&account, &call, "a").await.text().to_owned();
                assert!(text.ends_with(&format!(r#","content":{value},"conversationid":{value}}}"#)), "{text}");
            }
        }
        for name in ["countrycode", "countryCode"] {
            store(&account, &format!(r#"{{"callid":"{name}","callerid":"0791234567","{name}":"+41"}}"#)).await;
            let fetched = fetch(&account, name, "+41791234567").await.json();
            assert_eq!((&fetched["countrycode"], fetched.get("countryCode")), (&"+41".into(), None));
        }
        gateway.stop().await;
    });
}

#[test]
fn par_p4_fixed_fields_win_and_the_last_of_a_name_counts() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        store(&account, r#"{"callid":"0","callid":"1","callerid":"b","callerid":"a","caller":"me","timestamp":"","x":1,"y":2,"x":3,"content":"old","content":"new"}"#).await;
        let expected = r#"{"caller":"a","callid":"1","timestamp":"2024-02-27T12:16:23.926Z","content":"new","input.caller":"me","input.timestamp":"","x":3,"y":2}"#;
        assert_eq!(fetch(&account, "1", "a").await.text(), expected);
        let twice = account
            .post_body(r#"{"input":{"callid":"1","callerid":"a"},"input":{"callid":"2","callerid":"a","caller":1,"input.caller":2}}"#)
            .await;
        assert_eq!(twice.text(), SUCCESS);
        let text = fetch(&account, "2", "a").await.text().to_owned();
        assert!(text.ends_with(r#","input.input.caller":1,"input.caller":2}"#), "both are told, no name twice: {text}");
        gateway.stop().await;
    });
}

#[test]
fn par_p5_an_input_error_is_a_200_that_names_the_field() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for body in ["", " ", "secret", "{", "{}{}", r#"{"input":{"callid":"1","callerid":"1"}"#, r"{'input':{}}", "callid=1&callerid=1"] {
            assert!(error_of(&account.post_body(body).await).contains("not valid JSON"), "{body}");
        }
        for body in [
            "1",
            "[]",
            "null",
            "{}",
            r#"{"input":null}"#,
            r#"{"input":"{}"}"#,
            r#"{"input":[]}"#,
            r#"{"Input":{}}"#,
            r#"{"callid":"1","callerid":"1"}"#,
        ] {
            assert!(error_of(&account.post_body(body).await).contains("input"), "{body}");
        }
        let named = [
            ("callid", r#"{"callid":"1\u0000","callerid":"1"}"#),
            ("callerid", r#"{"callid":"1","callerid":"\u0000"}"#),
            ("timestamp", r#"{"callid":"1","callerid":"1","timestamp":"secret"}"#),
            ("timestamp", r#"{"callid":"1","callerid":"1","timestamp":[]}"#),
            ("timestamp", r#"{"callid":"1","callerid":"1","timestamp":true}"#),
            ("countrycode", r#"{"callid":"1","callerid":"1","countrycode":"secret"}"#),
            ("countrycode", r#"{"callid":"1","callerid":"1","countryCode":999}"#),
            ("countrycode", r#"{"callid":"1","callerid":"1","countrycode":{}}"#),
        ];
        for (field, input) in named {
            let error = error_of(&account.post(input).await);
            assert!(error.starts_with(field) && !error.contains("secret"), "{input}: {error}");
        }
        assert_eq!(records_of(&account, "1").await, 0, "a refusal stores nothing");
        gateway.stop().await;
    });
}

#[test]
fn par_p6_the_timestamp_becomes_the_time_of_the_record() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let times = [
            (r#""2023-06-01T10:00:00.5Z""#, "2023-06-01T10:00:00.500Z"),
            (r#""2023-06-01T12:00:00+02:00""#, "2023-06-01T10:00:00.000Z"),
            (r#""2023-06-01T10:00:00""#, "2023-06-01T10:00:00.000Z"),
            (r#""2023-06-01""#, "2023-06-01T00:00:00.000Z"),
            ("99999999999", "5138-11-16T09:46:39.000Z"),
            ("100000000000", "1973-03-03T09:46:40.000Z"),
            (r#""1685613600""#, "2023-06-01T10:00:00.000Z"),
            (r#""1685613600123""#, "2023-06-01T10:00:00.123Z"),
            ("0", "1970-01-01T00:00:00.000Z"),
        ];
        for (number, (posted, told)) in times.iter().enumerate() {
            store(&account, &format!(r#"{{"callid":"{number}","callerid":"a","timestamp":{posted}}}"#)).await;
            let expected = format!(r#"{{"caller":"a","callid":"{number}","timestamp":"{told}"}}"#);
            assert_eq!(fetch(&account, &number.to_string(), "a").await.text(), expected, "{posted}");
        }
        store(&account, r#"{"callid":"none","callerid":"a"}"#).await;
        gateway.clock.advance(Duration::from_secs(1));
        store(&account, r#"{"callid":"none","callerid":"a"}"#).await;
        assert_eq!(fetch(&account, "none", "a").await.json()["timestamp"], "2024-02-27T12:16:24.926Z", "without one: the last receipt");
        gateway.stop().await;
    });
}

#[test]
fn par_p8_a_body_over_the_limit_is_refused_and_not_stored() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let body = |bytes: usize| {
            let head = r#"{"input":{"callid":"1","callerid":"a","x":""#;
            format!("{head}{}\"}}}}", "x".repeat(bytes - head.len() - 3))
        };
        let refused = account.post_body(body((1 << 20) + 1)).await;
        assert_eq!((refused.status, refused.json()["choice"].as_str()), (413, Some("fail")));
        let mut in_chunks = post_head(&account, "transfer-encoding: chunked\r\n").into_bytes();
        in_chunks.extend(chunked(body((1 << 20) + 1).as_bytes(), 1 << 16));
        assert!(raw(gateway.address, &in_chunks).await.starts_with("HTTP/1.1 413 "));
        assert_eq!(account.post_body("x".repeat(5 << 20)).await.status, 413);
        assert_eq!(records_of(&account, "1").await, 0);
        assert_eq!(account.post_body(body(1 << 20)).await.text(), SUCCESS, "the limit itself is allowed");
        assert_eq!(records_of(&account, "1").await, 1);
        let limits = Limits { body_bytes: 100, ..Limits::default() };
        let second = Gateway::start_with(database.open_again().await, gateway.clock.clone(), limits).await;
        let headers = [("x-functions-key", "secret-of-c")];
        let refused = second.client.request("POST", "/api/CallData?clientId=c", &headers, body(101).into()).await;
        assert_eq!(refused.status, 413, "it can be set");
        second.stop().await;
        gateway.stop().await;
    });
}

#[test]
fn par_p8_a_client_that_sends_too_slowly_is_answered_within_the_deadline() {
    on_every_engine(async |database| {
        let clock = std::sync::Arc::new(calldata_testkit::builders::a_clock());
        let limits = Limits { deadline: Duration::from_millis(800), ..Limits::default() };
        let gateway = Gateway::start_with(database.database().clone(), clock, limits).await;
        let account = gateway.a_tenant("c").await;
        let began = Instant::now();
        let mut connection = TcpStream::connect(gateway.address).await.unwrap();
        let half = format!("{}{{\"input\":", post_head(&account, "content-length: 1000\r\n"));
        connection.write_all(half.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(answer.ends_with(r#"{"choice":"fail","output":{"error":"the body did not arrive in time"}}"#), "{answer}");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert!(Limits::default().deadline <= Duration::from_secs(3), "before the vendor gives up at 4");
        gateway.stop().await;
    });
}

#[test]
fn par_p8_the_retry_of_a_write_that_was_given_up_on_is_the_same_record() {
    on_every_engine(async |database| {
        let clock = std::sync::Arc::new(calldata_testkit::builders::a_clock());
        let no_time = Limits { deadline: Duration::ZERO, ..Limits::default() };
        let hasty = Gateway::start_with(database.database().clone(), clock.clone(), no_time).await;
        let hasty_account = hasty.a_tenant("c").await;
        let patient = Gateway::start_with(database.open_again().await, clock, Limits::default()).await;
        let input = r#"{"callid":"1","callerid":"a","x":1}"#;
        let given_up = hasty_account.post(input).await;
        assert_eq!((given_up.status, given_up.header("retry-after")), (503, Some("1")));
        assert_eq!(given_up.json()["choice"], "fail");
        let headers = [("x-functions-key", "secret-of-c")];
        let body = format!(r#"{{"input":{input}}}"#);
        let retried = patient.client.request("POST", "/api/CallData?clientId=c", &headers, body.into()).await;
        assert_eq!(retried.text(), SUCCESS);
        // The write that was given up on has ended, one way or the other, once its gateway has.
        hasty.stop().await;
        let history = br#"{"tenantId":"oifde-c","authToken":"secret-of-c","callId":"1"}"#;
        let found = patient.client.request("POST", "/oifde/rest/api/queryRecordHistory", &[], history.to_vec()).await;
        assert_eq!(found.json()["total"], 1);
        patient.stop().await;
    });
}
