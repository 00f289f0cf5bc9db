//! `GET /api/CallData` (PAR-G1 to PAR-G4, PAR-G8 to PAR-G10, PAR-G12; the other formats are in `parloa_formats`, waiting in `parloa_wait`).

use std::time::Duration;

use calldata_core::tenant::Retention;
use calldata_core::{Clock, DirectoryStore, Tenant};
use calldata_http::Limits;
use calldata_testkit::builders::{DAY, a_tenant};
use calldata_testkit::client::Answer;
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::{Account, Gateway};

use super::parloa_requests::{ANY_AGE, MISS, assert_miss, fetch, records_of, store};

const RECORD: &str = r#"{"callid":"1","callerid":"a"}"#;
const MISS_PAGE: &str = "<!DOCTYPE html>\n<html lang='de'>\n\n<head>\n    <meta charset='utf-8'>\n    <title>no result found</title>\n</head>\n\n\
    <body>\n    <p>no result found</p>\n</body>\n\n</html>";
const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn par_g1_the_newest_record_of_this_client_call_and_caller_is_the_answer() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let (account, other) = (gateway.a_tenant("c").await, gateway.a_tenant("d").await);
        store(&account, r#"{"callid":"1","callerid":"0301234567","x":1,"timestamp":"2030-01-01"}"#).await;
        gateway.clock.advance(SECOND);
        store(&account, r#"{"callid":"1","callerid":"+49301234567","x":2,"timestamp":"2020-01-01"}"#).await;
        store(&account, r#"{"callid":"1","callerid":"0307654321","x":3}"#).await;
        store(&account, r#"{"callid":"2","callerid":"0301234567","x":4}"#).await;
        store(&other, r#"{"callid":"1","callerid":"0301234567","x":5}"#).await;
        let x = async |account: &Account, call| fetch(account, call, "030 1234567").await.json()["x"].clone();
        assert_eq!(x(&account, "1").await, 2, "by receipt, not by its own time");
        assert_eq!((x(&account, "2").await, x(&other, "1").await), (4.into(), 5.into()));
        for later in 6..20 {
            store(&account, &format!(r#"{{"callid":"1","callerid":"0301234567","x":{later}}}"#)).await;
            assert_eq!(x(&account, "1").await, later, "of one moment, the one that came later");
        }
        gateway.stop().await;
    });
}

#[test]
fn par_g2_time_limit_counts_whole_seconds_since_the_last_receipt() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let get = async |limit: &str| account.get(&format!("callid=1&caller=a{limit}")).await;
        store(&account, r#"{"callid":"1","callerid":"a","timestamp":"2001-01-01"}"#).await;
        assert_eq!(get("&timeLimit=0").await.json()["callid"], "1", "its own time does not count");
        gateway.clock.advance(Duration::from_millis(999));
        assert_eq!(get("&timeLimit=0").await.json()["callid"], "1");
        gateway.clock.advance(MILLISECOND);
        assert_miss(&get("&timeLimit=0").await, "older-than-time-limit; age=1");
        assert_eq!(get("&TIMELIMIT=1").await.json()["callid"], "1", "inclusive");
        gateway.clock.advance(Duration::from_millis(59_999));
        assert_eq!(get("").await.json()["callid"], "1", "60 unless asked otherwise");
        gateway.clock.advance(MILLISECOND);
        assert_miss(&get("").await, "older-than-time-limit; age=61");
        assert_miss(&get("&timeLimit=").await, "older-than-time-limit; age=61");
        for any in ["61", "00061", "86400", "18446744073709551615", "99999999999999999999999999999999"] {
            assert_eq!(get(&format!("&timeLimit={any}")).await.json()["callid"], "1", "{any}");
        }
        store(&account, r#"{"callid":"1","callerid":"a","timestamp":"2001-01-01"}"#).await;
        assert_eq!(get("&timeLimit=0").await.json()["callid"], "1", "received again");
        gateway.stop().await;
    });
}

#[test]
fn par_g3_formats_and_languages_in_any_letter_case() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        store(&account, RECORD).await;
        let get = async |more: &str| account.get(&format!("callid=1&caller=a{more}")).await;
        let starts = [
            ("", "{\""),
            ("&format=", "{\""),
            ("&format=json", "{\""),
            ("&FORMAT=Json", "{\""),
            ("&format=xml", "<?xml "),
            ("&format=XML", "<?xml "),
            ("&format=html", "<!DOCTYPE html>\n<html lang='de'>"),
            ("&format=hTmL&lang=EN", "<!DOCTYPE html>\n<html lang='en'>"),
            ("&format=text", "Telefonnummer: a\n"),
            ("&format=Text&LANG=de", "Telefonnummer: a\n"),
            ("&format=text&lang=", "Telefonnummer: a\n"),
            ("&format=text&lang=en", "Phone number: a\n"),
            ("&format=text&lang=eN", "Phone number: a\n"),
            ("&format=text&lang=fr", "Telefonnummer: a\n"),
            ("&format=json&format=pdf", "{\""),
            ("&other=1&format=json", "{\""),
        ];
        for (more, start) in starts {
            let answer = get(more).await;
            assert!(answer.status == 200 && answer.text().starts_with(start), "{more}: {}", answer.text());
        }
        store(&account, r#"{"callid":"1","callerid":"+41791234567"}"#).await;
        for country in ["CH", "ch", "%2B41", "41"] {
            assert_eq!(account.get(&format!("callid=1&caller=0791234567&countryCode={country}")).await.json()["callid"], "1", "{country}");
        }
        gateway.stop().await;
    });
}

#[test]
fn par_g4_the_documented_post_gives_the_documented_answer() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let posted = account.post_body(include_str!("../../golden/parloa-post.json")).await;
        assert_eq!((posted.status, posted.text()), (200, r#"{"choice":"success","output":{}}"#));
        let fetched = account.get("caller=%2B111111111&callid=145644644ff").await;
        let expected: serde_json::Value = serde_json::from_str(include_str!("../../golden/parloa-get.json")).unwrap();
        assert_eq!((fetched.status, fetched.json()), (200, expected));
        gateway.stop().await;
    });
}

