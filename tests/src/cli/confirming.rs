//! Commands that delete for good ask first; see `command/confirmation.rs` of the gateway.

use calldata_testkit::engine::{Engine, TestDatabase, on, on_every_engine};
use calldata_testkit::program::Place;
use serde_json::json;

use super::create_tenant;

fn pending(place: &Place) -> usize {
    place.run(&["migrate", "status"]).fine().lines().filter(|line| line.ends_with("pending")).count()
}

/// Imports a session, which leaves an entry in the audit trail.
fn import(place: &Place, client_id: &str, session: &str) {
    place.write("sessions", session);
    place.run(&["import", "--client-id", client_id, "--format", "sessions", "sessions"]).fine();
}

#[test]
fn a_change_that_drops_data_is_taken_back_only_when_that_is_confirmed() {
    on(&Engine::all(), TestDatabase::empty, async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        place.run(&["tenant", "update", "c", "--quota-bytes", "100000000", "--audit-rows", "5000"]).fine();
        let lost = ["the column tenant.quota_bytes (1 row)", "the column tenant.audit_rows (1 row)"];

        // No answer can be asked for.
        for input in ["", "yes\n"] {
            let refused = place.run_with_input(&["migrate", "down"], input).failure();
            assert!(lost.iter().all(|lost| refused.contains(lost)), "{refused}");
            assert!(refused.contains("nothing was changed") && refused.contains("--yes"), "{refused}");
        }
        for typed in ["no\n", "\n", "y\n"] {
            let refused = place.run_on_terminal(&["migrate", "down"], typed);
            assert_eq!(refused.status, Some(1), "{refused:?}");
            assert!(lost.iter().all(|lost| refused.out.contains(lost)) && refused.out.contains("nothing was changed"), "{refused:?}");
        }
        assert_eq!(pending(&place), 0);
        assert_eq!(place.run(&["tenant", "show", "c", "--json"]).json()["quotaBytes"], 100_000_000, "nothing is lost");

        let confirmed = place.run_on_terminal(&["migrate", "down"], "yes\n");
        assert_eq!((confirmed.status, pending(&place)), (Some(0), 1), "{confirmed:?}");
        place.run(&["migrate", "up"]).fine();
        assert_eq!(place.run(&["tenant", "show", "c", "--json"]).json()["quotaBytes"], serde_json::Value::Null, "it was lost");
        place.run(&["tenant", "update", "c", "--quota-bytes", "100000000"]).fine();
        place.run(&["migrate", "down", "--yes"]).fine();
        assert_eq!(pending(&place), 1);
    });
}

#[test]
fn a_change_that_drops_nothing_is_taken_back_without_a_question() {
    on(&Engine::all(), TestDatabase::empty, async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        place.run(&["migrate", "down"]).fine();
        assert_eq!(pending(&place), 1, "a column in which every row has the default holds nothing");
    });
}

#[test]
fn an_erasure_on_a_terminal_asks_for_the_caller_again_and_elsewhere_does_not() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        import(&place, "c", r#"{"id":"one","callId":"call","caller":"030 123456"}"#);
        let sessions = || place.run(&["export", "--client-id", "c", "--format", "sessions"]).out.lines().count();
        let erase = ["erase", "--client-id", "c", "--caller", "+4930123456", "--json"];
        for typed in ["\n", "yes\n", "+4930123457\n"] {
            let refused = place.run_on_terminal(&erase, typed);
            assert!(refused.status == Some(1) && refused.out.contains("nothing was erased"), "{refused:?}");
        }
        assert_eq!(sessions(), 1);
        let erased = place.run_on_terminal(&erase, "(030) 12 34 56\n");
        assert_eq!((erased.status, sessions()), (Some(0), 0), "{erased:?}");
        let unasked = place.run_on_terminal(&[&erase[..], &["--yes"]].concat(), "");
        assert!(unasked.status == Some(0) && unasked.out.contains("purgedAt"), "{unasked:?}");
    });
}

#[test]
fn a_shorter_retention_on_a_terminal_asks_before_it_deletes() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        import(&place, "c", r#"{"id":"one","callId":"call","caller":"u"}"#);
        let sessions = || place.run(&["export", "--client-id", "c", "--format", "sessions"]).out.lines().count();
        let days = || place.run(&["tenant", "show", "c", "--json"]).json()["retentionDays"].clone();
        let shorten = |days| ["tenant", "update", "c", "--retention-days", days];
        assert_eq!(place.run_on_terminal(&shorten("20"), "").status, Some(0), "nothing is deleted by that");
        let ago = "UPDATE session SET received_first = received_first - 10 * 86400000, received_last = received_last - 10 * 86400000";
        database.execute(ago).await;
        let refused = place.run_on_terminal(&shorten("3"), "no\n");
        assert!(refused.status == Some(1) && refused.out.contains("deletes 1 sessions of c"), "{refused:?}");
        assert_eq!((sessions(), days()), (1, json!(20)));
        let confirmed = place.run_on_terminal(&shorten("3"), "yes\n");
        assert_eq!((confirmed.status, sessions(), days()), (Some(0), 0, json!(3)), "{confirmed:?}");
    });
}

#[test]
fn a_tenant_is_deleted_on_a_terminal_when_its_name_is_typed() {
    let place = Place::new();
    create_tenant(&place, "c");
    let refused = place.run_on_terminal(&["tenant", "delete", "c"], "c\n");
    assert!(refused.status == Some(1) && refused.out.contains("Its name, to confirm"), "{refused:?}");
    assert_eq!(place.run_on_terminal(&["tenant", "delete", "c"], "Tenant c\n").status, Some(0));
    assert_eq!(place.run(&["tenant", "list", "--json"]).json(), json!({ "tenants": [] }));
}
