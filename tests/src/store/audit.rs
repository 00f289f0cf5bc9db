//! Who did what: how much of it is told apart.

use std::sync::Arc;

use calldata_core::audit::{Action, Entry, EntryFilter};
use calldata_core::port::AuditStore;
use calldata_core::{Access, Audit, CallerKey, Country, Pseudonyms};
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
