//! Which entries were written in this hour, so that what is done once more is added to its entry and is none of its own.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::queue::share;
use super::{Entry, EntryPlace};
use crate::TenantId;

/// Entries that are remembered. Of what is more than a tenant's share, the store is asked.
const MAX_ENTRIES: usize = 65_536;

/// Entries of this hour.
#[derive(Debug, Default)]
pub(super) struct Memo {
    hour: i64,
    tenants: HashMap<TenantId, TenantMemo>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct TenantMemo {
    /// By a keyed hash of 64 bits, which leads to no caller.
    places: HashMap<u64, EntryPlace>,
    /// Some entries of this hour were written and are not here.
    is_incomplete: bool,
}

/// What is known of an entry before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It is a new one.
    New,
    /// It was written before, there.
    At(EntryPlace),
    /// Only the store can tell.
    Unknown,
}

impl Memo {
    pub(super) fn find(&mut self, entry: &Entry) -> Known {
        if entry.hour() != self.hour {
            self.hour = entry.hour();
            self.tenants.clear();
        }
        let Some(memo) = self.tenants.get(&entry.tenant) else { return Known::New };
        match memo.places.get(&self.hash(entry)) {
            Some(place) => Known::At(*place),
            None if memo.is_incomplete => Known::Unknown,
            None => Known::New,
        }
    }

    /// Remembers an entry that is written now, where it was written.
    pub(super) fn remember(&mut self, entry: &Entry) {
        if entry.hour() != self.hour {
            return;
        }
        let (hash, tenants) = (self.hash(entry), self.tenants.len());
        let memo = self.tenants.entry(entry.tenant).or_default();
        if memo.places.len() < share(MAX_ENTRIES, tenants) {
            memo.places.insert(hash, EntryPlace { at: entry.at, id: entry.id });
        } else {
            memo.is_incomplete = true;
        }
    }

    fn hash(&self, Entry { key, action, caller, .. }: &Entry) -> u64 {
        self.hasher.hash_one((key, action, caller))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Action;
    use crate::{KeyId, Timestamp};

    fn entry(caller: usize, at_ms: i64) -> Entry {
        Entry {
            id: 7,
            at: Timestamp::clamped(at_ms),
            tenant: TenantId::from_number(1),
            key: KeyId::new("k").unwrap(),
            action: Action::Read,
            caller: Some(caller.to_string()),
            sessions: 1,
        }
    }

    #[test]
    fn an_entry_is_known_for_its_hour_and_beyond_the_share_the_store_has_to_tell() {
        let mut memo = Memo::default();
        assert_eq!(memo.find(&entry(1, 5)), Known::New);
        memo.remember(&entry(1, 5));
        assert_eq!(memo.find(&entry(1, 9)), Known::At(EntryPlace { at: Timestamp::clamped(5), id: 7 }));
        assert_eq!(memo.find(&entry(2, 9)), Known::New);
        (0..=MAX_ENTRIES).for_each(|caller| memo.remember(&entry(caller, 9)));
        assert_eq!(memo.find(&entry(MAX_ENTRIES + 9, 9)), Known::Unknown);
        assert_eq!(memo.find(&entry(1, 3_600_000)), Known::New, "another hour");
    }
}
