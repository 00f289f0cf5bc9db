//! Finding callers' comparison forms again (PAR-N3).

use calldata_core::{Caller, CallerKey, Country, Details, SessionStore};
use calldata_testkit::builders::{DAY, a_clock, a_post, a_session, an_import, caller_key, json, session_id, start};
use calldata_testkit::engine::on_every_engine;

use super::{all_stored, created_tenant, newest, stored};

#[test]
fn par_n3_every_caller_is_given_once_page_by_page_the_expired_included() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let names: Vec<_> = (0..7).map(|no| format!("s{no}")).chain(["S9".into(), "é".into()]).collect();
        let import = |name: &String| an_import(&tenant, name, &clock, a_session("call", &format!("anonymous {name}")));
        all_stored(database, names.iter().map(import).collect()).await;
        clock.advance(DAY * 31);
        let (mut after, mut given) = (None, Vec::new());
        loop {
            let page = database.callers(tenant.id, after.as_ref(), 4).await.unwrap();
            assert!(page.len() <= 4);
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            given.extend(page.into_iter().map(|stored| (stored.id.to_string(), stored.spelling)));
        }
        let mut expected: Vec<_> = names.iter().map(|name| (name.clone(), format!("anonymous {name}"))).collect();
        expected.sort();
        assert_eq!(given, expected);
    });
}

#[test]
fn par_n3_a_caller_is_given_with_what_its_form_is_found_by() {
    on_every_engine(async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        let details = Details { country_code: Some(json("\"+41\"")), ..a_session("call", "0791234567") };
        stored(database, a_post(&tenant, "s", &a_clock(), details)).await;
        let stored = database.callers(tenant.id, None, 10).await.unwrap().pop().unwrap();
        assert_eq!((stored.id, stored.spelling.as_str()), (session_id("s"), "0791234567"));
        assert_eq!(stored.country_code.as_deref(), Some("\"+41\""));
        assert_eq!(stored.key.as_str(), "+49791234567");
    });
}

#[test]
fn par_n3_a_rewritten_form_is_the_one_that_is_compared_and_the_spelling_stays() {
    on_every_engine(async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        let swiss = CallerKey::of("0791234567", Country::parse("CH").unwrap());
        let clock = a_clock();
        all_stored(
            database,
            vec![
                a_post(&tenant, "s", &clock, a_session("call", "0791234567")),
                a_post(&tenant, "t", &clock, a_session("other", "0791234567")),
            ],
        )
        .await;
        database.set_caller_keys(tenant.id, vec![(session_id("s"), swiss.clone()), (session_id("gone"), swiss.clone())]).await.unwrap();
        let scope = tenant.scope(start());
        let found = newest(database, scope, "call", swiss.as_str()).await.unwrap();
        assert_eq!(found.details.caller, Caller::known("0791234567".into(), swiss));
        assert_eq!(newest(database, scope, "call", "0791234567").await, None);
        let other = newest(database, scope, "other", "0791234567").await.unwrap();
        assert_eq!(*other.details.caller.key(), caller_key("0791234567"), "only what was named is rewritten");
    });
}
