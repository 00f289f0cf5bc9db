//! Slowing down who guesses secrets (OIF-A4): 20 failures within 5 minutes from one source for one tenant lock that pair for 5 minutes.
//! 100 failures from one source, whatever names they give, lock the source for what was not right from there before.

mod record;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use calldata_core::{Clock, TenantName};
use moka::sync::Cache;

use crate::Source;
use crate::admission::note;
use record::{Lock, SourceRecord};

/// Failures of one source for one tenant that lock the pair.
const MAX_PAIR_FAILURES: usize = 20;
/// Failures of one source, for whatever tenants, that lock it.
const MAX_SOURCE_FAILURES: usize = 100;
const WINDOW: Duration = Duration::from_secs(300);
const LOCK: Duration = Duration::from_secs(300);
/// Sources with failures that are remembered. None takes more than some 2 kB, so that all of them have a bound.
const MAX_SOURCES: u64 = 20_000;
/// Secrets that were right, remembered at most; the least used are forgotten first.
const MAX_RIGHT: u64 = 100_000;
/// Names longer than any tenant's need not be told apart.
const MAX_NAME_BYTES: usize = 512;
/// How many marks are known to be remembered without asking what remembers them.
const NOTED_LATELY: u64 = 1_024;
const MINUTE: Duration = Duration::from_secs(60);

/// Failures by source and tenant. Nothing is asked of the database here, and no secret is compared. Time is monotonic: a step of the wall
/// clock neither ends a lock nor makes it longer.
pub struct Lockout {
    clock: Arc<dyn Clock>,
    /// One record a source. Names that a client makes up are entries of its own record, and push nothing out of others.
    sources: Cache<IpAddr, Arc<Mutex<SourceRecord>>>,
    /// Nothing can be locked from here on, in milliseconds of the clock: while nobody guesses, nothing has to be looked up.
    free_from_ms: AtomicU64,
    right: Cache<u64, ()>,
    /// The marks that were noted last, each where its own bits say: the cache hears of a client once a minute and not at every request.
    lately: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl fmt::Debug for Lockout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lockout").finish_non_exhaustive()
    }
}

impl Lockout {
    /// By this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            sources: Cache::builder().max_capacity(MAX_SOURCES).time_to_idle(WINDOW + LOCK).build(),
            free_from_ms: AtomicU64::new(0),
            right: Cache::builder().max_capacity(MAX_RIGHT).time_to_idle(WINDOW + LOCK + MINUTE).build(),
            lately: (0..NOTED_LATELY).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// For how long this source is locked out of this tenant; `None` where it is not. A lock of the pair holds for every secret, one of the
    /// whole source not for this one where it was right from there a while ago.
    pub fn locked_for(&self, source: Source, tenant: TenantName<'_>, secret: &str) -> Option<Duration> {
        let lock = self.lock_of(source, tenant)?;
        let left = lock.pair.or_else(|| lock.source.filter(|_| !self.was_right(source, tenant, secret)));
        left.inspect(|_| refused(tenant))
    }

    /// The same for whoever brings this secret in every request: one that was right from this source a while ago is not locked out by the
    /// failures of others who share its address, whatever they failed at. It is checked like any other all the same.
    pub fn locked_for_bearer(&self, source: Source, tenant: TenantName<'_>, secret: &str) -> Option<Duration> {
        let lock = self.lock_of(source, tenant)?;
        let left = lock.pair.max(lock.source).filter(|_| !self.was_right(source, tenant, secret));
        left.inspect(|_| refused(tenant))
    }

    fn lock_of(&self, source: Source, tenant: TenantName<'_>) -> Option<Lock> {
        let now_ms = self.now_ms();
        if now_ms >= self.free_from_ms.load(Ordering::Acquire) {
            return None;
        }
        let record = self.sources.get(&source.network())?;
        let lock = lock(&record).lock_at(self.pair_mark(tenant), now_ms);
        Some(lock)
    }

    fn was_right(&self, source: Source, tenant: TenantName<'_>, secret: &str) -> bool {
        self.right.contains_key(&self.mark(source, tenant, secret))
    }

    /// Counts a failure.
    pub fn note_failure(&self, source: Source, tenant: TenantName<'_>) {
        count(tenant, "wrong");
        let now_ms = self.now_ms();
        let record = self.sources.get_with(source.network(), Arc::default);
        let locked = lock(&record).note_failure(self.pair_mark(tenant), now_ms);
        if let Some(until_ms) = locked {
            // Whose name it was is the client's own word; where it came from is what an operator can act on.
            tracing::warn!(source = %source.0, "locked out after too many wrong secrets");
            self.free_from_ms.fetch_max(until_ms, Ordering::AcqRel);
        }
    }

    /// Remembers that this secret was right from this source.
    pub fn note_success(&self, source: Source, tenant: TenantName<'_>, secret: &str) {
        count(tenant, "right");
        let mark = self.mark(source, tenant, secret);
        let slot = usize::try_from(mark % NOTED_LATELY).ok().and_then(|at| self.lately.get(at));
        let noted = mark.wrapping_add(self.now_ms() / millis(MINUTE));
        if slot.is_some_and(|slot| slot.swap(noted, Ordering::AcqRel) == noted) {
            return;
        }
        if self.right.get(&mark).is_none() {
            self.right.insert(mark, ());
        }
    }

    fn now_ms(&self) -> u64 {
        millis(self.clock.monotonic())
    }

    /// A number that nobody can foresee or turn back; good for telling secrets apart, and for nothing else.
    fn mark(&self, source: Source, tenant: TenantName<'_>, secret: &str) -> u64 {
        self.hasher.hash_one((source.network(), parts(tenant), secret))
    }

    fn pair_mark(&self, tenant: TenantName<'_>) -> u64 {
        self.hasher.hash_one(parts(tenant))
    }
}

fn lock(record: &Mutex<SourceRecord>) -> MutexGuard<'_, SourceRecord> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// What tells names apart.
fn parts(tenant: TenantName<'_>) -> (char, &str) {
    let (kind, name) = match tenant {
        TenantName::Client(name) => ('c', name),
        TenantName::Oifde(name) => ('o', name),
        TenantName::OfKey => ('k', ""),
    };
    (kind, name.get(..name.ceil_char_boundary(MAX_NAME_BYTES)).unwrap_or(name))
}

/// Counts what came of a key, a secret or a token.
fn count(tenant: TenantName<'_>, outcome: &'static str) {
    let dialect = match tenant {
        TenantName::Client(_) => "parloa",
        TenantName::Oifde(_) => "oifde",
        TenantName::OfKey => "native",
    };
    metrics::counter!("calldata_authentications_total", "dialect" => dialect, "outcome" => outcome).increment(1);
}

fn refused(tenant: TenantName<'_>) {
    note("lockout");
    count(tenant, "locked out");
}

#[cfg(test)]
mod tests;
