//! Who read, wrote, exported and erased what. Of a caller only a keyed hash is kept.
//!
//! What is read and written is noted within a second of it, so that nobody waits for that, and once an hour for each key, action and
//! caller, with a count; what is exported and erased, before it is answered.

mod budget;
mod memo;
mod queue;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::budget::RowCounts;
use self::memo::{Known, Memo};
use self::queue::{Deed, Queue, TenantNotes, bounded, merged};
use crate::access::Access;
use crate::clock::Clock;
use crate::directory::Directory;
use crate::port::{AuditStore, StoreError};
use crate::pseudonym::Pseudonyms;
use crate::uncancelled::uncancelled;
use crate::{CallerKey, KeyId, Tenant, TenantId, Timestamp};

/// How often it is written down.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked whether a tenant has more entries than it may have.
const BUDGET_INTERVAL: Duration = Duration::from_secs(10);
/// What one key did with one caller's sessions within this time is one entry.
const HOUR_MS: i64 = 3_600_000;
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

    /// Whether all of an hour is one entry, which has the time of the first.
    pub fn is_gathered(self) -> bool {
        matches!(self, Self::Read | Self::Wrote)
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
    /// When, to the second or so; the first time in its hour, where it is gathered.
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

impl Entry {
    /// The hour that it belongs to.
    fn hour(&self) -> i64 {
        self.at.epoch_ms().div_euclid(HOUR_MS)
    }
}

/// An entry that may have been written before, in which case its sessions are added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatheredEntry {
    /// The entry, at the place where it is or comes to be.
    pub entry: Entry,
    /// It may be at another place of the same hour, which the store has to look for.
    pub may_be_elsewhere: bool,
}

impl GatheredEntry {
    /// The hour that it belongs to, as its first and last millisecond.
    pub fn hour_ms(&self) -> (i64, i64) {
        let first = self.entry.hour() * HOUR_MS;
        (first, first + HOUR_MS - 1)
    }
}

/// Entries that could not be written, and why.
#[derive(Debug)]
pub struct Unwritten {
    /// These.
    pub entries: Vec<Entry>,
    /// Why.
    pub error: StoreError,
}

/// Which entries are asked for; all that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// Then or later; of what is gathered, in that hour or later.
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

impl EntryFilter {
    /// From when on what is gathered may be meant: the beginning of an hour.
    pub fn gathered_from(&self) -> Option<Timestamp> {
        self.from.map(|from| Timestamp::clamped(from.epoch_ms().div_euclid(HOUR_MS) * HOUR_MS))
    }
}

/// Where an entry stands: the newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryPlace {
    /// When it was.
    pub at: Timestamp,
    /// What tells it from others of that moment.
    pub id: i64,
}

/// Notes who did what.
pub struct Audit {
    store: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    pseudonyms: Pseudonyms,
    waiting: Mutex<Queue>,
    /// Held by whoever writes down what waited.
    written: tokio::sync::Mutex<Writing>,
    rows: RowCounts,
}

/// What has to be known to write on.
#[derive(Debug, Default)]
struct Writing {
    /// What the store had no time or room for yet.
    late: Vec<Entry>,
    memo: Memo,
}

impl Audit {
    /// Keeps it in `store`, by `clock`, with callers named by `pseudonyms`.
    pub fn new(store: Arc<dyn AuditStore>, clock: Arc<dyn Clock>, pseudonyms: Pseudonyms) -> Arc<Self> {
        Arc::new(Self {
            store,
            clock,
            pseudonyms,
            waiting: Mutex::default(),
            written: tokio::sync::Mutex::default(),
            rows: RowCounts::default(),
        })
    }

    /// Notes that somebody did something with a session of that caller. Written down within a second.
    pub fn note(&self, access: &Access, action: Action, caller: &CallerKey) {
        self.lock().note(access.tenant.id, &access.key, action, caller);
    }

    /// Writes down at once that somebody did something with so many sessions, of a caller or of many.
    ///
    /// # Errors
    /// When the store could not.
    pub async fn write_down(&self, access: &Access, action: Action, caller: Option<&CallerKey>, sessions: u64) -> Result<(), StoreError> {
        let entry = self.entry_of(access, action, caller, sessions);
        self.rows.add(&entry);
        self.store.append_audit(&[entry]).await
    }

    /// Writes down at once how many sessions it was in the end, of something that was written down before it was done. For what is done
    /// cannot be refused any more, the number is lost where the store could not, and counted.
    pub async fn write_down_how_many(&self, access: &Access, action: Action, caller: Option<&CallerKey>, sessions: u64) {
        let entry = self.entry_of(access, action, caller, sessions);
        self.rows.add(&entry);
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
        let late = std::mem::take(&mut self.written.lock().await.late);
        if !late.is_empty() {
            lost(&late, None);
        }
    }

