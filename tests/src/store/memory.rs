//! What a process remembers of a file is what the file holds, whoever changes it.

use std::sync::Arc;
use std::time::Duration;

use calldata_core::port::HistoryQuery;
use calldata_core::{Clock, Details, JsonText, ManualClock, Scope, SessionStore, Tenant};
use calldata_store::Database;
use calldata_testkit::builders::{a_clock, a_post, a_session, an_import, call_id, caller_key, session_id};
use calldata_testkit::engine::{Engine, TestDatabase, on};
use calldata_testkit::program::eventually;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{all_stored, created_tenant, newest, of_caller, stored};

const CALLS: [&str; 3] = ["a", "b", "c"];
const CALLERS: [&str; 2] = ["110", "112"];

/// Two instances on one file, and a third one that never writes and so never remembers.
struct Instances {
    writing: [Database; 2],
    judge: Database,
    tenant: Tenant,
    clock: Arc<ManualClock>,
}

impl Instances {
    async fn on(test: &TestDatabase) -> Self {
        let writing = [test.database().clone(), test.open_again().await];
        let tenant = created_tenant(test.database(), "c").await;
        Self { writing, judge: test.open_again().await, tenant, clock: Arc::new(a_clock()) }
    }

    fn scope(&self) -> Scope {
        self.tenant.scope(self.clock.now())
    }

    /// Whatever may happen to sessions.
    async fn change(&self, dice: &mut StdRng, number: u32) {
        let database = &self.writing[usize::from(dice.random_ratio(1, 20))];
        let details = Details {
            content: Some(JsonText::string(&dice.random_range(0..3).to_string())),
            ..a_session(CALLS[dice.random_range(0..3)], CALLERS[dice.random_range(0..2)])
        };
        match dice.random_range(0..80) {
            0..=60 => {
                let posts =
                    (0..dice.random_range(1..4)).map(|n| a_post(&self.tenant, &format!("s{number}-{n}"), &*self.clock, details.clone()));
                all_stored(database, posts.collect()).await;
            }
            61 => drop(stored(database, an_import(&self.tenant, &format!("i{}", number % 5), &*self.clock, details)).await),
            62 => {
                let some = (session_id(&format!("i{}", number % 5)), caller_key(CALLERS[0]));
                database.set_caller_keys(self.tenant.id, vec![some]).await.unwrap();
            }
            63 => drop(database.purge(self.tenant.id, self.clock.now()).await.unwrap()),
            64 => drop(database.delete_received_until(self.tenant.id, self.scope().expired_until()).await.unwrap()),
            65 => drop(database.wipe_deleted().await.unwrap()),
            66 => self.clock.advance(Duration::from_hours(24 * dice.random_range(1..20))),
            67..=70 => self.clock.set(self.clock.now().minus(Duration::from_millis(dice.random_range(0..3_000)))),
            _ => self.clock.advance(Duration::from_millis(dice.random_range(0..400_000))),
        }
    }
}

#[test]
fn par_g1_what_is_remembered_is_what_the_file_holds_whoever_changes_it() {
    on(&[Engine::Sqlite], TestDatabase::new, async |test| {
        let instances = Instances::on(test).await;
        let mut dice = StdRng::seed_from_u64(4);
        let mut remembered = 0;
        for number in 0..1_500 {
            instances.change(&mut dice, number).await;
            for call in CALLS {
                for caller in CALLERS {
                    let scope = instances.scope();
                    let held = newest(&instances.judge, scope, call, caller).await;
                    for database in &instances.writing {
                        remembered += u32::from(database.remembers(scope, &call_id(call), &caller_key(caller)));
                        assert_eq!(newest(database, scope, call, caller).await, held, "after change {number}");
                    }
                }
            }
        }
        println!("{remembered} of {} answers were remembered", 1_500 * 12);
        assert!(remembered > 1_500, "{remembered}");
    });
}

