//! Tenants and keys.

use std::time::Duration;

use calldata_core::port::DirectoryContents;
use calldata_core::tenant::Retention;
use calldata_core::{Country, DirectoryStore, KeyId, Masking, Scopes, SessionStore, StoreError, Tenant, TenantId, Timestamp, Zone};
use calldata_store::Database;
use calldata_testkit::builders::{a_clock, a_key, a_post, a_session, a_tenant, an_import, start};
use calldata_testkit::engine::on_every_engine;

use super::{all_stored, created_tenant, history_ids, of_caller};

async fn contents(database: &Database) -> DirectoryContents {
    let contents = database.contents().await.unwrap();
    assert_eq!(contents.version, database.version().await.unwrap());
    contents
}

fn after(seconds: u64) -> Timestamp {
    start().plus(Duration::from_secs(seconds))
}

#[test]
fn a_tenant_comes_back_as_it_was_created_and_as_it_was_updated() {
    on_every_engine(async |test| {
        let database = test.database();
        let created = created_tenant(database, "c").await;
        assert_eq!(contents(database).await.tenants, std::slice::from_ref(&created));
        let updated = Tenant {
            id: created.id,
            name: "O'Neil \"& Söhne\" 漢".into(),
            client_id: "c2".into(),
            oifde_id: "C2".into(),
            default_country: Country::parse("CH").unwrap(),
            zone: Zone::parse("Europe/Zurich").unwrap(),
            oifde_zone: Zone::parse("Asia/Shanghai").unwrap(),
            retention: Retention::days(3_650).unwrap(),
            audit_retention: Retention::days(400).unwrap(),
            audit_rows: 2_000,
            quota_bytes: Some(5_000_000),
            misses_are_absences: true,
            explains_misses: false,
            accepts_key_in_url: false,
            masking: Some(Masking::new(525_600, vec!["content".into(), "O'Neil, \"ü\" 漢 \\".into(), "*".into()]).unwrap()),
            suspended: false,
            expired_until: after(1),
            created_at: after(2),
        };
        database.update_tenant(&updated).await.unwrap();
        assert_eq!(contents(database).await.tenants, std::slice::from_ref(&updated));
        let unmasked = Tenant { masking: None, ..updated };
        database.update_tenant(&unmasked).await.unwrap();
        assert_eq!(contents(database).await.tenants, [unmasked]);
    });
}

#[test]
fn a_suspended_tenant_is_told_and_can_be_resumed() {
    on_every_engine(async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        for suspended in [true, false] {
            database.suspend_tenant(tenant.id, suspended).await.unwrap();
            assert_eq!(contents(database).await.tenants[0].suspended, suspended);
        }
        assert!(matches!(database.suspend_tenant(a_tenant("nobody").id, true).await, Err(StoreError::NoSuchTenant)));
    });
}

#[test]
fn a_change_of_something_else_lets_no_suspended_tenant_in() {
    on_every_engine(async |test| {
        let database = test.database();
        let read_before = created_tenant(database, "c").await;
        database.suspend_tenant(read_before.id, true).await.unwrap();
        database.update_tenant(&Tenant { name: "Another name".into(), ..read_before }).await.unwrap();
        let tenant = contents(database).await.tenants.remove(0);
        assert_eq!((tenant.name.as_str(), tenant.suspended), ("Another name", true));
    });
}

#[test]
fn a_floor_is_moved_by_whoever_knows_where_it_is() {
    on_every_engine(async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        database.move_floor(tenant.id, tenant.expired_until, after(1)).await.unwrap();
        // Somebody else still believes it to be where it was.
        database.move_floor(tenant.id, tenant.expired_until, after(2)).await.unwrap();
        assert_eq!(contents(database).await.tenants[0].expired_until, after(1));
    });
}

