//! One source, with or without a key, beside others: what it can take from them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use calldata_http::Limits;
use calldata_testkit::engine::{Engine, TestDatabase, on_every_engine};
use calldata_testkit::gateway::{Gateway, Options};
use calldata_testkit::program::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::gateway;
use crate::faults::turn;

const PING: &str = "GET /api/CallData?parloa-health-check=1 HTTP/1.1\r\nHost: a\r\n\r\n";
/// Addresses of this machine that are not the one clients usually have.
const STRANGERS: [u8; 4] = [2, 3, 4, 5];

/// A connection from `127.0.0.number`.
async fn connect_from(number: u8, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((IpAddr::V4(Ipv4Addr::new(127, 0, 0, number)), 0).into())?;
    socket.connect(to).await
}

/// The status of one answer; none where the connection ends instead.
async fn status_of(connection: &mut TcpStream, request: &str) -> Option<u16> {
    connection.write_all(request.as_bytes()).await.ok()?;
    let mut answer = vec![0; 16 << 10];
    let mut read = 0;
    while !answer.get(..read)?.windows(4).any(|window| window == b"\r\n\r\n") {
        let more = connection.read(answer.get_mut(read..)?).await.ok()?;
        if more == 0 {
            return None;
        }
        read += more;
    }
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}

