//! Clients that do not take their answers, over HTTP/2, where other things may go on beside.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use calldata_http::Limits;
use calldata_testkit::builders::a_clock;
use calldata_testkit::engine::{Engine, TestDatabase};
use calldata_testkit::gateway::{Account, Gateway, Options, Patience};
use calldata_testkit::program::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::http2::{END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame};
use super::{IDLE, SOON, gateway, impatient, rest, sent};

const DATA: u8 = 0;
const WINDOW_UPDATE: u8 = 8;
const LARGE_BYTES: usize = 900_000;
/// Of a record with much content.
const LARGE: &str = "/api/CallData?clientId=c&code=secret-of-c&callid=1&caller=a";
/// Answered without a body, so that no window keeps the answer back.
const PING: &str = "/api/CallData?parloa-health-check=1";

async fn store_large(account: &Account) {
    let content = "x".repeat(LARGE_BYTES);
    assert_eq!(account.post(&format!(r#"{{"callid":"1","callerid":"a","content":"{content}"}}"#)).await.status, 200);
}

/// `GET` of this path in the compressed form of headers.
fn get(stream: u32, path: &str) -> Vec<u8> {
    let headers = [&[0x82, 0x86, 0x41, 0x01, b'a', 0x04, u8::try_from(path.len()).unwrap()], path.as_bytes()].concat();
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &headers)
}

/// A connection of a client that takes no content of any answer until it says so, and asks for the large one.
async fn asking(address: SocketAddr) -> TcpStream {
    let no_window = [&[0, 4][..], &0_u32.to_be_bytes()].concat();
    sent(address, [PREFACE, &frame(SETTINGS, 0, 0, &no_window), &get(1, LARGE)].concat()).await
}

/// The client takes so much more.
fn takes(bytes: u32) -> Vec<u8> {
    [0, 1].map(|stream| frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())).concat()
}

/// Reads up to the next frame of this kind on this stream.
async fn up_to(connection: &mut TcpStream, kind: u8, of_stream: u32) -> Vec<u8> {
    let read = async {
        loop {
            let mut head = [0; 9];
            connection.read_exact(&mut head).await.unwrap();
            let [a, b, c, found, _, stream @ ..] = head;
            let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
            connection.read_exact(&mut payload).await.unwrap();
            if (found, u32::from_be_bytes(stream)) == (kind, of_stream) {
                return payload;
            }
        }
    };
    tokio::time::timeout(SOON, read).await.expect("there is such a frame")
}

/// How long the connection lasts while the client says something every now and then.
async fn lasts(connection: TcpStream, within: Duration, mut says: impl FnMut(u32) -> Vec<u8>) -> Duration {
    let began = Instant::now();
    let (mut reads, mut writes) = connection.into_split();
    let talk = async {
        for stream in (3..).step_by(2) {
            tokio::time::sleep(IDLE / 8).await;
            if writes.write_all(&says(stream)).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = rest(&mut reads, within) => began.elapsed(),
        () = talk => began.elapsed(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_which_nothing_is_taken_ends_its_connection_whatever_else_moves_on_it() {
    let (gateway, _database) = gateway(impatient()).await;
    store_large(&gateway.a_tenant("c").await).await;
    let lasted = lasts(asking(gateway.address).await, 2 * IDLE, |stream| get(stream, PING)).await;
    assert!(lasted > IDLE / 2, "{lasted:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_taken_bit_by_bit_ends_its_connection_after_its_time_in_all() {
    let patience = Patience { answer: 2 * IDLE, ..impatient().patience };
    let (gateway, _database) = gateway(Options { patience, ..Options::default() }).await;
    store_large(&gateway.a_tenant("c").await).await;
    let lasted = lasts(asking(gateway.address).await, 3 * IDLE, |_| takes(16 << 10)).await;
    assert!(lasted > IDLE * 3 / 2, "a client that takes something is given its time: {lasted:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_counts_to_its_tenant_until_its_answer_is_out() {
    let database = TestDatabase::new(Engine::Sqlite).await;
    // Alone, a tenant has half of the room.
    let limits = Limits { requests: 2, ..Limits::default() };
    let gateway = Gateway::start_with(database.database().clone(), Arc::new(a_clock()), limits).await;
    let account = gateway.a_tenant("c").await;
    store_large(&account).await;
    let mut taker = asking(gateway.address).await;
    up_to(&mut taker, HEADERS, 1).await;
    assert_eq!(account.get("callid=2&caller=a").await.status, 429);
    assert_eq!(account.history(r#""callId":"2""#).await.status, 429);
    taker.write_all(&takes(2 << 20)).await.unwrap();
    let mut taken = 0;
    while taken < LARGE_BYTES {
        taken += up_to(&mut taker, DATA, 1).await.len();
    }
    let is_free = async || account.get("callid=2&caller=a").await.status == 200;
    eventually("it counts no more when it is out", SOON, is_free).await;
    let mut gone = asking(gateway.address).await;
    up_to(&mut gone, HEADERS, 1).await;
    assert_eq!(account.get("callid=2&caller=a").await.status, 429);
    drop(gone);
    eventually("it counts no more when its connection has ended", SOON, is_free).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_counts_to_its_tenant_until_it_is_out_over_http1_as_well() {
    let database = TestDatabase::new(Engine::Sqlite).await;
    let limits = Limits { requests: 2, ..Limits::default() };
    let gateway = Gateway::start_with(database.database().clone(), Arc::new(a_clock()), limits).await;
    let account = gateway.a_tenant("c").await;
    // More than all buffers hold between here and there.
    for call in 0..20 {
        let content = "x".repeat(LARGE_BYTES);
        let record = format!(r#"{{"callid":"{call}","callerid":"a","content":"{content}"}}"#);
        assert_eq!(account.post(&record).await.status, 200);
    }
    let body = r#"{"tenantId":"oifde-c","authToken":"secret-of-c","userMobile":"a"}"#;
    let head = format!("POST /oifde/rest/api/queryRecordHistory HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n", body.len());
    let mut taker = sent(gateway.address, format!("{head}Connection: close\r\n\r\n{body}")).await;
    let head = super::head(&mut taker).await;
    assert_eq!(account.get("callid=2&caller=b").await.status, 429, "{head}");
    // It is written as it is read, so its length is not known before its end.
    assert!(rest(&mut taker, SOON).await.ends_with("]}\r\n0\r\n\r\n"));
    eventually("it counts no more when it is out", SOON, async || account.get("callid=2&caller=b").await.status == 200).await;
    gateway.stop().await;
}
