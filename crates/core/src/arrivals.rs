//! Waiting for a session that has not arrived yet (PAR-G11).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::port::Awaited;
use crate::{CallId, CallerKey, TenantId, Timestamp};

/// How many may wait at once.
#[derive(Clone, Copy, Debug)]
pub struct WaitLimits {
    /// Of one tenant.
    pub per_tenant: usize,
    /// In all.
    pub in_all: usize,
}

impl Default for WaitLimits {
    fn default() -> Self {
        Self { per_tenant: 1_000, in_all: 10_000 }
    }
}

/// Wakes those who wait for a session of a call and caller. Waiting costs memory, no query.
#[derive(Debug)]
pub struct Arrivals {
    limits: WaitLimits,
    waiting: Mutex<Waiting>,
    began: Notify,
    closed: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Waiting {
    slots: HashMap<Awaited, Slot>,
    per_tenant: HashMap<TenantId, usize>,
    in_all: usize,
}

#[derive(Debug)]
struct Slot {
    arrived: watch::Sender<()>,
    /// The last receipt that was found elsewhere; `None` until somebody looked.
    seen: Option<Timestamp>,
}

impl Arrivals {
    /// Nobody waits yet.
    pub fn new(limits: WaitLimits) -> Self {
        Self { limits, waiting: Mutex::default(), began: Notify::new(), closed: watch::Sender::new(false) }
    }

    /// Begins to wait; `None` where too many wait already, or the gateway is about to stop.
    pub fn wait_for(self: &Arc<Self>, tenant: TenantId, call: &CallId, caller: &CallerKey) -> Option<Waiter> {
        if *self.closed.borrow() {
            return None;
        }
        let mut waiting = self.lock();
        let of_tenant = waiting.per_tenant.get(&tenant).copied().unwrap_or(0);
        if waiting.in_all >= self.limits.in_all || of_tenant >= self.limits.per_tenant {
            return None;
        }
        waiting.in_all += 1;
        waiting.per_tenant.insert(tenant, of_tenant + 1);
        let what = Awaited { tenant, call: call.clone(), caller: caller.clone() };
        let slot = waiting.slots.entry(what.clone()).or_insert_with(|| Slot { arrived: watch::Sender::new(()), seen: None });
        let arrived = slot.arrived.subscribe();
        self.began.notify_one();
        Some(Waiter { arrivals: Arc::clone(self), what, arrived, closed: self.closed.subscribe() })
    }

    /// Wakes all who wait for a session of this call and caller.
    pub fn announce(&self, tenant: TenantId, call: &CallId, caller: &CallerKey) {
        let waiting = self.lock();
        if waiting.in_all == 0 {
            return;
        }
        if let Some(slot) = waiting.slots.get(&Awaited { tenant, call: call.clone(), caller: caller.clone() }) {
            slot.arrived.send_replace(());
        }
    }

    /// What is waited for. Returns once something is, so that nobody looks elsewhere for nothing.
    pub async fn awaited(&self) -> Vec<Awaited> {
        loop {
            let awaited: Vec<_> = self.lock().slots.keys().cloned().collect();
            if !awaited.is_empty() {
                return awaited;
            }
            self.began.notified().await;
        }
    }

    /// How many wait at present.
    pub fn waiting(&self) -> usize {
        self.lock().in_all
    }

    /// Wakes those who wait for something that was received elsewhere since it was last looked for.
    pub fn announce_newer(&self, receipts: Vec<(Awaited, Timestamp)>) {
        let mut waiting = self.lock();
        for (what, received) in receipts {
            if let Some(slot) = waiting.slots.get_mut(&what)
                && slot.seen.is_none_or(|seen| seen < received)
            {
                // The first time it may have arrived between the waiter's own look and this one.
                slot.seen = Some(received);
                slot.arrived.send_replace(());
            }
        }
    }

    /// Becomes true when the gateway is about to stop.
    pub(crate) fn closed(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }

    /// Wakes everybody; from now on nobody waits.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits. An arrival after [`Arrivals::wait_for`] is never missed, even while the waiter looks elsewhere.
#[derive(Debug)]
pub struct Waiter {
    arrivals: Arc<Arrivals>,
    what: Awaited,
    arrived: watch::Receiver<()>,
    closed: watch::Receiver<bool>,
}

impl Waiter {
    /// Returns true when something arrived, false when the gateway is about to stop.
    pub async fn arrival(&mut self) -> bool {
        tokio::select! {
            biased;
            _ = self.closed.wait_for(|closed| *closed) => false,
            changed = self.arrived.changed() => changed.is_ok(),
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.arrivals.lock();
        waiting.in_all -= 1;
        if let Some(of_tenant) = waiting.per_tenant.get_mut(&self.what.tenant) {
            *of_tenant -= 1;
            if *of_tenant == 0 {
                waiting.per_tenant.remove(&self.what.tenant);
            }
        }
        // This waiter's own receiver is still alive here.
        if waiting.slots.get(&self.what).is_some_and(|slot| slot.arrived.receiver_count() <= 1) {
            waiting.slots.remove(&self.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Country;

    fn what(call: &str, caller: &str) -> (CallId, CallerKey) {
        (CallId::new(call).unwrap(), CallerKey::of(caller, Country::GERMANY))
    }

    #[tokio::test]
    async fn par_g11_an_arrival_wakes_those_who_wait_for_it_and_no_one_else() {
        let arrivals = Arc::new(Arrivals::new(WaitLimits::default()));
        let tenant = TenantId::random();
        let (call, caller) = what("c", "+4930123");
        let mut waiter = arrivals.wait_for(tenant, &call, &caller).unwrap();
        let mut other = arrivals.wait_for(TenantId::random(), &call, &caller).unwrap();
        arrivals.announce(tenant, &call, &caller);
        assert!(waiter.arrival().await, "an arrival before the wait is not missed");
        arrivals.close();
        assert!(!other.arrival().await);
        assert!(arrivals.wait_for(tenant, &call, &caller).is_none());
        drop((waiter, other));
        let waiting = arrivals.lock();
        assert!(waiting.slots.is_empty() && waiting.per_tenant.is_empty() && waiting.in_all == 0);
    }

    #[tokio::test]
    async fn par_g11_what_arrives_elsewhere_wakes_once() {
        let arrivals = Arc::new(Arrivals::new(WaitLimits::default()));
        let (tenant, (call, caller)) = (TenantId::random(), what("c", "+4930123"));
        let mut waiter = arrivals.wait_for(tenant, &call, &caller).unwrap();
        let awaited = arrivals.awaited().await;
        assert_eq!(awaited, [Awaited { tenant, call, caller }]);
        let found = |ms| vec![(awaited[0].clone(), Timestamp::clamped(ms))];
        arrivals.announce_newer(found(5));
        assert!(waiter.arrival().await);
        arrivals.announce_newer(found(5));
        arrivals.announce_newer(found(4));
        assert!(!waiter.arrived.has_changed().unwrap(), "nothing new");
        arrivals.announce_newer(found(6));
        assert!(waiter.arrival().await);
        drop(waiter);
        arrivals.announce_newer(found(7));
    }

    #[test]
    fn par_g11_the_number_of_waiters_is_bounded_by_tenant_and_in_all() {
        let arrivals = Arc::new(Arrivals::new(WaitLimits { per_tenant: 2, in_all: 3 }));
        let (one, two) = (TenantId::random(), TenantId::random());
        let (call, caller) = what("c", "x");
        let wait = |tenant| arrivals.wait_for(tenant, &call, &caller);
        let first = wait(one).unwrap();
        let _second = wait(one).unwrap();
        assert!(wait(one).is_none());
        let _third = wait(two).unwrap();
        assert!(wait(two).is_none());
        drop(first);
        assert!(wait(two).is_some());
    }
}
