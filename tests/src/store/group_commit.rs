//! Many writes, one commit: each gets its own answer, whatever befalls it or the others.

use std::ops::Range;
use std::task::Poll;
use std::time::{Duration, Instant};

use calldata_core::audit::{Action, Entry, EntryFilter};
use calldata_core::port::{AuditStore, Write, Written};
use calldata_core::{KeyId, SessionStore, StoreError, Tenant};
use calldata_store::Database;
use calldata_testkit::builders::{a_clock, a_post, a_session, a_tenant, session_id, start};
use calldata_testkit::engine::{Engine, TestDatabase, on, on_every_engine};
use calldata_testkit::program::eventually;
use tokio::task::{JoinHandle, JoinSet};

use super::{created_tenant, newest, of_caller};

type Outcome = Result<Written, StoreError>;

fn post(tenant: &Tenant, id: &str) -> Write {
    a_post(tenant, id, &a_clock(), a_session(id, "110"))
}

fn begun(database: &Database, write: Write) -> JoinHandle<Outcome> {
    let database = database.clone();
    tokio::spawn(async move { database.write(vec![write]).await.pop().unwrap() })
}

async fn count(database: &Database, tenant: &Tenant) -> u64 {
    database.history(tenant.scope(start()), &of_caller("110")).await.unwrap().total
}

#[test]
fn writes_that_wait_together_are_all_answered_each_with_its_own_session() {
    on_every_engine(async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        // All of these wait while nothing can be committed.
        let held = test.hold_writes().await;
        let writes: Vec<_> = (0..1_000).map(|number| begun(database, post(&tenant, &format!("s{number}")))).collect();
        tokio::task::yield_now().await;
        held.let_go().await;
        for (number, write) in writes.into_iter().enumerate() {
            assert_eq!(write.await.unwrap().unwrap(), Written::Created(session_id(&format!("s{number}"))));
        }
        assert_eq!(count(database, &tenant).await, 1_000);
    });
}

fn notes(tenant: &Tenant, ids: Range<i64>) -> Vec<Entry> {
    let note = |id| {
        let (key, caller) = (KeyId::new("k").unwrap(), Some("hmac:x".to_owned()));
        Entry { id, at: start(), tenant: tenant.id, key, action: Action::Read, caller, sessions: 1 }
    };
    ids.map(note).collect()
}

async fn noted(database: &Database, tenant: &Tenant) -> usize {
    database.audit(tenant.id, &EntryFilter::default(), None, 1_000).await.unwrap().len()
}

#[test]
fn who_did_what_is_written_whether_sessions_arrive_meanwhile_or_not() {
    on_every_engine(async |test| {
        let database = test.database();
        let (tenant, stranger) = (created_tenant(database, "c").await, a_tenant("nobody"));
        database.append_audit(&notes(&tenant, 0..100)).await.unwrap();
        assert_eq!(noted(database, &tenant).await, 100, "while nothing else is written");
        let held = test.hold_writes().await;
        let writes: Vec<_> = (0..20).map(|number| begun(database, post(&tenant, &format!("s{number}")))).collect();
        let bad = begun(database, post(&stranger, "bad"));
        let noting = {
            let (database, notes) = (database.clone(), notes(&tenant, 100..300));
            tokio::spawn(async move { database.append_audit(&notes).await })
        };
        tokio::task::yield_now().await;
        held.let_go().await;
        for write in writes {
            write.await.unwrap().unwrap();
        }
        assert!(matches!(bad.await.unwrap(), Err(StoreError::NoSuchTenant)), "and nobody else has to suffer");
        noting.await.unwrap().unwrap();
        assert_eq!((count(database, &tenant).await, noted(database, &tenant).await), (20, 300));
    });
}

#[test]
fn a_note_that_cannot_be_written_takes_no_session_along() {
    on_every_engine(async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        test.refuse_note(2).await;
        database.append_audit(&notes(&tenant, 1..2)).await.unwrap();
        let held = test.hold_writes().await;
        let write = begun(database, post(&tenant, "s"));
        let refused = {
            let (database, note) = (database.clone(), notes(&tenant, 2..3));
            tokio::spawn(async move { database.append_audit(&note).await })
        };
        tokio::task::yield_now().await;
        held.let_go().await;
        write.await.unwrap().unwrap();
        refused.await.unwrap().unwrap_err();
        assert_eq!((count(database, &tenant).await, noted(database, &tenant).await), (1, 1));
    });
}

