//! Which session is the answer, and whose.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use calldata_core::port::{HistoryPage, HistoryQuery, Written};
use calldata_core::{Clock, Details, SessionStore, StoreError};
use calldata_testkit::builders::{a_clock, a_post, a_session, a_tenant, an_import, call_id, caller_key, session_id, start};
use calldata_testkit::engine::on_every_engine;
use tokio::task::JoinSet;

use super::{all_stored, created_tenant, history_ids, newest, of_call, of_caller, stored};

#[test]
fn par_g1_the_newest_by_last_receipt_then_by_identifier_is_the_answer() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let details = a_session("call", "030 123456");
        let mut late = an_import(&tenant, "a", &clock, details.clone());
        late.received_last = start().plus(Duration::from_millis(1));
        late.received_first = start().minus(Duration::from_mins(1));
        all_stored(database, vec![late, an_import(&tenant, "b", &clock, details.clone()), an_import(&tenant, "c", &clock, details)]).await;
        let scope = tenant.scope(start());
        assert_eq!(newest(database, scope, "call", "+4930123456").await.unwrap().id, session_id("a"), "last receipt first");
        let mut tie = an_import(&tenant, "Z", &clock, a_session("call", "030123456"));
        tie.received_last = start().plus(Duration::from_millis(1));
        stored(database, tie).await;
        let found = newest(database, scope, "call", "+4930123456").await.unwrap().id;
        assert_eq!(found, session_id("a"), "of a tie the greater, byte by byte on every engine: Z is before a");
    });
}

#[test]
fn par_g1_call_and_caller_are_matched_exactly() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let scope = tenant.scope(start());
        stored(database, a_post(&tenant, "s", &clock, a_session("Call-1", "Anonymous"))).await;
        assert!(newest(database, scope, "Call-1", "Anonymous").await.is_some());
        for (call, caller) in
            [("call-1", "Anonymous"), ("Call-1", "anonymous"), ("Call-1 ", "Anonymous"), ("Call_1", "Anonymous"), ("Call%", "Anonymous")]
        {
            assert_eq!(newest(database, scope, call, caller).await, None, "{call} {caller}");
        }
        assert!(database.has_call(scope, &call_id("Call-1")).await.unwrap());
        assert!(!database.has_call(scope, &call_id("call-1")).await.unwrap());
    });
}

#[test]
fn another_tenants_session_is_never_found() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let (mine, theirs) = (created_tenant(database, "mine").await, created_tenant(database, "theirs").await);
        let details = Details { cti_call_id: Some("cti".into()), ..a_session("call", "110") };
        let written = all_stored(
            database,
            vec![a_post(&theirs, "post", &clock, details.clone()), an_import(&theirs, "import", &clock, details.clone())],
        )
        .await;
        assert_eq!(written, [Written::Created(session_id("post")), Written::Created(session_id("import"))]);
        let scope = mine.scope(start());
        let of_cti = calldata_core::port::HistoryQuery { cti_call_id: Some("cti".into()), limit: 100, ..Default::default() };
        assert_eq!(newest(database, scope, "call", "110").await, None);
        assert!(!database.has_call(scope, &call_id("call")).await.unwrap());
        for query in [of_call("call"), of_caller("110"), of_cti] {
            assert_eq!(database.history(scope, &query).await.unwrap(), HistoryPage::default());
            assert_eq!(history_ids(database, theirs.scope(start()), &query).await, ["post", "import"], "it is there to be found");
        }
        assert_eq!(database.callers(mine.id, None, 100).await.unwrap(), []);
    });
}

#[test]
fn the_same_post_and_the_same_identifier_in_two_tenants_are_two_sessions() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let (one, two) = (created_tenant(database, "one").await, created_tenant(database, "two").await);
        let details = a_session("call", "110");
        let batch = [&one, &two]
            .into_iter()
            .flat_map(|tenant| [a_post(tenant, "post", &clock, details.clone()), an_import(tenant, "import", &clock, details.clone())]);
        let written = all_stored(database, batch.collect()).await;
        assert!(written.iter().all(|written| matches!(written, Written::Created(_))), "{written:?}");
        // A change in one is none in the other.
        database
            .set_caller_keys(one.id, vec![(session_id("post"), caller_key("112")), (session_id("import"), caller_key("112"))])
            .await
            .unwrap();
        assert_eq!(newest(database, one.scope(start()), "call", "110").await, None);
        assert!(newest(database, two.scope(start()), "call", "110").await.is_some());
    });
}

#[test]
fn a_bad_row_fails_alone() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let (tenant, stranger) = (created_tenant(database, "c").await, a_tenant("nobody"));
        let session = |no: usize| a_session(&format!("call-{no}"), "110");
        let batch = vec![
            a_post(&tenant, "a", &clock, session(0)),
            a_post(&stranger, "b", &clock, session(1)),
            an_import(&tenant, "c", &clock, session(2)),
            an_import(&stranger, "d", &clock, session(3)),
            // The identifier is taken by another post of the same batch.
            a_post(&tenant, "a", &clock, session(4)),
            a_post(&tenant, "f", &clock, session(5)),
        ];
        let results = database.write(batch).await;
        let created = |id: &str| Written::Created(session_id(id));
        assert_eq!(*results[2].as_ref().unwrap(), created("c"));
        assert_eq!(*results[5].as_ref().unwrap(), created("f"));
        assert!(matches!(results[1], Err(StoreError::NoSuchTenant)), "{:?}", results[1]);
        assert!(matches!(results[3], Err(StoreError::NoSuchTenant)), "{:?}", results[3]);
        let taken = [&results[0], &results[4]].into_iter().filter(|result| matches!(result, Err(StoreError::Taken(_)))).count();
        assert_eq!(taken, 1, "one of the two got the identifier: {results:?}");
        let mut found = history_ids(database, tenant.scope(start()), &of_caller("110")).await;
        found.sort();
        assert_eq!(found, ["a", "c", "f"]);
    });
}

#[test]
fn one_tenants_flood_of_queries_lets_another_read_between_them() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let (flooding, other) = (created_tenant(database, "flooding").await, created_tenant(database, "other").await);
        let posts = (0..2_000).map(|number| a_post(&flooding, &format!("s{number}"), &clock, a_session(&format!("s{number}"), "110")));
        all_stored(database, posts.collect()).await;
        stored(database, a_post(&other, "s", &clock, a_session("call", "110"))).await;
        let done = Arc::new(AtomicUsize::new(0));
        let mut flood = JoinSet::new();
        for _ in 0..200 {
            let (database, scope, done) = (database.clone(), flooding.scope(clock.now()), Arc::clone(&done));
            flood.spawn(async move {
                let page = HistoryQuery { offset: 1_000, ..of_caller("110") };
                // Some of them may have to give up; they are not what this is about.
                let _ = database.history(scope, &page).await;
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        // Once one has its answer, all of them have asked.
        while done.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(newest(database, other.scope(clock.now()), "call", "110").await.is_some());
        let before = done.load(Ordering::Relaxed);
        assert!(before < 100, "{before} of 200 were answered first");
        flood.join_all().await;
    });
}
