//! Waiting for a record (PAR-G11).

use std::time::{Duration, Instant};

use calldata_http::Limits;
use calldata_testkit::client::{Answer, Client};
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::{Account, Gateway};
use tokio::task::JoinHandle;

use super::parloa_requests::{assert_miss, store};

const RECORD: &str = r#"{"callid":"1","callerid":"0301234567"}"#;
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn par_g11_who_waits_is_answered_as_soon_as_the_record_is_there() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let began = Instant::now();
        let waiters: Vec<_> = (0..5).map(|_| waiting(&account, "wait=30")).collect();
        nothing_matches(&account).await;
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()), "what does not match is no answer");
        store(&account, RECORD).await;
        for waiter in waiters {
            let answer = waiter.await.unwrap();
            assert_eq!((answer.status, answer.json()["callid"].as_str()), (200, Some("1")));
        }
        assert!(began.elapsed() < 10 * SECOND, "{:?}", began.elapsed());
        gateway.stop().await;
    });
}

#[test]
fn par_g11_a_record_that_is_there_is_given_at_once_and_one_too_old_is_waited_for() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let began = Instant::now();
        store(&account, RECORD).await;
        assert_eq!(waiting(&account, "wait=30").await.unwrap().json()["callid"], "1");
        gateway.clock.advance(61 * SECOND);
        let waiter = waiting(&account, "wait=30");
        nothing_matches(&account).await;
        assert!(!waiter.is_finished());
        store(&account, RECORD).await;
        assert_eq!(waiter.await.unwrap().json()["timestamp"], "2024-02-27T12:17:24.926Z");
        assert!(began.elapsed() < 10 * SECOND, "{:?}", began.elapsed());
        gateway.stop().await;
    });
}

#[test]
fn par_g11_when_the_time_is_up_the_miss_is_told() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        store(&account, r#"{"callid":"1","callerid":"b"}"#).await;
        for (wait, least, most) in [("", 0, 1), ("wait=", 0, 1), ("wait=0", 0, 1), ("WAIT=1", 1, 3)] {
            let began = Instant::now();
            assert_miss(&waiting(&account, wait).await.unwrap(), "caller-mismatch");
            let took = began.elapsed();
            assert!(took >= least * SECOND && took < most * SECOND, "{wait}: {took:?}");
        }
        let began = Instant::now();
        for unusable in ["31", "-1", "1.5", "x", "%2B5", "99999999999999999999999"] {
            assert_miss(&waiting(&account, &format!("wait={unusable}")).await.unwrap(), "invalid-parameter; name=wait");
        }
        assert!(began.elapsed() < 4 * SECOND, "nobody waits for that");
        gateway.stop().await;
    });
}

#[test]
fn par_g11_a_wait_may_outlast_the_deadline_of_other_requests() {
    on_every_engine(async |database| {
        let clock = std::sync::Arc::new(calldata_testkit::builders::a_clock());
        let limits = Limits { deadline: SECOND / 2, ..Limits::default() };
        let gateway = Gateway::start_with(database.database().clone(), clock, limits).await;
        let account = gateway.a_tenant("c").await;
        assert_miss(&waiting(&account, "wait=1").await.unwrap(), "no-such-call");
        gateway.stop().await;
    });
}

#[test]
fn par_g11_who_waits_is_not_woken_by_another_tenant() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let (account, other) = (gateway.a_tenant("c").await, gateway.a_tenant("d").await);
        let waiter = waiting(&account, "wait=1");
        nothing_matches(&account).await;
        store(&other, RECORD).await;
        assert_miss(&waiter.await.unwrap(), "caller-mismatch");
        gateway.stop().await;
    });
}

#[test]
fn par_g11_a_stop_answers_who_waits_at_once() {
    on_every_engine(async |database| {
        let mut gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let began = Instant::now();
        let waiters: Vec<_> = (0..5).map(|_| waiting(&account, "wait=30")).collect();
        nothing_matches(&account).await;
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        gateway.begin_to_stop();
        for waiter in waiters {
            assert_miss(&waiter.await.unwrap(), "caller-mismatch");
        }
        gateway.stop().await;
        assert!(began.elapsed() < 4 * SECOND, "sooner than a stop is forced: {:?}", began.elapsed());
    });
}

#[test]
fn par_g11_a_record_that_arrives_at_another_instance_is_there_within_a_second() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let second = Gateway::start_with(database.open_again().await, gateway.clock.clone(), Limits::default()).await;
        let waiter = waiting_at(second.client.clone(), "wait=5");
        nothing_matches(&account).await;
        store(&account, RECORD).await;
        let began = Instant::now();
        assert_eq!(waiter.await.unwrap().json()["callid"], "1");
        assert!(began.elapsed() < 2 * SECOND, "{:?}", began.elapsed());
        second.stop().await;
        gateway.stop().await;
    });
}

/// Begins to fetch [`RECORD`].
fn waiting(account: &Account, more: &str) -> JoinHandle<Answer> {
    let (account, query) = (account.clone(), format!("callid=1&caller=%2B49301234567&{more}"));
    tokio::spawn(async move { account.get(&query).await })
}

fn waiting_at(client: Client, more: &str) -> JoinHandle<Answer> {
    let path = format!("/api/CallData?clientId=c&code=secret-of-c&callid=1&caller=%2B49301234567&{more}");
    tokio::spawn(async move { client.request("GET", &path, &[], Vec::new()).await })
}

/// Stores what nobody waits for. That takes its time, in which those who were about to wait have begun to.
async fn nothing_matches(account: &Account) {
    for number in 0..20 {
        store(account, &format!(r#"{{"callid":"1","callerid":"someone else","x":{number}}}"#)).await;
        store(account, &format!(r#"{{"callid":"other","callerid":"0301234567","x":{number}}}"#)).await;
    }
}