/// Forty connections that try a new key with every request; what they were answered, when they are told to stop.
fn guess(gateway: &Gateway, stop: &Arc<AtomicBool>) -> JoinSet<BTreeMap<u16, usize>> {
    let mut guessing = JoinSet::new();
    for connection in 0..40 {
        let (client, stop) = (gateway.client.clone(), Arc::clone(stop));
        guessing.spawn(async move {
            let mut answers = BTreeMap::new();
            for number in 0.. {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                let path = format!("/api/CallData?clientId=made-up-{connection}-{number}&callid=1&caller=a");
                let key = format!("guess-{connection}-{number}");
                let answer = client.request("GET", &path, &[("x-functions-key", &key)], Vec::new()).await;
                *answers.entry(answer.status).or_insert(0) += 1;
                // A client that is refused at once would only measure itself.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            answers
        });
    }
    guessing
}

#[test]
fn unknown_keys_take_no_room_from_known_ones_and_ever_new_names_lock_the_source() {
    let _turn = turn();
    on_every_engine(async |test| {
        let gateway = gateway(test, Limits { requests: 12, ..Limits::default() }).await;
        let account = gateway.a_tenant("c").await;
        let newcomer = gateway.a_tenant("newcomer").await;
        assert_eq!(account.get("callid=1&caller=a").await.status, 200);
        let stop = Arc::default();
        let mut guessing = guess(&gateway, &stop);
        let (mut statuses, mut longest) = (BTreeMap::new(), Duration::ZERO);
        for number in 0..200 {
            let began = Instant::now();
            let answer = account.get(&format!("callid={number}&caller=a")).await;
            *statuses.entry(answer.status).or_insert(0) += 1;
            longest = longest.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let locked = async || newcomer.get("callid=1&caller=a").await.status == 429;
        eventually("a key that was never right from there has to wait", Duration::from_secs(20), locked).await;
        stop.store(true, Ordering::Release);
        let mut strangers = BTreeMap::new();
        while let Some(answers) = guessing.join_next().await {
            for (status, count) in answers.unwrap() {
                *strangers.entry(status).or_insert(0) += count;
            }
        }
        println!("40 connections with unknown keys were answered {strangers:?}; a known one {statuses:?}, within {longest:?}");
        assert_eq!(statuses, BTreeMap::from([(200, 200)]));
        assert!(strangers.keys().all(|status| [401, 429, 503].contains(status)), "{strangers:?}");
        assert!(strangers[&401] < 100 + 40, "of one source some that were under way may pass the hundredth: {strangers:?}");
        gateway.clock.advance(Duration::from_secs(300));
        assert_eq!(newcomer.get("callid=1&caller=a").await.status, 200, "and not for ever");
        gateway.stop().await;
    });
}

#[test]
fn a_crowd_that_asks_for_readiness_shares_one_check() {
    let _turn = turn();
    on_every_engine(async |test| {
        let gateway = Gateway::start(test).await;
        let ask = || {
            let client = gateway.client.clone();
            async move { client.request("GET", "/readyz", &[], Vec::new()).await }
        };
        // On a server this says that the clock of the test is another one.
        let alone = ask().await;
        let mut crowd = JoinSet::new();
        for _ in 0..100 {
            let client = gateway.client.clone();
            crowd.spawn(async move {
                loop {
                    client.request("GET", "/readyz", &[], Vec::new()).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
        let mut times = Vec::new();
        for _ in 0..40 {
            let began = Instant::now();
            assert_eq!(ask().await.status, alone.status);
            times.push(began.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        times.sort_unstable();
        println!("a probe beside 100 that ask for readiness again and again: p50 {:?}, longest {:?}", times[20], times[39]);
        drop(crowd);
        gateway.stop().await;
    });
}

/// Keeps opening connections from these addresses, and holds on to those that stay open.
fn open_all(from: &'static [u8], to: SocketAddr, at_a_time: usize) -> JoinSet<()> {
    let mut opening = JoinSet::new();
    for number in 0..at_a_time {
        let from = from[number % from.len()];
        opening.spawn(async move {
            loop {
                let Ok(mut connection) = connect_from(from, to).await else { continue };
                // Served or refused: until the other side ends it.
                let _ = connection.read_to_end(&mut Vec::new()).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
    opening
}

async fn with_places(places: usize) -> (Gateway, TestDatabase) {
    let database = TestDatabase::new(Engine::Sqlite).await;
    let options = Options { max_connections: NonZeroUsize::new(places).unwrap(), ..Options::default() };
    (Gateway::start_served(&database, options).await, database)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_address_nor_a_few_of_them_take_all_connections() {
    for strangers in [&STRANGERS[..1], &STRANGERS[..]] {
        let (gateway, _database) = with_places(40).await;
        let address = gateway.address;
        let opening = open_all(strangers, address, 100);
        let refused = async || {
            let Ok(mut stranger) = connect_from(2, address).await else { return false };
            // One that is served is told nothing until it asks for something.
            let told = tokio::time::timeout(Duration::from_millis(200), status_of(&mut stranger, "")).await;
            told == Ok(Some(503))
        };
        eventually("they have all that they can get", Duration::from_secs(10), refused).await;
        let (mut good, mut longest) = (0, Duration::ZERO);
        for _ in 0..200 {
            let began = Instant::now();
            let mut connection = TcpStream::connect(address).await.unwrap();
            good += usize::from(status_of(&mut connection, PING).await == Some(200));
            longest = longest.max(began.elapsed());
        }
        println!("{} addresses keep opening connections: {good} of 200 others are served, within {longest:?}", strangers.len());
        assert_eq!(good, 200);
        drop(opening);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_a_key_was_right_does_not_end_for_strangers() {
    let (gateway, _database) = with_places(40).await;
    gateway.a_tenant("c").await;
    let fetch = "GET /api/CallData?clientId=c&code=secret-of-c&callid=1&caller=a HTTP/1.1\r\nHost: a\r\n\r\n";
    let query = r#"{"tenantId":"oifde-c","authToken":"secret-of-c","callId":"1"}"#;
    let post = |path: &str, body: &str| format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let token = r#"{"appKey":"oifde-c","appSecret":"secret-of-c"}"#;
    let native = "GET /v1/sessions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer secret-of-c\r\n\r\n".to_owned();
    let requests = [fetch.to_owned(), post("/oifde/rest/api/queryRecordHistory", query), post("/oifde/rest/api/gettoken", token), native];
    let mut proven = Vec::new();
    for request in requests {
        let mut connection = TcpStream::connect(gateway.address).await.unwrap();
        assert_eq!(status_of(&mut connection, &request).await, Some(200), "{request}");
        proven.push((connection, request));
    }
    let opening = open_all(&STRANGERS, gateway.address, 100);
    for _ in 0..20 {
        let mut newcomer = TcpStream::connect(gateway.address).await.unwrap();
        assert_eq!(status_of(&mut newcomer, PING).await, Some(200), "instead of a stranger");
    }
    for (connection, request) in &mut proven {
        // The answer of the first one may not have been read as a whole; what comes next begins with its rest.
        connection.write_all(request.as_bytes()).await.unwrap();
        assert!(connection.read(&mut [0; 1]).await.unwrap() > 0, "{request}");
    }
    drop(opening);
    gateway.stop().await;
}
