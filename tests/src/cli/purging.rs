//! `purge`, and what a running server purges by itself (PAR-G10).

use std::sync::Arc;
use std::time::Duration;

use calldata_core::{Clock, DirectoryStore, SessionStore};
use calldata_http::Limits;
use calldata_testkit::builders::{DAY, a_clock, a_post, a_session, a_tenant};
use calldata_testkit::engine::{TestDatabase, on_every_engine};
use calldata_testkit::gateway::Gateway;
use calldata_testkit::program::{Place, eventually};

/// A tenant `c` with so many sessions of long ago.
async fn with_old_sessions(test: &TestDatabase, count: u32) {
    let tenant = a_tenant("c");
    test.database().create_tenant(&tenant).await.unwrap();
    let posts = (0..count).map(|number| a_post(&tenant, &format!("s{number}"), &a_clock(), a_session(&format!("s{number}"), "110")));
    assert!(test.database().write(posts.collect()).await.iter().all(Result::is_ok));
}

#[test]
fn purge_shows_what_has_expired_and_deletes_it() {
    on_every_engine(async |test| {
        with_old_sessions(test, 12).await;
        let place = Place::with_database(test);
        let shown = place.run(&["purge", "--dry-run"]).fine();
        assert!(shown.contains("EXPIRED SESSIONS") && shown.contains("12"), "{shown}");
        assert_eq!(place.run(&["purge", "--dry-run", "--json"]).json()["expired"][0]["sessions"], 12);
        assert_eq!(place.run(&["purge"]).fine(), "deleted 12 expired sessions\n");
        assert_eq!(place.run(&["purge", "--json"]).json()["deleted"], 0);
        assert_eq!(place.run(&["purge", "--dry-run", "--json"]).json()["expired"], serde_json::json!([]));
    });
}

#[test]
fn a_running_server_purges_by_itself() {
    on_every_engine(async |test| {
        let gateway = Gateway::start(test).await;
        let account = gateway.a_tenant("c").await;
        assert_eq!(account.post(r#"{"callid":"1","callerid":"110","text":"CANARY"}"#).await.status, 200);
        gateway.stop().await;
        // A leap of the clock while it runs would make it cautious.
        let clock = a_clock();
        clock.advance(DAY * 30);
        let until = account.tenant.horizon(clock.now());
        let gateway = Gateway::start_with(test.database().clone(), Arc::new(clock), Limits::default()).await;
        // Something arrives, so that the clock is believed.
        assert_eq!(gateway.account(&account).post(r#"{"callid":"2","callerid":"110"}"#).await.status, 200);
        eventually("the session is deleted", Duration::from_secs(30), async || {
            test.database().count_received_until(account.tenant.id, until).await.unwrap() == 0
        })
        .await;
        if let Some(file) = test.file() {
            let log = file.with_extension("db-wal");
            let holds = |path: &std::path::Path| std::fs::read(path).unwrap().windows(6).any(|window| window == b"CANARY");
            eventually("its bytes are gone", Duration::from_secs(30), async || !holds(file) && !holds(&log)).await;
        }
        gateway.stop().await;
    });
}
