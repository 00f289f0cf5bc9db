//! What is known of a person: given away as a whole, and erased.

use std::collections::HashSet;
use std::time::Duration;

use calldata_core::Clock as _;
use calldata_core::port::Erasures as _;
use calldata_http::Limits;
use calldata_testkit::builders::DAY;
use calldata_testkit::engine::{Engine, TestDatabase, on, on_every_engine};
use calldata_testkit::gateway::{Account, Gateway};
use calldata_testkit::program::eventually;

use super::{created, of, problem};

/// Longer than it takes to finish an erasure.
const PATIENCE: Duration = Duration::from_secs(60);
/// How soon an erasure is finished whatever other tenants erase.
const SOON: Duration = Duration::from_secs(20);

async fn erased(account: &Account, caller: &str) -> serde_json::Value {
    let answer = account.native("POST", "/callers:erase", &format!(r#"{{"caller":"{caller}"}}"#)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Lets the clock pass the time for what was under way, and waits until the erasure is finished.
async fn finished(gateway: &Gateway, account: &Account, receipt: &serde_json::Value) -> serde_json::Value {
    gateway.clock.advance(Duration::from_secs(5));
    let path = format!("/erasures/{}", receipt["id"].as_str().unwrap());
    eventually("the erasure is finished", PATIENCE, async || !account.native("GET", &path, "").await.json()["purgedAt"].is_null()).await;
    account.native("GET", &path, "").await.json()
}

#[test]
fn all_that_is_stored_of_a_caller_is_one_document() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.as_admin(&gateway.a_tenant("c").await).await;
        let theirs = gateway.a_tenant("d").await;
        account.post(r#"{"callid":"c1","callerid":"030 123456","content":"posted"}"#).await;
        created(&account, r#"{"callId":"c2","caller":"+49 30 123456","turns":[{"userText":"said"}]}"#).await;
        created(&account, r#"{"callId":"c3","caller":"110"}"#).await;
        created(&theirs, r#"{"callId":"c4","caller":"030123456"}"#).await;
        for number in 0..450 {
            account.post(&format!(r#"{{"callid":"more-{number}","callerid":"0049 30 123456"}}"#)).await;
        }
        let export = account.native("POST", "/callers:export", r#"{"caller":"(030) 12 34 56"}"#).await;
        let document = export.json();
        assert_eq!((document["caller"].as_str(), document["exportedAt"].as_str()), (Some("+4930123456"), Some("2024-02-27T12:16:23.926Z")));
        let mut calls: Vec<_> = document["sessions"].as_array().unwrap().iter().map(|s| s["callId"].as_str().unwrap().to_owned()).collect();
        calls.sort();
        calls.dedup();
        assert_eq!(calls.len(), 452);
        assert!(calls.contains(&"c1".to_owned()) && calls.contains(&"c2".to_owned()) && !calls.contains(&"c3".to_owned()));
        let nothing = account.native("POST", "/callers:export", r#"{"caller":"nobody"}"#).await.json();
        assert_eq!(nothing["sessions"], serde_json::json!([]));
        gateway.stop().await;
    });
}

#[test]
fn an_erased_caller_is_seen_by_nobody_any_more() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.as_admin(&gateway.a_tenant("c").await).await;
        let theirs = gateway.a_tenant("d").await;
        for who in [&account, &theirs] {
            who.post(r#"{"callid":"c1","callerid":"030 123456","content":"posted"}"#).await;
        }
        let native =
            created(&account, r#"{"id":"s","callId":"c2","caller":"+4930123456","ctiCallId":"cti","conversationId":"conv"}"#).await;
        created(&account, r#"{"id":"other","callId":"c1","caller":"110"}"#).await;
        assert!(account.get("caller=030123456&callid=c1").await.text().contains("posted"), "from memory, where there is one");
        let receipt = erased(&account, "0049 (0)30 12 34 56").await;
        assert_eq!(receipt["sessions"], 2);
        assert!(receipt["caller"].as_str().unwrap().starts_with("hmac:") && receipt["purgedAt"].is_null());
        assert_eq!(
            (receipt["requestedAt"].clone(), receipt["invisibleAt"].clone()),
            ("2024-02-27T12:16:23.926Z".into(), "2024-02-27T12:16:23.926Z".into())
        );
        assert_eq!(account.get("caller=030123456&callid=c1").await.json()["error"], "no result found");
        assert_eq!(account.get("caller=030123456&callid=c1").await.header("x-calldata-reason"), Some("caller-mismatch"));
        for query in [r#""userMobile":"030123456""#, r#""callId":"c2""#, r#""ctiCallId":"cti""#] {
            assert_eq!(account.history(query).await.json()["total"], 0, "{query}");
        }
        assert_eq!(problem(&account.native("GET", "/sessions/s", "").await), of("not-found", None, 404));
        for query in ["caller=030123456", "callId=c2", "ctiCallId=cti", "conversationId=conv", "text=posted"] {
            let page = account.native("GET", &format!("/sessions?{query}"), "").await.json();
            assert_eq!(page["items"], serde_json::json!([]), "{query}");
        }
        assert_eq!(account.native("GET", "/sessions?count=true", "").await.json()["total"], 1, "others stay");
        assert!(!account.native("GET", "/sessions:export", "").await.text().contains("posted"));
        assert_eq!(account.native("POST", "/callers:export", r#"{"caller":"030123456"}"#).await.json()["sessions"], serde_json::json!([]));
        assert_eq!(theirs.get("caller=030123456&callid=c1").await.json()["content"], "posted", "another tenant's");
        let done = finished(&gateway, &account, &receipt).await;
        assert_eq!((done["sessions"].clone(), done["events"].clone()), (2.into(), 2.into()));
        assert_eq!(
            problem(&theirs.native("GET", &format!("/erasures/{}", receipt["id"].as_str().unwrap()), "").await),
            of("not-permitted", None, 403)
        );
        let theirs = gateway.as_admin(&theirs).await;
        assert_eq!(
            problem(&theirs.native("GET", &format!("/erasures/{}", receipt["id"].as_str().unwrap()), "").await),
            of("not-found", None, 404)
        );
        drop(native);
        gateway.stop().await;
    });
}

#[test]
fn many_erasures_of_nobody_keep_no_other_tenants_from_being_finished() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.as_admin(&gateway.a_tenant("c").await).await;
        let flooding = gateway.a_tenant("d").await.tenant.id.number();
        let now = gateway.clock.now().epoch_ms();
        database
            .execute(&format!(
                "INSERT INTO erasure (tenant_id, id, caller_key, pseudonym, sessions, events, requested_at, invisible_at, purged_at) \
                 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2066) \
                 SELECT {flooding}, 'nobody-' || i, 'user-' || i, 'hmac:' || i, 0, 0, {now}, {now}, NULL FROM n"
            ))
            .await;
        created(&account, r#"{"id":"s","callId":"c2","caller":"110"}"#).await;
        let receipt = erased(&account, "110").await;
        let began = std::time::Instant::now();
        let done = finished(&gateway, &account, &receipt).await;
        assert_eq!(done["sessions"], 1);
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        let open = || async { gateway.database().ready_erasures(gateway.clock.now(), 10).await.unwrap().len() };
        eventually("all are finished", PATIENCE, async || open().await == 0).await;
        gateway.stop().await;
    });
}

#[test]
fn those_who_follow_are_told_that_it_was_erased_and_of_nothing_before() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.as_admin(&gateway.a_tenant("c").await).await;
        let mut live = account.follow(None).await;
        created(&account, r#"{"id":"s1","callId":"c","caller":"110"}"#).await;
        created(&account, r#"{"id":"s2","callId":"c","caller":"112"}"#).await;
        assert_eq!(live.next().await.data["data"]["id"], "s1");
        assert_eq!(live.next().await.data["data"]["id"], "s2");
        let receipt = erased(&account, "110").await;
        let told = live.next().await;
        assert_eq!((told.name.as_str(), told.data["data"].clone()), ("session.erased", serde_json::json!({ "id": "s1" })));
        for finish in [false, true] {
            if finish {
                finished(&gateway, &account, &receipt).await;
            }
            let mut again = account.follow(Some("0-0")).await;
            assert_eq!(again.next().await.data["data"]["id"], "s2", "that it was stored is not told any more");
            assert_eq!(again.next().await.name, "session.erased");
        }
        gateway.stop().await;
    });
}

#[test]
fn a_retry_of_what_was_erased_is_answered_and_stores_nothing() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.as_admin(&gateway.a_tenant("c").await).await;
        let post = r#"{"callid":"c1","callerid":"110","content":"secret"}"#;
        let named = r#"{"callId":"c2","caller":"110","content":"secret"}"#;
        let create = async || account.native_with("POST", "/sessions", &[("Idempotency-Key", "k")], named).await;
        account.post(post).await;
        let made = create().await;
        assert_eq!(made.status, 201);
        let turns = format!("/sessions/{}/turns", made.json()["id"].as_str().unwrap());
        let append =
            async || account.native_with("POST", &turns, &[("Idempotency-Key", "t")], r#"{"turns":[{"userText":"secret"}]}"#).await;
        assert_eq!(append().await.status, 200);
        gateway.clock.advance(Duration::from_secs(300));
        let receipt = erased(&account, "110").await;
        assert_eq!(receipt["sessions"], 2);
        let total = async || account.native("GET", "/sessions?count=true", "").await.json()["total"].clone();
        let added = append().await;
        assert_eq!((added.status, added.header("idempotency-replayed")), (204, Some("true")));
        let other = account.native_with("POST", &turns, &[("Idempotency-Key", "other")], r#"{"turns":[{}]}"#).await;
        assert_eq!(problem(&other), of("not-found", None, 404));
        // At once, and when the erasure is finished; together with others, which are stored.
        for number in 0..2 {
            let other = |other: u32| {
                let (account, post) = (account.clone(), format!(r#"{{"callid":"other-{number}-{other}","callerid":"112"}}"#));
                async move { account.post(&post).await }
            };
            let (retried, replayed, one, two, three) = tokio::join!(account.post(post), create(), other(1), other(2), other(3));
            assert_eq!(retried.json()["choice"], "success");
            assert!([one, two, three].iter().all(|answer| answer.json()["choice"] == "success"));
            assert_eq!((replayed.status, replayed.header("idempotency-replayed")), (201, Some("true")));
            assert_eq!(total().await, 3 * (number + 1));
            if number == 0 {
                finished(&gateway, &account, &receipt).await;
            }
        }
        assert_eq!(account.get("caller=110&callid=c1&timeLimit=9999").await.json()["error"], "no result found");
        // What the caller does afterwards is stored, and so is the same post when it is no retry any more.
        account.post(r#"{"callid":"c3","callerid":"110"}"#).await;
        assert_eq!(total().await, 7);
        gateway.clock.advance(Duration::from_secs(600));
        account.post(post).await;
        assert_eq!(total().await, 8);
        gateway.clock.advance(DAY);
        assert_eq!(create().await.header("idempotency-replayed"), None);
        assert_eq!(total().await, 9);
        gateway.stop().await;
    });
}

#[test]
fn what_was_under_way_is_gone_as_soon_as_it_is_stored_and_not_only_when_the_erasure_is_finished() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.as_admin(&gateway.a_tenant("c").await).await;
        account.post(r#"{"callid":"c1","callerid":"110"}"#).await;
        let receipt = erased(&account, "110").await;
        // The clock stands still, so these were received when the erasure was asked for; and it is not finished before the clock goes on.
        account.post(r#"{"callid":"c2","callerid":"110","content":"late"}"#).await;
        created(&account, r#"{"callId":"c3","caller":"110"}"#).await;
        created(&account, r#"{"callId":"c3","caller":"112"}"#).await;
        let total = async || account.native("GET", "/sessions?count=true", "").await.json()["total"].clone();
        eventually("they are gone", PATIENCE, async || total().await == 1).await;
        assert_eq!(account.get("caller=110&callid=c2").await.json()["error"], "no result found");
        let path = format!("/erasures/{}", receipt["id"].as_str().unwrap());
        let now = account.native("GET", &path, "").await.json();
        assert_eq!((now["sessions"].clone(), now["purgedAt"].is_null()), (3.into(), true));
        // What the caller does afterwards stays.
        gateway.clock.advance(Duration::from_millis(1));
        account.post(r#"{"callid":"c4","callerid":"110"}"#).await;
        let done = finished(&gateway, &account, &receipt).await;
        assert_eq!((done["sessions"].clone(), done["events"].clone(), total().await), (3.into(), 3.into(), 2.into()));
        gateway.stop().await;
    });
}

#[test]
fn what_two_instances_erase_at_once_is_counted_and_told_once() {
    on(&[Engine::Sqlite, Engine::Postgres], TestDatabase::new, async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.as_admin(&gateway.a_tenant("c").await).await;
        let elsewhere = Gateway::start_with(database.open_again().await, gateway.clock.clone(), Limits::default()).await;
        let there = elsewhere.account(&account);
        let line = |number: u32| format!(r#"{{"id":"s{number}","callId":"c","caller":"110"}}"#);
        let lines: Vec<_> = (0..900).map(line).collect();
        let stored = account.native_with("POST", "/sessions:batch", &[("content-type", "application/x-ndjson")], &lines.join("\n")).await;
        assert_eq!(stored.text().lines().filter(|line| line.contains(r#""status":"created""#)).count(), 900);
        let (one, other) = tokio::join!(erased(&account, "110"), erased(&there, "110"));
        assert_eq!(one["sessions"].as_u64().unwrap() + other["sessions"].as_u64().unwrap(), 900, "{one} {other}");
        let mut told = account.follow(Some("0-0")).await;
        let mut ids = HashSet::new();
        for _ in 0..900 {
            let event = told.next().await;
            assert_eq!(event.name, "session.erased");
            assert!(ids.insert(event.data["data"]["id"].as_str().unwrap().to_owned()), "told twice: {}", event.data);
        }
        created(&account, r#"{"id":"after","callId":"c","caller":"112"}"#).await;
        assert_eq!(told.next().await.data["data"]["id"], "after", "and nothing more is told of them");
        elsewhere.stop().await;
        gateway.stop().await;
    });
}

#[test]
fn another_instance_sees_nothing_of_it_either() {
    on(&[Engine::Sqlite, Engine::Postgres], TestDatabase::new, async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.as_admin(&gateway.a_tenant("c").await).await;
        let elsewhere = Gateway::start_with(database.open_again().await, gateway.clock.clone(), Limits::default()).await;
        let there = elsewhere.account(&account);
        let post = r#"{"callid":"c1","callerid":"110","content":"secret"}"#;
        there.post(post).await;
        assert_eq!(there.get("caller=110&callid=c1").await.json()["content"], "secret");
        erased(&account, "110").await;
        assert_eq!(there.get("caller=110&callid=c1").await.json()["error"], "no result found");
        there.post(post).await;
        assert_eq!(there.get("caller=110&callid=c1").await.json()["error"], "no result found", "a retry there stores nothing");
        elsewhere.stop().await;
        gateway.stop().await;
    });
}

#[test]
fn what_was_erased_is_gone_from_the_raw_files() {
    on(&[Engine::Sqlite], TestDatabase::new, async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.as_admin(&gateway.a_tenant("c").await).await;
        for number in 0..200 {
            let large = if number % 20 == 0 { 20_000 } else { 10 };
            let content = format!("CANARY-{number}-{}", "y".repeat(large));
            account.post(&format!(r#"{{"callid":"CANARY-CALL-{number}","callerid":"CANARY-CALLER","content":"{content}"}}"#)).await;
            account.post(&format!(r#"{{"callid":"stays-{number}","callerid":"110","content":"{}"}}"#, "z".repeat(500))).await;
        }
        account
            .native_with(
                "POST",
                "/sessions",
                &[("Idempotency-Key", "k")],
                r#"{"id":"CANARY-ID","callId":"CANARY-CALL","caller":"CANARY-CALLER"}"#,
            )
            .await;
        let file = database.file().unwrap();
        assert!(is_in_files(file, "CANARY"));
        let receipt = erased(&account, "CANARY-CALLER").await;
        assert_eq!(receipt["sessions"], 201);
        finished(&gateway, &account, &receipt).await;
        // That one of this name was erased is told; nothing else is left.
        let text = in_files(file);
        let left: Vec<_> = text.split("CANARY").skip(1).map(|rest| rest.chars().take(3).collect::<String>()).collect();
        assert!(left.iter().all(|rest| rest == "-ID"), "{left:?}");
        assert_eq!(account.native("GET", "/sessions?count=true", "").await.json()["total"], 200);
        gateway.stop().await;
    });
}

fn in_files(file: &std::path::Path) -> String {
    let bytes = ["", "-wal"].iter().flat_map(|suffix| {
        let mut path = file.as_os_str().to_owned();
        path.push(suffix);
        std::fs::read(&path).unwrap_or_default()
    });
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
}

fn is_in_files(file: &std::path::Path, text: &str) -> bool {
    in_files(file).contains(text)
}

#[test]
fn what_is_wrong_with_a_request_about_a_person_is_named_and_the_number_is_not_repeated() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let plain = gateway.a_tenant("c").await;
        let account = gateway.as_admin(&plain).await;
        for path in ["/callers:export", "/callers:erase"] {
            for (body, expected) in [
                ("", of("invalid-request", None, 400)),
                ("{}", of("invalid-field", Some("caller"), 400)),
                (r#"{"caller":""}"#, of("invalid-field", Some("caller"), 400)),
                (r#"{"caller":"30123456\u0000"}"#, of("invalid-field", Some("caller"), 400)),
                (r#"{"caller":["+4930123456"]}"#, of("invalid-field", Some("caller"), 400)),
                (r#"{"caller":"+4930123456","countryCode":"+4930123456"}"#, of("invalid-field", Some("countryCode"), 400)),
                (r#"{"caller":"+4930123456","+4930123456":1}"#, of("unknown-member", None, 400)),
            ] {
                let answer = account.native("POST", path, body).await;
                assert_eq!(problem(&answer), expected, "{path} {body}");
                assert!(!answer.text().contains("30123456"));
            }
            assert_eq!(account.native("POST", path, r#"{"caller":"110","countryCode":null}"#).await.status, 200);
            let answer = plain.native("POST", path, r#"{"caller":"110"}"#).await;
            assert_eq!(problem(&answer), of("not-permitted", None, 403));
        }
        gateway.stop().await;
    });
}

#[test]
fn what_a_clock_received_that_was_ahead_is_exported_and_erased_too() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.as_admin(&gateway.a_tenant("c").await).await;
        let now = gateway.clock.now();
        gateway.clock.advance(Duration::from_secs(7_200));
        account.post(r#"{"callid":"c1","callerid":"110"}"#).await;
        created(&account, r#"{"callId":"c2","caller":"110"}"#).await;
        gateway.clock.set(now);
        let document = account.native("POST", "/callers:export", r#"{"caller":"110"}"#).await.json();
        assert_eq!(document["sessions"].as_array().unwrap().len(), 2);
        assert_eq!(account.native("GET", "/sessions:export", "").await.text().lines().count(), 2);
        assert_eq!(erased(&account, "110").await["sessions"], 2);
        assert_eq!(account.native("GET", "/sessions?caller=110", "").await.json()["items"], serde_json::json!([]));
        gateway.stop().await;
    });
}

#[test]
fn a_caller_of_white_space_can_be_erased_as_it_can_be_stored() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.as_admin(&gateway.a_tenant("c").await).await;
        created(&account, r#"{"callId":"c1","caller":" "}"#).await;
        created(&account, r#"{"callId":"c2","caller":"110"}"#).await;
        assert_eq!(erased(&account, " ").await["sessions"], 1);
        assert_eq!(account.native("GET", "/sessions?count=true", "").await.json()["total"], 1);
        gateway.stop().await;
    });
}
