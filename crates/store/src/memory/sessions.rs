//! The newest session of each recent call and caller.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::packed::Packed;
use crate::entity::session::Model;

/// What is kept at most, of which so much of each entry is spent on finding it. What an allocator rounds up comes on top.
const MAX_BYTES: usize = 40 << 20;
const ENTRY_BYTES: usize = 88;
/// Numbers of replaced entries are kept until there are more of them than entries, and than this.
const MIN_ORDER: usize = 1_024;
/// For how long. What was learned during a call is asked for during the call; a copy of it should not lie about.
const MAX_AGE: Duration = Duration::from_mins(15);

/// Sessions by hashes of tenant, call and caller. Where two have one hash, one of them is not known.
pub(super) struct Sessions {
    /// Of every tenant, call and caller with a row that was received later than this, the newest is here.
    floor: i64,
    entries: HashMap<u64, Entry>,
    /// Entries as they came, with their numbers; one that was replaced has another number now.
    order: VecDeque<(u64, u64)>,
    /// None was first received earlier than this.
    oldest: i64,
    next: u64,
    bytes: usize,
}

struct Entry {
    number: u64,
    since: Instant,
    row: Packed,
}

impl Default for Sessions {
    /// Nothing is known, and nothing can be.
    fn default() -> Self {
        Self::after(i64::MAX)
    }
}

impl Sessions {
    /// Nothing is known, and nothing was received later than `floor`.
    pub(super) fn after(floor: i64) -> Self {
        Self { floor, entries: HashMap::new(), order: VecDeque::new(), oldest: i64::MAX, next: 0, bytes: 0 }
    }

    pub(super) fn newest(&self, key: u64, tenant: i64, call: &str, caller: &str) -> Option<&Packed> {
        self.entries.get(&key).map(|entry| &entry.row).filter(|row| row.is_of(tenant, call, caller))
    }

    /// Whether all of them were first received later than this.
    pub(super) fn are_younger_than(&self, moment: i64) -> bool {
        moment < self.oldest
    }

    /// Keeps a row that is new in the file, if it is certain to be the newest of its call and caller.
    pub(super) fn keep(&mut self, key: u64, row: &Model, now: Instant) {
        match self.newest(key, row.tenant_id, &row.call_id, &row.caller_key) {
            Some(known) if (known.received_last(), known.id()) > (row.received_last, row.id.as_str()) => return,
            Some(_) => {}
            None => {
                self.lose(key);
                if row.received_last <= self.floor {
                    return;
                }
            }
        }
        self.oldest = self.oldest.min(row.received_first);
        let row = Packed::of(row);
        self.bytes += row.bytes() + ENTRY_BYTES;
        self.next += 1;
        if self.order.len() > 2 * self.entries.len() + MIN_ORDER {
            let entries = &self.entries;
            self.order.retain(|(key, number)| entries.get(key).is_some_and(|entry| entry.number == *number));
        }
        self.order.push_back((key, self.next));
        if let Some(replaced) = self.entries.insert(key, Entry { number: self.next, since: now, row }) {
            self.bytes -= replaced.row.bytes() + ENTRY_BYTES;
        }
    }

    /// The row of that id was received again when `row` was.
    pub(super) fn refresh(&mut self, key: u64, row: &Model, id: &str) {
        match self.entries.get_mut(&key) {
            Some(entry) if entry.row.id() == id && entry.row.is_of(row.tenant_id, &row.call_id, &row.caller_key) => {
                entry.row.receive_again(row.received_last);
            }
            // Another one of the same call and caller may be the newest now, and is not here.
            _ => {
                self.lose(key);
                self.floor = self.floor.max(row.received_last);
            }
        }
    }

    /// Its newest is not here from now on.
    fn lose(&mut self, key: u64) {
        if let Some(lost) = self.entries.remove(&key) {
            self.bytes -= lost.row.bytes() + ENTRY_BYTES;
            self.floor = self.floor.max(lost.row.received_last());
        }
    }

    /// Drops what is too old or too much.
    pub(super) fn drop_oldest(&mut self, now: Instant) {
        while let Some((key, number)) = self.order.front().copied() {
            let entry = self.entries.get(&key).filter(|entry| entry.number == number);
            if entry.is_some_and(|entry| self.bytes <= MAX_BYTES && now.duration_since(entry.since) <= MAX_AGE) {
                return;
            }
            if entry.is_some() {
                self.lose(key);
            }
            self.order.pop_front();
        }
    }
}
