//! Who did what: how much of it is told apart.

use std::sync::Arc;

use calldata_core::audit::{Action, EntryFilter};
use calldata_core::{Access, Audit, CallerKey, Country, Pseudonyms};
use calldata_testkit::builders::a_clock;
use calldata_testkit::engine::on_every_engine;

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
