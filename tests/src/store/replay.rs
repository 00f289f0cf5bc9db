//! PAR-P7: the same post again is the same session.

use std::sync::Arc;
use std::time::Duration;

use calldata_core::port::{HistoryPage, Write, Written};
use calldata_core::{Clock, Details, Fields, SessionStore, StoreError, Tenant};
use calldata_store::Database;
use calldata_testkit::builders::{a_clock, a_post, a_session, session_id, start};
use calldata_testkit::engine::on_every_engine;
use tokio::task::JoinSet;

use super::{all_stored, created_tenant, newest, of_caller, stored};

const WINDOW: Duration = Duration::from_mins(10);

fn created(id: &str) -> Written {
    Written::Created(session_id(id))
}

fn updated(id: &str) -> Written {
    Written::Updated(session_id(id))
}

async fn page(database: &Database, tenant: &Tenant) -> HistoryPage {
    database.history(tenant.scope(start()), &of_caller("110")).await.unwrap()
}

#[test]
fn par_p7_the_same_post_within_a_batch_is_one_session() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let post = |id| a_post(&tenant, id, &clock, a_session("call", "110"));
        assert_eq!(all_stored(database, vec![post("a"), post("b"), post("c")]).await, [created("a"), updated("a"), updated("a")]);
        assert_eq!(page(database, &tenant).await.total, 1);
    });
}

#[test]
fn par_p7_the_same_post_in_two_batches_is_one_session() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let post = |id, call| a_post(&tenant, id, &clock, a_session(call, "110"));
        assert_eq!(stored(database, post("a", "call")).await, created("a"));
        assert_eq!(all_stored(database, vec![post("b", "other"), post("c", "call")]).await, [created("b"), updated("a")]);
        assert_eq!(page(database, &tenant).await.total, 2);
    });
}

#[test]
fn par_p7_a_post_that_differs_in_anything_is_another_session() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let details = a_session("call", "110");
        let other_fields = Details { fields: Fields::parse(r#"{"topic":"other"}"#).unwrap(), ..details.clone() };
        let posts = [details, other_fields, a_session("call", "112"), a_session("call-2", "110")];
        let ids = ["a", "b", "c", "d"];
        let batch = ids.iter().zip(posts).map(|(id, details)| a_post(&tenant, id, &clock, details));
        assert_eq!(all_stored(database, batch.collect()).await, ids.map(created));
    });
}

#[test]
fn par_p7_the_same_post_from_many_tasks_at_once_is_one_session() {
    on_every_engine(async |test| {
        at_once(&[test.database().clone()]).await;
    });
}

#[test]
fn par_p7_the_same_post_at_two_instances_at_once_is_one_session() {
    on_every_engine(async |test| {
        at_once(&[test.database().clone(), test.open_again().await]).await;
    });
}

/// Sixteen tasks write the same post at once, twice: when there is none yet, and when the one that is there is too old. Each batch
/// also holds posts that others write, in another order.
async fn at_once(instances: &[Database]) {
    let clock = a_clock();
    let tenant = Arc::new(created_tenant(&instances[0], "c").await);
    for (round, expected_total) in [("first", 3), ("second", 6)] {
        let now = clock.now();
        let mut tasks = JoinSet::new();
        for task in 0..16_usize {
            let (database, tenant) = (instances[task % instances.len()].clone(), Arc::clone(&tenant));
            tasks.spawn(async move {
                let clock = calldata_core::ManualClock::at(now);
                let mut batch: Vec<Write> = ["x", "y", "z"]
                    .map(|call| a_post(&tenant, &format!("{round}-{task:02}-{call}"), &clock, a_session(call, "110")))
                    .into();
                batch.rotate_left(task % 3);
                batch.iter().map(|write| write.details.call_id.clone()).zip(database.write(batch.clone()).await).collect::<Vec<_>>()
            });
        }
        let mut ids: std::collections::BTreeMap<_, Vec<_>> = std::collections::BTreeMap::new();
        let mut number_created = 0;
        for (call, result) in tasks.join_all().await.into_iter().flatten() {
            let id = match result {
                Ok(Written::Created(id)) => {
                    number_created += 1;
                    id
                }
                Ok(Written::Updated(id)) => id,
                other => panic!("{round}: {call}: {other:?}"),
            };
            ids.entry(call).or_default().push(id);
        }
        assert_eq!(number_created, 3, "{round}: exactly one of each is told that it is the first");
        for (call, mut same) in ids {
            assert_eq!(same.len(), 16);
            same.dedup();
            assert_eq!(same.len(), 1, "{round}: {call}: all are told the same session");
        }
        assert_eq!(page(&instances[0], &tenant).await.total, expected_total, "{round}");
        clock.advance(WINDOW + Duration::from_millis(1));
    }
}

#[test]
fn par_p7_a_refreshed_session_is_the_newest_again_and_nothing_else_of_it_changes() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let first = a_session("call", "110");
        let second = Details { fields: Fields::parse(r#"{"topic":"second"}"#).unwrap(), ..first.clone() };
        stored(database, a_post(&tenant, "a", &clock, first.clone())).await;
        clock.advance(Duration::from_secs(1));
        stored(database, a_post(&tenant, "b", &clock, second)).await;
        assert_eq!(newest(database, tenant.scope(start()), "call", "110").await.unwrap().id, session_id("b"));
        clock.advance(Duration::from_secs(1));
        assert_eq!(stored(database, a_post(&tenant, "c", &clock, first.clone())).await, updated("a"));
        let found = newest(database, tenant.scope(start()), "call", "110").await.unwrap();
        assert_eq!((found.id, found.received_first, found.received_last), (session_id("a"), start(), clock.now()));
        assert_eq!(found.details, first);
    });
}

#[test]
fn par_p7_a_post_that_overtook_a_later_one_does_not_make_the_session_older() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let early = a_post(&tenant, "early", &clock, a_session("call", "110"));
        clock.advance(Duration::from_secs(5));
        stored(database, a_post(&tenant, "late", &clock, a_session("call", "110"))).await;
        assert_eq!(stored(database, early).await, updated("late"));
        assert_eq!(newest(database, tenant.scope(start()), "call", "110").await.unwrap().received_last, clock.now());
    });
}

#[test]
fn par_p7_at_ten_minutes_it_is_the_same_and_after_them_another() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let post = |id| a_post(&tenant, id, &clock, a_session("call", "110"));
        stored(database, post("a")).await;
        clock.advance(WINDOW);
        assert_eq!(stored(database, post("b")).await, updated("a"));
        clock.advance(Duration::from_millis(1));
        assert_eq!(stored(database, post("c")).await, created("c"), "ten minutes count from the first receipt, not from the last");
        assert_eq!(stored(database, post("d")).await, updated("c"));
        assert_eq!(page(database, &tenant).await.total, 2);
    });
}

#[test]
fn par_p7_a_refused_post_leaves_nothing_that_its_repetition_could_find() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let stranger = calldata_testkit::builders::a_tenant("c");
        let post = |id| a_post(&stranger, id, &clock, a_session("call", "110"));
        let refused = database.write(vec![post("a")]).await.pop().unwrap();
        assert!(matches!(refused, Err(StoreError::NoSuchTenant)), "{refused:?}");
        let tenant = created_tenant(database, "c").await;
        assert_eq!(stored(database, post("b")).await, created("b"));
        assert_eq!(page(database, &tenant).await.total, 1);
    });
}
