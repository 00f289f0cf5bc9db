//! Who did what: how much of it is told apart.

use std::sync::Arc;
use std::time::Duration;

use calldata_core::audit::{Action, Entry, EntryFilter, GatheredEntry};
use calldata_core::port::AuditStore;
use calldata_core::{Access, Audit, CallerKey, Country, DirectoryStore, Pseudonyms, Tenant, Timestamp};
use calldata_testkit::builders::{a_clock, a_tenant, start};
use calldata_testkit::engine::{Engine, TestDatabase, on, on_every_engine};

use super::created_tenant;

#[test]
fn beyond_so_many_callers_a_second_it_is_counted_and_not_told_apart() {
    on_every_engine(async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        let audit = Audit::new(Arc::new(database.clone()), Arc::new(a_clock()), Pseudonyms::new(&["secret".into()]));
        let (access, tenant) = (Access::of_operator(tenant.clone()), tenant.id);
        let note = |number: u32| audit.note(&access, Action::Read, &CallerKey::of(&format!("user-{number}"), Country::GERMANY));
        (0..6_000).for_each(note);
        // Whoever is told apart already stays so.
        note(0);
        audit.flush().await;
        let entries = audit.entries(tenant, &EntryFilter::default(), None, 10_000).await.unwrap();
        let (apart, counted): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.caller.is_some());
        assert_eq!((apart.len(), counted.len()), (5_000, 1));
        assert_eq!(apart.iter().filter(|entry| entry.sessions == 2).count(), 1);
        assert_eq!(counted[0].sessions, 1_000);
    });
}

#[test]
fn whoever_stops_waiting_loses_nothing_and_the_next_waits_for_it() {
    on_every_engine(async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        let audit = Audit::new(Arc::new(database.clone()), Arc::new(a_clock()), Pseudonyms::new(&["secret".into()]));
        let access = Access::of_operator(tenant.clone());
        let held = test.hold_writes().await;
        for number in 0..600 {
            audit.note(&access, Action::Read, &CallerKey::of(&format!("user-{number}"), Country::GERMANY));
        }
        tokio::select! {
            biased;
            () = audit.flush() => {}
            () = tokio::task::yield_now() => {}
        }
        held.let_go().await;
        audit.flush().await;
        assert_eq!(audit.entries(tenant.id, &EntryFilter::default(), None, 1_000).await.unwrap().len(), 600);
    });
}

/// On SQLite, where entries go along with what others write; on a server, those of one time stand and fall together.
#[test]
fn an_entry_that_is_refused_takes_few_others_along() {
    on(&[Engine::Sqlite], TestDatabase::new, async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        test.refuse_note(7).await;
        let key = Access::of_operator(tenant.clone()).key;
        let entry =
            |id: i64| Entry { id, at: start(), tenant: tenant.id, key: key.clone(), action: Action::Read, caller: None, sessions: 1 };
        let entries: Vec<_> = (0..100).map(entry).collect();
        database.append_audit(&entries).await.unwrap_err();
        assert_eq!(database.audit(tenant.id, &EntryFilter::default(), None, 1_000).await.unwrap().len(), 99);
        // What is there already stays as it is.
        database.append_audit(&entries[10..]).await.unwrap();
        assert_eq!(database.audit(tenant.id, &EntryFilter::default(), None, 1_000).await.unwrap().len(), 99);
    });
}

#[test]
fn what_the_store_has_no_time_for_is_written_down_later() {
    on_every_engine(async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        let audit = Audit::new(Arc::new(database.clone()), Arc::new(a_clock()), Pseudonyms::new(&["secret".into()]));
        let access = Access::of_operator(tenant.clone());
        let note = |number: u32| audit.note(&access, Action::Read, &CallerKey::of(&format!("user-{number}"), Country::GERMANY));
        let written = async || database.audit(tenant.id, &EntryFilter::default(), None, 1_000).await.unwrap().len();
        let held = test.hold_writes().await;
        (0..600).for_each(note);
        audit.flush().await;
        assert_eq!(written().await, 0, "it was tried for as long as it makes sense");
        held.let_go().await;
        (600..700).for_each(note);
        audit.flush().await;
        assert_eq!(written().await, 700);
        audit.end().await;
        assert_eq!(written().await, 700);
    });
}