#[test]
fn par_g1_an_outsider_s_change_is_seen_at_once() {
    on(&[Engine::Sqlite], TestDatabase::new, async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        stored(database, a_post(&tenant, "s", &clock, a_session("call", "110"))).await;
        let scope = tenant.scope(clock.now());
        assert!(database.remembers(scope, &call_id("call"), &caller_key("110")));
        test.execute("UPDATE session SET content = '\"changed\"'").await;
        let found = newest(database, scope, "call", "110").await.unwrap();
        assert_eq!(found.details.content.unwrap().as_str(), "\"changed\"");
        assert!(!database.remembers(scope, &call_id("call"), &caller_key("110")));
        test.execute("DELETE FROM session").await;
        assert_eq!(newest(database, scope, "call", "110").await, None);
    });
}

#[test]
fn par_g1_a_session_older_than_one_that_was_stored_before_is_not_taken_for_the_newest() {
    on(&[Engine::Sqlite], TestDatabase::new, async |test| {
        let clock = a_clock();
        let tenant = created_tenant(test.database(), "c").await;
        stored(test.database(), a_post(&tenant, "newer", &clock, a_session("call", "110"))).await;
        // Another process, whose clock is behind.
        let again = test.open_again().await;
        clock.set(clock.now().minus(Duration::from_secs(5)));
        let mut other = a_session("call", "110");
        other.content = Some(JsonText::string("other"));
        stored(&again, a_post(&tenant, "older", &clock, other)).await;
        assert_eq!(newest(&again, tenant.scope(clock.now()), "call", "110").await.unwrap().id.as_str(), "newer");
    });
}

#[test]
fn oif_q5_a_total_is_remembered_also_where_nobody_writes() {
    on(&[Engine::Sqlite], TestDatabase::new, async |test| {
        let (clock, tenant) = (a_clock(), created_tenant(test.database(), "c").await);
        let posts = (0..600).map(|number| a_post(&tenant, &format!("s{number}"), &clock, a_session(&format!("c{number}"), "110")));
        all_stored(test.database(), posts.collect()).await;
        let (reading, scope) = (test.open_again().await, tenant.scope(clock.now()));
        eventually("the total is remembered", Duration::from_secs(5), async || {
            assert_eq!(reading.history(scope, &of_caller("110")).await.unwrap().total, 600);
            reading.remembers_total(scope, &caller_key("110"))
        })
        .await;
    });
}

#[test]
fn oif_q5_remembered_totals_and_places_are_those_of_the_file() {
    on(&[Engine::Sqlite], TestDatabase::new, async |test| {
        let instances = Instances::on(test).await;
        let (database, mut dice) = (&instances.writing[0], StdRng::seed_from_u64(5));
        let post = |number: u32| {
            let post = a_post(&instances.tenant, &format!("h{number:05}"), &*instances.clock, a_session(&format!("h{number}"), "110"));
            instances.clock.advance(Duration::from_millis(u64::from(number % 3)));
            post
        };
        all_stored(database, (0..3_000).map(post).collect()).await;
        let (mut number, mut remembered) = (3_000, 0);
        for round in 0..300 {
            if round % 20 == 0 {
                // Nobody is remembered before he was asked for.
                database.history(instances.scope(), &of_caller("110")).await.unwrap();
                eventually("the total is remembered", Duration::from_secs(5), async || {
                    database.remembers_total(instances.scope(), &caller_key("110"))
                })
                .await;
            }
            match dice.random_range(0..10) {
                0..=4 => drop(all_stored(database, vec![post(number)]).await),
                // One that began long ago.
                5..=6 => {
                    let mut write = post(number);
                    write.details.started_at = Some(instances.clock.now().minus(Duration::from_millis(dice.random_range(0..4_000))));
                    drop(all_stored(database, vec![write]).await);
                }
                7 => instances.change(&mut dice, number).await,
                8 => drop(all_stored(&instances.writing[1], vec![post(number)]).await),
                _ => instances.clock.advance(Duration::from_secs(dice.random_range(0..100))),
            }
            number += 1;
            let query = HistoryQuery { offset: dice.random_range(0..3_400), limit: 20, ..of_caller("110") };
            remembered += u32::from(database.remembers_total(instances.scope(), &caller_key("110")));
            let held = instances.judge.history(instances.scope(), &query).await.unwrap();
            assert_eq!(database.history(instances.scope(), &query).await.unwrap(), held, "in round {round}");
        }
        println!("{remembered} of 300 totals were remembered");
        assert!(remembered > 100, "{remembered}");
    });
}