#[test]
fn a_tenants_names_belong_to_it_alone() {
    on_every_engine(async |test| {
        let database = test.database();
        let (one, two) = (created_tenant(database, "one").await, created_tenant(database, "two").await);
        let before = contents(database).await.version;
        let same_client = Tenant { client_id: one.client_id.clone(), ..a_tenant("three") };
        let same_oifde = Tenant { oifde_id: one.oifde_id.clone(), ..a_tenant("three") };
        for taken in [&same_client, &same_oifde] {
            assert!(matches!(database.create_tenant(taken).await, Err(StoreError::Taken("the client id or tenant id"))));
            let renamed = Tenant { id: two.id, ..taken.clone() };
            assert!(matches!(database.update_tenant(&renamed).await, Err(StoreError::Taken("the client id or tenant id"))));
        }
        let after = contents(database).await;
        assert_eq!((after.version, after.tenants), (before, vec![one, two]), "a refused change is none");
        // Names are compared byte by byte.
        database.create_tenant(&a_tenant("ONE")).await.unwrap();
    });
}

#[test]
fn what_is_not_there_cannot_be_changed() {
    on_every_engine(async |test| {
        let database = test.database();
        let stranger = a_tenant("nobody");
        let before = contents(database).await.version;
        assert!(matches!(database.update_tenant(&stranger).await, Err(StoreError::NoSuchTenant)));
        assert!(matches!(database.delete_tenant(stranger.id).await, Err(StoreError::NoSuchTenant)));
        assert!(matches!(database.create_key(&a_key(&stranger, "secret")).await, Err(StoreError::NoSuchTenant)));
        assert!(!database.revoke_key(&KeyId::new("k-none").unwrap(), start()).await.unwrap());
        database.note_use(vec![(KeyId::new("k-none").unwrap(), start())]).await.unwrap();
        assert_eq!(contents(database).await.version, before);
        assert_eq!(database.keys_of(TenantId::from_number(1)).await.unwrap(), []);
    });
}

#[test]
fn the_version_grows_with_every_change_and_only_then() {
    on_every_engine(async |test| {
        let database = test.database();
        let mut versions = vec![contents(database).await.version];
        let tenant = created_tenant(database, "c").await;
        versions.push(contents(database).await.version);
        database.update_tenant(&tenant).await.unwrap();
        versions.push(contents(database).await.version);
        let key = a_key(&tenant, "secret");
        database.create_key(&key).await.unwrap();
        versions.push(contents(database).await.version);
        assert!(database.revoke_key(&key.id, start()).await.unwrap());
        versions.push(contents(database).await.version);
        database.delete_tenant(tenant.id).await.unwrap();
        versions.push(contents(database).await.version);
        assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");

        let other = created_tenant(database, "other").await;
        database.create_key(&a_key(&other, "secret")).await.unwrap();
        let before = contents(database).await.version;
        database.note_use(vec![(KeyId::new("k-secret").unwrap(), start())]).await.unwrap();
        all_stored(database, vec![a_post(&other, "s", &a_clock(), a_session("call", "110"))]).await;
        assert_eq!(contents(database).await.version, before, "uses and sessions are no changes of the directory");
    });
}

#[test]
fn changes_made_at_once_are_all_made_and_all_counted() {
    on_every_engine(async |test| {
        let instances = [test.database().clone(), test.open_again().await];
        let before = contents(&instances[0]).await.version;
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..16_usize {
            let database = instances[task % 2].clone();
            tasks.spawn(async move { database.create_tenant(&a_tenant(&format!("tenant-{task}"))).await });
        }
        for result in tasks.join_all().await {
            result.unwrap();
        }
        let after = contents(&instances[1]).await;
        assert_eq!((after.version, after.tenants.len()), (before + 16, 16));
    });
}

#[test]
fn a_key_comes_back_as_it_was_created() {
    on_every_engine(async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        let plain = a_key(&tenant, "plain");
        let mut full = a_key(&tenant, "full");
        full.scopes = Scopes { read: true, write: true, admin: true, unmasked: true };
        full.created_at = after(1);
        full.expires_at = Some(after(2));
        full.last_used_at = Some(after(3));
        let mut powerless = a_key(&tenant, "powerless");
        powerless.scopes = Scopes::default();
        powerless.created_at = after(2);
        for key in [&powerless, &full, &plain] {
            database.create_key(key).await.unwrap();
        }
        assert_eq!(database.keys_of(tenant.id).await.unwrap(), [plain.clone(), full.clone(), powerless.clone()], "oldest first");
        let mut keys = contents(database).await.keys;
        keys.sort_by_key(|key| key.created_at);
        assert_eq!(keys, [plain, full, powerless]);
    });
}

