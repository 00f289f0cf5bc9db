//! Crowds of clients that do nothing, or next to nothing: others do not feel them, and they are gone soon.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use calldata_testkit::gateway::{Account, Options};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use super::{GONE, connect, gateway, rest, sent};

const GOOD_REQUESTS: usize = 200;

/// Clients of each kind; more where the long form of the tests is asked for.
fn crowd() -> usize {
    if std::env::var_os("CALLDATA_LONG").is_some() { 5_000 / 3 } else { 200 }
}

/// The time below which 99 of 100 good requests are answered, one after the other.
async fn p99(account: &Account, name: &str) -> Duration {
    let mut times = Vec::new();
    for number in 0..GOOD_REQUESTS {
        let began = Instant::now();
        let stored = account.post(&format!(r#"{{"callid":"{name}-{number}","callerid":"a"}}"#)).await;
        assert_eq!(stored.status, 200, "{}", stored.text());
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread")]
async fn crowds_of_slow_clients_are_not_felt_by_others_and_end_soon() {
    // All of them have one address, which may hold half of the connections without a key.
    let max_connections = NonZeroUsize::new(12_000).unwrap();
    let (gateway, _database) = gateway(Options { max_connections, ..Options::default() }).await;
    let account = gateway.a_tenant("c").await;
    let before = p99(&account, "before").await;
    let (address, crowd) = (gateway.address, crowd());
    let mut slow = JoinSet::new();
    for _ in 0..crowd {
        slow.spawn(async move {
            let began = Instant::now();
            assert_eq!(rest(&mut connect(address).await, GONE).await, "");
            began.elapsed()
        });
        slow.spawn(async move {
            let began = Instant::now();
            assert_eq!(rest(&mut sent(address, "POST /api/CallData HTTP/1.1\r\nHost: a\r\nX: ").await, GONE).await, "");
            began.elapsed()
        });
        slow.spawn(async move {
            let began = Instant::now();
            let head = "POST /api/CallData?clientId=c&code=secret-of-c HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{";
            let (mut reads, mut writes) = sent(address, head).await.into_split();
            let trickle = async {
                loop {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    if writes.write_all(b" ").await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            };
            tokio::select! {
                answer = rest(&mut reads, GONE) => assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}"),
                () = trickle => {}
            }
            assert!(began.elapsed() < Duration::from_secs(6), "a body has its own deadline: {:?}", began.elapsed());
            began.elapsed()
        });
    }
    let during = p99(&account, "during").await;
    let mut longest = Duration::ZERO;
    while let Some(lasted) = slow.join_next().await {
        longest = longest.max(lasted.unwrap());
    }
    // Written past the test harness, which hides what passing tests print.
    let figures =
        format!("slow clients: 3 × {crowd}; p99 of good posts {before:?} before, {during:?} during; longest connection {longest:?}");
    drop(writeln!(std::io::stderr(), "{figures}"));
    assert!(during < before * 2 + Duration::from_millis(100), "{figures}");
    gateway.stop().await;
}
