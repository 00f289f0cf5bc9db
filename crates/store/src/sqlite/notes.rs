//! What is to be written down beside sessions, of who did what: it goes along with the commits that there are anyway. A transaction of its own
//! would be a flush more for the disk, and all that arrives meanwhile would wait for it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use calldata_core::StoreError;
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
    pub(crate) notes: Vec<Model>,
    reply: oneshot::Sender<Result<(), StoreError>>,
}

impl Bundle {
    /// Says what became of them.
    pub(crate) fn done(self, result: Result<(), StoreError>) {
        // Nobody listens where whoever asked has given up.
        let _ = self.reply.send(result);
    }
}

impl Notes {
    /// Has notes written.
    ///
    /// # Errors
    /// The first, where some could not be.
    pub(crate) async fn write(&self, notes: Vec<Model>) -> Result<(), StoreError> {
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
        let mut outcome = Ok(());
        for result in results {
            let result = result.await.unwrap_or_else(|_| Err(StoreError::Unconfirmed("the writer gave no result".into())));
            outcome = outcome.and(result);
        }
        outcome
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
