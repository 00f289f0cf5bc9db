//! How many sessions callers have, and where in their order some of them are.
//!
//! To count is to pass over every entry of an index, and so is to find a page far from both ends. Callers with few sessions are counted
//! anew each time; of those with many it is remembered here, and what is committed in this process is counted along.

use std::collections::HashMap;
use std::sync::Arc;

use calldata_core::{CallerKey, Scope};

use crate::entity::session::Model;

/// Fewer are counted as fast as they are looked up.
pub(crate) const MANY: u64 = 512;
/// Every so many sessions one is remembered with its place.
pub(crate) const PLACES: u64 = 256;
/// Callers that are remembered at most; beyond that all of them are forgotten.
const MAX_CALLERS: usize = 256;

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
    /// Every [`PLACES`]th in the order of their starts, oldest first, with its rank.
    pub(crate) places: Arc<Vec<(Place, u64)>>,
}

/// Callers by hashes of tenant and caller.
#[derive(Default)]
pub(super) struct Totals(HashMap<u64, Known>);

struct Known {
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
        let known = self.0.get(&key).filter(|known| known.is_of(scope.tenant().number(), caller.as_str()))?;
        let Counted::Total(total) = &known.counted else { return None };
        let expired_until = scope.expired_until().epoch_ms();
        (known.expired_until <= expired_until && expired_until < total.first_receipt).then_some(total)
    }

    pub(super) fn begin(&mut self, key: u64, scope: Scope, caller: &CallerKey) {
        if self.0.len() >= MAX_CALLERS {
            self.0.clear();
        }
        let (tenant, expired_until) = (scope.tenant().number(), scope.expired_until().epoch_ms());
        self.0.insert(key, Known { tenant, caller: caller.clone(), expired_until, counted: Counted::Not(Vec::new()) });
    }

    pub(super) fn end(&mut self, key: u64, scope: Scope, caller: &CallerKey, counted: Option<Total>) {
        let Some(known) = self.0.get_mut(&key) else { return };
        let is_it = known.is_of(scope.tenant().number(), caller.as_str()) && known.expired_until == scope.expired_until().epoch_ms();
        let (Counted::Not(since), Some(mut total), true) = (&mut known.counted, counted, is_it) else {
            self.0.remove(&key);
            return;
        };
        for new in std::mem::take(since) {
            total.add(new);
        }
        known.counted = Counted::Total(total);
    }

    pub(super) fn created(&mut self, key: u64, row: &Model) {
        let Some(known) = self.0.get_mut(&key) else { return };
        if !known.is_of(row.tenant_id, &row.caller_key) || row.received_first <= known.expired_until {
            return;
        }
        let new = New { place: (row.started_at, row.id.clone()), first_receipt: row.received_first };
        match &mut known.counted {
            Counted::Total(total) => total.add(new),
            Counted::Not(since) if since.len() < MAX_SINCE => since.push(new),
            Counted::Not(_) => {
                self.0.remove(&key);
            }
        }
    }

    /// What was first received at this moment or before is gone.
    pub(super) fn deleted(&mut self, until: i64) {
        self.0.retain(|_, known| matches!(&known.counted, Counted::Total(total) if total.first_receipt > until));
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