#[test]
fn of_writes_that_wait_together_a_bad_one_fails_alone() {
    on_every_engine(async |test| {
        let database = test.database();
        let (tenant, stranger) = (created_tenant(database, "c").await, a_tenant("nobody"));
        let held = test.hold_writes().await;
        // The first one is taken at once; those after it share the next commit.
        let mut writes: Vec<_> = (0..20).map(|number| begun(database, post(&tenant, &format!("s{number}")))).collect();
        let bad = begun(database, post(&stranger, "bad"));
        writes.extend((20..40).map(|number| begun(database, post(&tenant, &format!("s{number}")))));
        tokio::task::yield_now().await;
        held.let_go().await;
        assert!(matches!(bad.await.unwrap(), Err(StoreError::NoSuchTenant)));
        for write in writes {
            assert!(matches!(write.await.unwrap(), Ok(Written::Created(_))));
        }
        assert_eq!(count(database, &tenant).await, 40);
    });
}

#[test]
fn within_one_batch_a_bad_write_fails_alone() {
    on_every_engine(async |test| {
        let database = test.database();
        let (tenant, stranger) = (created_tenant(database, "c").await, a_tenant("nobody"));
        let results = database.write(vec![post(&tenant, "a"), post(&stranger, "b"), post(&tenant, "c")]).await;
        assert!(matches!(&results[..], [Ok(Written::Created(_)), Err(StoreError::NoSuchTenant), Ok(Written::Created(_))]), "{results:?}");
        assert_eq!(count(database, &tenant).await, 2);
    });
}

#[test]
fn who_stops_waiting_cancels_nothing() {
    on_every_engine(async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        let held = test.hold_writes().await;
        let mut write = Box::pin(database.write(vec![post(&tenant, "s")]));
        let asked = std::future::poll_fn(|context| Poll::Ready(write.as_mut().poll(context).is_pending())).await;
        assert!(asked, "it waits");
        drop(write);
        held.let_go().await;
        eventually("the write is made", Duration::from_secs(5), async || {
            newest(database, tenant.scope(start()), "s", "110").await.is_some()
        })
        .await;
    });
}

#[test]
fn what_cannot_be_written_in_time_is_refused_and_not_stored() {
    on_every_engine(async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        let held = test.hold_writes().await;
        let began = Instant::now();
        let write = begun(database, post(&tenant, "s"));
        assert!(matches!(write.await.unwrap(), Err(StoreError::Busy(_))));
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        held.let_go().await;
        assert_eq!(count(database, &tenant).await, 0);
        assert_eq!(database.write(vec![post(&tenant, "s")]).await.pop().unwrap().unwrap(), Written::Created(session_id("s")));
    });
}

