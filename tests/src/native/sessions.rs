//! Storing and getting one session.

use std::time::Duration;

use calldata_core::{Scopes, Tenant};
use calldata_testkit::builders::{DAY, a_tenant};
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::{Account, Gateway};

use super::{created, id, of, problem};

const FULL: &str = r#"{"id":"s-1","callId":"145644644ff","caller":"+49 30 123456","ctiCallId":"cti-1","calledNumber":"+49 30 9",
    "conversationId":"conv","countryCode":"+49","startedAt":"2024-02-27T12:00:00.5Z","endedAt":"2024-02-27T13:10:00+01:00",
    "dialogType":"voice","intent":"invoice","content":{"amount":1.10,"big":12345678901234567890},"fields":{"z":1,"a":"x","z2":null},
    "recording":{"file":"Y:/r.wav","locationId":"7","announcementFile":"g.wav"},"businessInfo":[1.0],"flag":"f",
    "turns":[{"no":"1","userText":"My invoice","intent":"invoice","reply":"Which month?","requestedAt":"2024-02-27T12:00:01Z","by":"agent","mode":"insertion"}],
    "answers":[{"no":"1","series":"s","question":"Which month?","questionType":"2","intent":"january","original":"January","createdAt":"2024-02-27T12:00:02Z"}]}"#;

#[test]
fn a_session_is_given_back_as_it_was_stored() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let stored = account.native("POST", "/sessions", FULL).await;
        assert_eq!((stored.status, stored.header("location")), (201, Some("/v1/sessions/s-1")));
        let expected = concat!(
            r#"{"id":"s-1","callId":"145644644ff","caller":"+49 30 123456","ctiCallId":"cti-1","calledNumber":"+49 30 9","#,
            r#""conversationId":"conv","countryCode":"+49","startedAt":"2024-02-27T12:00:00.500Z","endedAt":"2024-02-27T12:10:00.000Z","#,
            r#""receivedAt":["2024-02-27T12:16:23.926Z","2024-02-27T12:16:23.926Z"],"dialogType":"voice","intent":"invoice","#,
            r#""content":{"amount":1.10,"big":12345678901234567890},"fields":{"z":1,"a":"x","z2":null},"#,
            r#""recording":{"file":"Y:/r.wav","locationId":"7","announcementFile":"g.wav"},"businessInfo":[1.0],"flag":"f","#,
            r#""turns":[{"no":"1","userText":"My invoice","intent":"invoice","reply":"Which month?","requestedAt":"2024-02-27T12:00:01.000Z","by":"agent","mode":"insertion"}],"#,
            r#""answers":[{"no":"1","series":"s","question":"Which month?","questionType":"2","intent":"january","original":"January","createdAt":"2024-02-27T12:00:02.000Z"}],"#,
            r#""source":"native"}"#,
        );
        assert_eq!(stored.text(), expected);
        let found = account.native("GET", "/sessions/s-1", "").await;
        assert_eq!((found.status, found.text(), found.header("etag")), (200, expected, stored.header("etag")));
        gateway.stop().await;
    });
}

#[test]
fn what_the_native_interface_stores_both_dialects_read() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        created(&account, FULL).await;
        let fetched = account.get("caller=030123456&callid=145644644ff").await.json();
        assert_eq!((fetched["caller"].as_str(), fetched["content"]["amount"].as_f64()), (Some("+49 30 123456"), Some(1.1)));
        let record = account.history(r#""userMobile":"+4930123456""#).await.json()["recordList"][0].clone();
        assert_eq!(record["logId"], "s-1");
        assert_eq!(record["recordDetials"][0]["userSaying"], "My invoice");
        assert_eq!(record["qaRecords"][0]["originalAnswer"], "January");
        gateway.stop().await;
    });
}

#[test]
fn what_a_bot_posts_the_native_interface_lists() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        account
            .post(r#"{"callid":"c1","callerid":"030 123456","content":"x","topic":1.50,"intent":"pay","turns":"[{\"userText\":\"hi\"}]"}"#)
            .await;
        let page = account.native("GET", "/sessions?caller=%2B4930123456", "").await;
        let item = &page.json()["items"][0];
        assert_eq!((item["source"].as_str(), item["intent"].as_str()), (Some("parloa"), Some("pay")));
        assert_eq!(item["turns"][0]["userText"], "hi");
        assert!(page.text().contains(r#""fields":{"topic":1.50,"intent":"pay","#), "{}", page.text());
        gateway.stop().await;
    });
}