#[test]
fn par_g4_fixed_keys_first_then_fields_as_posted_and_absent_ones_absent() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        store(&account, r#"{"b":1,"conversationid":"k","a":2,"content":"x","timestamp":"2024-02-27T13:16:23.9+01:00","callid":"1","callerid":"0049 (0)30/123456"}"#).await;
        let expected = r#"{"caller":"0049 (0)30/123456","callid":"1","timestamp":"2024-02-27T12:16:23.900Z","content":"x","conversationid":"k","b":1,"a":2}"#;
        assert_eq!(fetch(&account, "1", "030123456").await.text(), expected);
        store(&account, RECORD).await;
        assert_eq!(fetch(&account, "1", "a").await.text(), r#"{"caller":"a","callid":"1","timestamp":"2024-02-27T12:16:23.926Z"}"#);
        gateway.stop().await;
    });
}

#[test]
fn par_g8_every_miss_is_one_answer_in_the_asked_format() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let set_so = gateway.add(Tenant { misses_are_absences: true, ..a_tenant("d") }).await;
        for account in [&account, &set_so] {
            store(account, RECORD).await;
        }
        gateway.clock.advance(61 * SECOND);
        for query in [
            "",
            "callid=1",
            "caller=a",
            "callid=2&caller=a",
            "callid=1&caller=b",
            "callid=1&caller=a",
            "callid=1&caller=a&timeLimit=x",
            "callid=1&caller=a&countryCode=XX",
            "callid=1&caller=a&wait=31",
        ] {
            for format in ["json", "xml", "html", "text"] {
                let query = format!("{query}&format={format}");
                let answer = account.get(&query).await;
                assert_eq!((answer.status, answer.text()), (200, miss_in(format)), "{query}");
                let answer = set_so.get(&query).await;
                assert_eq!((answer.status, answer.text()), (404, miss_in(format)), "{query}");
            }
        }
        let unusable = account.get("callid=1&caller=a&format=pdf").await;
        assert_eq!((unusable.status, unusable.text()), (200, MISS));
        assert_eq!(set_so.get("callid=1&caller=a&format=pdf").await.status, 404);
        assert_eq!(set_so.get("callid=1&caller=a&timeLimit=61").await.status, 200, "no miss");
        gateway.stop().await;
    });
}

