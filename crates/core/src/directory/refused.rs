//! A cache of credentials that a look at the store did not find, so that the same wrong key does not cause a look each time.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::{CHECK_INTERVAL, Credential, TenantName};

/// Entries. A newer one takes the place of an older one, which costs that one another look and nothing else.
const SLOTS: u64 = 1_024;

/// Credentials that were refused within the last [`CHECK_INTERVAL`].
///
/// An entry is good for as long as the regular look takes to come round: a key that is made after its secret was refused works from
/// that look on, and one whose secret was never tried works at once.
pub(super) struct RefusedCache {
    hasher: RandomState,
    slots: Mutex<Box<[Option<Refused>]>>,
}

#[derive(Clone, Copy)]
struct Refused {
    mark: u64,
    /// When the look began that did not find it.
    at: Instant,
}

impl Default for RefusedCache {
    fn default() -> Self {
        Self { hasher: RandomState::new(), slots: Mutex::new((0..SLOTS).map(|_| None).collect()) }
    }
}

impl RefusedCache {
    /// Whether a look that began within the last interval did not find this credential under this name.
    pub(super) fn contains(&self, name: TenantName<'_>, credential: Credential<'_>) -> bool {
        let mark = self.hasher.hash_one((name, credential));
        let slots = self.slots();
        let found = slot(mark).and_then(|slot| slots.get(slot).copied().flatten());
        found.is_some_and(|refused| refused.mark == mark && refused.at.elapsed() < CHECK_INTERVAL)
    }

    /// Notes a credential that the look which began at `at` did not find.
    pub(super) fn insert(&self, name: TenantName<'_>, credential: Credential<'_>, at: Instant) {
        let mark = self.hasher.hash_one((name, credential));
        let mut slots = self.slots();
        if let Some(entry) = slot(mark).and_then(|slot| slots.get_mut(slot)) {
            *entry = Some(Refused { mark, at });
        }
    }

    fn slots(&self) -> MutexGuard<'_, Box<[Option<Refused>]>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slot(mark: u64) -> Option<usize> {
    usize::try_from(mark % SLOTS).ok()
}
