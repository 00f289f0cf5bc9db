//! How many sessions callers have, and where in their order some of them are.
//!
//! To count is to pass over every entry of an index, and so is to find a page far from both ends. Callers with few sessions are counted
//! anew each time; of those with many it is remembered here, and what is committed in this process is counted along.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use calldata_core::{CallerKey, Scope};
use tokio::time::Instant;

use crate::entity::session::Model;

/// Fewer are counted as fast as they are looked up.
pub(crate) const MANY: u64 = 512;
/// Every so many sessions one is remembered with its place.
pub(crate) const PLACES: u64 = 256;
/// Places of one caller at most; of one with more sessions they lie farther apart.
pub(crate) const MAX_PLACES: usize = 2_048;
/// Callers that are remembered at most, and of one tenant.
const MAX_CALLERS: usize = 256;
const MAX_OF_TENANT: usize = 64;
/// For how long; then they are counted anew if anybody still asks.
const MAX_AGE: Duration = Duration::from_mins(15);

/// What may be committed of a caller while it is counted; beyond that it is counted another time.
const MAX_SINCE: usize = 10_000;

/// A place in the order of a caller's sessions: start and identifier.
pub(crate) type Place = (i64, String);

/// What was counted.
#[derive(Clone, Debug)]
pub(crate) struct Total {
    pub(crate) count: u64,
    /// When that one of them was first received that expires next.
    pub(crate) first_receipt: i64,
    /// One in every [`PLACES`] or more in the order of their starts, oldest first, with its rank.
    pub(crate) places: Arc<Vec<(Place, u64)>>,
}

/// Callers by hashes of tenant and caller.
#[derive(Default)]
pub(super) struct Totals {
    callers: HashMap<u64, Known>,
}

/// Whoever counts is known by it: what somebody else began, or was forgotten since, is not his to end.
pub(crate) type Ticket = u128;

struct Known {
    ticket: Ticket,
    since: Instant,
    tenant: i64,
    caller: CallerKey,
    /// What was first received at this moment or before had expired when it was counted.
    expired_until: i64,
    counted: Counted,
}

enum Counted {
    /// Somebody counts; this was committed meanwhile.
    Not(Vec<New>),
    Total(Total),
}

struct New {
    place: Place,
    first_receipt: i64,
}

impl Totals {
    /// What is known of a caller, while nothing of it has expired and nothing that had expired is live again.
    pub(super) fn get(&self, key: u64, scope: Scope, caller: &CallerKey) -> Option<&Total> {
        let known = self.callers.get(&key).filter(|known| known.is_of(scope.tenant().number(), caller.as_str()))?;
        let Counted::Total(total) = &known.counted else { return None };
        let expired_until = scope.expired_until().epoch_ms();
        (known.expired_until <= expired_until && expired_until < total.first_receipt).then_some(total)
    }

    /// `None` where it is known, or somebody counts already, or too many callers are remembered.
    pub(super) fn begin(&mut self, key: u64, scope: Scope, caller: &CallerKey) -> Option<Ticket> {
        let (tenant, expired_until) = (scope.tenant().number(), scope.expired_until().epoch_ms());
        let is_counting = self.callers.get(&key).is_some_and(|known| matches!(known.counted, Counted::Not(_)));
        let of_tenant = self.callers.values().filter(|known| known.tenant == tenant).count();
        let is_full = (self.callers.len() >= MAX_CALLERS || of_tenant >= MAX_OF_TENANT) && !self.callers.contains_key(&key);
        if is_counting || is_full || self.get(key, scope, caller).is_some() {
            return None;
        }
        let ticket = rand::random();
        let counted = Counted::Not(Vec::new());
        self.callers.insert(key, Known { ticket, since: Instant::now(), tenant, caller: caller.clone(), expired_until, counted });
        Some(ticket)
    }

    pub(super) fn end(&mut self, key: u64, ticket: Ticket, counted: Option<Total>) {
        let Some(known) = self.callers.get_mut(&key).filter(|known| known.ticket == ticket) else { return };
        let (Counted::Not(since), Some(mut total)) = (&mut known.counted, counted) else {
            self.callers.remove(&key);
            return;
        };
        for new in std::mem::take(since) {
            total.add(new);
        }
        known.counted = Counted::Total(total);
    }

