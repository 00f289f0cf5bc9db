//! Lookups and writes that share a statement: each gets its own answer, whatever it is asked together with.

use std::time::{Duration, Instant};

use calldata_core::port::Written;
use calldata_core::{Clock, Scope, SessionStore, StoreError};
use calldata_store::{Database, Url};
use calldata_testkit::builders::{a_clock, a_post, a_session, an_import, call_id, caller_key, session_id, start};
use calldata_testkit::engine::{Engine, TestDatabase, on, on_every_engine};
use calldata_testkit::fault_proxy::{FaultProxy, Network};
use calldata_testkit::program::eventually;
use tokio::task::JoinSet;

use super::{all_stored, created_tenant, newest, of_caller, stored};

/// What is found of each call and caller, all of them asked for at once.
async fn found_at_once(database: &Database, asked: &[(Scope, String, String)]) -> Vec<Option<String>> {
    let mut looks = JoinSet::new();
    for (number, (scope, call, caller)) in asked.iter().cloned().enumerate() {
        let database = database.clone();
        looks.spawn(async move { (number, newest(&database, scope, &call, &caller).await.map(|session| session.id.to_string())) });
    }
    let mut found = looks.join_all().await;
    found.sort();
    found.into_iter().map(|(_, found)| found).collect()
}

#[test]
fn lookups_at_once_get_each_its_own_answer_also_where_tenants_have_the_same_identifiers() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let (mut asked, mut expected) = (Vec::new(), Vec::new());
        for name in ["one", "two", "three"] {
            let tenant = created_tenant(database, name).await;
            let session = |no: usize| a_session(&format!("call-{no}"), "110");
            all_stored(database, (0..100).map(|no| a_post(&tenant, &format!("{name}-{no}"), &clock, session(no))).collect()).await;
            // Every third one is not there.
            for no in (0..150).rev() {
                asked.push((tenant.scope(start()), format!("call-{no}"), "110".to_owned()));
                expected.push((no < 100).then(|| format!("{name}-{no}")));
            }
        }
        assert_eq!(found_at_once(database, &asked).await, expected);
    });
}

#[test]
fn a_lookup_of_an_odd_text_neither_fails_nor_concerns_those_beside_it() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let odd = ["NULL", "{a,b}", "a\\", "'; DROP TABLE session; --", "\"", "é\u{10ffff}", "\u{1}", "a\nb", "$1"];
        let scope = tenant.scope(start());
        // Those that can be stored are found, as many as there are, and nothing is found in place of the others.
        let mut batch = Vec::new();
        for (no, caller) in odd.iter().enumerate() {
            batch.push(a_post(&tenant, &format!("s{no}"), &clock, a_session(&format!("call-{no}"), caller)));
        }
        let keys: Vec<_> = batch.iter().map(|write| write.details.caller.key().as_str().to_owned()).collect();
        let mut asked: Vec<_> = keys.iter().enumerate().map(|(no, key)| (scope, format!("call-{no}"), key.clone())).collect();
        all_stored(database, batch).await;
        let mut expected: Vec<_> = (0..odd.len()).map(|no| Some(format!("s{no}"))).collect();
        for impossible in ["\0", "a\0b", &"x".repeat(100_000)] {
            asked.push((scope, "call-0".to_owned(), impossible.to_owned()));
            expected.push(None);
        }
        assert_eq!(found_at_once(database, &asked).await, expected);
    });
}

#[test]
fn whether_there_is_a_call_is_told_each_apart_and_not_of_what_has_expired() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let (mine, theirs) = (created_tenant(database, "mine").await, created_tenant(database, "theirs").await);
        stored(database, a_post(&mine, "a", &clock, a_session("call", "110"))).await;
        stored(database, a_post(&theirs, "b", &clock, a_session("other", "110"))).await;
        let later = start().plus(Duration::from_hours(24 * 4_000));
        let looks = [(&mine, "call", start()), (&mine, "other", start()), (&theirs, "other", start()), (&mine, "call", later)];
        let mut told = JoinSet::new();
        for (number, (tenant, call, at)) in looks.into_iter().enumerate() {
            let (database, scope) = (database.clone(), tenant.scope(at));
            told.spawn(async move { (number, database.has_call(scope, &call_id(call)).await.unwrap()) });
        }
        let mut told = told.join_all().await;
        told.sort_unstable();
        assert_eq!(told, [(0, true), (1, false), (2, true), (3, false)]);
    });
}