#[test]
fn a_full_queue_refuses_at_once_and_still_takes_other_tenants() {
    on_every_engine(async |test| {
        let database = test.database();
        let (flooding, other) = (created_tenant(database, "flooding").await, created_tenant(database, "other").await);
        let held = test.hold_writes().await;
        let mut flood = JoinSet::new();
        for number in 0..6_000 {
            let (database, write) = (database.clone(), post(&flooding, &format!("s{number}")));
            flood.spawn(async move {
                let began = Instant::now();
                (database.write(vec![write]).await.pop().unwrap(), began.elapsed())
            });
        }
        // The refused ones are the first to have an answer.
        let (first, took) = flood.join_next().await.unwrap().unwrap();
        assert!(matches!(first, Err(StoreError::Busy(_))), "{first:?}");
        assert!(took < Duration::from_millis(500), "{took:?}");
        // Until so many are refused, some of the flood may come when there is room again.
        for _ in 1..6_000 - 4_096 - 512 {
            assert!(matches!(flood.join_next().await.unwrap().unwrap().0, Err(StoreError::Busy(_))));
        }
        let others = begun(database, post(&other, "o"));
        tokio::task::yield_now().await;
        held.let_go().await;
        assert_eq!(others.await.unwrap().unwrap(), Written::Created(session_id("o")));
        let mut stored = 0;
        while let Some(outcome) = flood.join_next().await {
            match outcome.unwrap().0 {
                Ok(_) => stored += 1,
                Err(StoreError::Busy(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        assert!((1..=4_096 + 512).contains(&stored), "{stored}: half of the queue, and what was taken out of it before it was full");
        assert_eq!(
            database.history(flooding.scope(start()), &of_caller("110")).await.unwrap().total,
            stored,
            "what was refused is not there"
        );
    });
}

#[test]
fn the_task_that_commits_ends_with_the_database() {
    on_every_engine(async |test| {
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let tenant = created_tenant(test.database(), "c").await;
        let before = tasks();
        let database = test.open_again().await;
        let write = begun(&database, post(&tenant, "s"));
        assert!(tasks() > before);
        drop(database);
        assert!(write.await.unwrap().is_ok(), "what waits is still written");
        eventually("its tasks end", Duration::from_secs(10), async || tasks() <= before).await;
    });
}

/// Raises an error in the first `times` transactions that insert a session, at once or at their COMMIT.
async fn trouble(test: &TestDatabase, code: &str, times: u32, at_commit: bool) {
    let trigger = if at_commit {
        "CREATE CONSTRAINT TRIGGER trouble AFTER INSERT ON session DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
    } else {
        "CREATE TRIGGER trouble BEFORE INSERT ON session FOR EACH ROW"
    };
    test.execute(&format!(
        "CREATE SEQUENCE troubles;
         CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('troubles') <= {times} THEN RAISE EXCEPTION 'trouble' USING ERRCODE = '{code}'; END IF;
             RETURN NEW;
         END $$;
         {trigger} EXECUTE FUNCTION trouble();"
    ))
    .await;
}

fn on_postgresql(behaviour: impl AsyncFn(&TestDatabase)) {
    on(&[Engine::Postgres], TestDatabase::new, behaviour);
}

#[test]
fn a_lost_conflict_is_made_again_up_to_five_times() {
    for (code, at_commit) in [("40001", false), ("40P01", false), ("40001", true)] {
        on_postgresql(async |test| {
            let database = test.database();
            let tenant = created_tenant(database, "c").await;
            trouble(test, code, 5, at_commit).await;
            assert!(matches!(database.write(vec![post(&tenant, "s")]).await.pop().unwrap(), Ok(Written::Created(_))), "{code}");
            assert_eq!(count(database, &tenant).await, 1);
        });
        on_postgresql(async |test| {
            let database = test.database();
            let tenant = created_tenant(database, "c").await;
            trouble(test, code, 6, at_commit).await;
            assert!(matches!(database.write(vec![post(&tenant, "s")]).await.pop().unwrap(), Err(StoreError::Busy(_))), "{code}");
            assert!(database.write(vec![post(&tenant, "s")]).await.pop().unwrap().is_ok(), "the next one is not concerned");
        });
    }
}

#[test]
fn an_unknown_outcome_is_told_as_such_and_the_retry_is_the_same_session() {
    on_postgresql(async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        trouble(test, "58030", 1, true).await;
        assert!(matches!(database.write(vec![post(&tenant, "s")]).await.pop().unwrap(), Err(StoreError::Unconfirmed(_))));
        assert!(database.write(vec![post(&tenant, "t")]).await.pop().unwrap().is_ok());
        assert!(database.write(vec![post(&tenant, "s")]).await.pop().unwrap().is_ok());
        assert_eq!(count(database, &tenant).await, 2);
    });
}

#[test]
fn a_full_disk_of_a_server_is_told_as_such() {
    on_postgresql(async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        trouble(test, "53100", 1, false).await;
        assert!(matches!(database.write(vec![post(&tenant, "s")]).await.pop().unwrap(), Err(StoreError::NoRoom(_))));
        assert!(database.write(vec![post(&tenant, "s")]).await.pop().unwrap().is_ok());
    });
}

#[test]
fn par_p3_a_commit_waits_for_the_disk_on_a_server_that_is_set_otherwise() {
    on_postgresql(async |test| {
        let name = test.url();
        let (_, name) = name.rsplit_once('/').unwrap();
        test.execute(&format!("ALTER DATABASE {name} SET synchronous_commit = off")).await;
        test.execute(
            "CREATE FUNCTION durable() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF current_setting('synchronous_commit') = 'off' THEN RAISE EXCEPTION 'not durable'; END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER durable BEFORE INSERT ON session FOR EACH ROW EXECUTE FUNCTION durable();",
        )
        .await;
        let database = test.open_again().await;
        let tenant = created_tenant(&database, "c").await;
        assert!(matches!(database.write(vec![post(&tenant, "s")]).await.pop().unwrap(), Ok(Written::Created(_))));
    });
}
