//! Who read, wrote, exported and erased what. Of a caller only a keyed hash is kept.
//!
//! What is read and written is noted within a second of it, so that nobody waits for that; what is exported and erased, before it is
//! answered.

use std::hash::RandomState;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::{Equivalent, HashMap};

use crate::access::Access;
use crate::clock::Clock;
use crate::port::{AuditStore, StoreError};
use crate::pseudonym::Pseudonyms;
use crate::uncancelled::uncancelled;
use crate::{CallerKey, KeyId, TenantId, Timestamp};

/// How often it is written down.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many are written down each time with their callers; a flood is counted beyond that, and not told apart.
const MAX_APART: usize = 5_000;
/// How many are handed to the store at a time.
const TOGETHER: usize = 250;
/// How many are kept until the store has time for them.
const MAX_LATE: usize = 20_000;

/// What somebody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Fetched sessions, or was told of them.
    Read,
    /// Stored or changed sessions.
    Wrote,
    /// Took many sessions at once, or all of a caller.
    Exported,
    /// Erased a caller.
    Erased,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Wrote, Self::Exported, Self::Erased];

    /// Its name: `read`, `wrote`, `exported` or `erased`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Wrote => "wrote",
            Self::Exported => "exported",
            Self::Erased => "erased",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// What somebody did, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Tells entries of one moment apart.
    pub id: i64,
    /// When, to the second or so.
    pub at: Timestamp,
    /// Whose data it was.
    pub tenant: TenantId,
    /// By which key.
    pub key: KeyId,
    /// What was done.
    pub action: Action,
    /// A keyed hash of the caller; `None` for what is of many.
    pub caller: Option<String>,
    /// How many sessions.
    pub sessions: u64,
}

/// Which entries are asked for; all that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// Then or later.
    pub from: Option<Timestamp>,
    /// Then or earlier.
    pub until: Option<Timestamp>,
    /// By this key.
    pub key: Option<KeyId>,
    /// Of this kind.
    pub action: Option<Action>,
    /// About the caller of one of these names; everything where there is none.
    pub callers: Vec<String>,
}

/// Where an entry stands: the newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryPlace {
    /// When it was.
    pub at: Timestamp,
    /// What tells it from others of that moment.
    pub id: i64,
}

/// What is told apart: what one key did with one caller's sessions.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Deed {
    tenant: TenantId,
    key: KeyId,
    action: Action,
    caller: CallerKey,
}

/// The same, of which there may be one already, so that nothing has to be copied to find out. Its hash has to be that of the other.
#[derive(Hash)]
struct Found<'f> {
    tenant: TenantId,
    key: &'f KeyId,
    action: Action,
    caller: &'f CallerKey,
}

impl Equivalent<Deed> for Found<'_> {
    fn equivalent(&self, deed: &Deed) -> bool {
        let Deed { tenant, key, action, caller } = deed;
        self.tenant == *tenant && self.action == *action && self.key == key && self.caller == caller
    }
}

/// What was noted and is not written down yet, and how many sessions it was.
#[derive(Debug, Default)]
struct Waiting {
    apart: HashMap<Deed, u64, RandomState>,
    /// Beyond what is told apart.
    counted: HashMap<(TenantId, KeyId, Action), u64, RandomState>,
}

/// Notes who did what.
pub struct Audit {
    store: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    pseudonyms: Pseudonyms,
    waiting: Mutex<Waiting>,
    /// What the store had no time or room for yet; held by whoever writes down what waited.
    late: tokio::sync::Mutex<Vec<Entry>>,
}

impl Audit {
    /// Keeps it in `store`, by `clock`, with callers named by `pseudonyms`.
    pub fn new(store: Arc<dyn AuditStore>, clock: Arc<dyn Clock>, pseudonyms: Pseudonyms) -> Arc<Self> {
        Arc::new(Self { store, clock, pseudonyms, waiting: Mutex::default(), late: tokio::sync::Mutex::default() })
    }

    /// Notes that somebody did something with a session of that caller. Written down within a second.
    pub fn note(&self, access: &Access, action: Action, caller: &CallerKey) {
        let found = Found { tenant: access.tenant.id, key: &access.key, action, caller };
        let mut waiting = self.lock();
        if let Some(sessions) = waiting.apart.get_mut(&found) {
            *sessions += 1;
        } else if waiting.apart.len() < MAX_APART {
            waiting.apart.insert(Deed { tenant: found.tenant, key: found.key.clone(), action, caller: caller.clone() }, 1);
        } else {
            *waiting.counted.entry((found.tenant, found.key.clone(), action)).or_default() += 1;
        }
    }

