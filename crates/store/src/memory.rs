//! What is known of a file without asking it, exact: what is answered from here is what the file would answer.
//!
//! Most who fetch ask within seconds for what this very process committed. It is kept here as of one state of the file, and the file
//! itself tells whether that is still its state: every commit, of whichever process, changes the mark at the beginning of the index of
//! SQLite's log. Whoever asks compares the mark, which costs a read of 48 bytes from memory that the system shares; where it is
//! another one, the file is asked. See docs/adr/0015-what-a-process-remembers-of-a-file.md.

mod packed;
mod sessions;
mod totals;

use std::borrow::Cow;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use calldata_core::{CallId, CallerKey, Scope};
use tokio::time::Instant;

use crate::entity::session::Model;
use sessions::Sessions;
use totals::Totals;
pub(crate) use totals::{MANY, MAX_PLACES, PLACES, Ticket, Total};

/// How often the log's index may be opened anew; each time costs an open file for good.
const MAX_OPENED: usize = 32;

/// The state of a file: the first copy of the header of the log's index, which every commit changes.
pub(crate) type Mark = [u8; 48];

/// Where the number of commits stands in it, and that of the log's pages.
const COMMITS: Range<usize> = 8..12;
const PAGES: Range<usize> = 16..20;
/// Where after both copies of the header it stands how many of them have been written back into the database.
const WRITTEN_BACK: Range<usize> = 96..100;

/// The log of a file, in pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log {
    /// How many it has.
    pub(crate) pages: u32,
    /// How many of them have not been written back into the database.
    pub(crate) to_write_back: u32,
}

