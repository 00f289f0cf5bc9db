//! Notes that wait to be written down. Tenants share the room: the flood of one costs its own entries their callers, and nobody else's.

use std::collections::{BTreeMap, HashMap as StdHashMap};
use std::hash::RandomState;

use hashbrown::{Equivalent, HashMap};

use super::{Action, Entry};
use crate::{CallerKey, KeyId, TenantId};

/// Notes that are told apart by caller each time; a tenant that is not alone has a share of them.
const MAX_APART: usize = 5_000;

/// What one key did with one caller's sessions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Deed {
    pub(super) key: KeyId,
    pub(super) action: Action,
    pub(super) caller: CallerKey,
}

/// The same by reference, so that a deed that is known already is found without a copy. It hashes as [`Deed`] does.
#[derive(Hash)]
struct DeedRef<'d> {
    key: &'d KeyId,
    action: Action,
    caller: &'d CallerKey,
}

impl Equivalent<Deed> for DeedRef<'_> {
    fn equivalent(&self, deed: &Deed) -> bool {
        self.action == deed.action && *self.key == deed.key && *self.caller == deed.caller
    }
}

/// One tenant's notes, each with how many sessions it stands for.
#[derive(Debug, Default)]
pub(super) struct TenantNotes {
    pub(super) apart: HashMap<Deed, u64, RandomState>,
    /// Beyond its share.
    pub(super) counted: HashMap<(KeyId, Action), u64, RandomState>,
}

/// Notes that wait, by tenant.
#[derive(Debug, Default)]
pub(super) struct Queue {
    tenants: StdHashMap<TenantId, TenantNotes>,
    /// How many tenants there were the last time.
    before: usize,
}

impl Queue {
    pub(super) fn note(&mut self, tenant: TenantId, key: &KeyId, action: Action, caller: &CallerKey) {
        let tenants = self.tenants.len().max(self.before);
        let notes = self.tenants.entry(tenant).or_default();
        let deed = DeedRef { key, action, caller };
        if let Some(sessions) = notes.apart.get_mut(&deed) {
            *sessions += 1;
        } else if notes.apart.len() < share(MAX_APART, tenants) {
            notes.apart.insert(Deed { key: key.clone(), action, caller: caller.clone() }, 1);
        } else {
            *notes.counted.entry((key.clone(), action)).or_default() += 1;
        }
    }

    pub(super) fn take(&mut self) -> StdHashMap<TenantId, TenantNotes> {
        self.before = self.tenants.len();
        std::mem::take(&mut self.tenants)
    }
}

/// What one of so many tenants may have of a whole. Beside others there is always room for one more.
pub(super) fn share(all: usize, tenants: usize) -> usize {
    if tenants <= 1 { all } else { all / (tenants + 1) }
}

/// What entries of the same hour have in common that are one.
type Together = (TenantId, KeyId, Action, Option<String>, i64);

fn together(entry: &Entry) -> Together {
    (entry.tenant, entry.key.clone(), entry.action, entry.caller.clone(), entry.hour())
}

/// Adds up entries that are one; each keeps its first moment.
pub(super) fn merged(entries: impl IntoIterator<Item = Entry>) -> Vec<Entry> {
    let mut merged: Vec<Entry> = Vec::new();
    let mut known: StdHashMap<Together, usize> = StdHashMap::new();
    for entry in entries {
        let place = *known.entry(together(&entry)).or_insert(merged.len());
        match merged.get_mut(place) {
            Some(first) => first.sessions += entry.sessions,
            None => merged.push(entry),
        }
    }
    merged
}

