//! The ports: what the domain asks of a store. One method is one transaction; none crosses the port.

mod audit;
mod catalog;
mod erasures;
mod outbox;
mod time_marks;
mod webhooks;

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;

use crate::access::Scope;
use crate::key::AccessKey;
use crate::replay::ReplayDigest;
use crate::{CallId, CallerKey, Details, KeyId, Session, SessionId, Tenant, TenantId, Timestamp};

pub use audit::AuditStore;
pub use catalog::{Amend, Amended, Catalog, Creation, Once};
pub use erasures::Erasures;
pub use outbox::{Events, Outbox, OutboxEnd};
pub use time_marks::TimeMarks;
pub use webhooks::{Change, Lease, Outcome, Settled, Standing, WebhookStore};

/// Why a store could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached or has no time; nothing was changed, and the same may succeed later.
    #[error("the store is busy or out of reach")]
    Busy(#[source] Box<dyn Error + Send + Sync>),
    /// There is no room on the disk; nothing was changed, and the same succeeds once there is.
    #[error("the disk is full")]
    NoRoom(#[source] Box<dyn Error + Send + Sync>),
    /// The tenant stores as much as it may; nothing was changed.
    #[error("the tenant's quota is used up")]
    OverQuota,
    /// Nobody can tell whether the change was made; asking for the same again is safe.
    #[error("the store did not confirm the change")]
    Unconfirmed(#[source] Box<dyn Error + Send + Sync>),
    /// Something else has that name already.
    #[error("{0} is taken")]
    Taken(&'static str),
    /// The tenant is gone.
    #[error("no such tenant")]
    NoSuchTenant,
    /// What is stored cannot be read as what it should be, or the store refused a request of ours.
    #[error("the store failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

/// A session on its way into the store.
#[derive(Clone, Debug)]
pub struct Write {
    /// The tenant's live sessions, at the moment of the write.
    pub scope: Scope,
    /// The identifier it gets, unless an earlier session stands for it.
    pub id: SessionId,
    /// When it was first received.
    pub received_first: Timestamp,
    /// When it was last received.
    pub received_last: Timestamp,
    /// What is known about it.
    pub details: Details,
    /// Which earlier session stands for it.
    pub same: Same,
    /// When it is told to those who follow along; `None` for what they are not told of.
    pub told_at: Option<Timestamp>,
}

/// Which earlier session, if any, a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Same {
    /// The one with the same digest that was first received within [`crate::replay::WINDOW`]: it is refreshed, nothing else
    /// changes (PAR-P7).
    Digest(ReplayDigest),
    /// The one with the same identifier: it is replaced and keeps its first receipt (OIF-R2).
    Id,
    /// None: where there is one with the same identifier, this one is refused as [`StoreError::Taken`].
    None,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// A new session.
    Created(SessionId),
    /// An earlier session was refreshed or replaced.
    Updated(SessionId),
    /// An earlier session stood for it, which was erased since; nothing is stored.
    Erased,
}

/// Which sessions a history is asked for; at least one of the first three is given, and all that are given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Of this call.
    pub call_id: Option<String>,
    /// Of this caller.
    pub caller: Option<CallerKey>,
    /// Of this call, as the telephony platform names it.
    pub cti_call_id: Option<String>,
    /// Begun then or later.
    pub from: Option<Timestamp>,
    /// Begun then or earlier.
    pub until: Option<Timestamp>,
    /// How many to pass over.
    pub offset: u64,
    /// How many to return.
    pub limit: u64,
    /// How many bytes they may hold, of which the last one may go beyond; any number unless it is given.
    pub max_bytes: Option<usize>,
}

/// A part of a history, newest start first, ties by identifier, descending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryPage {
    /// How many sessions match in all.
    pub total: u64,
    /// Those that were asked for.
    pub sessions: Vec<Session>,
    /// The page has more of them: the bytes were used up.
    pub is_cut: bool,
}

/// A session's caller, for finding its comparison form again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCaller {
    /// The session.
    pub id: SessionId,
    /// The caller as spelled.
    pub spelling: String,
    /// The country that was posted with it, as JSON text.
    pub country_code: Option<String>,
    /// The form that is stored.
    pub key: CallerKey,
}

/// What one step of a purge did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// How many sessions it deleted.
    pub deleted: u64,
    /// How long others could not write meanwhile.
    pub held: Duration,
}

/// Whose sessions somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Awaited {
    /// The tenant.
    pub tenant: TenantId,
    /// The call.
    pub call: CallId,
    /// The caller.
    pub caller: CallerKey,
}

/// Where sessions are kept.
#[async_trait]
pub trait SessionStore: AuditStore + Catalog + Outbox {
    /// Stores sessions in one transaction, durably before it returns; the results are in the order of the writes, and a write that
    /// fails by itself fails alone. Two writes of the same session are one, whichever instance or batch they are in.
    async fn write(&self, batch: Vec<Write>) -> Vec<Result<Written, StoreError>>;

