//! The failures and locks of one source.

use std::time::Duration;

use super::{LOCK, MAX_PAIR_FAILURES, MAX_SOURCE_FAILURES, WINDOW, millis};

/// Failures of a source within the window, and its locks. Bounded: [`MAX_SOURCE_FAILURES`] make a lock, after which none of them is kept.
#[derive(Debug, Default)]
pub(super) struct SourceRecord {
    failures: Vec<Failure>,
    locked_pairs: Vec<LockedPair>,
    locked_until_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    at_ms: u64,
    /// The mark of the name that was tried; none once a lock of the pair has counted it.
    pair: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct LockedPair {
    mark: u64,
    until_ms: u64,
}

/// How long locks last from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lock {
    pub(super) pair: Option<Duration>,
    pub(super) source: Option<Duration>,
}

impl SourceRecord {
    pub(super) fn lock_at(&self, pair: u64, now_ms: u64) -> Lock {
        let left = |until_ms: u64| until_ms.checked_sub(now_ms).filter(|left_ms| *left_ms > 0).map(Duration::from_millis);
        let locked = self.locked_pairs.iter().find(|locked| locked.mark == pair);
        Lock { pair: locked.and_then(|locked| left(locked.until_ms)), source: left(self.locked_until_ms) }
    }

    /// Counts a failure; returns until when something is locked that was not before.
    pub(super) fn note_failure(&mut self, pair: u64, now_ms: u64) -> Option<u64> {
        self.locked_pairs.retain(|locked| locked.until_ms > now_ms);
        self.failures.retain(|failure| now_ms - failure.at_ms < millis(WINDOW));
        self.failures.push(Failure { at_ms: now_ms, pair: Some(pair) });
        let until_ms = now_ms.saturating_add(millis(LOCK));
        let of_pair = |failure: &&mut Failure| failure.pair == Some(pair);
        let pair_locks = self.failures.iter().filter(|failure| failure.pair == Some(pair)).count() >= MAX_PAIR_FAILURES;
        if pair_locks {
            self.failures.iter_mut().filter(of_pair).for_each(|failure| failure.pair = None);
            self.locked_pairs.retain(|locked| locked.mark != pair);
            self.locked_pairs.push(LockedPair { mark: pair, until_ms });
        }
        let source_locks = self.failures.len() >= MAX_SOURCE_FAILURES;
        if source_locks {
            self.failures.clear();
            self.locked_until_ms = until_ms;
        }
        (pair_locks || source_locks).then_some(until_ms)
    }
}
