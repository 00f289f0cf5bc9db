//! How many connections there may be, and how long one may stay.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use calldata_testkit::program::{Place, eventually};
use tokio::io::AsyncWriteExt;

use calldata_testkit::gateway::Options;

use super::{GONE, IDLE, LAST_PING, PING, SOON, connect, gateway, head, impatient, rest, sent, status, status_of};

fn at_most(max_connections: usize) -> Options {
    Options { max_connections: NonZeroUsize::new(max_connections).unwrap(), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so_at_once() {
    let (gateway, _database) = gateway(at_most(2)).await;
    let mut first = sent(gateway.address, PING).await;
    let mut second = sent(gateway.address, PING).await;
    assert!(head(&mut first).await.contains(" 200 ") && head(&mut second).await.contains(" 200 "));
    for number in 0..200 {
        let began = Instant::now();
        // Some speak first, some wait to be spoken to.
        let mut third = sent(gateway.address, if number % 2 == 0 { PING } else { "" }).await;
        let answer = rest(&mut third, SOON).await.to_lowercase();
        assert_eq!(status(&answer.to_uppercase()), Some(503), "{number}: {answer}");
        for header in ["retry-after: 1", "connection: close", "cache-control: no-store", "x-content-type-options: nosniff"] {
            assert!(answer.contains(&format!("\r\n{header}\r\n")), "{header}: {answer}");
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
    first.write_all(PING.as_bytes()).await.unwrap();
    assert!(head(&mut first).await.contains(" 200 "), "those that are there are served");
    drop(second);
    eventually("the place is free again", SOON, async || status_of(gateway.address, LAST_PING).await == Some(200)).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_request_ends() {
    let (gateway, _database) = gateway(impatient()).await;
    let address = gateway.address;
    let begun = [
        ("nothing", String::new(), 0),
        ("one byte", "G".into(), 0),
        ("half a head", "GET /livez HTTP/1.1\r\nHost: a\r\nX: ".into(), 0),
        ("half a preface", "PRI * HTTP/2.0\r\n\r\nSM".into(), 0),
        ("an answer and nothing more", PING.into(), 1),
        ("an answer and half a head", format!("{PING}GET /li"), 1),
    ];
    let mut all = tokio::task::JoinSet::new();
    for (what, begun, answers) in begun {
        all.spawn(async move {
            let began = Instant::now();
            let mut connection = sent(address, begun).await;
            let answer = rest(&mut connection, 2 * IDLE).await;
            assert!(began.elapsed() > IDLE / 2, "{what}: a slow client is given some time, not {:?}", began.elapsed());
            assert_eq!(answer.matches("HTTP/1.1 200 ").count(), answers, "{what}: {answer}");
        });
    }
    // A byte now and then is no request.
    all.spawn(async move {
        let (mut reads, mut writes) = connect(address).await.into_split();
        let trickle = async {
            for byte in PING.bytes().cycle() {
                tokio::time::sleep(IDLE / 10).await;
                if writes.write_all(&[byte]).await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            answer = rest(&mut reads, 2 * IDLE) => assert_eq!(answer, ""),
            () = trickle => {}
        }
    });
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_is_no_idle_time() {
    let (gateway, _database) = gateway(impatient()).await;
    let account = gateway.a_tenant("c").await;
    let waits = "GET /api/CallData?clientId=c&code=secret-of-c&callid=1&caller=a&wait=14 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut connection = sent(gateway.address, waits).await;
    // Nothing tells that time has passed but time: longer than a connection may be idle.
    tokio::time::sleep(2 * IDLE).await;
    assert_eq!(account.post(r#"{"callid":"1","callerid":"a"}"#).await.status, 200);
    let answer = rest(&mut connection, SOON).await;
    assert!(answer.contains(r#""callid":"1""#), "{answer}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_take_its_answers_does_not_keep_its_place() {
    let (gateway, _database) = gateway(Options { patience: impatient().patience, ..at_most(1) }).await;
    let mut greedy = connect(gateway.address).await;
    // More answers than all buffers hold between here and there; the gateway stops reading when it cannot write.
    let asks = PING.replace("/api/CallData?parloa-health-check=1", "/openapi.json");
    let flood = async {
        loop {
            if greedy.write_all(asks.as_bytes()).await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(GONE, flood).await.expect("it is cut off");
    let free = async || status_of(gateway.address, LAST_PING).await == Some(200);
    eventually("the place is free again", SOON, free).await;
    gateway.stop().await;
}

#[test]
fn fewer_open_files_than_connections_are_told_at_the_start() {
    let place = Place::new();
    let served = place.serve_limited(150, &["--max-connections", "1000"]);
    let log = served.stop();
    assert!(log.contains("wanted=1000 affordable=50"), "{log}");
    let served = place.serve_limited(2_000, &["--max-connections", "1000"]);
    let log = served.stop();
    assert!(!log.contains("affordable"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_runs_out_of_open_files_goes_on() {
    let place = Place::new();
    let served = place.serve_limited(150, &["--max-connections", "50"]);
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(connect(served.address).await);
    }
    drop(crowd);
    let address = served.address;
    eventually("it serves again", GONE, async || status_of(address, LAST_PING).await == Some(200)).await;
    served.stop();
}