const HOUR: Duration = Duration::from_secs(3_600);

/// Entries as how many sessions each stands for, the fewest first.
async fn sessions_of(audit: &Audit, tenant: &Tenant, filter: &EntryFilter) -> Vec<u64> {
    let entries = audit.entries(tenant.id, filter, None, 100_000).await.unwrap();
    let mut sessions: Vec<_> = entries.iter().map(|entry| entry.sessions).collect();
    sessions.sort_unstable();
    sessions
}

#[test]
fn what_one_key_reads_of_one_caller_within_an_hour_is_one_entry_however_often() {
    on_every_engine(async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        let clock = Arc::new(a_clock());
        let new_audit = || Audit::new(Arc::new(database.clone()), clock.clone(), Pseudonyms::new(&["secret".into()]));
        let (audit, access) = (new_audit(), Access::of_operator(tenant.clone()));
        let caller = |number: u32| CallerKey::of(&format!("user-{number}"), Country::GERMANY);
        for _ in 0..20 {
            (0..3).for_each(|number| audit.note(&access, Action::Read, &caller(number)));
            audit.note(&access, Action::Wrote, &caller(0));
            audit.flush().await;
            clock.advance(Duration::from_secs(60));
        }
        assert_eq!(sessions_of(&audit, &tenant, &EntryFilter::default()).await, [20; 4]);
        // It has the time of the first, and stands for all of the hour: whoever asks from half past on is told of it.
        let from = EntryFilter { from: Some(start().plus(Duration::from_secs(600))), ..EntryFilter::default() };
        assert_eq!(sessions_of(&audit, &tenant, &from).await, [20; 4]);
        let later = EntryFilter { from: Some(start().plus(HOUR)), ..EntryFilter::default() };
        assert_eq!(sessions_of(&audit, &tenant, &later).await, Vec::<u64>::new());
        clock.advance(HOUR);
        audit.note(&access, Action::Read, &caller(0));
        audit.flush().await;
        assert_eq!(sessions_of(&audit, &tenant, &later).await, [1]);
    });
}

#[test]
fn more_callers_than_are_remembered_are_found_again_in_the_store() {
    on_every_engine(async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        let key = Access::of_operator(tenant.clone()).key;
        let gathered = |id: i64, at: Timestamp, may_be_elsewhere: bool| GatheredEntry {
            entry: Entry {
                id,
                at,
                tenant: tenant.id,
                key: key.clone(),
                action: Action::Read,
                caller: Some(format!("hmac:{}", id % 10)),
                sessions: 1,
            },
            may_be_elsewhere,
        };
        let later = start().plus(Duration::from_secs(60));
        let first = (0..10).map(|id| gathered(id, start(), false)).collect();
        assert!(database.gather_audit(first).await.is_empty());
        let again = (10..20).map(|id| gathered(id, later, true)).collect();
        assert!(database.gather_audit(again).await.is_empty());
        let entries = database.audit(tenant.id, &EntryFilter::default(), None, 1_000).await.unwrap();
        assert!(entries.iter().all(|entry| (entry.at, entry.sessions) == (start(), 2)), "{entries:?}");
        assert_eq!((entries.len(), database.count_audit(tenant.id).await.unwrap()), (10, 10));
    });
}