    /// The newest session of that call and caller, by last receipt, then by identifier (PAR-G1).
    async fn newest(&self, scope: Scope, call: &CallId, caller: &CallerKey) -> Result<Option<Session>, StoreError>;

    /// Whether there is a session of that call, whoever the caller is.
    async fn has_call(&self, scope: Scope, call: &CallId) -> Result<bool, StoreError>;

    /// When the newest session of each was last received; those without any are left out. One query for many, for whoever waits for
    /// what may arrive elsewhere (PAR-G11). Sessions that have expired may be among them.
    async fn last_receipts(&self, awaited: &[Awaited]) -> Result<Vec<(Awaited, Timestamp)>, StoreError>;

    /// The sessions that match, and how many they are in all.
    async fn history(&self, scope: Scope, query: &HistoryQuery) -> Result<HistoryPage, StoreError>;

    /// Deletes some sessions that were first received at this moment or before, few enough that nobody waits long for it; returns how
    /// many, and 0 when none is left.
    async fn delete_received_until(&self, tenant: TenantId, until: Timestamp) -> Result<u64, StoreError>;

    /// Deletes some of a tenant's sessions that have expired at `now`, few enough that nobody waits long for it; `None` where another
    /// instance is doing so. Nothing is left once a slice has deleted nothing. What has expired is decided by the tenant as it is
    /// stored, which cannot change meanwhile, and by the store's own clock too where it has one.
    async fn purge(&self, tenant: TenantId, now: Timestamp) -> Result<Option<Slice>, StoreError>;

    /// How many of a tenant's sessions were first received at this moment or before.
    async fn count_received_until(&self, tenant: TenantId, until: Timestamp) -> Result<u64, StoreError>;

    /// When the newest of a tenant's sessions was first received; `None` where there is none.
    async fn last_arrival(&self, tenant: TenantId) -> Result<Option<Timestamp>, StoreError>;

    /// Makes what was deleted unreadable in the store's files, as far as the store can; false where it has to be tried again
    /// later: readers are in the way, or it was done a short while ago.
    async fn wipe_deleted(&self) -> Result<bool, StoreError>;

    /// Returns when another instance has stored something, or may have, within half a second.
    async fn elsewhere(&self);

    /// Callers of up to `limit` sessions after `after`, by identifier, expired ones included.
    async fn callers(&self, tenant: TenantId, after: Option<&SessionId>, limit: u64) -> Result<Vec<StoredCaller>, StoreError>;

    /// Sets the comparison form of the callers of these sessions.
    async fn set_caller_keys(&self, tenant: TenantId, keys: Vec<(SessionId, CallerKey)>) -> Result<(), StoreError>;
}

/// Tenants and keys as a whole, for looking them up without asking the store each time.
#[derive(Clone, Debug, Default)]
pub struct DirectoryContents {
    /// Grows with every change.
    pub version: i64,
    /// All tenants.
    pub tenants: Vec<Tenant>,
    /// All keys that are not revoked.
    pub keys: Vec<AccessKey>,
}

/// Where tenants and keys are kept.
#[async_trait]
pub trait DirectoryStore: Send + Sync + 'static {
    /// A number that grows with every change of a tenant or key; reading it is cheap.
    async fn version(&self) -> Result<i64, StoreError>;

    /// Everything that clients are recognised by, as of one moment.
    async fn contents(&self) -> Result<DirectoryContents, StoreError>;

    /// Adds a tenant; [`StoreError::Taken`] when one of its names belongs to another.
    async fn create_tenant(&self, tenant: &Tenant) -> Result<(), StoreError>;

    /// Replaces a tenant's properties, but not whether it is suspended.
    async fn update_tenant(&self, tenant: &Tenant) -> Result<(), StoreError>;

    /// Suspends a tenant, or lets it in again.
    async fn suspend_tenant(&self, tenant: TenantId, suspended: bool) -> Result<(), StoreError>;

    /// Sets where a tenant's sessions have expired once for all, if it is still there where it `was`.
    async fn move_floor(&self, tenant: TenantId, was: Timestamp, to: Timestamp) -> Result<(), StoreError>;

    /// Deletes a tenant with its keys and all its sessions; returns the number of sessions.
    async fn delete_tenant(&self, tenant: TenantId) -> Result<u64, StoreError>;

    /// Adds a key; [`StoreError::Taken`] when the tenant has one with that secret.
    async fn create_key(&self, key: &AccessKey) -> Result<(), StoreError>;

    /// All keys of a tenant, oldest first, revoked ones included.
    async fn keys_of(&self, tenant: TenantId) -> Result<Vec<AccessKey>, StoreError>;

    /// Revokes a key; false when there is none.
    async fn revoke_key(&self, key: &KeyId, now: Timestamp) -> Result<bool, StoreError>;

    /// Notes when keys were last used.
    async fn note_use(&self, uses: Vec<(KeyId, Timestamp)>) -> Result<(), StoreError>;
}
