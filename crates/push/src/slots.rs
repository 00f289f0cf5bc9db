//! Delivery slots: how many endpoints are sent to at a time, shared out by tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use calldata_core::TenantId;
use tokio::sync::oneshot;

/// A bounded number of slots, of which one tenant holds a share at most. A slot that becomes free goes to the waiting tenant that holds
/// the fewest, and among those to the one that has waited longest.
#[derive(Debug)]
pub(crate) struct SlotPool {
    size: usize,
    per_tenant: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    held: HashMap<TenantId, usize>,
    waiting: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    tenant: TenantId,
    slot: oneshot::Sender<Slot>,
}

/// A slot of a pool, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    pool: Arc<SlotPool>,
    tenant: TenantId,
}

impl SlotPool {
    pub(crate) fn new(size: usize, per_tenant: usize) -> Arc<Self> {
        Arc::new(Self { size, per_tenant, state: Mutex::default() })
    }

    /// Waits for a slot.
    pub(crate) async fn acquire(self: &Arc<Self>, tenant: TenantId) -> Slot {
        let waits = {
            let mut state = self.state();
            if state.is_free_for(self, tenant) {
                return self.take(&mut state, tenant);
            }
            let (slot, waits) = oneshot::channel();
            state.waiting.push(Waiter { tenant, slot });
            waits
        };
        match waits.await {
            Ok(slot) => slot,
            // A pool drops no waiter.
            Err(_) => std::future::pending().await,
        }
    }

    /// A slot, where one is free for this tenant.
    pub(crate) fn try_acquire(self: &Arc<Self>, tenant: TenantId) -> Option<Slot> {
        let mut state = self.state();
        state.is_free_for(self, tenant).then(|| self.take(&mut state, tenant))
    }

    /// How many slots are taken.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.state().taken
    }

    fn take(self: &Arc<Self>, state: &mut State, tenant: TenantId) -> Slot {
        state.taken += 1;
        *state.held.entry(tenant).or_default() += 1;
        Slot { pool: Arc::clone(self), tenant }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Whether somebody waits who would get this slot.
    pub(crate) fn is_wanted(&self) -> bool {
        let state = self.pool.state();
        let may_have_it = |waiter: &Waiter| waiter.tenant == self.tenant || state.held_by(waiter.tenant) < self.pool.per_tenant;
        state.waiting.iter().any(|waiter| !waiter.slot.is_closed() && may_have_it(waiter))
    }
}

impl State {
    fn held_by(&self, tenant: TenantId) -> usize {
        self.held.get(&tenant).copied().unwrap_or_default()
    }

    fn is_free_for(&self, pool: &SlotPool, tenant: TenantId) -> bool {
        self.taken < pool.size && self.held_by(tenant) < pool.per_tenant
    }

    /// The waiter that a free slot goes to.
    fn next(&mut self, pool: &SlotPool) -> Option<Waiter> {
        self.waiting.retain(|waiter| !waiter.slot.is_closed());
        let places = self.waiting.iter().enumerate().filter(|(_, waiter)| self.is_free_for(pool, waiter.tenant));
        let (place, _) = places.min_by_key(|(_, waiter)| self.held_by(waiter.tenant))?;
        Some(self.waiting.remove(place))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // A slot that a waiter no longer takes is dropped again, outside of the lock.
        let given = {
            let mut state = self.pool.state();
            state.taken -= 1;
            if let Some(held) = state.held.get_mut(&self.tenant) {
                *held -= 1;
                if *held == 0 {
                    state.held.remove(&self.tenant);
                }
            }
            state.next(&self.pool).map(|Waiter { tenant, slot }| slot.send(self.pool.take(&mut state, tenant)))
        };
        drop(given);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn tenant(number: i64) -> TenantId {
        TenantId::from_number(number)
    }

    #[tokio::test]
    async fn a_tenant_holds_its_share_at_most_and_all_together_the_pool() {
        let pool = SlotPool::new(3, 2);
        let (one, two) = (pool.acquire(tenant(1)).await, pool.acquire(tenant(1)).await);
        assert!(pool.try_acquire(tenant(1)).is_none(), "its share");
        let other = pool.try_acquire(tenant(2)).unwrap();
        assert!(pool.try_acquire(tenant(3)).is_none(), "all are taken");
        drop(one);
        let third = pool.try_acquire(tenant(3)).unwrap();
        drop((two, other, third));
        assert!(pool.state().held.is_empty() && pool.state().taken == 0);
    }

    #[tokio::test]
    async fn a_free_slot_goes_to_the_tenant_that_holds_fewest_and_a_waiter_that_left_is_passed_over() {
        let pool = SlotPool::new(2, 2);
        let (one, two) = (pool.acquire(tenant(1)).await, pool.acquire(tenant(1)).await);
        let (mut greedy, mut left, mut modest) =
            (Box::pin(pool.acquire(tenant(1))), Box::pin(pool.acquire(tenant(3))), Box::pin(pool.acquire(tenant(2))));
        assert!(greedy.as_mut().now_or_never().is_none() && left.as_mut().now_or_never().is_none());
        assert!(modest.as_mut().now_or_never().is_none() && one.is_wanted() && two.is_wanted());
        drop(left);
        drop(one);
        assert!(greedy.as_mut().now_or_never().is_none(), "it came first and holds more");
        let given = modest.as_mut().now_or_never().expect("the slot is handed over");
        drop(two);
        assert!(greedy.as_mut().now_or_never().is_some());
        assert!(!given.is_wanted());
    }
}