#[test]
fn posts_of_all_kinds_in_one_batch_are_each_told_what_became_of_them() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let post = |id: &str, call: &str| a_post(&tenant, id, &clock, a_session(call, "110"));
        all_stored(database, vec![post("young", "young"), post("old", "old")]).await;
        test.execute("UPDATE session SET received_first = received_first - 3600000 WHERE id = 'old'").await;
        let batch = vec![
            post("young2", "young"),
            an_import(&tenant, "import", &clock, a_session("import", "110")),
            post("old2", "old"),
            post("new", "new"),
            post("new2", "new"),
        ];
        let written = all_stored(database, batch).await;
        let (created, updated) = (|id| Written::Created(session_id(id)), |id| Written::Updated(session_id(id)));
        assert_eq!(written, [updated("young"), created("import"), created("old2"), created("new"), updated("new")]);
        assert_eq!(database.history(tenant.scope(start()), &of_caller("110")).await.unwrap().total, 5);
    });
}

fn on_postgresql(behaviour: impl AsyncFn(&TestDatabase)) {
    on(&[Engine::Postgres], TestDatabase::new, behaviour);
}

/// The database as it is seen through a network.
async fn opened_through(test: &TestDatabase) -> (Database, FaultProxy) {
    let url = test.url();
    let (host, name) = url.rsplit_once('/').unwrap();
    let (host, port) = host.rsplit_once(':').unwrap();
    let network = FaultProxy::before(port.parse().unwrap()).await;
    let url = Url::parse(&format!("{host}:{}/{name}", network.port())).unwrap();
    (Database::open(&url).await.unwrap(), network)
}

#[test]
fn a_lookup_that_fails_fails_alone() {
    on_postgresql(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let scope = tenant.scope(clock.now());
        all_stored(database, (0..50).map(|no| a_post(&tenant, &format!("s{no}"), &clock, a_session(&format!("c{no}"), "110"))).collect())
            .await;
        test.execute(
            "CREATE FUNCTION refuse(call TEXT) RETURNS BOOLEAN LANGUAGE plpgsql AS $$ BEGIN
                 IF call = 'c7' THEN RAISE EXCEPTION 'trouble'; END IF;
                 RETURN true;
             END $$;
             ALTER TABLE session RENAME TO stored;
             CREATE VIEW session AS SELECT * FROM stored WHERE refuse(call_id)",
        )
        .await;
        let mut looks = JoinSet::new();
        for no in 0..50 {
            let database = database.clone();
            looks.spawn(async move { (no, database.newest(scope, &call_id(&format!("c{no}")), &caller_key("110")).await) });
        }
        for (no, found) in looks.join_all().await {
            match found {
                Err(StoreError::Failed(_)) => assert_eq!(no, 7),
                found => assert_eq!(found.unwrap().unwrap().id, session_id(&format!("s{no}"))),
            }
        }
    });
}

#[test]
fn a_lookup_whose_connection_has_stalled_is_given_up_in_time_and_the_next_one_is_answered() {
    on_postgresql(async |test| {
        let (database, network) = opened_through(test).await;
        let (tenant, clock) = (created_tenant(&database, "c").await, a_clock());
        stored(&database, a_post(&tenant, "s", &clock, a_session("call", "110"))).await;
        let scope = tenant.scope(clock.now());
        assert!(newest(&database, scope, "call", "110").await.is_some());
        for how in [Network::Stalls, Network::IsHalfOpen] {
            network.set(how);
            let began = Instant::now();
            let given_up = database.newest(scope, &call_id("call"), &caller_key("110")).await;
            assert!(matches!(given_up, Err(StoreError::Busy(_))), "{given_up:?}");
            assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
            network.set(Network::Passes);
            assert!(newest(&database, scope, "call", "110").await.is_some(), "{how:?}");
        }
    });
}

#[test]
fn connections_that_the_server_closed_meanwhile_are_not_felt_by_lookups() {
    on_postgresql(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        stored(database, a_post(&tenant, "s", &clock, a_session("call", "110"))).await;
        let scope = tenant.scope(clock.now());
        for _ in 0..3 {
            // So many at once that all lines are in use.
            let asked = vec![(scope, "call".to_owned(), "110".to_owned()); 200];
            assert_eq!(found_at_once(database, &asked).await, vec![Some("s".to_owned()); 200]);
            test.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await;
        }
    });
}