#[test]
fn par_g9_the_reason_is_told_in_a_fixed_order() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        store(&account, RECORD).await;
        gateway.clock.advance(100 * SECOND);
        let reasons = [
            ("callid=1&timeLimit=x", "missing-parameter; name=caller"),
            ("CALLER=&callid=1", "missing-parameter; name=caller"),
            ("caller=a&format=pdf", "missing-parameter; name=callid"),
            ("caller=a&CALLID=", "missing-parameter; name=callid"),
            ("callid=2&caller=a&TIMELIMIT=-1", "invalid-parameter; name=timeLimit"),
            ("callid=1&caller=a&timeLimit=1.5", "invalid-parameter; name=timeLimit"),
            ("callid=1&caller=a&Format=pdf", "invalid-parameter; name=format"),
            ("callid=1&caller=a&countrycode=XX", "invalid-parameter; name=countryCode"),
            ("callid=1&caller=a&WAIT=31", "invalid-parameter; name=wait"),
            ("callid=2&caller=a", "no-such-call"),
            ("callid=2&caller=b&timeLimit=0", "no-such-call"),
            ("callid=1&caller=b", "caller-mismatch"),
            ("callid=1&caller=b&timeLimit=0", "caller-mismatch"),
            ("callid=1&caller=a", "older-than-time-limit; age=100"),
        ];
        for (query, reason) in reasons {
            assert_miss(&account.get(query).await, reason);
        }
        assert_eq!(fetch(&account, "1", "a").await.header("x-calldata-reason"), None, "no miss");
        gateway.stop().await;
    });
}

#[test]
fn par_g9_the_reason_speaks_of_own_live_data_only_and_can_be_switched_off() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let (account, other) = (gateway.a_tenant("c").await, gateway.a_tenant("d").await);
        let silent = gateway.add(Tenant { explains_misses: false, ..a_tenant("e") }).await;
        store(&account, RECORD).await;
        for caller in ["a", "b"] {
            assert_miss(&fetch(&other, "1", caller).await, "no-such-call");
        }
        gateway.clock.advance(30 * DAY);
        for caller in ["a", "b"] {
            assert_miss(&fetch(&account, "1", caller).await, "no-such-call");
        }
        for query in ["callid=1", "callid=1&caller=a", "callid=1&caller=a&wait=x"] {
            let answer = silent.get(query).await;
            assert_eq!((answer.status, answer.text(), answer.header("x-calldata-reason")), (200, MISS, None));
        }
        gateway.stop().await;
    });
}

#[test]
fn par_g10_a_record_lives_thirty_days_from_its_first_receipt() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let briefly = gateway.add(Tenant { retention: Retention::days(1).unwrap(), ..a_tenant("d") }).await;
        let long = gateway.add(Tenant { retention: Retention::days(3_650).unwrap(), ..a_tenant("e") }).await;
        let all = [(&account, 30), (&briefly, 1), (&long, 3_650)];
        for (account, _) in all {
            store(account, RECORD).await;
        }
        gateway.clock.advance(540 * SECOND);
        for (account, _) in all {
            store(account, RECORD).await;
        }
        let mut passed = 540 * SECOND;
        for (account, days) in [all[1], all[0], all[2]] {
            gateway.clock.advance((days * DAY).saturating_sub(passed + MILLISECOND));
            assert_eq!(fetch(account, "1", "a").await.json()["callid"], "1", "{days} days less a moment");
            assert_eq!(records_of(account, "1").await, 1);
            gateway.clock.advance(MILLISECOND);
            passed = days * DAY;
            assert_miss(&fetch(account, "1", "a").await, "no-such-call");
            assert_eq!(records_of(account, "1").await, 0, "by no interface");
        }
        gateway.stop().await;
    });
}

