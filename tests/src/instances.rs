//! Several instances on one server behave as one. What they write at the same time is in `store::replay`, what one revokes in
//! `cli::serving`, tokens in `contract::oifde_tokens`, waiting in `contract::parloa_wait`.

use std::sync::Arc;
use std::time::Duration;

use calldata_core::DirectoryStore;
use calldata_core::{Clock, ManualClock, SessionStore, SystemClock};
use calldata_http::Limits;
use calldata_testkit::builders::{a_clock, a_post, a_session, a_tenant};
use calldata_testkit::engine::{Engine, TestDatabase, on};
use calldata_testkit::gateway::Gateway;

fn on_postgresql(behaviour: impl AsyncFn(&TestDatabase)) {
    on(&[Engine::Postgres], TestDatabase::new, behaviour);
}

#[test]
fn what_one_stores_the_other_hears_of_without_looking() {
    on_postgresql(async |test| {
        let (here, there) = (test.database(), test.open_again().await);
        let tenant = a_tenant("c");
        here.create_tenant(&tenant).await.unwrap();
        for number in 0..3 {
            let id = format!("s{number}");
            // It looks by itself every two seconds once it listens, which it does after the first word.
            here.elsewhere().await;
            let hears = here.elsewhere();
            let stores = there.write(vec![a_post(&tenant, &id, &a_clock(), a_session(&id, "110"))]);
            let both = async { tokio::join!(hears, stores) };
            assert!(tokio::time::timeout(Duration::from_millis(1_900), both).await.is_ok(), "round {number}");
        }
    });
}

#[test]
fn a_clock_that_is_off_by_more_than_a_second_makes_an_instance_not_ready() {
    on_postgresql(async |test| {
        for (ahead_ms, status) in [(0, 200), (700, 200), (-700, 200), (1_500, 503), (-1_500, 503)] {
            let now = SystemClock::default().now().epoch_ms() + ahead_ms;
            let clock = Arc::new(ManualClock::at(calldata_core::Timestamp::clamped(now)));
            let gateway = Gateway::start_with(test.database().clone(), clock, Limits::default()).await;
            let ready = gateway.client.request("GET", "/readyz", &[], Vec::new()).await;
            assert_eq!(ready.status, status, "{ahead_ms}: {}", ready.text());
            assert_eq!(ready.text().contains("clock"), status == 503, "{ahead_ms}: {}", ready.text());
            gateway.stop().await;
        }
    });
}