/// Keeps about so many entries: where they are more, those with the most of them lose their callers and are added up, until it is enough.
/// What is too much even so is given back apart.
pub(super) fn bounded(entries: Vec<Entry>, most: usize) -> (Vec<Entry>, Vec<Entry>) {
    if entries.len() <= most {
        return (entries, Vec::new());
    }
    let mut counts: BTreeMap<TenantId, usize> = BTreeMap::new();
    for entry in &entries {
        *counts.entry(entry.tenant).or_default() += 1;
    }
    let level = level(counts.values().copied().collect(), most);
    let mut kept: StdHashMap<TenantId, usize> = StdHashMap::new();
    let (apart, beyond): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| {
        let kept = kept.entry(entry.tenant).or_default();
        *kept += 1;
        *kept <= level
    });
    let counted = merged(beyond.into_iter().map(|entry| Entry { caller: None, ..entry }));
    let mut all = merged(apart.into_iter().chain(counted));
    // As many more as there are keys; were there very many of these, the last ones are lost.
    let lost = all.split_off(all.len().min(2 * most));
    (all, lost)
}

/// How many each may keep so that all of them keep no more than `most` together.
fn level(mut counts: Vec<usize>, most: usize) -> usize {
    counts.sort_unstable();
    let (mut room, mut left) = (most, counts.len());
    for count in counts {
        let each = room / left.max(1);
        if count > each {
            return each;
        }
        room -= count;
        left -= 1;
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Country, Timestamp};

    fn caller(number: u32) -> CallerKey {
        CallerKey::of(&format!("user-{number}"), Country::GERMANY)
    }

    fn key(name: &str) -> KeyId {
        KeyId::new(name).unwrap()
    }

    #[test]
    fn the_flood_of_one_tenant_leaves_the_callers_of_another_as_they_are() {
        let (flooding, other) = (TenantId::from_number(1), TenantId::from_number(2));
        let mut queue = Queue::default();
        (0..20_000).for_each(|number| queue.note(flooding, &key("k1"), Action::Read, &caller(number)));
        (0..1_500).for_each(|number| queue.note(other, &key("k2"), Action::Read, &caller(number)));
        let notes = queue.take();
        assert_eq!((notes[&other].apart.len(), notes[&other].counted.len()), (1_500, 0));
        assert_eq!((notes[&flooding].apart.len(), notes[&flooding].counted[&(key("k1"), Action::Read)]), (MAX_APART, 15_000));
        // Who was there a moment ago may come back at any time.
        (0..20_000).for_each(|number| queue.note(flooding, &key("k1"), Action::Read, &caller(number)));
        assert_eq!(queue.take()[&flooding].apart.len(), MAX_APART / 3);
        (0..20_000).for_each(|number| queue.note(flooding, &key("k1"), Action::Read, &caller(number)));
        assert_eq!(queue.take()[&flooding].apart.len(), MAX_APART, "alone again");
    }

    fn entry(tenant: i64, caller: Option<u32>, at_ms: i64) -> Entry {
        Entry {
            id: 1,
            at: Timestamp::clamped(at_ms),
            tenant: TenantId::from_number(tenant),
            key: key("k"),
            action: Action::Read,
            caller: caller.map(|caller| caller.to_string()),
            sessions: 1,
        }
    }

    #[test]
    fn what_waits_is_one_entry_an_hour_and_keeps_its_first_moment() {
        const HOUR: i64 = 3_600_000;
        let merged = merged([entry(1, Some(1), 5), entry(1, Some(1), 7), entry(1, None, 8), entry(1, Some(1), HOUR), entry(2, Some(1), 9)]);
        let shown: Vec<_> = merged.iter().map(|entry| (entry.tenant.number(), entry.at.epoch_ms(), entry.sessions)).collect();
        assert_eq!(shown, [(1, 5, 2), (1, 8, 1), (1, HOUR, 1), (2, 9, 1)]);
    }

    #[test]
    fn where_too_much_waits_whoever_has_most_of_it_loses_callers_and_no_counts() {
        let flood = (0..100).map(|number| entry(1, Some(number), 5));
        let (kept, lost) = bounded(flood.chain((0..10).map(|number| entry(2, Some(number), 5))).collect(), 40);
        assert_eq!(lost, []);
        let of = |tenant: i64, named: bool| {
            kept.iter().filter(|e| e.tenant.number() == tenant && e.caller.is_some() == named).map(|e| e.sessions).sum::<u64>()
        };
        assert_eq!((of(1, true), of(1, false), of(2, true), of(2, false)), (30, 70, 10, 0));
    }
}
