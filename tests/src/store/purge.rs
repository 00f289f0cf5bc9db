//! What has expired is deleted in small steps, and its bytes go from the files (PAR-G10).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use calldata_core::purge::Expired;
use calldata_core::tenant::Retention;
use calldata_core::{Clock, Details, DirectoryStore, Fields, ManualClock, Purge, SessionStore, SystemClock, Tenant};
use calldata_store::Database;
use calldata_testkit::builders::{DAY, a_clock, a_post, a_session, an_import};
use calldata_testkit::engine::{Engine, TestDatabase, on, on_every_engine};
use calldata_testkit::program::eventually;

use super::{all_stored, created_tenant, newest, of_caller, stored};

/// A slice is cut off after 5 ms; then comes its commit, which a disk may stall now and then.
const LONG_HOLD: Duration = Duration::from_millis(50);

fn purge(database: &Database, clock: &Arc<ManualClock>) -> Purge {
    Purge::new(Arc::new(database.clone()), clock.clone())
}

async fn fill(database: &Database, tenant: &Tenant, clock: &ManualClock, name: &str, count: u32) {
    let posts = (0..count).map(|number| a_post(tenant, &format!("{name}{number}"), clock, a_session(&format!("{name}{number}"), "110")));
    all_stored(database, posts.collect()).await;
}

#[test]
fn par_g10_what_has_expired_is_deleted_and_nothing_else() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), Arc::new(a_clock()));
        let (one, two) = (Arc::new(created_tenant(database, "one").await), Arc::new(created_tenant(database, "two").await));
        let tenants = [Arc::clone(&one), Arc::clone(&two)];
        fill(database, &one, &clock, "old", 500).await;
        fill(database, &two, &clock, "old", 3).await;
        clock.advance(DAY);
        fill(database, &one, &clock, "new", 7).await;
        clock.advance(DAY * 29);
        let purge = purge(database, &clock);
        let expired = |tenant: &Tenant, sessions| Expired { tenant: tenant.id, sessions };
        assert_eq!(purge.backlog(&tenants).await.unwrap(), [expired(&one, 500), expired(&two, 3)]);
        assert_eq!(purge.run(&tenants).await.unwrap(), 503);
        assert_eq!(purge.backlog(&tenants).await.unwrap(), []);
        assert_eq!(purge.run(&tenants).await.unwrap(), 0);
        // What has not expired is all there, and what has is gone and not only invisible.
        let long_ago = one.scope(clock.now().minus(DAY * 29));
        assert_eq!(database.history(long_ago, &of_caller("110")).await.unwrap().total, 7);
        assert!(newest(database, long_ago, "old1", "110").await.is_none());
    });
}

#[test]
fn par_g10_half_of_all_slices_hold_others_up_for_50_ms_at_most_even_where_sessions_are_large() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), Arc::new(a_clock()));
        let tenant = Arc::new(created_tenant(database, "c").await);
        fill(database, &tenant, &clock, "small", 4_000).await;
        for number in 0..60 {
            let fields = Fields::parse(&format!(r#"{{"text":"{}"}}"#, "x".repeat(300_000))).unwrap();
            let large = Details { fields, ..a_session(&format!("large{number}"), "110") };
            stored(database, an_import(&tenant, &format!("large{number}"), &*clock, large)).await;
        }
        clock.advance(DAY * 30);
        let (mut held, mut slices) = (Vec::new(), 0);
        loop {
            let slice = database.purge(tenant.id, clock.now()).await.unwrap().unwrap();
            if slice.deleted == 0 {
                break;
            }
            slices += 1;
            held.push(slice.held);
        }
        held.sort();
        let (median, longest) = (held[held.len() / 2], held[held.len() - 1]);
        println!("purge of 4 060 sessions: {slices} slices, held for {median:?} (median), {longest:?} (longest)");
        assert!(slices > 1, "{slices}");
        assert!(median <= LONG_HOLD, "{median:?}");
    });
}

#[test]
fn one_instance_purges_at_a_time() {
    on(&[Engine::Postgres], TestDatabase::new, async |test| {
        let (database, clock) = (test.database(), Arc::new(a_clock()));
        let tenant = Arc::new(created_tenant(database, "c").await);
        fill(database, &tenant, &clock, "old", 2_000).await;
        clock.advance(DAY * 30);
        let other = test.open_again().await;
        let tenants = [tenant];
        let (first, second) = (purge(database, &clock), purge(&other, &clock));
        let (first, second) = tokio::join!(first.run(&tenants), second.run(&tenants));
        // Whoever finds the other at it leaves it to the other.
        assert_eq!(first.unwrap() + second.unwrap(), 2_000);
    });
}

