//! Too much to do: who sends too much is told so at once, and the others do not feel it (PAR-P8, OIF-Q7).

mod goodput;
mod sources;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use calldata_http::Limits;
use calldata_testkit::builders::a_clock;
use calldata_testkit::client::Answer;
use calldata_testkit::engine::{TestDatabase, on_every_engine};
use calldata_testkit::gateway::{Account, Gateway};
use calldata_testkit::program::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

async fn gateway(test: &TestDatabase, limits: Limits) -> Gateway {
    Gateway::start_with(test.database().clone(), Arc::new(a_clock()), limits).await
}

fn posting(account: &Account, call: usize) -> JoinHandle<Answer> {
    let account = account.clone();
    tokio::spawn(async move { account.post(&format!(r#"{{"callid":"{call}","callerid":"110"}}"#)).await })
}

/// Refused at once, in the words of the dialect, and with a time to come again.
fn assert_too_many(answer: &Answer, took: Duration) {
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok_and(|seconds| (1..=60).contains(&seconds))));
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn a_tenant_over_its_rate_is_told_so_in_each_dialect_and_others_are_not_concerned() {
    on_every_engine(async |test| {
        let gateway = gateway(test, Limits { tenant_rate: NonZeroU32::new(5), ..Limits::default() }).await;
        let (flooding, other) = (gateway.a_tenant("flooding").await, gateway.a_tenant("other").await);
        for call in 0..5 {
            assert_eq!(posting(&flooding, call).await.unwrap().status, 200);
        }
        let began = Instant::now();
        let refused = posting(&flooding, 5).await.unwrap();
        assert_too_many(&refused, began.elapsed());
        assert_eq!(refused.json()["choice"], "fail");
        let refused = flooding.get("callid=1&caller=110").await;
        assert_too_many(&refused, Duration::ZERO);
        assert!(refused.json()["error"].is_string());
        let refused = flooding.history(r#""callId":"1""#).await;
        assert_too_many(&refused, Duration::ZERO);
        assert_eq!((&refused.json()["errorCode"], &refused.json()["total"]), (&10_000_001.into(), &0.into()));
        assert_too_many(&flooding.gettoken(&flooding.key).await, Duration::ZERO);
        assert_eq!(other.get("callid=1&caller=110").await.status, 200);
        eventually("it may send again", Duration::from_secs(10), async || flooding.get("callid=4&caller=110").await.status == 200).await;
        gateway.stop().await;
    });
}

#[test]
fn a_tenant_that_fills_its_share_is_refused_and_others_find_room() {
    on_every_engine(async |test| {
        let gateway = gateway(test, Limits { requests: 12, ..Limits::default() }).await;
        let (flooding, other) = (gateway.a_tenant("flooding").await, gateway.a_tenant("other").await);
        let held = test.hold_writes().await;
        // Alone it has half of the room; the rest is refused while those wait for the database.
        let began = Instant::now();
        let mut posts: Vec<_> = (0..20).map(|call| posting(&flooding, call)).collect();
        eventually("fourteen are refused", Duration::from_secs(2), async || posts.iter().filter(|post| post.is_finished()).count() == 14)
            .await;
        let (refused, waiting): (Vec<_>, Vec<_>) = posts.drain(..).partition(JoinHandle::is_finished);
        for post in refused {
            assert_too_many(&post.await.unwrap(), Duration::ZERO);
        }
        println!("a burst of 20, 14 refused after {:?}", began.elapsed());
        let others: Vec<_> = (100..103).map(|call| posting(&other, call)).collect();
        held.let_go().await;
        for post in waiting.into_iter().chain(others) {
            assert_eq!(post.await.unwrap().json()["choice"], "success");
        }
        gateway.stop().await;
    });
}

#[test]
fn when_all_room_is_taken_everybody_is_told_that_the_gateway_is_busy() {
    on_every_engine(async |test| {
        let gateway = gateway(test, Limits { requests: 3, ..Limits::default() }).await;
        let mut accounts = Vec::new();
        for name in ["a", "b", "c", "d", "e", "f", "g"] {
            accounts.push(gateway.a_tenant(name).await);
        }
        let held = test.hold_writes().await;
        // Twice as many as may work are let in before it is known whose they are; the seventh is not.
        let mut posts: Vec<_> = accounts.iter().map(|account| posting(account, 1)).collect();
        eventually("one finds no room", Duration::from_secs(2), async || posts.iter().any(JoinHandle::is_finished)).await;
        let refused = posts.remove(posts.iter().position(JoinHandle::is_finished).unwrap()).await.unwrap();
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{}", refused.text());
        let busy = accounts[6].history(r#""callId":"1""#).await;
        assert_eq!((busy.status, &busy.json()["errorCode"]), (503, &10_000_001.into()));
        held.let_go().await;
        for post in posts {
            assert_eq!(post.await.unwrap().json()["choice"], "success");
        }
        assert_eq!(accounts[6].get("callid=1&caller=110").await.status, 200);
        gateway.stop().await;
    });
}

#[test]
fn strangers_who_send_no_body_take_no_room() {
    on_every_engine(async |test| {
        let gateway = gateway(test, Limits { requests: 3, ..Limits::default() }).await;
        let account = gateway.a_tenant("c").await;
        let mut strangers = Vec::new();
        for path in ["gettoken", "queryRecordHistory", "queryHistory"].repeat(4) {
            let mut stranger = TcpStream::connect(gateway.address).await.unwrap();
            let head = format!("POST /oifde/rest/api/{path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n");
            stranger.write_all(head.as_bytes()).await.unwrap();
            // The gateway asks for the body, or has refused.
            let mut answered = [0; "HTTP/1.1 100".len()];
            stranger.read_exact(&mut answered).await.unwrap();
            strangers.push((stranger, String::from_utf8_lossy(&answered).into_owned()));
        }
        for call in 0..6 {
            assert_eq!(posting(&account, call).await.unwrap().status, 200);
        }
        assert!(strangers.iter().all(|(_, answered)| answered == "HTTP/1.1 100"), "{strangers:?}");
        gateway.stop().await;
    });
}

#[test]
fn a_post_with_a_wait_counts_among_those_that_work() {
    on_every_engine(async |test| {
        let gateway = gateway(test, Limits { requests: 12, ..Limits::default() }).await;
        let account = gateway.a_tenant("c").await;
        let held = test.hold_writes().await;
        let posting = |call: usize| {
            let (client, path) = (gateway.client.clone(), format!("/api/CallData?clientId=c&code={}&wait=30", account.key));
            let body = format!(r#"{{"input":{{"callid":"{call}","callerid":"110"}}}}"#).into_bytes();
            tokio::spawn(async move { client.request("POST", &path, &[], body).await })
        };
        let posts: Vec<_> = (0..10).map(posting).collect();
        // Half of the room, as for any post; more are refused while those wait for the database.
        eventually("four are refused", Duration::from_secs(2), async || posts.iter().filter(|post| post.is_finished()).count() == 4).await;
        held.let_go().await;
        let mut statuses = Vec::new();
        for post in posts {
            statuses.push(post.await.unwrap().status);
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [[200; 6].as_slice(), &[429; 4]].concat());
        gateway.stop().await;
    });
}