#[test]
fn par_g10_what_expired_once_never_returns_when_the_setting_is_raised() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.add(Tenant { retention: Retention::days(1).unwrap(), ..a_tenant("c") }).await;
        store(&account, RECORD).await;
        gateway.clock.advance(DAY);
        store(&account, r#"{"callid":"2","callerid":"a"}"#).await;
        let mut raised = account.tenant.clone();
        raised.set_retention(Retention::days(100).unwrap(), gateway.clock.now());
        gateway.database().update_tenant(&raised).await.unwrap();
        // Another instance, which has read the setting when it started.
        let second = Gateway::start_with(database.open_again().await, gateway.clock.clone(), Limits::default()).await;
        let fetch = async |call: u32| {
            let path = format!("/api/CallData?clientId=c&code=secret-of-c&callid={call}&caller=a&{ANY_AGE}");
            second.client.request("GET", &path, &[], Vec::new()).await
        };
        assert_miss(&fetch(1).await, "no-such-call");
        gateway.clock.advance(99 * DAY);
        assert_eq!(fetch(2).await.json()["callid"], "2", "the raised setting counts for what was alive");
        assert_miss(&fetch(1).await, "no-such-call");
        second.stop().await;
        gateway.stop().await;
    });
}

#[test]
fn par_g12_headers_on_every_answer() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        store(&account, RECORD).await;
        let types = [
            ("json", "application/json; charset=utf-8"),
            ("xml", "application/xml; charset=utf-8"),
            ("html", "text/html; charset=utf-8"),
            ("text", "text/plain; charset=utf-8"),
            ("pdf", "application/json; charset=utf-8"),
        ];
        for (format, content_type) in types {
            for call in ["1", "2"] {
                let answer = account.get(&format!("callid={call}&caller=a&format={format}")).await;
                assert_guarded(&answer);
                assert_eq!(answer.header("content-type"), Some(content_type), "{format}");
                let policy = answer.header("content-security-policy");
                assert_eq!(policy.is_some(), format == "html", "{format}");
                assert!(policy.is_none_or(|policy| policy.contains("default-src 'none'") && !policy.contains("unsafe")), "{policy:?}");
            }
        }
        let posted = [account.post(RECORD).await, account.post("{}").await, account.post_body("x".repeat(2 << 20)).await];
        for answer in &posted {
            assert_guarded(answer);
            assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
        }
        for path in ["/api/CallData", "/api/CallData?parloa-health-check", "/elsewhere"] {
            assert_guarded(&gateway.client.request("GET", path, &[], Vec::new()).await);
        }
        assert_guarded(&gateway.client.request("DELETE", "/api/CallData", &[], Vec::new()).await);
        gateway.stop().await;
    });
}

fn assert_guarded(answer: &Answer) {
    for (name, value) in [("cache-control", "no-store"), ("referrer-policy", "no-referrer"), ("x-content-type-options", "nosniff")] {
        assert_eq!(answer.header(name), Some(value), "{name} of {} {}", answer.status, answer.text());
    }
}

/// A miss, as each format tells it.
fn miss_in(format: &str) -> &'static str {
    match format {
        "json" => MISS,
        "xml" => r#"<?xml version="1.0" encoding="UTF-8"?><callData><error>no result found</error></callData>"#,
        "html" => MISS_PAGE,
        _ => "error: no result found\n",
    }
}
