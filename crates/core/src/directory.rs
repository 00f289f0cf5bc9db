//! Recognising clients without asking the store each time.

mod known;
mod refused;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::access::{Access, RequiredScope};
use crate::clock::Clock;
use crate::grant::GrantError;
use crate::key::SecretHash;
use crate::port::{DirectoryStore, StoreError};
use crate::{KeyId, Tenant, TenantId, Timestamp};
use known::Known;
use refused::RefusedCache;

/// How often changes are looked for. A revocation is felt this long after it was made.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How soon it is looked again where that failed.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// How old the last look may be before nobody is let in any more: a revocation is felt within this time, or nothing is served.
const MAX_STALENESS: Duration = Duration::from_secs(10);
/// The shortest time between two looks that unknown keys cause, whatever their number.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// How often uses of keys are written down.
const USE_INTERVAL: Duration = Duration::from_secs(5);

/// The name by which a client says whose data it wants; each dialect has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TenantName<'a> {
    /// As the Parloa dialect names it.
    Client(&'a str),
    /// As the OIFDE dialect names it.
    Oifde(&'a str),
    /// Not at all: the key says whose it is. One that several tenants brought along is nobody's here.
    OfKey,
}

/// With what a client proves a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential<'a> {
    /// The key's secret.
    Secret(&'a SecretHash),
    /// Something derived from it that names the key, such as a signed token.
    Key(&'a KeyId),
}

/// Why a client is not let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// No live key of a tenant that may use the gateway; deliberately not more.
    #[error("not recognised")]
    NotRecognised,
    /// The store cannot be asked.
    #[error("clients cannot be recognised at present")]
    Unavailable,
}

/// All tenants and keys, kept in memory and brought up to date when they change.
pub struct Directory {
    store: Arc<dyn DirectoryStore>,
    clock: Arc<dyn Clock>,
    known: RwLock<Arc<Known>>,
    confirmed: RwLock<Option<Instant>>,
    looking: tokio::sync::Mutex<Look>,
    uses: Mutex<HashMap<KeyId, Timestamp>>,
    refused: RefusedCache,
}

#[derive(Default)]
struct Look {
    began: Option<Instant>,
}

impl Directory {
    /// Reads the directory for the first time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(store: Arc<dyn DirectoryStore>, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StoreError> {
        let directory = Self {
            store,
            clock,
            known: RwLock::default(),
            confirmed: RwLock::default(),
            looking: tokio::sync::Mutex::default(),
            uses: Mutex::default(),
            refused: RefusedCache::default(),
        };
        directory.look().await?;
        Ok(Arc::new(directory))
    }

    /// Recognises a client by a tenant's name and a key's secret. What is unknown is looked up once more, so that a key works as
    /// soon as it was made; every kind of wrong takes the same steps.
    ///
    /// # Errors
    /// When there is no such live key, or the store cannot be asked.
    pub async fn authenticate(&self, name: TenantName<'_>, secret: &str) -> Result<Access, AuthError> {
        let hash = SecretHash::of(secret);
        self.recognise(name, Credential::Secret(&hash)).await
    }

    /// Recognises a client that proved, by something derived from it, that it holds the key `id`.
    ///
    /// # Errors
    /// When there is no such live key, or the store cannot be asked.
    pub async fn authenticate_by_key(&self, name: TenantName<'_>, id: &KeyId) -> Result<Access, AuthError> {
        self.recognise(name, Credential::Key(id)).await
    }

    async fn recognise(&self, name: TenantName<'_>, credential: Credential<'_>) -> Result<Access, AuthError> {
        match self.recognise_known(name, credential)? {
            Some(access) => Ok(access),
            None => self.recognise_after_look(name, credential).await,
        }
    }

    /// Recognises a client by what is in memory. `None` means that only a look at the store can tell, by
    /// [`Directory::recognise_after_look`]; a caller that holds something scarce gives it back before.
    ///
    /// # Errors
    /// When a look within the last second did not find such a key, or the store cannot be asked.
    pub fn recognise_known(&self, name: TenantName<'_>, credential: Credential<'_>) -> Result<Option<Access>, AuthError> {
        match self.find(name, credential)? {
            None if self.refused.contains(name, credential) => Err(AuthError::NotRecognised),
            found => Ok(found),
        }
    }

    /// Recognises a client by a look at the store that begins from now on. It may wait for another look, but not for long.
    ///
    /// # Errors
    /// When there is no such live key, or the store cannot be asked.
    pub async fn recognise_after_look(&self, name: TenantName<'_>, credential: Credential<'_>) -> Result<Access, AuthError> {
        let looked = self.look_after(Instant::now()).await.map_err(|_| AuthError::Unavailable)?;
        if let Some(access) = self.find(name, credential)? {
            return Ok(access);
        }
        self.refused.insert(name, credential, looked);
        Err(AuthError::NotRecognised)
    }

    fn find(&self, name: TenantName<'_>, credential: Credential<'_>) -> Result<Option<Access>, AuthError> {
        let known = self.known();
        if self.is_stale() {
            return Err(AuthError::Unavailable);
        }
        let now = self.clock.now();
        let Some((tenant, key)) = known.recognise(name, credential, now) else { return Ok(None) };
        self.uses.lock().unwrap_or_else(PoisonError::into_inner).insert(key.id.clone(), now);
        Ok(Some(Access { tenant: Arc::clone(tenant), key: key.id.clone(), scopes: key.scopes }))
    }

    /// Checks an access again that was given earlier in the same request, and returns it as it is now. Work that outlives its request's
    /// deadline holds a [`Grant`](crate::Grant) instead.
    ///
    /// # Errors
    /// When the right has ended, or cannot be checked.
    pub fn revalidate(&self, access: &Access, scope: RequiredScope) -> Result<Access, GrantError> {
        self.check(access.tenant.id, &access.key, scope)
    }

    /// The access that a key gives now, if it meets `scope`. Asks nobody: what the last look found decides.
    pub(crate) fn check(&self, tenant: TenantId, key: &KeyId, scope: RequiredScope) -> Result<Access, GrantError> {
        let known = self.known();
        if self.is_stale() {
            return Err(GrantError::Unavailable);
        }
        let tenant = known.tenants.get(&tenant).ok_or(GrantError::Revoked)?;
        let key = known.live_key(tenant, key, self.clock.now()).ok_or(GrantError::Revoked)?;
        if !scope.is_met(key.scopes) {
            return Err(GrantError::ScopeRemoved(scope));
        }
        Ok(Access { tenant: Arc::clone(tenant), key: key.id.clone(), scopes: key.scopes })
    }

    /// Looks for changes; returns the tenants whose default country is another one now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn look(&self) -> Result<Vec<Arc<Tenant>>, StoreError> {
        let mut look = self.looking.lock().await;
        self.look_now(&mut look).await
    }

    /// Sees to it that a look has succeeded that began after `asked`, and returns when it began.
    async fn look_after(&self, asked: Instant) -> Result<Instant, StoreError> {
        let mut look = self.looking.lock().await;
        if let Some(began) = look.began {
            // Somebody else's look that began after this question was asked answers it too.
            if began > asked && self.confirmed().is_some_and(|confirmed| confirmed >= began) {
                return Ok(began);
            }
            tokio::time::sleep_until(began + MIN_INTERVAL).await;
        }
        let began = Instant::now();
        self.look_now(&mut look).await.map(|_| began)
    }

    async fn look_now(&self, look: &mut Look) -> Result<Vec<Arc<Tenant>>, StoreError> {
        let began = Instant::now();
        look.began = Some(began);
        let before = self.known();
        let version = self.store.version().await?;
        if self.confirmed().is_some() && before.version == version {
            self.confirm(began);
            return Ok(Vec::new());
        }
        let now_known = Arc::new(Known::new(self.store.contents().await?));
        let moved = now_known
            .tenants
            .values()
            .filter(|tenant| before.tenants.get(&tenant.id).is_some_and(|earlier| earlier.default_country != tenant.default_country));
        let moved = moved.cloned().collect();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = now_known;
        self.confirm(began);
        Ok(moved)
    }

    /// A tenant, as last looked up, if it may use the gateway. None where that look is too long ago.
    pub fn tenant(&self, id: TenantId) -> Option<Arc<Tenant>> {
        if self.is_stale() {
            return None;
        }
        self.known().tenants.get(&id).filter(|tenant| !tenant.suspended).cloned()
    }

    /// All tenants, as last looked up.
    pub fn tenants(&self) -> Vec<Arc<Tenant>> {
        self.known().tenants.values().cloned().collect()
    }

    /// Keeps the directory up to date until the task is dropped; `on_moved` is told of tenants whose default country changed, and must
    /// not take long: nobody is let in while nobody looks.
    pub async fn keep(self: Arc<Self>, on_moved: impl Fn(Arc<Tenant>) + Send) {
        let mut uses_written = Instant::now();
        let mut pause = CHECK_INTERVAL;
        loop {
            tokio::time::sleep(pause).await;
            let looked = self.look().await;
            pause = if looked.is_ok() { CHECK_INTERVAL } else { RETRY_INTERVAL };
            match looked {
                Ok(moved) => moved.into_iter().for_each(&on_moved),
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "tenants and keys could not be looked up"),
            }
            if uses_written.elapsed() >= USE_INTERVAL {
                uses_written = Instant::now();
                self.write_uses().await;
            }
        }
    }

    /// Writes down when keys were last used.
    pub async fn write_uses(&self) {
        let uses = std::mem::take(&mut *self.uses.lock().unwrap_or_else(PoisonError::into_inner));
        if uses.is_empty() {
            return;
        }
        if let Err(error) = self.store.note_use(uses.into_iter().collect()).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the last use of keys could not be noted");
        }
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether what is known may be wrong by now.
    fn is_stale(&self) -> bool {
        self.confirmed().is_none_or(|confirmed| confirmed.elapsed() > MAX_STALENESS)
    }

    /// When the last successful look began.
    fn confirmed(&self) -> Option<Instant> {
        *self.confirmed.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn confirm(&self, began: Instant) {
        *self.confirmed.write().unwrap_or_else(PoisonError::into_inner) = Some(began);
    }
}

#[cfg(test)]
mod tests;
