//! The secrets of webhooks are sealed with the token secret.

use std::time::Duration;

use calldata_testkit::client::Client;
use calldata_testkit::engine::{Engine, TestDatabase, on, on_every_engine};
use calldata_testkit::program::{Place, Served, eventually};
use calldata_testkit::receiver::{Message, Receiver};
use serde_json::{Value, json};

use super::{create_key, create_tenant};
use crate::native::webhooks::is_signed;

const SECRETS: [&str; 3] =
    ["the first token secret, 32 bytes or more", "the second token secret, 32 bytes or more", "the third token secret, 32 bytes or more"];

fn serve(place: &Place) -> Served {
    place.serve(&["--webhook-allow", "127.0.0.0/8"])
}

async fn ask(client: &Client, key: &str, method: &str, path: &str, body: &str) -> Value {
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let answer = client.request(method, path, &headers, body.as_bytes().to_vec()).await;
    assert!(answer.status < 300, "{}", answer.text());
    answer.json()
}

/// Stores a session, and gives the message that tells of it.
async fn told(served: &Served, key: &str, receiver: &Receiver, session: &str) -> Message {
    ask(&served.client(), key, "POST", "/v1/sessions", &json!({ "id": session, "callId": "c", "caller": "110" }).to_string()).await;
    let of_session = |message: &Message| message.json()["data"]["id"] == session;
    eventually("the endpoint is told", Duration::from_secs(60), async || receiver.messages().iter().any(of_session)).await;
    receiver.messages().into_iter().find(of_session).unwrap()
}

#[test]
fn secrets_are_sealed_again_when_the_token_secret_is_replaced_and_made_anew_when_it_is_lost() {
    on_every_engine(async |database| {
        let with = |place: Place, secret: &str| place.with("CALLDATA_TOKEN_SECRET", secret);
        let place = with(Place::with_database(database), SECRETS[0]);
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &["--scope", "read", "--scope", "write", "--scope", "admin"]);
        let receiver = Receiver::start().await;
        let served = serve(&place);
        let made = ask(&served.client(), &key, "POST", "/v1/webhooks", &json!({ "url": receiver.url() }).to_string()).await;
        let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
        let secret = made["secret"].as_str().unwrap();
        assert!(is_signed(&told(&served, &key, &receiver, "s1").await, secret));
        served.stop();

        // Replaced: the previous one is given once.
        let place = with(place, SECRETS[1]).with("CALLDATA_PREVIOUS_TOKEN_SECRET", SECRETS[0]);
        let served = serve(&place);
        assert!(is_signed(&told(&served, &key, &receiver, "s2").await, secret));
        served.stop();
        let place = place.without("CALLDATA_PREVIOUS_TOKEN_SECRET");
        let served = serve(&place);
        assert!(is_signed(&told(&served, &key, &receiver, "s3").await, secret), "it was sealed again at the start");
        served.stop();

        // Lost: the webhook says so, everything else goes on, and another secret mends it.
        let place = with(place, SECRETS[2]);
        let served = serve(&place);
        assert_eq!(ask(&served.client(), &key, "GET", &path, "").await["disabled"], "secret-lost");
        ask(&served.client(), &key, "POST", "/v1/sessions", r#"{"id":"s4","callId":"c","caller":"110"}"#).await;
        assert_eq!(ask(&served.client(), &key, "POST", &format!("{path}:enable"), "").await["disabled"], "secret-lost");
        let rotated = ask(&served.client(), &key, "POST", &format!("{path}:rotateSecret"), "").await;
        assert_eq!(rotated["disabled"], Value::Null);
        assert!(is_signed(&told(&served, &key, &receiver, "s5").await, rotated["secret"].as_str().unwrap()));
        assert!(receiver.messages().iter().any(|message| message.json()["data"]["id"] == "s4"), "what happened meanwhile is told");
        let log = served.stop();
        assert!(log.contains("sealed with another token secret") && SECRETS.iter().all(|secret| !log.contains(secret)), "{log}");
    });
}

#[test]
fn no_secret_of_a_webhook_is_in_the_files_and_a_plain_one_is_sealed_at_the_start() {
    on(&[Engine::Sqlite], TestDatabase::new, async |_| {
        let place = Place::new();
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &["--scope", "admin"]);
        let served = serve(&place);
        let made = ask(&served.client(), &key, "POST", "/v1/webhooks", r#"{"url":"https://hook.example/"}"#).await;
        served.stop();
        let secret = made["secret"].as_str().unwrap();
        let holds = |text: &str| {
            let names = ["calldata.db", "calldata.db-wal"].map(|name| std::fs::read(place.path(name)).unwrap_or_default());
            names.iter().any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
        };
        assert!(holds("sealed1_") && !holds("whsec_"));
        let plain = rusqlite::Connection::open(place.path("calldata.db")).unwrap();
        plain.execute("UPDATE webhook SET secret = ?1", [secret]).unwrap();
        plain.close().unwrap();
        assert!(holds(secret), "as versions from before have it");
        serve(&place).stop();
        assert!(holds("sealed1_") && !holds("whsec_"));
    });
}
