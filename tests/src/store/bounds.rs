//! What is kept free on a disk, and how much a tenant may store.

use std::sync::Arc;

use calldata_core::audit::Action;
use calldata_core::key::AccessKey;
use calldata_core::port::{AuditStore, Catalog as _, Erasures as _, Written};
use calldata_core::{
    Access, Audit, CallerKey, Clock as _, Country, Details, DirectoryStore, Erasure, JsonText, Pseudonyms, SessionStore, StoreError, Tenant,
};
use calldata_store::{Database, Direction, Url};
use calldata_testkit::builders::{a_clock, a_key, a_post, a_session, a_tenant, caller_key, start};
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::small_disk::SmallDisk;

use super::created_tenant;

/// Of a disk of 64 MiB, a sixteenth is reserved.
const DISK_KIB: u32 = 64 * 1024;

fn a_large_session(call: &str, kib: usize) -> Details {
    Details { content: Some(JsonText::string(&"x".repeat(kib << 10))), ..a_session(call, "110") }
}

async fn posted(database: &Database, tenant: &Tenant, number: u32, kib: usize) -> Result<Written, StoreError> {
    let post = a_post(tenant, &format!("s{number}"), &a_clock(), a_large_session(&format!("call-{number}"), kib));
    database.write(vec![post]).await.pop().unwrap()
}

#[tokio::test]
async fn a_nearly_full_disk_takes_no_posts_and_still_erasures_revocations_and_suspensions() {
    let disk = SmallDisk::of_kib(DISK_KIB);
    let url = Url::parse(&format!("sqlite://{}", disk.path("calldata.db").display())).unwrap();
    let database = Database::open(&url).await.unwrap();
    database.migrate(Direction::Up).await.unwrap();
    let (tenant, other) = (created_tenant(&database, "c").await, created_tenant(&database, "d").await);
    let key: AccessKey = a_key(&tenant, "secret");
    database.create_key(&key).await.unwrap();
    let mut number = 0;
    let refused = loop {
        match posted(&database, &tenant, number, 60).await {
            Ok(_) => number += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::NoRoom(_)) && number > 100, "{refused:?} after {number}");
    let audit = Audit::new(Arc::new(database.clone()), Arc::new(a_clock()), Pseudonyms::new(&["secret".into()]));
    let access = Access::of_operator(tenant.clone());
    audit.note(&access, Action::Read, &caller_key("110"));
    audit.flush().await;
    assert!(matches!(audit.write_down(&access, Action::Exported, None, 1).await, Err(StoreError::NoRoom(_))));
    assert_eq!(database.count_audit(tenant.id).await.unwrap(), 0, "what is read is written down later");
    // What frees room, and what takes rights away.
    audit.write_down(&access, Action::Erased, None, 1).await.unwrap();
    database.suspend_tenant(other.id, true).await.unwrap();
    assert!(database.revoke_key(&key.id, start()).await.unwrap());
    let caller = Some(CallerKey::of("110", Country::GERMANY));
    let erasure = Erasure { id: "e".into(), tenant: tenant.id, caller, pseudonym: "hmac:x".into(), requested_at: start() };
    database.begin_erasure(&erasure).await.unwrap();
    let mut erased = 0;
    loop {
        match database.erase_some(&erasure, None, start()).await.unwrap() {
            0 => break,
            some => erased += some,
        }
    }
    assert_eq!(erased, u64::from(number));
    assert!(database.wipe_now().await.unwrap());
    drop(disk);
}

#[test]
fn a_tenant_that_has_used_its_quota_up_stores_nothing_more_and_another_does() {
    on_every_engine(async |test| {
        let database = test.database();
        let limited = Tenant { quota_bytes: Some(1_000_000), ..a_tenant("limited") };
        database.create_tenant(&limited).await.unwrap();
        let other = created_tenant(database, "other").await;
        let tenants = |quota: u64| [Arc::new(Tenant { quota_bytes: Some(quota), ..limited.clone() }), Arc::new(other.clone())];
        database.count_stored_bytes(&tenants(1_000_000)).await.unwrap();
        for number in 0..3 {
            posted(database, &limited, number, 300).await.unwrap();
        }
        assert!(matches!(posted(database, &limited, 3, 300).await, Err(StoreError::OverQuota)));
        posted(database, &other, 4, 300).await.unwrap();
        assert_eq!(database.count(limited.scope(start()), &calldata_core::catalog::Filter::default()).await.unwrap(), 3);
        // Another process counts what is stored, and finds room again once something was deleted.
        let again = test.open_again().await;
        again.count_stored_bytes(&tenants(1_000_000)).await.unwrap();
        assert!(matches!(posted(&again, &limited, 3, 300).await, Err(StoreError::OverQuota)));
        while again.delete_received_until(limited.id, a_clock().now()).await.unwrap() > 0 {}
        again.count_stored_bytes(&tenants(1_000_001)).await.unwrap();
        posted(&again, &limited, 3, 300).await.unwrap();
        // Without a quota there is no end.
        again.count_stored_bytes(&[Arc::new(Tenant { quota_bytes: None, ..limited.clone() })]).await.unwrap();
        for number in 10..15 {
            posted(&again, &limited, number, 300).await.unwrap();
        }
    });
}