#[test]
fn the_flood_of_one_tenant_costs_another_none_of_its_callers() {
    on_every_engine(async |test| {
        let database = test.database();
        let (flooding, other) = (created_tenant(database, "flooding").await, created_tenant(database, "other").await);
        let audit = Audit::new(Arc::new(database.clone()), Arc::new(a_clock()), Pseudonyms::new(&["secret".into()]));
        let note = |tenant: &Tenant, number: u32| {
            let caller = CallerKey::of(&format!("user-{number}"), Country::GERMANY);
            audit.note(&Access::of_operator(tenant.clone()), Action::Read, &caller);
        };
        (0..30_000).for_each(|number| note(&flooding, number));
        (0..13).for_each(|number| note(&other, number));
        audit.flush().await;
        let entries = audit.entries(other.id, &EntryFilter::default(), None, 100).await.unwrap();
        assert_eq!(entries.iter().filter(|entry| entry.caller.is_some()).count(), 13, "{entries:?}");
        // And while the store has no time.
        let held = test.hold_writes().await;
        for round in 1..6 {
            (0..30_000).for_each(|number| note(&flooding, round * 100_000 + number));
            (0..13).for_each(|number| note(&other, round * 100_000 + number));
            audit.flush().await;
        }
        held.let_go().await;
        audit.flush().await;
        let entries = audit.entries(other.id, &EntryFilter::default(), None, 100).await.unwrap();
        assert_eq!(entries.iter().filter(|entry| entry.caller.is_some()).count(), 6 * 13);
        assert_eq!(sessions_of(&audit, &flooding, &EntryFilter::default()).await.iter().sum::<u64>(), 180_000, "nothing is lost");
    });
}

#[test]
fn a_trail_beyond_its_budget_loses_its_oldest_entries_and_no_other_trail_does() {
    on_every_engine(async |test| {
        let database = test.database();
        let limited = Tenant { audit_rows: 1_000, ..a_tenant("limited") };
        database.create_tenant(&limited).await.unwrap();
        let other = created_tenant(database, "other").await;
        let clock = Arc::new(a_clock());
        let audit = Audit::new(Arc::new(database.clone()), clock.clone(), Pseudonyms::new(&["secret".into()]));
        for round in 0..3 {
            for number in 0..600 {
                let caller = CallerKey::of(&format!("user-{round}-{number}"), Country::GERMANY);
                for tenant in [&limited, &other] {
                    audit.note(&Access::of_operator(tenant.clone()), Action::Read, &caller);
                }
            }
            audit.flush().await;
            clock.advance(Duration::from_secs(1));
        }
        let tenants = [Arc::new(limited.clone()), Arc::new(other.clone())];
        audit.enforce_budget(&tenants).await.unwrap();
        let kept = audit.entries(limited.id, &EntryFilter::default(), None, 10_000).await.unwrap();
        assert_eq!(kept.len(), 950);
        assert_eq!(kept.iter().filter(|entry| entry.at > start().plus(Duration::from_millis(1_500))).count(), 600, "the newest are kept");
        assert_eq!(database.count_audit(other.id).await.unwrap(), 1_800);
        // Asked for again only when it may be too much.
        audit.enforce_budget(&tenants).await.unwrap();
        assert_eq!(database.count_audit(limited.id).await.unwrap(), 950);
    });
}

#[test]
fn nothing_is_noted_of_a_tenant_that_is_gone() {
    on_every_engine(async |test| {
        let database = test.database();
        let (tenant, gone) = (created_tenant(database, "c").await, a_tenant("gone"));
        let audit = Audit::new(Arc::new(database.clone()), Arc::new(a_clock()), Pseudonyms::new(&["secret".into()]));
        for tenant in [&tenant, &gone] {
            audit.note(&Access::of_operator(tenant.clone()), Action::Read, &CallerKey::of("110", Country::GERMANY));
        }
        audit.flush().await;
        let mut counts = Vec::new();
        for tenant in [&tenant, &gone] {
            counts.push(audit.entries(tenant.id, &EntryFilter::default(), None, 10).await.unwrap().len());
        }
        assert_eq!(counts, [1, 0]);
    });
}