#[test]
fn a_tenant_has_a_secret_once_and_two_tenants_may_share_one() {
    on_every_engine(async |test| {
        let database = test.database();
        let (one, two) = (created_tenant(database, "one").await, created_tenant(database, "two").await);
        database.create_key(&a_key(&one, "secret")).await.unwrap();
        let again = calldata_core::key::AccessKey { id: KeyId::new("k-again").unwrap(), ..a_key(&one, "secret") };
        assert!(matches!(database.create_key(&again).await, Err(StoreError::Taken("the secret"))));
        database.create_key(&calldata_core::key::AccessKey { tenant: two.id, ..again }).await.unwrap();
    });
}

#[test]
fn a_revoked_key_vanishes_from_what_clients_are_recognised_by() {
    on_every_engine(async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        let (kept, revoked) = (a_key(&tenant, "kept"), a_key(&tenant, "revoked"));
        database.create_key(&kept).await.unwrap();
        database.create_key(&revoked).await.unwrap();
        assert!(database.revoke_key(&revoked.id, after(1)).await.unwrap());
        assert!(database.revoke_key(&revoked.id, after(2)).await.unwrap(), "again is no error");
        assert_eq!(contents(database).await.keys, [kept]);
        let all = database.keys_of(tenant.id).await.unwrap();
        let revoked_at: Vec<_> = all.iter().map(|key| (key.id.as_str(), key.revoked_at)).collect();
        assert_eq!(revoked_at, [("k-kept", None), ("k-revoked", Some(after(1)))], "it was revoked the first time");
    });
}

#[test]
fn of_several_uses_of_a_key_the_latest_is_kept_in_whatever_order_they_are_noted() {
    on_every_engine(async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        let (used, unused) = (a_key(&tenant, "used"), a_key(&tenant, "unused"));
        database.create_key(&used).await.unwrap();
        database.create_key(&unused).await.unwrap();
        for (noted, latest) in [(5, 5), (9, 9), (7, 9)] {
            database.note_use(vec![(used.id.clone(), after(noted))]).await.unwrap();
            let keys = database.keys_of(tenant.id).await.unwrap();
            let last_used = |id: &KeyId| keys.iter().find(|key| key.id == *id).unwrap().last_used_at;
            assert_eq!((last_used(&used.id), last_used(&unused.id)), (Some(after(latest)), None));
        }
    });
}

#[test]
fn deleting_a_tenant_removes_its_sessions_and_keys_and_nobody_elses() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let (gone, kept) = (created_tenant(database, "gone").await, created_tenant(database, "kept").await);
        for tenant in [&gone, &kept] {
            let key = calldata_core::key::AccessKey { id: KeyId::new(&tenant.client_id).unwrap(), ..a_key(tenant, "secret") };
            database.create_key(&key).await.unwrap();
            // More than are deleted at a time.
            let import = |no: usize| an_import(tenant, &format!("s{no}"), &clock, a_session("call", "110"));
            all_stored(database, (0..1_001).map(import).collect()).await;
        }
        assert_eq!(database.delete_tenant(gone.id).await.unwrap(), 1_001);
        let left = contents(database).await;
        assert_eq!(left.tenants, std::slice::from_ref(&kept));
        assert_eq!(left.keys.iter().map(|key| key.tenant).collect::<Vec<_>>(), [kept.id]);
        assert_eq!(database.callers(gone.id, None, 10).await.unwrap(), []);
        assert_eq!(database.keys_of(gone.id).await.unwrap(), []);
        assert_eq!(database.history(kept.scope(start()), &of_caller("110")).await.unwrap().total, 1_001);
        // Its names are free again, and nothing of what it had comes with them.
        let anew = created_tenant(database, "gone").await;
        let nowhere: [&str; 0] = [];
        assert_eq!(history_ids(database, anew.scope(start()), &of_caller("110")).await, nowhere);
    });
}
