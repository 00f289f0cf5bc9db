//! Lists of sessions and of calls.

use std::time::Duration;

use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::{Account, Gateway};
use serde_json::Value;

use super::{created, id, ids, of, problem};

/// All pages of a list, an item a page at least.
async fn all_pages(account: &Account, path: &str) -> Vec<Value> {
    let (mut items, mut next) = (Vec::new(), String::new());
    loop {
        let page = account.native("GET", &format!("{path}{next}"), "").await.json();
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => return items,
        }
    }
}

#[test]
fn every_filter_finds_its_own_and_all_that_are_given_must_match() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let theirs = gateway.a_tenant("d").await;
        let full = r#"{"id":"full","callId":"c1","caller":"030 123456","ctiCallId":"cti","conversationId":"conv","intent":"pay",
            "startedAt":"2024-02-27T12:00:00Z","content":{"text":"Ein Wort ÜBER Wasser"}}"#;
        created(&account, full).await;
        created(&account, r#"{"id":"turns","callId":"c2","caller":"110","turns":[{"intent":"a"},{"intent":"stop"}]}"#).await;
        created(&account, r#"{"id":"plain","callId":"c3","caller":"user-1"}"#).await;
        created(&theirs, full).await;
        let listed = async |query: &str| {
            let mut found = ids(&account.native("GET", &format!("/sessions?{query}"), "").await.json());
            found.sort();
            found
        };
        for (query, expected) in [
            ("", &["full", "plain", "turns"][..]),
            ("caller=%2B4930123456", &["full"]),
            ("caller=+4930123456", &["full"]),
            ("caller=user-1", &["plain"]),
            ("caller=112", &[]),
            ("caller=030123456&countryCode=CH", &[]),
            ("callId=c2", &["turns"]),
            ("ctiCallId=cti", &["full"]),
            ("conversationId=conv", &["full"]),
            ("intent=pay", &["full"]),
            ("intent=stop", &["turns"]),
            ("intent=a", &[]),
            ("from=2024-02-27T12:00:00Z&to=2024-02-27T12:00:00Z", &["full"]),
            ("from=2024-02-27T12:00:00.001Z", &["plain", "turns"]),
            ("to=2024-02-27T11:59:59.999Z", &[]),
            ("from=2024-02-27T13:00:00%2B01:00&to=2024-02-27T13:00:00%2B01:00", &["full"]),
            ("text=%C3%BCber+wasser", &["full"]),
            ("text=wein", &[]),
            ("text=wasser&caller=110", &[]),
            ("callId=c1&caller=030123456&intent=pay&conversationId=conv&ctiCallId=cti&text=wort", &["full"]),
            ("callId=c1&caller=110", &[]),
        ] {
            assert_eq!(listed(query).await, expected, "{query}");
        }
        let counted = account.native("GET", "/sessions?count=true&limit=1&from=2024-02-27T12:00:00.001Z", "").await.json();
        assert_eq!((counted["total"].as_u64(), ids(&counted).len()), (Some(2), 1));
        gateway.stop().await;
    });
}

#[test]
fn newest_start_first_page_by_page_and_nothing_twice_while_others_arrive() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let mut expected = Vec::new();
        for number in 0..7 {
            // Two of each start, so that identifiers decide between them.
            let session =
                format!(r#"{{"id":"s{number}","callId":"c","caller":"110","startedAt":"2024-01-0{}T00:00:00Z"}}"#, 1 + number / 2);
            created(&account, &session).await;
            expected.insert(0, format!("s{number}"));
        }
        for limit in [1, 2, 3, 7, 8] {
            for filter in ["", "&caller=110", "&callId=c"] {
                let mut found = Vec::new();
                let mut next = String::new();
                loop {
                    let page = account.native("GET", &format!("/sessions?limit={limit}{filter}{next}"), "").await.json();
                    found.extend(ids(&page));
                    // In front of all, and so on no page that is still to come.
                    let arrived = created(&account, r#"{"callId":"c","caller":"110"}"#).await;
                    let Some(cursor) = page["next"].as_str() else { break };
                    assert!(!found.contains(&id(&arrived)));
                    next = format!("&cursor={cursor}");
                }
                found.retain(|id| id.starts_with('s'));
                assert_eq!(found, expected, "{limit} {filter}");
            }
            let newest = created(&account, r#"{"callId":"c","caller":"110"}"#).await;
            let first = account.native("GET", "/sessions?limit=1", "").await.json();
            assert_eq!(ids(&first).len(), 1);
            let all = ids(&account.native("GET", "/sessions?limit=100", "").await.json());
            assert!(all.contains(&id(&newest)));
        }
        gateway.stop().await;
    });
}

#[test]
fn a_cursor_of_another_list_or_tenant_or_none_at_all_is_no_first_page() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let theirs = gateway.a_tenant("d").await;
        for call in ["c1", "c2"] {
            for account in [&account, &theirs] {
                created(account, &format!(r#"{{"callId":"{call}","caller":"110"}}"#)).await;
            }
        }
        let next = account.native("GET", "/sessions?limit=1&caller=110", "").await.json()["next"].as_str().unwrap().to_owned();
        assert_eq!(ids(&account.native("GET", &format!("/sessions?limit=1&caller=110&cursor={next}"), "").await.json()).len(), 1);
        let unknown = of("invalid-cursor", Some("cursor"), 400);
        for path in ["/sessions?", "/sessions?caller=112&", "/sessions?caller=110&intent=x&", "/calls?caller=110&"] {
            assert_eq!(problem(&account.native("GET", &format!("{path}cursor={next}"), "").await), unknown, "{path}");
        }
        assert_eq!(problem(&theirs.native("GET", &format!("/sessions?caller=110&cursor={next}"), "").await), unknown);
        for broken in ["", "x", "%25", &next[1..], &format!("{next}A")] {
            assert_eq!(problem(&account.native("GET", &format!("/sessions?caller=110&cursor={broken}"), "").await), unknown, "{broken}");
        }
        gateway.stop().await;
    });
}