#[test]
fn a_write_whose_answer_is_lost_is_told_as_unconfirmed_and_the_retry_is_the_same_session() {
    on_postgresql(async |test| {
        let (database, network) = opened_through(test).await;
        let (tenant, clock) = (created_tenant(&database, "c").await, a_clock());
        let post = |id: &str, call: &str| a_post(&tenant, id, &clock, a_session(call, "110"));
        stored(&database, post("first", "first")).await;
        network.set(Network::LosesCommits);
        let lost = database.write(vec![post("s", "call")]).await.pop().unwrap();
        assert!(matches!(lost, Err(StoreError::Unconfirmed(_))), "{lost:?}");
        network.set(Network::Passes);
        eventually("it is there all the same", Duration::from_secs(5), async || {
            newest(&database, tenant.scope(start()), "call", "110").await.is_some()
        })
        .await;
        assert_eq!(stored(&database, post("again", "call")).await, Written::Updated(session_id("s")));
        // Stalled before it is there, or after it: nobody knows either.
        network.set(Network::Stalls);
        let stalled = database.write(vec![post("t", "stalled")]).await.pop().unwrap();
        assert!(matches!(stalled, Err(StoreError::Unconfirmed(_))), "{stalled:?}");
        network.set(Network::Passes);
        assert!(matches!(stored(&database, post("u", "stalled")).await, Written::Created(_) | Written::Updated(_)));
        assert_eq!(database.history(tenant.scope(start()), &of_caller("110")).await.unwrap().total, 3);
    });
}

#[test]
fn nothing_is_looked_up_by_reading_the_whole_table_also_before_it_was_ever_analysed() {
    on_postgresql(async |test| {
        let clock = a_clock();
        test.execute("ALTER TABLE session SET (autovacuum_enabled = off)").await;
        let database = test.open_again().await;
        let tenant = created_tenant(&database, "c").await;
        let scope = tenant.scope(clock.now());
        // On an empty table, a small one, and one whose calls all are the same.
        for round in 0..3 {
            for call in ["call", "none"] {
                assert_eq!(newest(&database, scope, call, "110").await.is_some(), round > 0 && call == "call");
                assert_eq!(database.has_call(scope, &call_id(call)).await.unwrap(), round > 0 && call == "call");
            }
            let posts = (0..300).map(|no| a_post(&tenant, &format!("s{round}-{no}"), &clock, a_session("call", &format!("{}", 110 + no))));
            all_stored(&database, posts.collect()).await;
            if round == 1 {
                test.execute("ANALYZE session").await;
            }
        }
        drop(database);
        test.execute(&within_ten_seconds(
            "SELECT (SELECT idx_scan >= 12 FROM pg_stat_user_indexes WHERE indexrelname = 'session_by_call')
                AND (SELECT seq_tup_read = 0 FROM pg_stat_user_tables WHERE relname = 'session')
                AND (SELECT sum(idx_scan) = 0 FROM pg_stat_user_indexes WHERE indexrelname IN ('session_by_receipt', 'session_by_caller'))",
            "lookups did not take the index that is theirs",
        ))
        .await;
    });
}

#[test]
fn what_has_expired_and_is_still_there_is_not_read_by_lookups() {
    on_postgresql(async |test| {
        let clock = a_clock();
        let database = test.open_again().await;
        let tenant = created_tenant(&database, "c").await;
        let imports = (0..500).map(|no| an_import(&tenant, &format!("s{no}"), &clock, a_session("call", "110")));
        all_stored(&database, imports.collect()).await;
        assert!(newest(&database, tenant.scope(clock.now()), "call", "110").await.is_some());
        let later = tenant.scope(start().plus(Duration::from_hours(24 * 4_000)));
        for _ in 0..20 {
            assert_eq!(newest(&database, later, "call", "110").await, None);
            assert!(!database.has_call(later, &call_id("call")).await.unwrap());
        }
        drop(database);
        test.execute(&within_ten_seconds(
            "SELECT idx_scan >= 41 AND idx_tup_read <= 20 FROM pg_stat_user_indexes WHERE indexrelname = 'session_by_call'",
            "lookups read what has expired",
        ))
        .await;
    });
}

/// A block that fails with what is said unless the server's counters come to be so: connections tell theirs when they are closed.
fn within_ten_seconds(question: &str, otherwise: &str) -> String {
    format!(
        "DO $$ BEGIN
             FOR look IN 1..100 LOOP
                 PERFORM pg_stat_clear_snapshot();
                 IF ({question}) THEN RETURN; END IF;
                 PERFORM pg_sleep(0.1);
             END LOOP;
             RAISE EXCEPTION '{otherwise}';
         END $$"
    )
}