/// What became of sessions.
pub(crate) enum Change<'r> {
    /// This one is new.
    Created(Cow<'r, Model>),
    /// This one is no longer as it was, but of the same call and caller, with the same start and first receipt; it was received just now.
    Amended(Cow<'r, Model>),
    /// The one of that id, of the call and caller of this one, was received again when this one was.
    Refreshed(&'r Model, &'r str),
    /// Those that were first received at this moment or before are gone, as far as they had expired.
    Deleted(i64),
    /// Anything may have changed.
    Anything,
}

/// What is known of a file.
pub(crate) struct Memory {
    index_of_log: PathBuf,
    hasher: RandomState,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    /// The index of the log. It is never closed: to close it would take away the locks that the engine holds on it in this process.
    index: Option<ManuallyDrop<File>>,
    opened: usize,
    /// As of which state of the file all of this is; `None` where nothing is known.
    as_of: Option<Mark>,
    /// What that was when it was last looked for what is old.
    was_as_of: Option<Mark>,
    sessions: Sessions,
    totals: Totals,
}

impl Memory {
    /// Nothing yet, of this database file.
    pub(crate) fn of(file: &Path) -> Self {
        // The engine names its files by where the database really is.
        let mut index_of_log = file.canonicalize().unwrap_or_else(|_| file.to_owned()).into_os_string();
        index_of_log.push("-shm");
        Self { index_of_log: index_of_log.into(), hasher: RandomState::new(), state: RwLock::default() }
    }

    /// The newest session of that call and caller, where it is certain.
    pub(crate) fn newest(&self, scope: Scope, call: &CallId, caller: &CallerKey) -> Option<Model> {
        let tenant = scope.tenant().number();
        let key = self.hasher.hash_one((tenant, call.as_str(), caller.as_str()));
        let state = self.read();
        let found = state.sessions.newest(key, tenant, call.as_str(), caller.as_str())?;
        // One that has expired may not be the newest of those that have not.
        (found.received_first() > scope.expired_until().epoch_ms() && state.is_current()).then(|| found.unpack()).flatten()
    }

    /// How many live sessions that caller has in this state of the file, and the nearest known place at or after the one of that rank,
    /// counted from the oldest start; `None` where that is not known.
    pub(crate) fn total(&self, mark: Mark, scope: Scope, caller: &CallerKey) -> Option<Total> {
        let key = self.key_of_caller(scope.tenant().number(), caller.as_str());
        let state = self.read();
        state.totals.get(key, scope, caller).filter(|_| state.as_of == Some(mark)).cloned()
    }

    /// Begins to count the sessions of a caller: from now on, what is committed here is counted along. Whoever counts must see the file
    /// in the state that is returned.
    pub(crate) fn begin_total(&self, scope: Scope, caller: &CallerKey) -> Begun<'_> {
        let key = self.key_of_caller(scope.tenant().number(), caller.as_str());
        let mut state = self.write();
        let Some(mark) = state.as_of.filter(|_| state.is_current()) else { return Begun::NotKnown };
        match state.totals.begin(key, scope, caller) {
            Some(ticket) => Begun::Counting(Counting { memory: self, mark, key, ticket, counted: None }),
            None => Begun::Needless,
        }
    }

    /// Where a connection was opened anew, and before anything else is asked here: its log may be another file.
    pub(crate) fn reopened(&self) {
        let mut state = self.write();
        let forgotten = state.forget();
        let is_there = std::fs::metadata(&self.index_of_log).ok();
        let known = state.index.as_ref().and_then(|index| index.metadata().ok());
        let is_known = is_there.zip(known).is_some_and(|(there, known)| (there.dev(), there.ino()) == (known.dev(), known.ino()));
        if !is_known {
            state.index = None;
            if state.opened < MAX_OPENED {
                state.opened += 1;
                state.index = File::open(&self.index_of_log).ok().map(ManuallyDrop::new);
            }
        }
        drop(state);
        drop(forgotten);
    }

    /// The state of the file.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.read().mark()
    }

    /// How long the log is.
    pub(crate) fn log(&self) -> Log {
        let state = self.read();
        let mut start = [0; WRITTEN_BACK.end];
        let is_read = state.index.as_ref().is_some_and(|index| index.read_exact_at(&mut start, 0).is_ok());
        let number = |place| number_at(&start, place).filter(|_| is_read).unwrap_or_default();
        let pages = number(PAGES);
        Log { pages, to_write_back: pages.saturating_sub(number(WRITTEN_BACK)) }
    }

    /// Whether what is here is as of this state.
    pub(crate) fn is_as_of(&self, mark: Option<Mark>) -> bool {
        mark.is_some() && self.read().as_of == mark
    }

    /// Begins anew as of this state, in which no session was received later than `last`.
    pub(crate) fn begin(&self, mark: Option<Mark>, last: Option<i64>) {
        let mut state = self.write();
        let forgotten = state.forget();
        if let (Some(mark), Some(last)) = (mark, last) {
            state.as_of = Some(mark);
            state.sessions = Sessions::after(last);
        }
        drop(state);
        drop(forgotten);
    }

    /// Nothing is known any more.
    pub(crate) fn forget(&self) {
        forget(self.write());
    }

    /// Takes in what a commit changed that was begun in the state `before`, while nobody else could commit. Where somebody has committed
    /// since, or nothing was known before, nothing is known now.
    pub(crate) fn committed<'r>(&self, before: Option<Mark>, changes: impl Iterator<Item = Change<'r>>) {
        let mut changes = changes.peekable();
        let mut state = self.write();
        let after = state.mark();
        // A transaction without any change leaves no mark.
        let follows = if after == before { changes.peek().is_none() } else { follows(after, before, 1) };
        if before.is_none() || state.as_of != before || !follows {
            return forget(state);
        }
        let now = Instant::now();
        for change in changes {
            match change {
                Change::Created(row) => {
                    state.sessions.keep(self.key(&row), &row, now);
                    state.totals.created(self.key_of_caller(row.tenant_id, &row.caller_key), &row);
                }
                Change::Amended(row) => state.sessions.keep(self.key(&row), &row, now),
                // Neither its start nor its first receipt changes.
                Change::Refreshed(row, id) => state.sessions.refresh(self.key(row), row, id),
                Change::Deleted(until) if state.sessions.are_younger_than(until) => state.totals.deleted(until),
                Change::Deleted(_) | Change::Anything => return forget(state),
            }
        }
        state.as_of = after;
        state.sessions.drop_oldest(now);
    }

    /// Something was committed that changes no row. Whoever else committed meanwhile is noticed.
    pub(crate) fn rewritten(&self, before: Option<Mark>) {
        let mut state = self.write();
        let after = state.mark();
        if before.is_some() && state.as_of == before && follows(after, before, 1) {
            state.as_of = after;
        }
    }

    /// The log was emptied, which changes no row. Whoever else committed meanwhile is noticed.
    pub(crate) fn log_emptied(&self, before: Option<Mark>) {
        let mut state = self.write();
        let after = state.mark();
        if before.is_some() && state.as_of == before && follows(after, before, 0) {
            state.as_of = after;
        }
    }

    /// Drops what has been here for long.
    pub(crate) fn drop_old(&self) {
        let (mut state, now) = (self.write(), Instant::now());
        // Another process has changed the file since the last time, and nobody has written here: nothing of this is asked for any more.
        if state.as_of == state.was_as_of && !state.is_current() {
            return forget(state);
        }
        state.was_as_of = state.as_of;
        state.sessions.drop_oldest(now);
        state.totals.drop_old(now);
    }

    fn key(&self, row: &Model) -> u64 {
        self.hasher.hash_one((row.tenant_id, row.call_id.as_str(), row.caller_key.as_str()))
    }

    fn key_of_caller(&self, tenant: i64, caller: &str) -> u64 {
        self.hasher.hash_one((tenant, caller))
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether sessions are counted.
pub(crate) enum Begun<'m> {
    /// The state of the file is not known.
    NotKnown,
    /// They are counted already, or are being counted.
    Needless,
    /// Yes.
    Counting(Counting<'m>),
}

/// Somebody counts; ends when this is dropped.
pub(crate) struct Counting<'m> {
    memory: &'m Memory,
    /// The state in which it has to be counted.
    pub(crate) mark: Mark,
    key: u64,
    ticket: Ticket,
    /// What was counted, once it is.
    pub(crate) counted: Option<Total>,
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        self.memory.write().totals.end(self.key, self.ticket, self.counted.take());
    }
}

impl State {
    fn mark(&self) -> Option<Mark> {
        let mut mark = [0; size_of::<Mark>()];
        self.index.as_ref()?.read_exact_at(&mut mark, 0).ok()?;
        Some(mark)
    }

    fn is_current(&self) -> bool {
        self.as_of.is_some() && self.as_of == self.mark()
    }

    /// Returns the sessions for the caller to drop without the lock: to overwrite all of them takes some milliseconds.
    #[must_use]
    fn forget(&mut self) -> Sessions {
        let forgotten = std::mem::take(&mut self.sessions);
        *self = Self { index: self.index.take(), opened: self.opened, ..Self::default() };
        forgotten
    }
}

/// Forgets everything, and keeps others waiting no longer than that takes.
fn forget(mut state: RwLockWriteGuard<'_, State>) {
    let forgotten = state.forget();
    drop(state);
    drop(forgotten);
}

/// Whether so many commits lie between these states.
fn follows(after: Option<Mark>, before: Option<Mark>, commits: u32) -> bool {
    let count = |mark: Mark| number_at(&mark, COMMITS);
    after.and_then(count).zip(before.and_then(count)).is_some_and(|(after, before)| after == before.wrapping_add(commits))
}

fn number_at(header: &[u8], place: Range<usize>) -> Option<u32> {
    header.get(place)?.try_into().ok().map(u32::from_ne_bytes)
}
