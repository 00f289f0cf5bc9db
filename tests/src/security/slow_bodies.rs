//! A body may take seconds to arrive. The right that was checked at the head of its request is checked again behind it.

use std::time::Duration;

use calldata_core::catalog::Filter;
use calldata_core::{Access, DirectoryStore};
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::{Account, Gateway};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(20);

/// Sends a request of which the gateway waits for the body, does something meanwhile, then sends the body; gives the answer.
async fn answer(gateway: &Gateway, request: (&str, &str), header: &str, body: &str, meanwhile: impl AsyncFnOnce()) -> String {
    let (method, path) = request;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\n{header}\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut connection = TcpStream::connect(gateway.address).await.unwrap();
    connection.write_all(head.as_bytes()).await.unwrap();
    // It is told to go on once the gateway wants the body, and so has let the request in.
    let mut told = [0; 25];
    tokio::time::timeout(SOON, connection.read_exact(&mut told)).await.expect("the body is wanted").unwrap();
    assert_eq!(str::from_utf8(&told).unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    meanwhile().await;
    connection.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(SOON, connection.read_to_string(&mut answer)).await.expect("there is an answer").unwrap();
    answer
}

/// Operations whose body is read behind the check of the key, and one of their bodies.
const OPERATIONS: [(&str, &str, &str); 7] = [
    ("POST", "/v1/sessions", r#"{"id":"new","callId":"c","caller":"110"}"#),
    ("PUT", "/v1/sessions/kept", r#"{"callId":"other","caller":"110"}"#),
    ("POST", "/v1/sessions/kept/turns", r#"{"turns":[{"no":"1"}]}"#),
    ("POST", "/v1/callers:export", r#"{"caller":"112"}"#),
    ("POST", "/v1/callers:erase", r#"{"caller":"112"}"#),
    ("POST", "/v1/webhooks", r#"{"url":"https://example.com/"}"#),
    ("POST", "/api/CallData?clientId=c", r#"{"input":{"callid":"c","callerid":"110"}}"#),
];

#[test]
fn a_request_whose_right_ends_while_its_body_arrives_changes_nothing() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let admin = gateway.as_admin(&account).await;
        let kept = r#"{"id":"kept","callId":"c","caller":"112"}"#;
        assert_eq!(admin.native("POST", "/sessions", kept).await.status, 201);
        let before = kept_session(&admin).await;
        for (method, path, body) in OPERATIONS {
            let authorization = format!("Authorization: Bearer {}", admin.key);
            let suspend = async |suspended| {
                gateway.database().suspend_tenant(account.tenant.id, suspended).await.unwrap();
                gateway.look().await;
            };
            let refused = answer(&gateway, (method, path), &authorization, body, async || suspend(true).await).await;
            assert!(refused.starts_with("HTTP/1.1 401 "), "{method} {path}: {refused}");
            suspend(false).await;
            assert_eq!(kept_session(&admin).await, before, "{method} {path}");
        }
        let sessions = gateway.sessions().count(&Access::of_operator(account.tenant.clone()), &Filter::default()).await.unwrap();
        assert_eq!((sessions, admin.native("GET", "/webhooks", "").await.text()), (1, r#"{"items":[]}"#));
        gateway.stop().await;
    });
}

async fn kept_session(account: &Account) -> String {
    account.native("GET", "/sessions/kept", "").await.text().to_owned()
}