    /// Writes down at once that somebody did something with so many sessions, of a caller or of many.
    ///
    /// # Errors
    /// When the store could not.
    pub async fn write_down(&self, access: &Access, action: Action, caller: Option<&CallerKey>, sessions: u64) -> Result<(), StoreError> {
        self.store.append_audit(&[self.entry_of(access, action, caller, sessions)]).await
    }

    /// Writes down at once how many sessions it was in the end, of something that was written down before it was done. For what is done
    /// cannot be refused any more, the number is lost where the store could not, and counted.
    pub async fn write_down_how_many(&self, access: &Access, action: Action, caller: Option<&CallerKey>, sessions: u64) {
        let entry = self.entry_of(access, action, caller, sessions);
        if let Err(error) = self.store.append_audit(std::slice::from_ref(&entry)).await {
            lost(&[entry], Some(&error));
        }
    }

    /// All names that a caller may be noted under.
    pub fn names_of(&self, tenant: TenantId, caller: &CallerKey) -> Vec<String> {
        self.pseudonyms.all_of_caller(tenant, caller).collect()
    }

    /// Entries of a tenant that match, newest first, after a place; `limit` at most.
    ///
    /// # Errors
    /// When the store could not be asked.
    pub async fn entries(
        &self,
        tenant: TenantId,
        filter: &EntryFilter,
        after: Option<EntryPlace>,
        limit: u64,
    ) -> Result<Vec<Entry>, StoreError> {
        self.store.audit(tenant, filter, after, limit).await
    }

    /// Writes down what waits, after what is being written down. What the store has no time or room for is tried again the next time; what it
    /// refuses is lost, and counted. Nobody who stops waiting cancels it.
    pub async fn flush(self: &Arc<Self>) {
        let this = Arc::clone(self);
        uncancelled(async move { this.write_all().await }).await;
    }

    /// Writes down what waits for the last time: what could not be is lost, and counted.
    pub async fn end(self: &Arc<Self>) {
        self.flush().await;
        let late = std::mem::take(&mut *self.late.lock().await);
        if !late.is_empty() {
            lost(&late, None);
        }
    }

    async fn write_all(&self) {
        let mut late = self.late.lock().await;
        let waiting = std::mem::take(&mut *self.lock());
        let mut entries = std::mem::take(&mut *late).into_iter().chain(self.entries_of(waiting));
        loop {
            // A few at a time, also for the sake of whoever else has something to compute.
            let some: Vec<_> = entries.by_ref().take(TOGETHER).collect();
            if some.is_empty() {
                return;
            }
            match self.store.append_audit(&some).await {
                Ok(()) => {}
                Err(error @ (StoreError::Busy(_) | StoreError::NoRoom(_))) => {
                    late.extend(some.into_iter().chain(entries));
                    let kept = late.len().min(MAX_LATE);
                    let beyond = late.split_off(kept);
                    if !beyond.is_empty() {
                        lost(&beyond, Some(&error));
                    }
                    return;
                }
                Err(error) => lost(&some, Some(&error)),
            }
        }
    }

    /// Writes down what waits, again and again, until the task is dropped.
    pub async fn keep(self: &Arc<Self>) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            self.flush().await;
        }
    }

    /// What one key did with one caller's sessions in a second is one entry.
    fn entries_of(&self, waiting: Waiting) -> impl Iterator<Item = Entry> {
        let apart = waiting.apart.into_iter().map(|(Deed { tenant, key, action, caller }, sessions)| {
            let caller = self.pseudonyms.of_caller(tenant, &caller);
            self.entry(tenant, key, action, Some(caller), sessions)
        });
        let counted = waiting.counted.into_iter().map(|((tenant, key, action), sessions)| self.entry(tenant, key, action, None, sessions));
        apart.chain(counted)
    }

    fn entry_of(&self, access: &Access, action: Action, caller: Option<&CallerKey>, sessions: u64) -> Entry {
        let caller = caller.map(|caller| self.pseudonyms.of_caller(access.tenant.id, caller));
        self.entry(access.tenant.id, access.key.clone(), action, caller, sessions)
    }

    fn entry(&self, tenant: TenantId, key: KeyId, action: Action, caller: Option<String>, sessions: u64) -> Entry {
        Entry { id: rand::random::<i64>() & i64::MAX, at: self.clock.now(), tenant, key, action, caller, sessions }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts what is missing from now on, and says so.
fn lost(entries: &[Entry], error: Option<&StoreError>) {
    let sessions: u64 = entries.iter().map(|entry| entry.sessions).sum();
    metrics::counter!("calldata_audit_lost_total").increment(sessions);
    let error = error.map(|error| error as &dyn std::error::Error);
    tracing::error!(lost = sessions, error, "who read and wrote could not be written down");
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Audit")
    }
}