#[test]
fn who_waits_for_a_call_is_woken_by_a_native_session() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let waiting = tokio::spawn({
            let account = account.clone();
            async move { account.get("caller=110&callid=c1&wait=20").await }
        });
        // Stored again and again until the one that waits has its answer: it may not have begun to wait yet.
        while !waiting.is_finished() {
            created(&account, r#"{"callId":"c1","caller":"110","content":"here"}"#).await;
        }
        assert_eq!(waiting.await.unwrap().json()["content"], "here");
        gateway.stop().await;
    });
}

#[test]
fn the_least_session_is_a_caller_in_a_call_and_the_gateway_says_when_it_was_received() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let stored = created(&account, r#"{"callId":"c","caller":"x","receivedAt":["2020-01-01T00:00:00Z","2020-01-01T00:00:00Z"]}"#).await;
        assert_eq!(stored["receivedAt"][0], "2024-02-27T12:16:23.926Z");
        assert_eq!(account.native("GET", &format!("/sessions/{}", id(&stored)), "").await.json(), stored);
        gateway.stop().await;
    });
}

#[test]
fn what_is_wrong_with_a_session_is_named_and_nothing_is_stored() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let cases = [
            ("", of("invalid-request", None, 400)),
            ("[]", of("invalid-request", None, 400)),
            (r#"{"caller":"x"}"#, of("invalid-field", Some("callId"), 400)),
            (r#"{"callId":"c"}"#, of("invalid-field", Some("caller"), 400)),
            (r#"{"callId":"","caller":"x"}"#, of("invalid-field", Some("callId"), 400)),
            (r#"{"callId":"c","caller":"x\u0000"}"#, of("invalid-field", Some("caller"), 400)),
            (r#"{"callId":"c","caller":"x","colour":"red"}"#, of("unknown-member", Some("colour"), 400)),
            (r#"{"callId":"c","caller":"x","startedAt":"yesterday"}"#, of("invalid-field", Some("startedAt"), 400)),
            (r#"{"callId":"c","caller":"x","dialogType":"voise"}"#, of("invalid-field", Some("dialogType"), 400)),
            (r#"{"callId":"c","caller":"x","fields":[]}"#, of("invalid-field", Some("fields"), 400)),
            (r#"{"callId":"c","caller":"x","countryCode":"nowhere"}"#, of("invalid-field", Some("countryCode"), 400)),
            (r#"{"callId":"c","caller":"x","turns":[{"by":"nobody"}]}"#, of("invalid-field", Some("turns[0].by"), 400)),
            (r#"{"callId":"c","caller":"x","turns":[{"said":"x"}]}"#, of("unknown-member", Some("turns[0].said"), 400)),
            (r#"{"callId":"c","caller":["x"]}"#, of("invalid-field", Some("caller"), 400)),
        ];
        for (body, expected) in cases {
            assert_eq!(problem(&account.native("POST", "/sessions", body).await), expected, "{body}");
        }
        assert_eq!(account.native("GET", "/sessions", "").await.json()["items"].as_array().map(Vec::len), Some(0));
        gateway.stop().await;
    });
}

#[test]
fn a_request_with_a_name_is_done_once() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let other = gateway.a_tenant("d").await;
        let body = r#"{"callId":"c","caller":"x","content":"first"}"#;
        let post = async |name: &str, body: &str| account.native_with("POST", "/sessions", &[("Idempotency-Key", name)], body).await;
        let first = post("one", body).await;
        assert_eq!((first.status, first.header("idempotency-replayed")), (201, None));
        gateway.clock.advance(Duration::from_secs(3_600));
        let again = post("one", body).await;
        assert_eq!((again.status, again.text(), again.header("idempotency-replayed")), (201, first.text(), Some("true")));
        assert_eq!(problem(&post("one", r#"{"callId":"c","caller":"y"}"#).await), of("conflict", Some("Idempotency-Key"), 409));
        assert_ne!(id(&post("two", body).await.json()), id(&first.json()), "another request");
        let theirs = other.native_with("POST", "/sessions", &[("Idempotency-Key", "one")], body).await;
        assert_ne!(id(&theirs.json()), id(&first.json()), "another tenant's names are not ours");
        assert_eq!(account.native("GET", "/sessions?count=true", "").await.json()["total"], 2);
        for wrong in ["", &"x".repeat(256)] {
            assert_eq!(problem(&post(wrong, body).await), of("invalid-field", Some("Idempotency-Key"), 400));
        }
        gateway.stop().await;
    });
}

#[test]
fn who_may_only_write_is_told_the_session_that_a_repeated_request_made() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let reader = gateway.a_tenant("c").await;
        gateway.a_key(&reader.tenant, "only-to-write-keys", Scopes { write: true, ..Scopes::default() }).await;
        let mut writer = reader.clone();
        writer.key = "only-to-write-keys".into();
        let post = async || {
            let named = [("Idempotency-Key", "k")];
            writer.native_with("POST", "/sessions", &named, r#"{"callId":"c","caller":"x","content":"mine"}"#).await
        };
        let first = post().await;
        let path = format!("/sessions/{}/turns", id(&first.json()));
        assert_eq!(reader.native("POST", &path, r#"{"turns":[{"userText":"of somebody else"}]}"#).await.status, 200);
        gateway.clock.advance(Duration::from_secs(60));
        let again = post().await;
        assert_eq!((again.status, again.text(), again.header("idempotency-replayed")), (201, first.text(), Some("true")));
        assert_eq!((again.header("location"), again.header("etag")), (first.header("location"), first.header("etag")));
        assert_eq!(writer.native("POST", &path, r#"{"turns":[{"userText":"more"}]}"#).await.status, 204);
        gateway.stop().await;
    });
}

#[test]
fn a_vcon_is_taken_as_it_is_given() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let (account, theirs) = (gateway.a_tenant("c").await, gateway.a_tenant("d").await);
        let session = r#"{"id":"0192f4c4-1111-7abc-8def-000000000001","callId":"c1","caller":"030 123456","fields":{"a":1.50},"turns":[{"userText":"hi"}]}"#;
        let stored = created(&account, session).await;
        let path = format!("/sessions/{}", id(&stored));
        let get = async |account: &Account, headers: &[(&str, &str)]| account.native_with("GET", &path, headers, "").await;
        let vcon = get(&account, &[("accept", "application/vcon+json")]).await;
        // No two representations have one tag, and either of them is of this state of the session.
        let json = get(&account, &[]).await;
        let (vcon_tag, json_tag) = (vcon.header("etag").unwrap(), json.header("etag").unwrap());
        assert_ne!(vcon_tag, json_tag);
        for (tag, accept, status) in [
            (json_tag, "application/json", 304),
            (vcon_tag, "application/vcon+json", 304),
            (json_tag, "application/vcon+json", 200),
            (vcon_tag, "application/json", 200),
        ] {
            assert_eq!(get(&account, &[("accept", accept), ("if-none-match", tag)]).await.status, status, "{accept}");
        }
        let as_vcon = ("content-type", "application/vcon+json; charset=utf-8");
        let copied = theirs.native_with("POST", "/sessions", &[as_vcon], vcon.text()).await;
        assert_eq!(copied.status, 201, "{}", copied.text());
        assert_eq!(get(&theirs, &[]).await.text(), json.text());
        let put = account.native_with("PUT", &path, &[as_vcon, ("if-match", vcon_tag)], vcon.text()).await;
        assert_eq!(put.status, 200, "{}", put.text());
        let signed = theirs.native_with("POST", "/sessions", &[as_vcon], r#"{"payload":"x","signatures":[]}"#).await;
        assert_eq!(problem(&signed), of("invalid-request", None, 400));
        let packed = account.native_with("POST", "/sessions", &[("content-encoding", "gzip")], session).await;
        assert_eq!(problem(&packed), of("invalid-request", Some("Content-Encoding"), 415));
        gateway.stop().await;
    });
}

#[test]
fn null_is_a_member_that_is_not_given_and_what_is_wrong_in_a_turn_is_named() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        created(&account, r#"{"id":"s","callId":"c","caller":"110","turns":null,"answers":null,"fields":null,"content":null}"#).await;
        let turns = account.native("POST", "/sessions/s/turns", r#"{"turns":null,"answers":[{"no":"1"}]}"#).await;
        assert_eq!(turns.json()["answers"].as_array().map(Vec::len), Some(1));
        for (member, code, field) in [
            (r#""turns":[{"userSaying":"x"}]"#, "unknown-member", "turns[0].userSaying"),
            (r#""turns":[{},{"by":1}]"#, "invalid-field", "turns[1].by"),
            (r#""turns":[{"requestedAt":"2024-02-27"}]"#, "invalid-field", "turns[0].requestedAt"),
            (r#""turns":[{"no":"1","no":"2"}]"#, "invalid-field", "turns[0].no"),
            (r#""fields":{"a":1,"a":2}"#, "invalid-field", "fields"),
            (r#""startedAt":"2024-02-27T12:00:00""#, "invalid-field", "startedAt"),
        ] {
            let refused = account.native("POST", "/sessions", &format!(r#"{{"callId":"c","caller":"110",{member}}}"#)).await;
            assert_eq!(problem(&refused), of(code, Some(field), 400), "{member}: {}", refused.text());
        }
        gateway.stop().await;
    });
}

#[test]
fn of_many_that_send_a_named_request_at_once_all_get_the_same_session() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let mut posts = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let account = account.clone();
            posts.spawn(async move {
                account.native_with("POST", "/sessions", &[("Idempotency-Key", "k")], r#"{"callId":"c","caller":"x"}"#).await.json()
            });
        }
        let mut found: Vec<_> = posts.join_all().await.iter().map(id).collect();
        found.dedup();
        assert_eq!(found.len(), 1);
        assert_eq!(account.native("GET", "/sessions?count=true", "").await.json()["total"], 1);
        gateway.stop().await;
    });
}

#[test]
fn an_identifier_belongs_to_one_session_and_is_free_again_when_that_has_expired() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let session = r#"{"id":"s","callId":"c","caller":"x"}"#;
        created(&account, session).await;
        let taken = account.native("POST", "/sessions", r#"{"id":"s","callId":"d","caller":"y"}"#).await;
        assert_eq!(problem(&taken), of("conflict", Some("id"), 409));
        let named = account.native_with("POST", "/sessions", &[("Idempotency-Key", "k")], session).await;
        assert_eq!(problem(&named), of("conflict", Some("id"), 409));
        assert_eq!(account.native("GET", "/sessions/s", "").await.json()["callId"], "c", "it is what it was");
        gateway.clock.advance(DAY * 31);
        assert_eq!(problem(&account.native("GET", "/sessions/s", "").await), of("not-found", None, 404));
        let named = account.native_with("POST", "/sessions", &[("Idempotency-Key", "k")], session).await;
        assert_eq!(named.status, 201, "the name was given back with the refusal");
        assert_eq!(created(&gateway.a_tenant("d").await, session).await["id"], "s", "another tenant's");
        gateway.stop().await;
    });
}

#[test]
fn a_session_that_is_there_already_is_not_sent_again() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let stored = account.native("POST", "/sessions", r#"{"id":"a b/ü","callId":"c","caller":"x"}"#).await;
        let (path, tag) = (stored.header("location").unwrap(), stored.header("etag").unwrap());
        let path = path.strip_prefix("/v1").unwrap();
        let get = async |tag: &str| account.native_with("GET", path, &[("if-none-match", tag)], "").await;
        for known in [tag, &format!("\"x\", {tag}"), &format!("W/{tag}"), "*"] {
            let answer = get(known).await;
            assert_eq!((answer.status, answer.text(), answer.header("etag")), (304, "", Some(tag)), "{known}");
        }
        assert_eq!(get("\"x\"").await.json()["id"], "a b/ü");
        gateway.stop().await;
    });
}

#[test]
fn a_used_up_quota_is_told_in_each_interfaces_words_and_reads_and_erasures_go_on() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.add(Tenant { quota_bytes: Some(1_000_000), ..a_tenant("c") }).await;
        let theirs = gateway.a_tenant("d").await;
        let large = "x".repeat(600_000);
        let post = |call: &str| format!(r#"{{"callid":"{call}","callerid":"110","content":"{large}"}}"#);
        let mut stored = 0;
        let refused = loop {
            let answer = account.post(&post(&format!("c{stored}"))).await;
            if answer.json()["choice"] != "success" {
                break answer;
            }
            stored += 1;
            // The quota is felt as soon as what is stored was counted.
            assert!(stored < 1_000, "no quota is felt");
        };
        assert_eq!((refused.status, refused.json()["choice"].clone()), (200, "fail".into()), "{}", refused.text());
        let session = format!(r#"{{"callId":"c2","caller":"110","content":"{large}"}}"#);
        assert_eq!(problem(&account.native("POST", "/sessions", &session).await), of("storage-full", None, 507));
        let named = account.native_with("POST", "/sessions", &[("idempotency-key", "n")], &session).await;
        assert_eq!(problem(&named), of("storage-full", None, 507));
        assert_eq!(theirs.post(&post("c1")).await.json()["choice"], "success", "another tenant");
        assert_eq!(account.get("caller=110&callid=c0").await.json()["callid"], "c0");
        let admin = gateway.as_admin(&account).await;
        assert_eq!(admin.native("GET", "/sessions:export", "").await.status, 200);
        assert_eq!(admin.native("POST", "/callers:erase", r#"{"caller":"110"}"#).await.json()["sessions"], stored);
        gateway.stop().await;
    });
}