    /// Drops what has been here for long.
    pub(super) fn drop_old(&mut self, now: Instant) {
        self.callers.retain(|_, known| now.duration_since(known.since) <= MAX_AGE);
    }

    pub(super) fn created(&mut self, key: u64, row: &Model) {
        let Some(known) = self.callers.get_mut(&key) else { return };
        if !known.is_of(row.tenant_id, &row.caller_key) || row.received_first <= known.expired_until {
            return;
        }
        let new = New { place: (row.started_at, row.id.clone()), first_receipt: row.received_first };
        match &mut known.counted {
            Counted::Total(total) => total.add(new),
            Counted::Not(since) if since.len() < MAX_SINCE => since.push(new),
            Counted::Not(_) => {
                self.callers.remove(&key);
            }
        }
    }

    /// What was first received at this moment or before is gone.
    pub(super) fn deleted(&mut self, until: i64) {
        self.callers.retain(|_, known| matches!(&known.counted, Counted::Total(total) if total.first_receipt > until));
    }
}

impl Known {
    fn is_of(&self, tenant: i64, caller: &str) -> bool {
        self.tenant == tenant && self.caller.as_str() == caller
    }
}

impl Total {
    /// The nearest place at or after the session of that rank, counted from the oldest.
    pub(crate) fn place(&self, rank: u64) -> Option<&(Place, u64)> {
        self.places.get(self.places.partition_point(|(_, known)| *known < rank))
    }

    fn add(&mut self, new: New) {
        self.count += 1;
        self.first_receipt = self.first_receipt.min(new.first_receipt);
        let later = self.places.partition_point(|(place, _)| *place < new.place);
        if later < self.places.len() {
            for (_, rank) in Arc::make_mut(&mut self.places).iter_mut().skip(later) {
                *rank += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use calldata_core::{Country, Tenant, Timestamp};

    fn of(count: u64) -> Total {
        Total { count, first_receipt: i64::MAX, places: Arc::default() }
    }

    #[test]
    fn of_two_who_count_at_once_one_does_and_what_was_forgotten_meanwhile_is_not_taken_in() {
        let caller = CallerKey::of("110", Country::GERMANY);
        let scope = Tenant::new("C", "c", "t", Timestamp::clamped(1)).scope(Timestamp::clamped(1_700_000_000_000));
        let mut totals = Totals::default();
        let first = totals.begin(7, scope, &caller).unwrap();
        assert!(totals.begin(7, scope, &caller).is_none(), "somebody counts already");
        // Everything is forgotten, and somebody else begins.
        totals = Totals::default();
        let second = totals.begin(7, scope, &caller).unwrap();
        totals.end(7, first, Some(of(1_000)));
        assert!(totals.get(7, scope, &caller).is_none());
        totals.end(7, second, Some(of(1_001)));
        assert_eq!(totals.get(7, scope, &caller).unwrap().count, 1_001);
        assert!(totals.begin(7, scope, &caller).is_none(), "it is known");
        totals.drop_old(Instant::now() + MAX_AGE + Duration::from_secs(1));
        let third = totals.begin(7, scope, &caller).unwrap();
        totals.end(7, third, None);
        assert!(totals.begin(7, scope, &caller).is_some(), "who failed is not waited for");
    }

    #[test]
    fn one_tenant_leaves_room_for_others() {
        let caller = CallerKey::of("110", Country::GERMANY);
        let of = |tenant| Tenant::new(tenant, "c", "t", Timestamp::clamped(1)).scope(Timestamp::clamped(1_700_000_000_000));
        let (one, other) = (of("one"), of("other"));
        let mut totals = Totals::default();
        let begun = (0..1_000).filter(|key| totals.begin(*key, one, &caller).is_some()).count();
        assert_eq!(begun, MAX_OF_TENANT);
        assert!(totals.begin(1_000, other, &caller).is_some());
    }
}
