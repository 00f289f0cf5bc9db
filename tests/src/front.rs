//! What stands before the dialects: connections, their bounds and their end, what is refused unread, TLS, proxies, web pages.

use std::net::SocketAddr;
use std::time::Duration;

use calldata_testkit::engine::{Engine, TestDatabase};
use calldata_testkit::gateway::{Gateway, Options, Patience};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

mod connections;
mod framing;
pub(crate) mod http2;
mod origins;
mod proxies;
mod slow_clients;
mod stalled;
mod stopping;
mod tls;

/// No connection may outlast this without a request.
const GONE: Duration = Duration::from_secs(15);
/// How long an [`impatient`] gateway waits.
const IDLE: Duration = Duration::from_secs(2);
/// Longer than anything takes that does not wait for something.
const SOON: Duration = Duration::from_secs(5);

/// A gateway on a database of its own, which is deleted with what is returned. Nothing here depends on the engine.
async fn gateway(options: Options) -> (Gateway, TestDatabase) {
    let database = TestDatabase::new(Engine::Sqlite).await;
    (Gateway::start_served(&database, options).await, database)
}

/// A gateway with less patience than it has, so that the test needs less of it too.
fn impatient() -> Options {
    Options { patience: Patience { idle: IDLE, stalled: IDLE, ..Patience::default() }, ..Options::default() }
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// A connection on which this was sent.
async fn sent(address: SocketAddr, bytes: impl AsRef<[u8]>) -> TcpStream {
    let mut connection = connect(address).await;
    connection.write_all(bytes.as_ref()).await.unwrap();
    connection
}

/// All that comes until the other side ends the connection, which it has to do within that time.
async fn rest(connection: &mut (impl AsyncReadExt + Unpin), within: Duration) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(within, connection.read_to_end(&mut answer)).await;
    // However the connection ends, it has ended.
    let _ = read.unwrap_or_else(|_| panic!("not closed within {within:?}: {}", String::from_utf8_lossy(&answer)));
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of the only answer that these bytes get on a connection of their own; none where it is closed without one.
async fn status_of(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Option<u16> {
    let mut connection = sent(address, bytes).await;
    status(&rest(&mut connection, GONE).await)
}

fn status(answer: &str) -> Option<u16> {
    let line = answer.strip_prefix("HTTP/1.")?;
    Some(line.get(2..5)?.parse().unwrap())
}

/// Reads one answer without a body from a connection that stays open; gives its head.
async fn head(connection: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = tokio::time::timeout(SOON, connection.read_u8()).await.expect("there is an answer");
        head.push(byte.unwrap_or_else(|error| panic!("{error} after {}", String::from_utf8_lossy(&head))));
    }
    String::from_utf8(head).unwrap()
}

/// A request without a body that is answered by an empty 200.
const PING: &str = "GET /api/CallData?parloa-health-check=1 HTTP/1.1\r\nHost: test\r\n\r\n";
/// The same on a connection that ends with it.
const LAST_PING: &str = "GET /api/CallData?parloa-health-check=1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
