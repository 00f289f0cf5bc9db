use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;

use super::*;
use crate::access::Scopes;
use crate::clock::ManualClock;
use crate::key::AccessKey;
use crate::port::DirectoryContents;
use crate::tenant::tests::tenant;
use crate::{Country, Grant, Masking, Timestamp};

/// Tenants and keys in memory, with a count of how often they were asked for.
#[derive(Default)]
struct Fake {
    contents: Mutex<DirectoryContents>,
    broken: AtomicBool,
    versions: AtomicUsize,
    reads: AtomicUsize,
    uses: Mutex<Vec<(KeyId, Timestamp)>>,
}

impl Fake {
    fn change(&self, change: impl FnOnce(&mut DirectoryContents)) {
        let mut contents = self.contents.lock().unwrap();
        contents.version += 1;
        change(&mut contents);
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.broken.load(Ordering::Relaxed) { Err(StoreError::Busy("broken".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl DirectoryStore for Fake {
    async fn version(&self) -> Result<i64, StoreError> {
        self.check()?;
        self.versions.fetch_add(1, Ordering::Relaxed);
        Ok(self.contents.lock().unwrap().version)
    }
    async fn contents(&self) -> Result<DirectoryContents, StoreError> {
        self.check()?;
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(self.contents.lock().unwrap().clone())
    }
    async fn note_use(&self, uses: Vec<(KeyId, Timestamp)>) -> Result<(), StoreError> {
        self.uses.lock().unwrap().extend(uses);
        Ok(())
    }
    async fn create_tenant(&self, _: &Tenant) -> Result<(), StoreError> {
        unreachable!("a directory only reads")
    }
    async fn update_tenant(&self, _: &Tenant) -> Result<(), StoreError> {
        unreachable!("a directory only reads")
    }
    async fn suspend_tenant(&self, _: TenantId, _: bool) -> Result<(), StoreError> {
        unreachable!("a directory only reads")
    }
    async fn move_floor(&self, _: TenantId, _: Timestamp, _: Timestamp) -> Result<(), StoreError> {
        unreachable!("a directory only reads")
    }
    async fn delete_tenant(&self, _: TenantId) -> Result<u64, StoreError> {
        unreachable!("a directory only reads")
    }
    async fn create_key(&self, _: &AccessKey) -> Result<(), StoreError> {
        unreachable!("a directory only reads")
    }
    async fn keys_of(&self, _: TenantId) -> Result<Vec<AccessKey>, StoreError> {
        unreachable!("a directory only reads")
    }
    async fn revoke_key(&self, _: &KeyId, _: Timestamp) -> Result<bool, StoreError> {
        unreachable!("a directory only reads")
    }
}

const NOW: i64 = 1_709_036_183_926;

fn key(tenant: &Tenant, secret: &str) -> AccessKey {
    AccessKey {
        id: KeyId::new(&format!("id-{secret}")).unwrap(),
        tenant: tenant.id,
        hash: SecretHash::of(secret),
        scopes: Scopes::READ_WRITE,
        created_at: Timestamp::clamped(0),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    }
}

/// A directory of the tenants `a` and `b` with the secrets `one` and `two` for `a`, `three` for `b`.
async fn open() -> (Arc<Directory>, Arc<Fake>, Arc<ManualClock>) {
    let fake = Arc::new(Fake::default());
    let (a, b) = (tenant("a"), tenant("b"));
    let keys = vec![key(&a, "one"), key(&a, "two"), key(&b, "three")];
    fake.change(|contents| *contents = DirectoryContents { version: 1, tenants: vec![a, b], keys });
    let clock = Arc::new(ManualClock::at(Timestamp::clamped(NOW)));
    (Directory::open(fake.clone(), clock.clone()).await.unwrap(), fake, clock)
}

async fn recognised(directory: &Directory, name: TenantName<'_>, secret: &str) -> Option<(String, String)> {
    match directory.authenticate(name, secret).await {
        Ok(access) => Some((access.tenant.client_id.clone(), access.key.to_string())),
        Err(AuthError::NotRecognised) => None,
        Err(AuthError::Unavailable) => panic!("the store can be asked"),
    }
}

#[tokio::test]
async fn par_a4_a_client_is_recognised_by_its_own_name_and_key_alone() {
    let (directory, fake, _) = open().await;
    let found = |client: &str, key: &str| Some((client.to_owned(), format!("id-{key}")));
    assert_eq!(recognised(&directory, TenantName::Client("a"), "one").await, found("a", "one"));
    assert_eq!(recognised(&directory, TenantName::Client("a"), "two").await, found("a", "two"));
    assert_eq!(recognised(&directory, TenantName::Oifde("oifde-b"), "three").await, found("b", "three"));
    assert_eq!(fake.versions.load(Ordering::Relaxed), 1, "a known client costs the store nothing");
    for (name, secret) in [
        (TenantName::Client("a"), "three"),
        (TenantName::Client("a"), ""),
        (TenantName::Client("c"), "one"),
        (TenantName::Client("oifde-a"), "one"),
        (TenantName::Oifde("a"), "one"),
    ] {
        assert_eq!(recognised(&directory, name, secret).await, None, "{name:?} {secret}");
    }
    assert_eq!(fake.versions.load(Ordering::Relaxed), 6, "each kind of wrong looks once more");
    let by_key = directory.authenticate_by_key(TenantName::Oifde("oifde-a"), &KeyId::new("id-two").unwrap()).await.unwrap();
    assert_eq!((by_key.tenant.client_id.as_str(), by_key.key.as_str()), ("a", "id-two"));
    let foreign = directory.authenticate_by_key(TenantName::Oifde("oifde-a"), &KeyId::new("id-three").unwrap()).await;
    assert!(matches!(foreign, Err(AuthError::NotRecognised)));
}

#[tokio::test]
async fn a_key_alone_says_whose_it_is_unless_several_tenants_brought_it_along() {
    let (directory, fake, _) = open().await;
    assert_eq!(recognised(&directory, TenantName::OfKey, "three").await, Some(("b".into(), "id-three".into())));
    let [a, b] = <[Tenant; 2]>::try_from(fake.contents.lock().unwrap().tenants.clone()).unwrap();
    let common = |id: &str, of: &Tenant| AccessKey { id: KeyId::new(id).unwrap(), ..key(of, "common") };
    fake.change(|contents| contents.keys.extend([common("id-a", &a), common("id-b", &b)]));
    assert_eq!(recognised(&directory, TenantName::Client("a"), "common").await, Some(("a".into(), "id-a".into())));
    assert_eq!(recognised(&directory, TenantName::Client("b"), "common").await, Some(("b".into(), "id-b".into())));
    assert_eq!(recognised(&directory, TenantName::OfKey, "common").await, None);
    fake.change(|contents| contents.tenants[0].suspended = true);
    directory.look().await.unwrap();
    assert_eq!(recognised(&directory, TenantName::OfKey, "common").await, Some(("b".into(), "id-b".into())), "the other may not be used");
}

#[tokio::test]
async fn the_same_wrong_key_is_looked_up_once_a_second_and_a_new_one_at_once() {
    let (directory, fake, _) = open().await;
    let a = fake.contents.lock().unwrap().tenants[0].clone();
    let looks = || fake.versions.load(Ordering::Relaxed);
    for _ in 0..50 {
        assert_eq!(recognised(&directory, TenantName::OfKey, "wrong").await, None);
        assert_eq!(recognised(&directory, TenantName::Client("a"), "wrong").await, None);
    }
    assert_eq!(looks(), 3, "one at the start, and one for each name");
    fake.change(|contents| contents.keys.extend([key(&a, "wrong"), key(&a, "never-tried")]));
    assert_eq!(recognised(&directory, TenantName::OfKey, "wrong").await, None, "refused a moment ago");
    assert!(recognised(&directory, TenantName::OfKey, "never-tried").await.is_some(), "works as soon as it is made");
    assert!(recognised(&directory, TenantName::OfKey, "wrong").await.is_some(), "found by the look for the other one");
    fake.change(|contents| contents.keys.retain(|key| key.id.as_str() != "id-wrong"));
    directory.look().await.unwrap();
    assert_eq!(recognised(&directory, TenantName::OfKey, "wrong").await, None);
    fake.change(|contents| contents.keys.push(key(&a, "wrong")));
    // A second ago.
    let refused = SecretHash::of("wrong");
    directory.refused.insert(TenantName::OfKey, Credential::Secret(&refused), Instant::now().checked_sub(CHECK_INTERVAL).unwrap());
    assert!(recognised(&directory, TenantName::OfKey, "wrong").await.is_some(), "a second later at the latest");
}

/// A scan of all keys took 18 ms of CPU a request at 20 000 tenants.
#[tokio::test]
async fn a_key_is_recognised_as_fast_among_many_tenants_as_among_few() {
    let (directory, fake, _) = open().await;
    let per_request = async || {
        let began = std::time::Instant::now();
        for _ in 0..100 {
            assert!(recognised(&directory, TenantName::OfKey, "three").await.is_some());
        }
        began.elapsed() / 100
    };
    let few = per_request().await;
    fake.change(|contents| {
        for number in 1_000..21_000 {
            let tenant = Tenant { id: TenantId::from_number(number), ..tenant(&format!("t{number}")) };
            contents.keys.push(key(&tenant, &format!("secret-{number}")));
            contents.tenants.push(tenant);
        }
    });
    directory.look().await.unwrap();
    let many = per_request().await;
    println!("recognised in {few:?} among 2 tenants, {many:?} among 20 002");
    assert!(many < Duration::from_millis(2), "{many:?}");
}

#[tokio::test]
async fn a_new_key_works_at_once_and_a_revoked_or_suspended_one_from_the_next_look() {
    let (directory, fake, clock) = open().await;
    let a = fake.contents.lock().unwrap().tenants[0].clone();
    fake.change(|contents| contents.keys.push(AccessKey { expires_at: Some(Timestamp::clamped(NOW + 1)), ..key(&a, "new") }));
    assert!(recognised(&directory, TenantName::Client("a"), "new").await.is_some());
    clock.advance(Duration::from_millis(1));
    assert_eq!(recognised(&directory, TenantName::Client("a"), "new").await, None, "expired");

    fake.change(|contents| contents.keys.retain(|key| key.hash != SecretHash::of("one")));
    assert!(recognised(&directory, TenantName::Client("a"), "one").await.is_some(), "not looked yet");
    directory.look().await.unwrap();
    assert_eq!(recognised(&directory, TenantName::Client("a"), "one").await, None);

    fake.change(|contents| contents.tenants[0].suspended = true);
    directory.look().await.unwrap();
    assert_eq!(recognised(&directory, TenantName::Client("a"), "two").await, None);
    assert!(recognised(&directory, TenantName::Client("b"), "three").await.is_some());
}

#[tokio::test]
async fn a_look_reads_everything_only_when_something_changed_and_tells_who_moved() {
    let (directory, fake, _) = open().await;
    assert!(directory.look().await.unwrap().is_empty());
    assert_eq!(fake.reads.load(Ordering::Relaxed), 1);
    fake.change(|contents| contents.tenants[1].default_country = Country::parse("CH").unwrap());
    let moved = directory.look().await.unwrap();
    assert_eq!(moved.iter().map(|tenant| tenant.client_id.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(fake.reads.load(Ordering::Relaxed), 2);
    fake.change(|contents| contents.tenants.push(tenant("c")));
    assert!(directory.look().await.unwrap().is_empty(), "a new tenant has not moved");
}

#[tokio::test]
async fn many_unknown_clients_at_once_share_a_look() {
    let (directory, fake, _) = open().await;
    let asked = (0..50).map(|n| {
        let directory = Arc::clone(&directory);
        tokio::spawn(async move { recognised(&directory, TenantName::Client("a"), &format!("guess-{n}")).await })
    });
    for guess in asked.collect::<Vec<_>>() {
        assert_eq!(guess.await.unwrap(), None);
    }
    assert!(fake.versions.load(Ordering::Relaxed) <= 4, "{} looks", fake.versions.load(Ordering::Relaxed));
    let began = std::time::Instant::now();
    assert_eq!(recognised(&directory, TenantName::Client("a"), "guess").await, None);
    assert!(began.elapsed() >= MIN_INTERVAL / 2, "looks keep their distance");
}

#[tokio::test]
async fn nobody_is_let_in_when_the_last_look_is_too_long_ago() {
    let (directory, fake, _) = open().await;
    let a = fake.contents.lock().unwrap().tenants[0].id;
    let ago = |span| Instant::now().checked_sub(span).unwrap();
    fake.broken.store(true, Ordering::Relaxed);
    assert!(directory.look().await.is_err());
    assert!(matches!(directory.authenticate(TenantName::Client("a"), "wrong").await, Err(AuthError::Unavailable)));
    directory.confirm(ago(MAX_STALENESS / 2));
    assert!(directory.tenant(a).is_some());
    assert!(recognised(&directory, TenantName::Client("a"), "one").await.is_some(), "what is known serves on for a while");
    directory.confirm(ago(MAX_STALENESS + Duration::from_millis(1)));
    assert!(matches!(directory.authenticate(TenantName::Client("a"), "one").await, Err(AuthError::Unavailable)));
    assert!(directory.tenant(a).is_none(), "nor is anything sent to its webhooks");
    fake.broken.store(false, Ordering::Relaxed);
    directory.look().await.unwrap();
    assert!(recognised(&directory, TenantName::Client("a"), "one").await.is_some());
}

#[tokio::test]
async fn a_grant_gives_the_access_of_now_and_none_once_the_right_has_ended() {
    type Make = fn(&mut DirectoryContents);
    let mask = |contents: &mut DirectoryContents| {
        contents.tenants[0].masking = Some(Masking::new(0, vec!["content".to_owned()]).unwrap());
        contents.tenants[0].default_country = Country::parse("CH").unwrap();
    };
    let revoke = |contents: &mut DirectoryContents| contents.keys[0].revoked_at = Some(Timestamp::clamped(NOW));
    let expire = |contents: &mut DirectoryContents| contents.keys[0].expires_at = Some(Timestamp::clamped(NOW));
    let reduce = |contents: &mut DirectoryContents| contents.keys[0].scopes.write = false;
    let cases: [(Make, Option<GrantError>); 7] = [
        (mask, None),
        (revoke, Some(GrantError::Revoked)),
        (expire, Some(GrantError::Revoked)),
        (reduce, Some(GrantError::ScopeRemoved(RequiredScope::Write))),
        (|contents| drop(contents.keys.remove(0)), Some(GrantError::Revoked)),
        (|contents| contents.tenants[0].suspended = true, Some(GrantError::Revoked)),
        (|contents| drop(contents.tenants.remove(0)), Some(GrantError::Revoked)),
    ];
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        let (directory, fake, _) = open().await;
        let access = directory.authenticate(TenantName::Client("a"), "one").await.unwrap();
        let grant = Grant::new(Arc::clone(&directory), access, RequiredScope::Write);
        assert!(grant.revalidate().is_ok());
        fake.change(change);
        directory.look().await.unwrap();
        let now = grant.revalidate();
        assert_eq!(now.as_ref().err().copied(), expected, "{number}");
        assert!(now.is_err() || now.is_ok_and(|now| now.tenant.masking.is_some() && now.tenant.default_country != Country::GERMANY));
    }
}

#[tokio::test]
async fn a_grant_cannot_be_checked_by_a_look_that_is_too_long_ago() {
    let (directory, _, _) = open().await;
    let access = directory.authenticate(TenantName::Client("a"), "one").await.unwrap();
    let grant = Grant::new(Arc::clone(&directory), access, RequiredScope::Read);
    directory.confirm(Instant::now().checked_sub(MAX_STALENESS + Duration::from_millis(1)).unwrap());
    let error = grant.revalidate().unwrap_err();
    assert!(error == GrantError::Unavailable && !error.is_final());
    directory.look().await.unwrap();
    assert!(grant.revalidate().is_ok());
}

#[tokio::test]
async fn the_last_use_of_keys_is_written_down_once() {
    let (directory, fake, clock) = open().await;
    recognised(&directory, TenantName::Client("a"), "one").await;
    clock.advance(Duration::from_secs(1));
    recognised(&directory, TenantName::Client("a"), "one").await;
    recognised(&directory, TenantName::Client("a"), "wrong").await;
    directory.write_uses().await;
    directory.write_uses().await;
    assert_eq!(*fake.uses.lock().unwrap(), [(KeyId::new("id-one").unwrap(), Timestamp::clamped(NOW + 1_000))]);
}

/// What is done for it may take minutes, and belongs elsewhere.
#[tokio::test]
async fn who_keeps_the_directory_tells_of_a_tenant_that_moved_and_looks_on() {
    let (directory, fake, _) = open().await;
    let (moved, mut told) = tokio::sync::mpsc::unbounded_channel();
    let keeper = tokio::spawn(Arc::clone(&directory).keep(move |tenant| moved.send(tenant.default_country).unwrap()));
    fake.change(|contents| contents.tenants[1].default_country = Country::parse("CH").unwrap());
    assert_eq!(told.recv().await, Some(Country::parse("CH").unwrap()));
    let looks = fake.versions.load(Ordering::Relaxed);
    tokio::time::sleep(CHECK_INTERVAL * 2).await;
    assert!(fake.versions.load(Ordering::Relaxed) > looks);
    keeper.abort();
}
