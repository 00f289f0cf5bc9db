//! Being told of what happens.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use calldata_http::Limits;
use calldata_testkit::engine::{Engine, TestDatabase, on, on_every_engine};
use calldata_testkit::gateway::{Account, Gateway};
use calldata_testkit::program::eventually;
use calldata_testkit::receiver::{Message, Receiver};
use hmac::{Hmac, Mac};
use reqwest::StatusCode;
use sha2::Sha256;

use super::{created, of, problem};

async fn webhook(admin: &Account, body: &str) -> serde_json::Value {
    let answer = admin.native("POST", "/webhooks", body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

/// Whether a message was signed with this secret, as the specification has it.
fn is_signed(message: &Message, secret: &str) -> bool {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let (id, at) = (message.header("webhook-id").unwrap(), message.header("webhook-timestamp").unwrap());
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{id}.{at}.{}", message.body).as_bytes());
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    message.header("webhook-signature").unwrap().split(' ').any(|signature| signature == expected)
}

#[test]
fn an_endpoint_is_told_of_what_every_dialect_stores_and_can_tell_who_says_so() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let admin = gateway.as_admin(&account).await;
        let theirs = gateway.a_tenant("d").await;
        let receiver = Receiver::start().await;
        let made = webhook(&admin, &format!(r#"{{"url":"{}"}}"#, receiver.url())).await;
        theirs.post(r#"{"callid":"theirs","callerid":"110"}"#).await;
        account.post(r#"{"callid":"c1","callerid":"110","content":"x"}"#).await;
        let native = created(&account, r#"{"callId":"c2","caller":"112"}"#).await;
        admin.native("POST", "/callers:erase", r#"{"caller":"112"}"#).await;
        let is_told = async || receiver.messages().iter().any(|message| message.json()["type"] == "session.erased");
        eventually("the erasure is told", Duration::from_secs(60), is_told).await;
        let messages = receiver.receives(2).await;
        let told: Vec<_> = messages.iter().map(|message| message.json()["type"].as_str().unwrap().to_owned()).collect();
        // Of what is erased before it is told, nothing is told but that.
        assert_eq!(told.iter().filter(|kind| *kind == "session.erased").count(), 1, "{told:?}");
        let of_c1 = messages.iter().find(|message| message.json()["data"]["session"]["callId"] == "c1").unwrap().json();
        assert_eq!((of_c1["type"].as_str(), of_c1["timestamp"].as_str()), (Some("session.created"), Some("2024-02-27T12:16:23.926Z")));
        assert_eq!(of_c1["data"]["session"]["content"], "x");
        let erased = messages.iter().find(|message| message.json()["type"] == "session.erased").unwrap().json();
        assert_eq!(erased["data"], serde_json::json!({ "id": native["id"] }));
        let secret = made["secret"].as_str().unwrap();
        assert!(messages.iter().all(|message| is_signed(message, secret) && !message.body.contains("theirs")));
        gateway.stop().await;
    });
}

#[test]
fn what_an_endpoint_does_not_take_is_sent_again_and_in_order() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let admin = gateway.as_admin(&gateway.a_tenant("c").await).await;
        let receiver = Receiver::start().await;
        webhook(&admin, &format!(r#"{{"url":"{}"}}"#, receiver.url())).await;
        receiver.answer_with(StatusCode::INTERNAL_SERVER_ERROR);
        created(&admin, r#"{"id":"s","callId":"c","caller":"110"}"#).await;
        admin.native("POST", "/sessions/s/turns", r#"{"turns":[{"no":"1"}]}"#).await;
        receiver.receives(1).await;
        receiver.answer_with(StatusCode::NO_CONTENT);
        // Its time comes when the clock has moved on.
        let told = async || receiver.messages().iter().filter(|message| message.json()["type"] == "session.updated").count();
        eventually("the second one follows the first", Duration::from_secs(60), async || {
            gateway.clock.advance(Duration::from_secs(30));
            told().await > 0
        })
        .await;
        let messages = receiver.messages();
        let updated = messages.iter().position(|message| message.json()["type"] == "session.updated").unwrap();
        let ids: Vec<_> = messages[..updated].iter().map(|message| message.header("webhook-id").unwrap()).collect();
        assert!(
            ids.len() >= 2 && ids.iter().all(|id| *id == ids[0]),
            "the first one comes again under its id, and before the second: {ids:?}"
        );
        gateway.stop().await;
    });
}

/// An endpoint that takes nothing, and the path of its webhook.
async fn a_refusing_endpoint(admin: &Account) -> (Receiver, String) {
    let receiver = Receiver::start().await;
    let made = webhook(admin, &format!(r#"{{"url":"{}","events":["session.created"]}}"#, receiver.url())).await;
    receiver.answer_with(StatusCode::INTERNAL_SERVER_ERROR);
    (receiver, format!("/webhooks/{}", made["id"].as_str().unwrap()))
}

async fn dead_letters(admin: &Account, path: &str) -> Vec<serde_json::Value> {
    admin.native("GET", &format!("{path}/deadLetters"), "").await.json()["items"].as_array().unwrap().clone()
}

/// Lets the clock pass the day after which so many are given up.
async fn given_up(gateway: &Gateway, admin: &Account, path: &str, count: usize) -> Vec<serde_json::Value> {
    eventually("they are given up after a day", Duration::from_secs(60), async || {
        gateway.clock.advance(Duration::from_secs(3 * 3_600));
        dead_letters(admin, path).await.len() == count
    })
    .await;
    dead_letters(admin, path).await
}

#[test]
fn what_is_given_up_is_listed_and_can_be_replayed() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let admin = gateway.as_admin(&gateway.a_tenant("c").await).await;
        let (receiver, path) = a_refusing_endpoint(&admin).await;
        created(&admin, r#"{"id":"s","callId":"c","caller":"110"}"#).await;
        receiver.receives(1).await;
        let letter = given_up(&gateway, &admin, &path, 1).await.remove(0);
        assert_eq!(
            (letter["type"].as_str(), letter["sessionId"].as_str(), letter["lastFailure"].as_str()),
            (Some("session.created"), Some("s"), Some("status 500"))
        );
        receiver.answer_with(StatusCode::OK);
        let before = receiver.messages().len();
        assert_eq!(admin.native("POST", &format!("{path}/deadLetters:replay"), "").await.json()["replayed"], 1);
        let messages = receiver.receives(before + 1).await;
        assert_eq!(messages.last().unwrap().header("webhook-id"), letter["id"].as_str());
        eventually("it is no dead letter any more", Duration::from_secs(20), async || dead_letters(&admin, &path).await.is_empty()).await;
        gateway.stop().await;
    });
}

#[test]
fn what_was_given_up_of_an_erased_caller_is_listed_no_more() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let admin = gateway.as_admin(&gateway.a_tenant("c").await).await;
        let (_receiver, path) = a_refusing_endpoint(&admin).await;
        for (id, caller) in [("s", "110"), ("t", "112")] {
            created(&admin, &format!(r#"{{"id":"{id}","callId":"c","caller":"{caller}"}}"#)).await;
        }
        given_up(&gateway, &admin, &path, 2).await;
        // The clock stands still: the erasure is answered, and not finished.
        assert_eq!(admin.native("POST", "/callers:erase", r#"{"caller":"110"}"#).await.json()["sessions"], 1);
        let left = dead_letters(&admin, &path).await;
        assert_eq!(left.iter().map(|letter| letter["sessionId"].as_str()).collect::<Vec<_>>(), [Some("t")]);
        assert_eq!(admin.native("POST", &format!("{path}/deadLetters:replay"), "").await.json()["replayed"], 1);
        gateway.stop().await;
    });
}

#[test]
fn of_two_instances_one_tells_each_endpoint() {
    on(&[Engine::Sqlite, Engine::Postgres], TestDatabase::new, async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.as_admin(&gateway.a_tenant("c").await).await;
        let elsewhere = Gateway::start_with(database.open_again().await, gateway.clock.clone(), Limits::default()).await;
        let there = elsewhere.account(&account);
        let receiver = Receiver::start().await;
        webhook(&account, &format!(r#"{{"url":"{}"}}"#, receiver.url())).await;
        for number in 0..30 {
            let who = if number % 2 == 0 { &account } else { &there };
            who.post(&format!(r#"{{"callid":"c{number}","callerid":"110"}}"#)).await;
        }
        let messages = receiver.receives(30).await;
        let mut ids: Vec<_> = messages.iter().map(|message| message.header("webhook-id").unwrap().to_owned()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 30, "every one of them");
        assert_eq!(messages.len(), 30, "and none twice, while nothing fails");
        elsewhere.stop().await;
        gateway.stop().await;
    });
}

#[test]
fn webhooks_are_made_listed_changed_and_deleted_by_those_who_may() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let plain = gateway.a_tenant("c").await;
        let admin = gateway.as_admin(&plain).await;
        let theirs = gateway.as_admin(&gateway.a_tenant("d").await).await;
        let made = webhook(&admin, r#"{"url":"https://example.com/hooks?x=1","events":["session.created","session.erased"]}"#).await;
        let path = format!("/webhooks/{}", made["id"].as_str().unwrap());
        assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
        let shown = admin.native("GET", &path, "").await;
        assert_eq!((shown.json()["url"].as_str(), shown.json()["secret"].as_str()), (Some("https://example.com/hooks?x=1"), None));
        assert_eq!(admin.native("GET", "/webhooks", "").await.json()["items"][0], shown.json());
        let rotated = admin.native("POST", &format!("{path}:rotateSecret"), "").await.json();
        assert!(rotated["secret"].is_string() && rotated["secret"] != made["secret"]);
        assert_eq!(admin.native("POST", &format!("{path}:enable"), "").await.json(), shown.json());
        for (method, path, allowed) in [
            ("POST", format!("{path}:explode"), "GET,HEAD,DELETE"),
            ("PATCH", path.clone(), "GET,HEAD,DELETE"),
            ("PUT", format!("{path}:enable"), "POST"),
        ] {
            let refused = admin.native(method, &path, "").await;
            assert_eq!((problem(&refused), refused.header("allow")), (of("invalid-request", None, 405), Some(allowed)), "{method} {path}");
        }
        for (method, path) in [
            ("GET", path.clone()),
            ("DELETE", path.clone()),
            ("POST", format!("{path}:enable")),
            ("GET", format!("{path}/deadLetters")),
            ("POST", format!("{path}/deadLetters:replay")),
        ] {
            assert_eq!(problem(&theirs.native(method, &path, "").await), of("not-found", None, 404), "{method} {path}");
            assert_eq!(problem(&plain.native(method, &path, "").await), of("not-permitted", None, 403), "{method} {path}");
        }
        assert_eq!(theirs.native("GET", "/webhooks", "").await.json()["items"], serde_json::json!([]));
        let replay = admin.native("POST", &format!("{path}/deadLetters:replay?message=wh_x_1"), "").await;
        assert_eq!(problem(&replay), of("invalid-field", Some("message"), 400));
        assert_eq!(admin.native("DELETE", &path, "").await.status, 204);
        assert_eq!(problem(&admin.native("GET", &path, "").await), of("not-found", None, 404));
        gateway.stop().await;
    });
}

#[test]
fn nothing_is_sent_where_only_the_gateway_reaches() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let admin = gateway.as_admin(&gateway.a_tenant("c").await).await;
        // Of what is private, this gateway allows 127.0.0.0/8 and nothing else.
        for url in [
            "http://10.0.0.1/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://192.168.1.1:8080/x",
            "http://0x0a000001/",
            "http://167772161/",
            "ftp://example.com/",
            "https://user:secret@example.com/",
            "example.com",
            "",
        ] {
            let answer = admin.native("POST", "/webhooks", &format!(r#"{{"url":"{url}"}}"#)).await;
            assert_eq!(problem(&answer), of("invalid-field", Some("url"), 400), "{url}");
            assert!(url.is_empty() || !answer.text().contains(url), "{url}");
        }
        for (body, expected) in [
            ("{}", of("invalid-field", Some("url"), 400)),
            (r#"{"url":"https://example.com","events":[]}"#, of("invalid-field", Some("events"), 400)),
            (r#"{"url":"https://example.com","events":["session.expired"]}"#, of("invalid-field", Some("events"), 400)),
            (r#"{"url":"https://example.com","secret":"x"}"#, of("unknown-member", Some("secret"), 400)),
        ] {
            assert_eq!(problem(&admin.native("POST", "/webhooks", body).await), expected, "{body}");
        }
        gateway.stop().await;
    });
}

#[test]
fn a_tenants_endpoints_that_do_not_answer_delay_nobody_elses() {
    on(&[Engine::Sqlite], TestDatabase::new, async |database| {
        let gateway = Gateway::start(database).await;
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let theirs = gateway.as_admin(&gateway.a_tenant("slow").await).await;
        for number in 0..20 {
            webhook(&theirs, &format!(r#"{{"url":"http://{}/{number}"}}"#, silent.local_addr().unwrap())).await;
        }
        let admin = gateway.as_admin(&gateway.a_tenant("c").await).await;
        let receiver = Receiver::start().await;
        webhook(&admin, &format!(r#"{{"url":"{}"}}"#, receiver.url())).await;
        created(&theirs, r#"{"callId":"c","caller":"110"}"#).await;
        // They hold as many slots as they may, each for as long as an answer is waited for.
        let mut open = Vec::new();
        for _ in 0..4 {
            open.push(silent.accept().await.unwrap());
        }
        let more = async {
            loop {
                open.push(silent.accept().await.unwrap());
            }
        };
        let told = async {
            for session in ["s1", "s2", "s3"] {
                let began = std::time::Instant::now();
                let before = receiver.messages().len();
                created(&admin, &format!(r#"{{"id":"{session}","callId":"c","caller":"110"}}"#)).await;
                receiver.receives(before + 1).await;
                assert!(began.elapsed() < Duration::from_secs(6), "{session} took {:?}", began.elapsed());
            }
        };
        tokio::select! {
            () = told => {}
            () = more => {}
        }
        gateway.stop().await;
    });
}