#[test]
fn words_in_a_content_are_found_however_their_json_is_written() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        created(&account, r#"{"id":"s","callId":"c1","caller":"110","content":{"a":"Gr\u00f6\u00dfe","b":["say \"hi\""]}}"#).await;
        account.post(r#"{"callid":"c2","callerid":"110","content":{"a":"Gr\u00f6\u00dfe"}}"#).await;
        for (text, count) in [("gr%C3%B6%C3%9Fe", 2), ("say%20%22hi%22", 1), ("u00f6", 0), ("%5C%22hi", 0)] {
            let page = account.native("GET", &format!("/sessions?text={text}"), "").await.json();
            assert_eq!(ids(&page).len(), count, "{text}");
        }
        gateway.stop().await;
    });
}

#[test]
fn a_parameter_that_is_wrong_or_unknown_is_named() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for (query, expected) in [
            ("callid=1", of("unknown-member", Some("callid"), 400)),
            ("caller=%FF", of("invalid-request", None, 400)),
            ("to=2024-02-27", of("invalid-field", Some("to"), 400)),
            ("limit=0", of("invalid-field", Some("limit"), 400)),
            ("limit=101", of("invalid-field", Some("limit"), 400)),
            ("limit=ten", of("invalid-field", Some("limit"), 400)),
            ("from=now", of("invalid-field", Some("from"), 400)),
            ("from=2024-02-28T00:00:00Z&to=2024-02-27T00:00:00Z", of("invalid-field", Some("from"), 400)),
            ("caller=1&caller=2", of("invalid-field", Some("caller"), 400)),
            ("caller=", of("invalid-field", Some("caller"), 400)),
            ("count=true&text=x", of("invalid-field", Some("count"), 400)),
        ] {
            assert_eq!(problem(&account.native("GET", &format!("/sessions?{query}"), "").await), expected, "{query}");
        }
        assert_eq!(problem(&account.native("GET", "/calls?count=true", "").await), of("unknown-member", Some("count"), 400));
        gateway.stop().await;
    });
}

#[test]
fn a_call_that_goes_on_while_pages_are_turned_is_not_passed_over() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for call in ["d", "c", "b", "a"] {
            created(&account, &format!(r#"{{"callId":"{call}","caller":"110"}}"#)).await;
            gateway.clock.advance(Duration::from_secs(1));
        }
        let calls = |page: &Value| -> Vec<String> {
            page["items"].as_array().unwrap().iter().map(|call| call["callId"].as_str().unwrap().to_owned()).collect()
        };
        let first = account.native("GET", "/calls?limit=2", "").await.json();
        assert_eq!(calls(&first), ["a", "b"]);
        for call in ["c", "a", "new"] {
            created(&account, &format!(r#"{{"callId":"{call}","caller":"110"}}"#)).await;
        }
        let rest = account.native("GET", &format!("/calls?limit=2&cursor={}", first["next"].as_str().unwrap()), "").await.json();
        assert_eq!((calls(&rest), rest["items"][0]["sessions"].as_array().unwrap().len()), (vec!["c".to_owned(), "d".to_owned()], 2));
        assert_eq!(rest["next"], Value::Null);
        gateway.stop().await;
    });
}

#[test]
fn a_call_is_listed_once_with_all_its_sessions() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        // Calls that lie within each other: a b a c b a, and one of another caller under the name of a.
        for (number, call) in ["a", "b", "a", "c", "b", "a"].iter().enumerate() {
            let intent = if *call == "b" { r#","intent":"pay""# } else { "" };
            created(&account, &format!(r#"{{"id":"s{number}","callId":"{call}","caller":"110","content":"{number}"{intent}}}"#)).await;
            gateway.clock.advance(Duration::from_secs(1));
        }
        created(&account, r#"{"id":"other","callId":"a","caller":"112"}"#).await;
        let shown = |calls: &[Value]| -> Vec<String> {
            let sessions = |call: &Value| call["sessions"].as_array().unwrap().iter().map(id).collect::<Vec<_>>().join(" ");
            calls
                .iter()
                .map(|call| format!("{} {}: {}", call["callId"].as_str().unwrap(), call["caller"].as_str().unwrap(), sessions(call)))
                .collect()
        };
        let all = ["a 112: other", "c 110: s3", "b 110: s1 s4", "a 110: s0 s2 s5"];
        for limit in 1..5 {
            assert_eq!(shown(&all_pages(&account, &format!("/calls?limit={limit}")).await), all, "{limit}");
        }
        assert_eq!(shown(&all_pages(&account, "/calls?intent=pay&limit=1").await), all[2..3]);
        assert_eq!(shown(&all_pages(&account, "/calls?caller=110&limit=2").await), all[1..]);
        assert_eq!(shown(&all_pages(&account, "/calls?text=2&limit=1").await), all[3..], "all of the call, not only what matches");
        let call = &all_pages(&account, "/calls?callId=b").await[0];
        assert_eq!(
            (call["startedAt"].as_str(), call["updatedAt"].as_str()),
            (Some("2024-02-27T12:16:24.926Z"), Some("2024-02-27T12:16:27.926Z"))
        );
        gateway.stop().await;
    });
}