    async fn write_all(&self) {
        let mut written = self.written.lock().await;
        let Writing { late, memo } = &mut *written;
        let waiting = self.lock().take();
        let waiting = self.entries_of(waiting);
        let entries: Vec<_> = if late.is_empty() { waiting.collect() } else { merged(std::mem::take(late).into_iter().chain(waiting)) };
        let mut entries = entries.into_iter();
        loop {
            // A few at a time, also for the sake of whoever else has something to compute.
            let some: Vec<_> = entries.by_ref().take(TOGETHER).collect();
            if some.is_empty() {
                return;
            }
            let unwritten = self.write_some(memo, some).await;
            if let Some(error) = Self::keep_late(late, unwritten) {
                late.extend(entries);
                let (kept, beyond) = bounded(std::mem::take(late), MAX_LATE);
                *late = kept;
                if !beyond.is_empty() {
                    lost(&beyond, Some(&error));
                }
                return;
            }
        }
    }

    /// Writes entries where they belong; remembers those that were written, and gives the others back.
    async fn write_some(&self, memo: &mut Memo, entries: Vec<Entry>) -> Vec<Unwritten> {
        let mut new = Vec::new();
        let gathered = entries.into_iter().map(|mut entry| {
            let known = memo.find(&entry);
            if let Known::At(EntryPlace { at, id }) = known {
                (entry.at, entry.id) = (at, id);
            } else {
                new.push(entry.clone());
            }
            GatheredEntry { entry, may_be_elsewhere: known == Known::Unknown }
        });
        let gathered: Vec<_> = gathered.collect();
        let unwritten = self.store.gather_audit(gathered).await;
        let failed = |entry: &Entry| unwritten.iter().flat_map(|unwritten| &unwritten.entries).any(|other| other.id == entry.id);
        for entry in new.iter().filter(|entry| unwritten.is_empty() || !failed(entry)) {
            memo.remember(entry);
            self.rows.add(entry);
        }
        unwritten
    }

    /// Keeps what the store had no time or room for, and says why it had not; the rest is lost.
    fn keep_late(late: &mut Vec<Entry>, unwritten: Vec<Unwritten>) -> Option<StoreError> {
        let mut why = None;
        for Unwritten { entries, error } in unwritten {
            if matches!(error, StoreError::Busy(_) | StoreError::NoRoom(_)) {
                late.extend(entries);
                why = Some(error);
            } else {
                lost(&entries, Some(&error));
            }
        }
        why
    }

    /// Writes down what waits, again and again, until the task is dropped.
    pub async fn keep(self: &Arc<Self>) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            self.flush().await;
        }
    }

    /// Keeps each tenant's entries within its budget, until the task is dropped.
    pub async fn keep_within_budget(&self, directory: &Directory) {
        loop {
            tokio::time::sleep(BUDGET_INTERVAL).await;
            if let Err(error) = self.enforce_budget(&directory.tenants()).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the audit trail could not be kept within its budget");
            }
        }
    }

    /// Drops the oldest entries of tenants that have more than their budget.
    ///
    /// # Errors
    /// When the store could not; what was dropped until then is gone, and doing it again is safe.
    pub async fn enforce_budget(&self, tenants: &[Arc<Tenant>]) -> Result<(), StoreError> {
        self.rows.enforce(&*self.store, tenants).await
    }

    /// What one key did with one caller's sessions in a second is one entry, which is added to that of the hour where there is one.
    fn entries_of(&self, waiting: HashMap<TenantId, TenantNotes>) -> impl Iterator<Item = Entry> {
        waiting.into_iter().flat_map(move |(tenant, TenantNotes { apart, counted })| {
            let apart = apart.into_iter().map(move |(Deed { key, action, caller }, sessions)| {
                let caller = self.pseudonyms.of_caller(tenant, &caller);
                self.entry(tenant, key, action, Some(caller), sessions)
            });
            let counted = counted.into_iter().map(move |((key, action), sessions)| self.entry(tenant, key, action, None, sessions));
            apart.chain(counted)
        })
    }

    fn entry_of(&self, access: &Access, action: Action, caller: Option<&CallerKey>, sessions: u64) -> Entry {
        let caller = caller.map(|caller| self.pseudonyms.of_caller(access.tenant.id, caller));
        self.entry(access.tenant.id, access.key.clone(), action, caller, sessions)
    }

    fn entry(&self, tenant: TenantId, key: KeyId, action: Action, caller: Option<String>, sessions: u64) -> Entry {
        Entry { id: rand::random::<i64>() & i64::MAX, at: self.clock.now(), tenant, key, action, caller, sessions }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
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
