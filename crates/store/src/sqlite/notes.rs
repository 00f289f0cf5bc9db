//! What is to be written down beside sessions, of who did what: it goes along with the commits that there are anyway. A transaction of its own
//! would be a flush more for the disk, and all that arrives meanwhile would wait for it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use calldata_core::StoreError;
use calldata_core::audit::{Entry, GatheredEntry, Unwritten};
use tokio::sync::{Notify, oneshot};

use crate::entity::audit::Model;

/// Notes that are taken together.
const TOGETHER: usize = 16;

/// Notes that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    waiting: Mutex<VecDeque<Bundle>>,
    filled: Notify,
}

/// A few of them, for whom somebody waits.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) notes: Vec<Note>,
    reply: oneshot::Sender<Result<(), StoreError>>,
}

/// An entry that is to be written.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) row: Model,
    pub(crate) mode: Mode,
}

/// What becomes of a note that is there already.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    /// It stays as it is.
    Append,
    /// The sessions are added.
    Gather,
    /// The same; it may be at another place between these two moments.
    GatherWithin(i64, i64),
}

impl Bundle {
    /// Says what became of them.
    pub(crate) fn done(self, result: Result<(), StoreError>) {
        // Nobody listens where whoever asked has given up.
        let _ = self.reply.send(result);
    }
}

impl Notes {
    /// Has notes written; what is there already stays as it is.
    ///
    /// # Errors
    /// The first, where some could not be.
    pub(crate) async fn append(&self, notes: Vec<Model>) -> Result<(), StoreError> {
        let notes = notes.into_iter().map(|row| Note { row, mode: Mode::Append }).collect();
        let mut outcome = Ok(());
        for result in self.push(notes) {
            outcome = outcome.and(result_of(result).await);
        }
        outcome
    }

    /// Has entries written or their sessions added; gives back what could not be.
    pub(crate) async fn gather(&self, entries: Vec<GatheredEntry>) -> Vec<Unwritten> {
        let note = |gathered: &GatheredEntry| {
            let (from, to) = gathered.hour_ms();
            let mode = if gathered.may_be_elsewhere { Mode::GatherWithin(from, to) } else { Mode::Gather };
            Note { row: Model::from(&gathered.entry), mode }
        };
        let results = self.push(entries.iter().map(note).collect());
        let mut entries = entries.into_iter().map(|gathered| gathered.entry);
        let mut unwritten = Vec::new();
        for result in results {
            let some: Vec<Entry> = entries.by_ref().take(TOGETHER).collect();
            if let Err(error) = result_of(result).await {
                unwritten.push(Unwritten { entries: some, error });
            }
        }
        unwritten
    }

    /// Puts notes at the end of the line, some together.
    fn push(&self, notes: Vec<Note>) -> Vec<oneshot::Receiver<Result<(), StoreError>>> {
        let mut rest = notes.into_iter();
        let mut results = Vec::new();
        loop {
            let notes: Vec<_> = rest.by_ref().take(TOGETHER).collect();
            if notes.is_empty() {
                break;
            }
            let (reply, result) = oneshot::channel();
            results.push(result);
            self.lock().push_back(Bundle { notes, reply });
        }
        self.filled.notify_one();
        results
    }

    /// Completes when something waits.
    pub(crate) async fn wait(&self) {
        while self.lock().is_empty() {
            self.filled.notified().await;
        }
    }

    /// Takes some that wait, up to about so many and at least a few.
    pub(crate) fn take(&self, most: usize) -> Vec<Bundle> {
        let mut waiting = self.lock();
        let count = most.div_ceil(TOGETHER).max(1).min(waiting.len());
        waiting.drain(..count).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Bundle>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn result_of(result: oneshot::Receiver<Result<(), StoreError>>) -> Result<(), StoreError> {
    result.await.unwrap_or_else(|_| Err(StoreError::Unconfirmed("the writer gave no result".into())))
}
