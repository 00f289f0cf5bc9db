//! `gettoken`: who guesses is locked out for a while (OIF-A4).

use std::net::SocketAddr;
use std::time::Duration;

use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::{Account, Gateway};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::oifde_tokens::{A_MOMENT, ANYONE, SECRET_WRONG, code, token};

const LOCKED: i64 = 200_800_003;
const LOCK: Duration = Duration::from_secs(300);

/// So many wrong secrets at once; gives the codes.
async fn guess(account: &Account, times: usize) -> Vec<i64> {
    let mut guesses = tokio::task::JoinSet::new();
    for _ in 0..times {
        let account = account.clone();
        guesses.spawn(async move { code(&account.gettoken("wrong").await) });
    }
    guesses.join_all().await
}

/// `gettoken` from an address of our own.
async fn gettoken_from(source: [u8; 4], address: SocketAddr, account: &Account) -> i64 {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((source, 0))).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let body = format!(r#"{{"appKey":"{}","appSecret":"{}"}}"#, account.tenant.oifde_id, account.key);
    let length = body.len();
    let request =
        format!("POST /oifde/rest/api/gettoken HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    body["errorCode"].as_i64().unwrap()
}

#[test]
fn oif_a4_twenty_failures_lock_one_source_out_of_one_tenant() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let (account, other) = (gateway.a_tenant("c").await, gateway.a_tenant("other").await);
        let token = token(&account).await;
        assert_eq!(guess(&account, 19).await, [SECRET_WRONG; 19]);
        assert_eq!(code(&account.gettoken(&account.key).await), 0, "19 are too few");
        assert_eq!(guess(&account, 1).await, [SECRET_WRONG]);
        assert_eq!(code(&account.gettoken(&account.key).await), LOCKED);
        assert_eq!(code(&account.gettoken("wrong").await), LOCKED);

        assert_eq!(code(&account.history_with(&token, ANYONE).await), 0, "a token is still good");
        assert_eq!(code(&account.history(ANYONE).await), 0, "and so is a key in its place");
        assert_eq!(code(&other.gettoken(&other.key).await), 0, "another tenant");
        assert_eq!(gettoken_from([127, 0, 0, 2], gateway.address, &account).await, 0, "another source");
        assert_eq!(gettoken_from([127, 0, 0, 1], gateway.address, &account).await, LOCKED, "the same source, another connection");

        gateway.clock.advance(LOCK.saturating_sub(A_MOMENT));
        assert_eq!(code(&account.gettoken(&account.key).await), LOCKED);
        gateway.clock.advance(A_MOMENT);
        assert_eq!(code(&account.gettoken(&account.key).await), 0);
        gateway.stop().await;
    });
}

#[test]
fn oif_a4_failures_count_for_five_minutes() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        assert_eq!(guess(&account, 19).await, [SECRET_WRONG; 19]);
        gateway.clock.advance(LOCK);
        assert_eq!(guess(&account, 1).await, [SECRET_WRONG]);
        assert_eq!(code(&account.gettoken(&account.key).await), 0, "19 of the 20 are long ago");
        assert_eq!(guess(&account, 19).await, [SECRET_WRONG; 19]);
        assert_eq!(code(&account.gettoken(&account.key).await), LOCKED);
        gateway.stop().await;
    });
}
