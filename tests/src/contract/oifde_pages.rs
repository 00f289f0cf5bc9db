//! `queryRecordHistory`: pages and order (OIF-Q4, OIF-Q5).

use std::time::Duration;

use calldata_testkit::builders::{a_session, start};
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::Gateway;

use super::oifde_query::{CALLER, begun_at, found, ids, refused, store};

/// Identifiers that all sort as they count.
fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("id-{n:03}")).collect()
}

#[test]
fn oif_q4_pages_count_from_one_and_hold_what_was_asked_for() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let names = numbered(101);
        store(&gateway, &account.tenant, names.iter().map(|id| (id.as_str(), a_session("call", CALLER)))).await;
        let newest_first: Vec<_> = names.iter().rev().cloned().collect();
        let (total, default) = found(&account, r#""callId":"call""#).await;
        assert_eq!((total, &default[..]), (101, &newest_first[..100]));
        for size in [5, 10, 20, 50, 100] {
            let first = found(&account, &format!(r#""callId":"call","pageSize":"{size}""#)).await;
            assert_eq!(first, (101, newest_first[..size].to_vec()));
            let second = found(&account, &format!(r#""callId":"call","pageSize":{size},"pageNum":2"#)).await;
            assert_eq!(second, (101, newest_first[size..(2 * size).min(101)].to_vec()));
        }
        assert_eq!(found(&account, r#""callId":"call","pageSize":"5","pageNum":"21""#).await, (101, vec!["id-000".to_owned()]));
        for past in [
            r#""pageSize":"5","pageNum":"22""#,
            r#""pageNum":"3""#,
            r#""pageNum":"18446744073709551615""#,
            r#""pageNum":1000000000000000000000000"#,
        ] {
            assert_eq!(found(&account, &format!(r#""callId":"call",{past}"#)).await, (101, vec![]), "{past}");
        }
        gateway.stop().await;
    });
}

#[test]
fn oif_q4_any_other_page_or_size_is_refused() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let no_number =
            [r#""x""#, r#""-1""#, "-1", "1.0", "5.5", "1e1", r#"" 5""#, r#""5 ""#, r#""+5""#, r#""0x5""#, "true", "[5]", "{}", r#""٥""#];
        let no_size = ["0", "1", "4", "6", "99", "101", "1000", r#""0""#, r#""7""#, "99999999999999999999999999"];
        let wrong = no_number.iter().flat_map(|value| [("pageNum", *value), ("pageSize", *value)]);
        let wrong =
            wrong.chain(no_size.map(|size| ("pageSize", size))).chain([("pageNum", "0"), ("pageNum", r#""0""#), ("pageNum", r#""000""#)]);
        for (name, value) in wrong {
            let message = refused(&account.history(&format!(r#""callId":"call","{name}":{value}"#)).await);
            assert!(message.contains(name), "{name} {value}: {message}");
        }
        gateway.stop().await;
    });
}

#[test]
fn oif_q5_newest_start_first_and_ties_by_identifier() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let earlier = start().minus(Duration::from_secs(60));
        // Stored in another order than either start or identifier.
        let sessions = [("b", start()), ("old", earlier), ("C", start()), ("a", start()), ("_", start()), ("ä", start()), ("Z", earlier)];
        store(&gateway, &account.tenant, sessions.map(|(id, moment)| (id, begun_at("call", CALLER, moment)))).await;
        let by_bytes = ["ä", "b", "a", "_", "C", "old", "Z"];
        assert_eq!(ids(&account, r#""callId":"call""#).await, by_bytes);
        gateway.stop().await;
    });
}

#[test]
fn oif_q5_paging_over_ties_repeats_and_skips_nothing_while_calls_go_on() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let names = numbered(23);
        store(&gateway, &account.tenant, names.iter().rev().map(|id| (id.as_str(), begun_at("call", CALLER, start())))).await;
        let mut seen = Vec::new();
        for page in 1..=5 {
            let parameters = format!(r#""callId":"call","endTime":"2024-02-27 12:16:23","pageSize":"5","pageNum":"{page}""#);
            let (total, more) = found(&account, &parameters).await;
            assert_eq!(total, 23);
            seen.extend(more);
            // Meanwhile somebody calls again.
            gateway.clock.advance(Duration::from_secs(1));
            store(
                &gateway,
                &account.tenant,
                [(format!("new-{page}").as_str(), begun_at("call", CALLER, start().plus(Duration::from_secs(page))))],
            )
            .await;
        }
        assert_eq!(seen, names.iter().rev().cloned().collect::<Vec<_>>());
        gateway.stop().await;
    });
}
