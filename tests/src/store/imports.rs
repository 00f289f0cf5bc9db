//! OIF-R2: an imported identifier is kept, and importing it again updates the session.

use std::time::Duration;

use calldata_core::port::Written;
use calldata_core::{Clock, Details, SessionStore};
use calldata_testkit::builders::{DAY, a_clock, a_post, a_session, an_import, session_id, start};
use calldata_testkit::engine::on_every_engine;

use super::{all_stored, created_tenant, history_ids, newest, of_call, of_caller, stored};

fn created(id: &str) -> Written {
    Written::Created(session_id(id))
}

fn updated(id: &str) -> Written {
    Written::Updated(session_id(id))
}

#[test]
fn oif_r2_importing_an_identifier_again_replaces_the_session_and_keeps_its_first_receipt() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let first = Details { flag: Some("first".into()), cti_call_id: Some("cti-1".into()), ..a_session("call", "110") };
        assert_eq!(stored(database, an_import(&tenant, "s", &clock, first)).await, created("s"));
        clock.advance(DAY);
        let second = Details { intent: Some("second".into()), ..a_session("other", "112") };
        assert_eq!(stored(database, an_import(&tenant, "s", &clock, second.clone())).await, updated("s"));
        let scope = tenant.scope(clock.now());
        let found = newest(database, scope, "other", "112").await.unwrap();
        assert_eq!((found.received_first, found.received_last), (start(), clock.now()));
        assert_eq!(found.details, second);
        let nowhere: [&str; 0] = [];
        assert_eq!(history_ids(database, scope, &of_call("call")).await, nowhere, "the earlier call does not lead to it any more");
    });
}

#[test]
fn oif_r2_the_last_of_an_identifier_within_a_batch_counts() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let import = |id, call| an_import(&tenant, id, &clock, a_session(call, "110"));
        let written = all_stored(database, vec![import("s", "one"), import("t", "other"), import("s", "two")]).await;
        assert_eq!(written, [created("s"), created("t"), updated("s")]);
        assert_eq!(history_ids(database, tenant.scope(start()), &of_caller("110")).await, ["t", "s"]);
        assert!(newest(database, tenant.scope(start()), "two", "110").await.is_some());
    });
}

#[test]
fn oif_r2_an_expired_session_that_is_imported_again_starts_anew() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        stored(database, an_import(&tenant, "s", &clock, a_session("call", "110"))).await;
        clock.advance(DAY * 30);
        assert_eq!(stored(database, an_import(&tenant, "s", &clock, a_session("call", "110"))).await, created("s"));
        let found = newest(database, tenant.scope(clock.now()), "call", "110").await.unwrap();
        assert_eq!(found.received_first, clock.now());
    });
}

#[test]
fn oif_r2_a_session_replaced_without_a_start_keeps_its_place_in_a_history() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let import = |id| an_import(&tenant, id, &clock, a_session("call", "110"));
        stored(database, import("early")).await;
        clock.advance(Duration::from_mins(1));
        stored(database, import("late")).await;
        clock.advance(Duration::from_mins(1));
        stored(database, import("early")).await;
        let page = database.history(tenant.scope(start()), &of_caller("110")).await.unwrap();
        assert_eq!(
            page.sessions.iter().map(calldata_core::Session::started).collect::<Vec<_>>(),
            [start().plus(Duration::from_mins(1)), start()]
        );
        let mut until_start = of_caller("110");
        until_start.until = Some(start());
        assert_eq!(history_ids(database, tenant.scope(start()), &until_start).await, ["early"], "what is searched is what is told");
    });
}

#[test]
fn oif_r2_a_told_start_takes_the_place_of_an_untold_one_and_the_other_way_round() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let untold = a_session("call", "110");
        let told = Details { started_at: Some(start().minus(DAY)), ..untold.clone() };
        for details in [untold.clone(), told, untold] {
            stored(database, an_import(&tenant, "s", &clock, details.clone())).await;
            let mut at = of_caller("110");
            let started = details.started_at.unwrap_or(start());
            (at.from, at.until) = (Some(started), Some(started));
            assert_eq!(history_ids(database, tenant.scope(start()), &at).await, ["s"]);
            assert_eq!(newest(database, tenant.scope(start()), "call", "110").await.unwrap().details.started_at, details.started_at);
            clock.advance(Duration::from_secs(1));
        }
    });
}

#[test]
fn oif_r2_an_import_over_a_post_is_no_longer_that_post() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let details = a_session("call", "110");
        stored(database, a_post(&tenant, "s", &clock, details.clone())).await;
        let replaced = Details { flag: Some("replaced".into()), ..details.clone() };
        assert_eq!(stored(database, an_import(&tenant, "s", &clock, replaced)).await, updated("s"));
        assert_eq!(stored(database, a_post(&tenant, "t", &clock, details)).await, created("t"));
    });
}
