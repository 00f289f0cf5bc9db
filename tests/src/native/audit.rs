//! Who read, wrote, exported and erased what.

use std::sync::Arc;
use std::time::Duration;

use calldata_core::tenant::Retention;
use calldata_core::{Purge, Scopes, Tenant};
use calldata_testkit::builders::{DAY, a_tenant};
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::{Account, Gateway};
use calldata_testkit::program::eventually;

use super::{created, of, problem};

/// Longer than it takes until what was done is written down.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is noted, as `key action sessions`, in alphabetical order; once there are so many of them.
async fn noted(admin: &Account, query: &str, count: usize) -> Vec<String> {
    let path = format!("/audit?limit=100&{query}");
    let items = async || admin.native("GET", &path, "").await.json()["items"].as_array().unwrap().clone();
    eventually("it is noted", PATIENCE, async || items().await.len() >= count).await;
    let text = |entry: &serde_json::Value, name: &str| entry[name].as_str().unwrap().to_owned();
    let mut shown: Vec<_> =
        items().await.iter().map(|entry| format!("{} {} {}", text(entry, "keyId"), text(entry, "action"), entry["sessions"])).collect();
    shown.sort();
    shown
}

#[test]
fn it_is_noted_in_every_dialect_who_did_what_and_no_number_is() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let theirs = gateway.as_admin(&gateway.a_tenant("d").await).await;
        let admin = gateway.as_admin(&account).await;
        account.post(r#"{"callid":"c1","callerid":"030 123456"}"#).await;
        account.get("caller=030123456&callid=c1").await;
        account.get("caller=112&callid=c1").await;
        account.history(r#""userMobile":"030123456""#).await;
        created(&account, r#"{"id":"s","callId":"c2","caller":"110"}"#).await;
        account.native("GET", "/sessions/s", "").await;
        account.native("POST", "/sessions/s/turns", r#"{"turns":[{"no":"1"}]}"#).await;
        account.native("GET", "/sessions:export", "").await;
        admin.native("POST", "/callers:export", r#"{"caller":"110"}"#).await;
        admin.native("POST", "/callers:erase", r#"{"caller":"110"}"#).await;
        // Of the caller, by number or by what stands for it.
        let of_caller = noted(&admin, "caller=030123456&action=read", 1).await;
        assert_eq!(
            of_caller.iter().map(|entry| entry.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>(),
            2,
            "{of_caller:?}"
        );
        let page = admin.native("GET", "/audit?caller=030123456", "").await;
        assert!(!page.text().contains("30123456"), "{}", page.text());
        let name = page.json()["items"][0]["caller"].as_str().unwrap().to_owned();
        assert_eq!(admin.native("GET", &format!("/audit?caller={name}"), "").await.json(), page.json());
        let exported = noted(&admin, "action=exported", 2).await;
        assert_eq!(exported, ["k-admin-of-c exported 0", "k-secret-of-c exported 0"]);
        assert_eq!(noted(&admin, "action=erased", 2).await, ["k-admin-of-c erased 0", "k-admin-of-c erased 1"]);
        let wrote = noted(&admin, "action=wrote&caller=110", 1).await;
        assert_eq!(wrote.iter().map(|entry| entry.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>(), 2, "{wrote:?}");
        assert_eq!(
            noted(&admin, "keyId=k-admin-of-c", 3).await,
            ["k-admin-of-c erased 0", "k-admin-of-c erased 1", "k-admin-of-c exported 0"]
        );
        assert_eq!(noted(&theirs, "", 0).await, Vec::<String>::new(), "another tenant's");
        assert_eq!(problem(&account.native("GET", "/audit", "").await), of("not-permitted", None, 403));
        gateway.stop().await;
    });
}

#[test]
fn it_is_listed_newest_first_and_page_by_page() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.as_admin(&gateway.a_tenant("c").await).await;
        for _ in 0..5 {
            account.native("GET", "/sessions:export", "").await;
            account.native("GET", "/sessions:export", "").await;
            gateway.clock.advance(Duration::from_secs(1));
        }
        let (mut found, mut next) = (Vec::new(), String::new());
        loop {
            let page = account.native("GET", &format!("/audit?limit=3{next}"), "").await.json();
            found.extend(page["items"].as_array().unwrap().iter().map(|entry| entry["at"].as_str().unwrap().to_owned()));
            let Some(cursor) = page["next"].as_str() else { break };
            next = format!("&cursor={cursor}");
        }
        assert_eq!(found.len(), 10);
        assert!(found.is_sorted_by(|a, b| a >= b), "{found:?}");
        let next_of_all = format!("cursor={}", account.native("GET", "/audit?limit=1", "").await.json()["next"].as_str().unwrap());
        assert_eq!(account.native("GET", &format!("/audit?{next_of_all}"), "").await.status, 200);
        let between = noted(&account, "from=2024-02-27T12:16:24.926Z&to=2024-02-27T12:16:25.926Z", 4).await;
        assert_eq!(between.len(), 4);
        for (query, expected) in [
            ("cursor=x", of("invalid-cursor", Some("cursor"), 400)),
            ("cursor=", of("invalid-cursor", Some("cursor"), 400)),
            ("action=looked", of("invalid-field", Some("action"), 400)),
            ("from=x", of("invalid-field", Some("from"), 400)),
            ("cursor=1795313306965.1", of("invalid-cursor", Some("cursor"), 400)),
            (&format!("action=read&{}", next_of_all.as_str()), of("invalid-cursor", Some("cursor"), 400)),
            ("who=x", of("unknown-member", Some("who"), 400)),
        ] {
            assert_eq!(problem(&account.native("GET", &format!("/audit?{query}"), "").await), expected, "{query}");
        }
        gateway.stop().await;
    });
}

#[test]
fn nobody_exports_or_erases_a_caller_where_it_cannot_be_noted() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.as_admin(&gateway.a_tenant("c").await).await;
        created(&account, r#"{"id":"s","callId":"c1","caller":"110"}"#).await;
        database.execute("ALTER TABLE audit RENAME TO elsewhere").await;
        for path in ["/callers:erase", "/callers:export"] {
            let refused = account.native("POST", path, r#"{"caller":"110"}"#).await;
            assert_eq!((refused.status, refused.text().contains("110")), (500, false), "{path}: {}", refused.text());
        }
        assert_eq!(account.native("GET", "/sessions:export", "").await.status, 500);
        assert_eq!(account.native("GET", "/sessions/s", "").await.status, 200, "nothing is erased");
        database.execute("ALTER TABLE elsewhere RENAME TO audit").await;
        assert_eq!(account.native("POST", "/callers:erase", r#"{"caller":"110"}"#).await.status, 200);
        assert_eq!(noted(&account, "action=erased", 2).await, ["k-admin-of-c erased 0", "k-admin-of-c erased 1"]);
        gateway.stop().await;
    });
}

#[test]
fn it_is_kept_for_as_long_as_the_tenant_wants_it_kept() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let tenant = Tenant { audit_retention: Retention::days(2).unwrap(), ..a_tenant("c") };
        let account = gateway.as_admin(&gateway.add(tenant).await).await;
        account.native("GET", "/sessions:export", "").await;
        gateway.clock.advance(DAY);
        account.native("GET", "/sessions:export", "").await;
        gateway.clock.advance(DAY + Duration::from_secs(1));
        let purge = Purge::new(Arc::new(gateway.database().clone()), gateway.clock.clone());
        purge.run(&[Arc::new(account.tenant.clone())]).await.unwrap();
        assert_eq!(noted(&account, "", 1).await.len(), 1);
        gateway.stop().await;
    });
}

#[test]
fn an_orderly_stop_writes_down_what_was_done_last() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        gateway.a_key(&account.tenant, "admin-of-c", Scopes { admin: true, ..Scopes::READ_WRITE }).await;
        account.post(r#"{"callid":"c1","callerid":"110"}"#).await;
        let clock = gateway.clock.clone();
        gateway.stop().await;
        let again = Gateway::start_with(database.open_again().await, clock, calldata_http::Limits::default()).await;
        let mut admin = again.account(&account);
        admin.key = "admin-of-c".into();
        assert_eq!(noted(&admin, "action=wrote", 1).await, ["k-secret-of-c wrote 1"]);
        again.stop().await;
    });
}