#[test]
fn par_g10_a_purge_goes_by_the_retention_that_is_stored_and_not_by_the_one_that_was_read() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), Arc::new(a_clock()));
        let stale = Arc::new(created_tenant(database, "c").await);
        fill(database, &stale, &clock, "old", 10).await;
        let longer = Tenant { retention: Retention::days(365).unwrap(), ..(*stale).clone() };
        database.update_tenant(&longer).await.unwrap();
        clock.advance(DAY * 30);
        // Whoever purges has not heard of the change.
        assert_eq!(purge(database, &clock).run(&[stale]).await.unwrap(), 0);
        assert_eq!(database.history(longer.scope(clock.now()), &of_caller("110")).await.unwrap().total, 10);
    });
}

#[test]
fn on_a_server_nothing_is_purged_by_a_clock_that_is_ahead() {
    on(&[Engine::Postgres], TestDatabase::new, async |test| {
        let database = test.database();
        let now = SystemClock::default().now();
        let clock = Arc::new(ManualClock::at(now));
        let tenant = Arc::new(created_tenant(database, "c").await);
        fill(database, &tenant, &clock, "new", 10).await;
        clock.advance(DAY * 3_650);
        assert_eq!(purge(database, &clock).run(&[Arc::clone(&tenant)]).await.unwrap(), 0);
        assert_eq!(database.history(tenant.scope(now), &of_caller("110")).await.unwrap().total, 10);
    });
}

/// Whether the text is anywhere in the database's files.
fn is_in_files(file: &Path, text: &str) -> bool {
    ["", "-wal", "-shm"].iter().any(|suffix| {
        let mut path = file.as_os_str().to_owned();
        path.push(suffix);
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[test]
fn par_g10_deleted_bytes_are_gone_from_the_raw_files() {
    on(&[Engine::Sqlite], TestDatabase::new, async |test| {
        let (database, clock) = (test.database(), Arc::new(a_clock()));
        let tenant = Arc::new(created_tenant(database, "c").await);
        // Small ones between others that stay, and ones that need pages of their own.
        for number in 0..300 {
            let size = if number % 10 == 0 { 20_000 } else { 30 };
            let fields = Fields::parse(&format!(r#"{{"text":"CANARY-{number}-{}-CANARY"}}"#, "y".repeat(size))).unwrap();
            let details = Details { fields, ..a_session(&format!("CANARY-CALL-{number}"), &format!("CANARY-CALLER-{number}")) };
            stored(database, a_post(&tenant, &format!("CANARY-ID-{number}"), &*clock, details)).await;
            if number % 3 == 0 {
                clock.advance(Duration::from_millis(1));
            }
        }
        clock.advance(DAY);
        fill(database, &tenant, &clock, "stays", 300).await;
        let file = test.file().unwrap();
        assert!(is_in_files(file, "CANARY"));
        clock.advance(DAY * 29);
        let tenants = [Arc::clone(&tenant)];
        assert_eq!(purge(database, &clock).run(&tenants).await.unwrap(), 300);
        assert!(database.wipe_deleted().await.unwrap());
        assert!(!is_in_files(file, "CANARY"), "something of what was deleted is still in the files");
        assert_eq!(database.history(tenant.scope(clock.now()), &of_caller("110")).await.unwrap().total, 300);
    });
}

/// An import may give an expired session that is still stored a new life (OIF-R2), also while a purge is about to delete it.
#[test]
fn par_g10_what_is_imported_anew_while_a_purge_is_at_it_stays() {
    on(&[Engine::Postgres], TestDatabase::new, async |test| {
        let (database, clock) = (test.database(), Arc::new(a_clock()));
        let tenant = Arc::new(created_tenant(database, "c").await);
        stored(database, an_import(&tenant, "anew", &*clock, a_session("anew", "110"))).await;
        clock.advance(DAY * 30);
        stored(database, an_import(&tenant, "other", &*clock, a_session("other", "110"))).await;
        // The import has written the first row and waits for the second one; the purge has read the first row as it was.
        let held = test.hold_session("other").await;
        let import = ["anew", "other"].map(|id| an_import(&tenant, id, &*clock, a_session(id, "110"))).into();
        let import = tokio::spawn({
            let database = database.clone();
            async move { database.write(import).await }
        });
        eventually("the import waits", Duration::from_secs(2), async || held.waiting().await == 1).await;
        let purge = tokio::spawn({
            let (database, id, now) = (database.clone(), tenant.id, clock.now());
            async move { database.purge(id, now).await }
        });
        eventually("the purge waits", Duration::from_secs(2), async || held.waiting().await == 2).await;
        held.let_go().await;
        let import = import.await.unwrap();
        assert!(import.iter().all(Result::is_ok), "{import:?}");
        assert!(purge.await.unwrap().is_ok());
        let kept = newest(database, tenant.scope(clock.now()), "anew", "110").await;
        assert!(kept.is_some(), "the import was acknowledged ({:?}), and the session is gone", import[0]);
    });
}
