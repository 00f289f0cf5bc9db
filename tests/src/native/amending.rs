//! More of a session while the call runs, and another one in its place.

use std::time::Duration;

use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::Gateway;

use super::{created, id, of, problem};

#[test]
fn turns_and_answers_are_added_behind_those_that_are_there() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let session = created(&account, r#"{"callId":"c","caller":"x","turns":[{"no":"1"}],"fields":{"kept":1.50}}"#).await;
        let path = format!("/sessions/{}", id(&session));
        gateway.clock.advance(Duration::from_secs(5));
        let added = account.native("POST", &format!("{path}/turns"), r#"{"turns":[{"no":"2"},{"no":"3"}],"answers":[{"no":"1"}]}"#).await;
        assert_eq!(added.status, 200);
        let numbers: Vec<_> = added.json()["turns"].as_array().unwrap().iter().map(|turn| turn["no"].clone()).collect();
        assert_eq!(numbers, ["1", "2", "3"]);
        assert_eq!(added.json()["answers"][0]["no"], "1");
        assert!(added.text().contains(r#""fields":{"kept":1.50}"#));
        assert_eq!(added.json()["receivedAt"][1], "2024-02-27T12:16:28.926Z");
        let found = account.native("GET", &path, "").await;
        assert_eq!((found.text(), found.header("etag")), (added.text(), added.header("etag")));
        // As fresh as if it had just been posted: the dialects see it, too.
        assert_eq!(account.get("caller=x&callid=c&timeLimit=0").await.json()["callid"], "c");
        assert_eq!(account.history(r#""callId":"c""#).await.json()["recordList"][0]["recordDetials"][2]["interNo"], "3");
        gateway.stop().await;
    });
}

#[test]
fn a_change_is_made_only_to_what_its_author_has_seen() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let stored = account.native("POST", "/sessions", r#"{"id":"s","callId":"c","caller":"x"}"#).await;
        let tag = stored.header("etag").unwrap().to_owned();
        let turn = r#"{"turns":[{"no":"1"}]}"#;
        let add = async |tag: &str| account.native_with("POST", "/sessions/s/turns", &[("if-match", tag)], turn).await;
        let added = add(&tag).await;
        assert_eq!(added.status, 200);
        assert_ne!(added.header("etag"), Some(tag.as_str()));
        assert_eq!(problem(&add(&tag).await), of("precondition-failed", Some("If-Match"), 412));
        let put = account.native_with("PUT", "/sessions/s", &[("if-match", &tag)], r#"{"callId":"c","caller":"x"}"#).await;
        assert_eq!(problem(&put), of("precondition-failed", Some("If-Match"), 412));
        assert_eq!(add("*").await.json()["turns"].as_array().map(Vec::len), Some(2), "what was refused changed nothing");
        gateway.stop().await;
    });
}

#[test]
fn a_named_addition_is_made_once() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        created(&account, r#"{"id":"s","callId":"c","caller":"x"}"#).await;
        created(&account, r#"{"id":"t","callId":"c","caller":"x"}"#).await;
        let add = async |id: &str, turn: &str| {
            account.native_with("POST", &format!("/sessions/{id}/turns"), &[("Idempotency-Key", "k")], turn).await
        };
        let turn = r#"{"turns":[{"no":"1"}]}"#;
        let first = add("s", turn).await;
        assert_eq!(add("s", turn).await.text(), first.text());
        assert_eq!(problem(&add("s", r#"{"turns":[{"no":"2"}]}"#).await), of("conflict", Some("Idempotency-Key"), 409));
        assert_eq!(problem(&add("t", turn).await), of("conflict", Some("Idempotency-Key"), 409));
        gateway.stop().await;
    });
}

#[test]
fn of_many_additions_at_once_none_is_lost() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        created(&account, r#"{"id":"s","callId":"c","caller":"x"}"#).await;
        let mut additions = tokio::task::JoinSet::new();
        for number in 0..20 {
            let account = account.clone();
            additions.spawn(async move {
                let turn = format!(r#"{{"turns":[{{"no":"{number}"}}]}}"#);
                account.native("POST", "/sessions/s/turns", &turn).await.status
            });
        }
        assert!(additions.join_all().await.iter().all(|status| *status == 200));
        let session = account.native("GET", "/sessions/s", "").await.json();
        let mut numbers: Vec<u32> =
            session["turns"].as_array().unwrap().iter().map(|turn| turn["no"].as_str().unwrap().parse().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
        gateway.stop().await;
    });
}

#[test]
fn another_session_takes_the_place_of_one_and_keeps_what_is_the_gateways() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        account.post(r#"{"callid":"c","callerid":"x","content":"old"}"#).await;
        let session = account.native("GET", "/sessions", "").await.json()["items"][0].clone();
        gateway.clock.advance(Duration::from_secs(1));
        let path = format!("/sessions/{}", id(&session));
        let replaced = account.native("PUT", &path, r#"{"callId":"d","caller":"y","content":"new"}"#).await.json();
        assert_eq!((replaced["id"].clone(), replaced["source"].clone()), (session["id"].clone(), "parloa".into()));
        assert_eq!((replaced["receivedAt"][0].clone(), replaced["content"].clone()), (session["receivedAt"][0].clone(), "new".into()));
        assert_eq!(account.get("caller=x&callid=c").await.json()["error"], "no result found", "it is no longer there");
        assert_eq!(account.get("caller=y&callid=d").await.json()["content"], "new");
        let other = account.native("PUT", &path, r#"{"id":"other","callId":"d","caller":"y"}"#).await;
        assert_eq!(problem(&other), of("invalid-field", Some("id"), 400));
        gateway.stop().await;
    });
}

#[test]
fn what_is_not_there_cannot_be_changed_and_what_is_wrong_changes_nothing() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let theirs = gateway.a_tenant("d").await;
        let stored = account.native("POST", "/sessions", r#"{"id":"s","callId":"c","caller":"x"}"#).await;
        let turn = r#"{"turns":[{"no":"1"}]}"#;
        assert_eq!(problem(&account.native("POST", "/sessions/t/turns", turn).await), of("not-found", None, 404));
        assert_eq!(problem(&theirs.native("POST", "/sessions/s/turns", turn).await), of("not-found", None, 404));
        assert_eq!(problem(&theirs.native("PUT", "/sessions/s", r#"{"callId":"c","caller":"x"}"#).await), of("not-found", None, 404));
        for (wrong, expected) in [
            ("{}", of("invalid-field", Some("turns"), 400)),
            (r#"{"turn":[]}"#, of("unknown-member", Some("turn"), 400)),
            (r#"{"turns":[{"no":"1"},{"by":"x"}]}"#, of("invalid-field", Some("turns[1].by"), 400)),
        ] {
            assert_eq!(problem(&account.native("POST", "/sessions/s/turns", wrong).await), expected, "{wrong}");
        }
        let large = format!(r#"{{"turns":[{{"userText":"{}"}}]}}"#, "x".repeat(1_000_000));
        let statuses = async || account.native("POST", "/sessions/s/turns", &large).await;
        for _ in 0..4 {
            assert_eq!(statuses().await.status, 200);
        }
        assert_eq!(problem(&statuses().await), of("too-large", None, 413), "a session does not grow without end");
        assert_ne!(account.native("GET", "/sessions/s", "").await.header("etag"), stored.header("etag"));
        gateway.stop().await;
    });
}
