//! PAR-G10: a session lives as long as its tenant's retention, and what has expired never returns.

use std::time::Duration;

use calldata_core::port::{HistoryPage, Written};
use calldata_core::tenant::Retention;
use calldata_core::{Clock, DirectoryStore, Scope, SessionStore};
use calldata_store::Database;
use calldata_testkit::builders::{DAY, a_clock, a_post, a_session, an_import, call_id, session_id, start};
use calldata_testkit::engine::on_every_engine;

use super::{all_stored, created_tenant, newest, of_call, of_caller, stored};

async fn is_visible(database: &Database, scope: Scope) -> bool {
    let newest = newest(database, scope, "call", "110").await.is_some();
    let has_call = database.has_call(scope, &call_id("call")).await.unwrap();
    let of_call = database.history(scope, &of_call("call")).await.unwrap();
    let of_caller = database.history(scope, &of_caller("110")).await.unwrap();
    assert_eq!(of_call, of_caller);
    assert!(newest == has_call && newest == (of_call != HistoryPage::default()), "all ways to ask agree");
    newest
}

#[test]
fn par_g10_an_expired_session_is_invisible_in_every_query_from_the_millisecond_on() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        stored(database, a_post(&tenant, "s", &clock, a_session("call", "110"))).await;
        clock.advance((DAY * 30).saturating_sub(Duration::from_millis(1)));
        assert!(is_visible(database, tenant.scope(clock.now())).await);
        clock.advance(Duration::from_millis(1));
        assert!(!is_visible(database, tenant.scope(clock.now())).await);
    });
}

#[test]
fn par_g10_what_expired_stays_so_when_the_retention_is_raised() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let mut tenant = created_tenant(database, "c").await;
        stored(database, a_post(&tenant, "s", &clock, a_session("call", "110"))).await;
        clock.advance(DAY * 30);
        tenant.set_retention(Retention::days(3_650).unwrap(), clock.now());
        database.update_tenant(&tenant).await.unwrap();
        let told = database.contents().await.unwrap().tenants.pop().unwrap();
        assert_eq!(told, tenant);
        assert!(!is_visible(database, told.scope(clock.now())).await);
    });
}

#[test]
fn par_g10_a_raised_retention_holds_for_what_has_not_expired() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let mut tenant = created_tenant(database, "c").await;
        stored(database, a_post(&tenant, "s", &clock, a_session("call", "110"))).await;
        clock.advance(DAY);
        tenant.set_retention(Retention::days(60).unwrap(), clock.now());
        database.update_tenant(&tenant).await.unwrap();
        clock.advance(DAY * 58);
        let told = database.contents().await.unwrap().tenants.pop().unwrap();
        assert!(is_visible(database, told.scope(clock.now())).await);
        clock.advance(DAY);
        assert!(!is_visible(database, told.scope(clock.now())).await);
    });
}

#[test]
fn par_g10_retention_counts_from_the_first_receipt_whatever_refreshes_or_replaces_it() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let details = a_session("call", "110");
        stored(database, an_import(&tenant, "import", &clock, details.clone())).await;
        stored(database, a_post(&tenant, "post", &clock, details.clone())).await;
        clock.advance(Duration::from_mins(10));
        let written =
            all_stored(database, vec![a_post(&tenant, "x", &clock, details.clone()), an_import(&tenant, "import", &clock, details)]).await;
        assert_eq!(written, [Written::Updated(session_id("post")), Written::Updated(session_id("import"))]);
        assert!(!is_visible(database, tenant.scope(start().plus(DAY * 30))).await);
    });
}

#[test]
fn par_g10_a_live_session_beside_an_expired_one_is_counted_alone() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        stored(database, an_import(&tenant, "z-old", &clock, a_session("call", "110"))).await;
        clock.advance(DAY * 30);
        stored(database, an_import(&tenant, "a-new", &clock, a_session("call", "110"))).await;
        let scope = tenant.scope(clock.now());
        assert_eq!(newest(database, scope, "call", "110").await.unwrap().id, session_id("a-new"));
        let page = database.history(scope, &of_caller("110")).await.unwrap();
        assert_eq!((page.total, super::ids(&page.sessions)), (1, vec!["a-new".to_owned()]));
    });
}
