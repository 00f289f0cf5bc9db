//! Stopping: what is under way is finished, and nobody can keep the gateway from it.

use std::time::{Duration, Instant};

use calldata_testkit::program::Place;
use tokio::io::AsyncWriteExt;

use crate::cli::{create_key, create_tenant};

use calldata_testkit::gateway::Options;

use super::{PING, SOON, gateway, head, rest, sent};

const HALF_HEAD: &str = "GET /livez HTTP/1.1\r\nHost: a\r\nX: ";
const BODY: &str = r#"{"input":{"callid":"1","callerid":"a"}}"#;

/// The head of a post whose body is asked for as soon as it is being read.
fn post_head(key: &str) -> String {
    let length = BODY.len();
    format!("POST /api/CallData?clientId=c&code={key} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_request_do_not_hold_a_stop() {
    let (gateway, _database) = gateway(Options { drain: Duration::from_secs(30), ..Options::default() }).await;
    let address = gateway.address;
    let (mut silent, mut half) = (sent(address, "").await, sent(address, HALF_HEAD).await);
    let (mut idle, mut half_next) = (sent(address, PING).await, sent(address, format!("{PING}{HALF_HEAD}")).await);
    let mut http2 = sent(address, [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat()).await;
    for connection in [&mut idle, &mut half_next] {
        assert!(head(connection).await.contains(" 200 "));
    }
    let began = Instant::now();
    gateway.stop().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    for connection in [&mut silent, &mut half, &mut idle, &mut half_next, &mut http2] {
        rest(connection, SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn par_p3_a_request_under_way_is_finished_and_its_connection_ends() {
    let (mut gateway, _database) = gateway(Options { drain: Duration::from_secs(30), ..Options::default() }).await;
    gateway.a_tenant("c").await;
    let address = gateway.address;
    let mut slow = sent(address, post_head("secret-of-c")).await;
    assert!(head(&mut slow).await.contains(" 100 "));
    gateway.begin_to_stop();
    let refused = async { while tokio::net::TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(SOON, refused).await.expect("nothing new is accepted");
    slow.write_all(BODY.as_bytes()).await.unwrap();
    let answer = rest(&mut slow, SOON).await;
    assert!(answer.contains("success") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_the_process_within_its_time_whatever_clients_do() {
    let place = Place::new();
    create_tenant(&place, "c");
    let (_, key) = create_key(&place, "c", &[]);
    let served = place.serve(&["--drain-s", "1", "--deadline-ms", "60000"]);
    let mut clients = Vec::new();
    for _ in 0..20 {
        for begun in ["", HALF_HEAD, PING, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PRI * HT"] {
            clients.push(sent(served.address, begun).await);
        }
        let mut slow = sent(served.address, post_head(&key)).await;
        assert!(head(&mut slow).await.contains(" 100 "));
        clients.push(slow);
    }
    let began = Instant::now();
    // Exit status 0 is checked there.
    let log = served.stop();
    let took = began.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(2), "{took:?}");
    assert!(log.contains("stopped while requests were still under way connections=20"), "{log}");
}
