//! What the tests of this dialect say and look for again and again.

use std::net::SocketAddr;

use calldata_testkit::client::Answer;
use calldata_testkit::gateway::Account;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The answer to a post that was stored (PAR-P3).
pub const SUCCESS: &str = r#"{"choice":"success","output":{}}"#;
/// What a miss says (PAR-G8).
pub const MISS: &str = r#"{"error":"no result found"}"#;
/// A `timeLimit` that bounds nothing.
pub const ANY_AGE: &str = "timeLimit=99999999999999999999999999";

/// A value as a query can carry it.
pub fn encoded(value: &str) -> String {
    form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

/// Posts what must be stored.
pub async fn store(account: &Account, input: &str) {
    let answer = account.post(input).await;
    assert_eq!((answer.status, answer.text()), (200, SUCCESS), "{input:.200}");
}

/// Fetches the newest record of that call and caller, whatever its age.
pub async fn fetch(account: &Account, call: &str, caller: &str) -> Answer {
    account.get(&format!("callid={}&caller={}&{ANY_AGE}", encoded(call), encoded(caller))).await
}

/// What the bot is told of a post that was refused as PAR-P5 has it.
pub fn error_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    let body = answer.json();
    assert_eq!(body["choice"], "fail", "{body}");
    let members: Vec<_> = body["output"].as_object().unwrap().keys().collect();
    assert_eq!(members, ["error"]);
    body["output"]["error"].as_str().unwrap().to_owned()
}

/// A miss with status 200 and that reason (PAR-G8, PAR-G9).
pub fn assert_miss(answer: &Answer, reason: &str) {
    assert_eq!((answer.status, answer.text(), answer.header("x-calldata-reason")), (200, MISS, Some(reason)));
}

/// How many live records the tenant has of a call, as the other dialect tells it.
pub async fn records_of(account: &Account, call: &str) -> u64 {
    let answer = account.history(&format!(r#""callId":{}"#, Value::from(call))).await;
    assert_eq!(answer.json()["errorCode"], 0, "{}", answer.text());
    answer.json()["total"].as_u64().unwrap()
}

/// Sends these bytes on a connection of its own, and returns all that comes back until the gateway closes it.
pub async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The head of a post on a connection that ends with its answer; `more` are further header lines, each with its line break.
pub fn post_head(account: &Account, more: &str) -> String {
    let (client_id, key) = (&account.tenant.client_id, &account.key);
    format!("POST /api/CallData?clientId={client_id} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx-functions-key: {key}\r\n{more}\r\n")
}

/// A body in chunks of that many bytes.
pub fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut sent = Vec::new();
    for chunk in body.chunks(size) {
        sent.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        sent.extend_from_slice(chunk);
        sent.extend_from_slice(b"\r\n");
    }
    sent.extend_from_slice(b"0\r\n\r\n");
    sent
}
