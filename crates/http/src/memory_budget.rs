//! One budget of bytes for everything that requests hold in memory: heads, bodies, rows and answers.
//!
//! Counts of requests and connections do not bound memory: one page of large sessions weighs as much as ten thousand small posts. Each
//! request therefore has a [`Charge`] from its head to the last byte of its answer, first in the small share of clients that have not
//! authenticated, then in the share of its tenant. See docs/adr/0030-one-budget-of-bytes.md.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::Extensions;
use calldata_core::TenantId;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// The budget where none is given.
pub const DEFAULT_MEMORY_BUDGET_BYTES: usize = 512 << 20;
/// The smallest budget with which every operation still works.
pub const MIN_MEMORY_BUDGET_BYTES: usize = 32 << 20;
/// The charge of every request: its head, its task, its place in the HTTP library, and a body and an answer up to [`INCLUDED_BYTES`] each.
pub const REQUEST_BYTES: usize = 16 << 10;
/// A body or an answer up to this length costs nothing beyond [`REQUEST_BYTES`].
pub const INCLUDED_BYTES: usize = 4 << 10;
/// The charge of a connection with its buffers, TLS included.
pub const CONNECTION_BYTES: usize = 32 << 10;
/// The charge of a request that is refused with an answer.
const REFUSAL_BYTES: usize = 4 << 10;
/// The part of the budget for connections.
const CONNECTIONS_PART: usize = 4;
/// The part for requests of clients that have not authenticated.
const UNAUTHENTICATED_PART: usize = 8;
/// The part for refusals on their way out.
const REFUSALS_PART: usize = 32;
/// How long a request waits for memory before it is refused.
pub const WAIT_FOR_MEMORY: Duration = Duration::from_millis(500);

/// There is no memory for a request within its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    /// All that the process may use is in use.
    #[error("the memory for requests is in use")]
    Process,
    /// The tenant has used its share.
    #[error("the tenant's share of the memory for requests is in use")]
    Tenant,
}

/// Whether a request has memory. The server puts it beside every request; one that stands alone in a test has none and needs none.
#[derive(Clone, Debug)]
pub enum RequestMemory {
    /// It has, for as long as a clone of the charge lives.
    Charged(Charge),
    /// It has not, and is to be refused in the words of its interface.
    Refused(OverBudget),
}

impl RequestMemory {
    /// The charge of the request that these extensions belong to.
    ///
    /// # Errors
    /// When the request is to be refused.
    pub fn of(extensions: &Extensions) -> Result<Option<Charge>, OverBudget> {
        match extensions.get() {
            None => Ok(None),
            Some(Self::Charged(charge)) => Ok(Some(charge.clone())),
            Some(Self::Refused(over)) => Err(*over),
        }
    }
}

/// The budget of a process. Clones share it.
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<Ledger>);

#[derive(Debug)]
struct Ledger {
    bytes: usize,
    used: Mutex<Used>,
    /// Notified when bytes are released while a request waits for some.
    released: Notify,
}

#[derive(Debug, Default)]
struct Used {
    unauthenticated: usize,
    refusals: usize,
    by_tenants: usize,
    of_tenant: HashMap<TenantId, usize>,
    waiting: usize,
}

/// Whose share a charge is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    Unauthenticated,
    Refusals,
    Tenant(TenantId),
}

impl MemoryBudget {
    /// A budget of this many bytes, connections included.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Ledger { bytes, used: Mutex::default(), released: Notify::new() }))
    }

    /// How many connections the budget has room for.
    pub fn max_connections(&self) -> usize {
        (self.0.bytes / CONNECTIONS_PART / CONNECTION_BYTES).max(1)
    }

    /// Charges a request whose client has not authenticated yet.
    ///
    /// # Errors
    /// When such clients use their share already.
    pub fn enter(&self) -> Result<Charge, OverBudget> {
        self.charge(Share::Unauthenticated, REQUEST_BYTES)
    }

    /// Charges a request that is answered with a refusal and nothing else.
    ///
    /// # Errors
    /// When there is not even memory for that.
    pub fn refuse(&self) -> Result<Charge, OverBudget> {
        self.charge(Share::Refusals, REFUSAL_BYTES)
    }

    fn charge(&self, share: Share, bytes: usize) -> Result<Charge, OverBudget> {
        self.0.used().reserve(self.0.bytes, share, bytes)?;
        let held = Mutex::new(Held { share, bytes });
        Ok(Charge(Arc::new(Account { ledger: Arc::clone(&self.0), held })))
    }

    /// Writes down for the metrics how much is in use.
    pub fn report(&self) {
        let (unauthenticated, refusals, by_tenants) = {
            let used = self.0.used();
            (used.unauthenticated, used.refusals, used.by_tenants)
        };
        for (share, bytes) in [("unauthenticated", unauthenticated), ("refusals", refusals), ("tenants", by_tenants)] {
            metrics::gauge!("calldata_memory_used_bytes", "share" => share).set(in_f64(bytes));
        }
        metrics::gauge!("calldata_memory_budget_bytes").set(in_f64(self.0.bytes));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of bytes needs no more than 52 bits")]
fn in_f64(bytes: usize) -> f64 {
    bytes as f64
}

impl Ledger {
    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, share: Share, bytes: usize) {
        let mut used = self.used();
        used.release(share, bytes);
        let is_awaited = used.waiting > 0;
        drop(used);
        if is_awaited {
            self.released.notify_waiters();
        }
    }
}

impl Used {
    /// With `n` tenants at work, none may hold more than one part in `n + 1` of what is for tenants, so that there is room for one more. A
    /// tenant that holds nothing may always begin where the process has room.
    fn reserve(&mut self, budget: usize, share: Share, bytes: usize) -> Result<(), OverBudget> {
        let unauthenticated = budget / UNAUTHENTICATED_PART;
        let refusals = budget / REFUSALS_PART;
        match share {
            Share::Unauthenticated if self.unauthenticated + bytes > unauthenticated => Err(OverBudget::Process),
            Share::Unauthenticated => {
                self.unauthenticated += bytes;
                Ok(())
            }
            Share::Refusals if self.refusals + bytes > refusals => Err(OverBudget::Process),
            Share::Refusals => {
                self.refusals += bytes;
                Ok(())
            }
            Share::Tenant(tenant) => {
                let for_tenants = budget - budget / CONNECTIONS_PART - unauthenticated - refusals;
                let held = self.of_tenant.get(&tenant).copied().unwrap_or(0);
                let tenants = self.of_tenant.len() + usize::from(held == 0);
                if held > 0 && held + bytes > for_tenants / (tenants + 1) {
                    return Err(OverBudget::Tenant);
                }
                if self.by_tenants + bytes > for_tenants {
                    return Err(OverBudget::Process);
                }
                self.by_tenants += bytes;
                self.of_tenant.insert(tenant, held + bytes);
                Ok(())
            }
        }
    }

    fn release(&mut self, share: Share, bytes: usize) {
        match share {
            Share::Unauthenticated => self.unauthenticated = self.unauthenticated.saturating_sub(bytes),
            Share::Refusals => self.refusals = self.refusals.saturating_sub(bytes),
            Share::Tenant(tenant) => {
                self.by_tenants = self.by_tenants.saturating_sub(bytes);
                let left = self.of_tenant.get(&tenant).map_or(0, |held| held.saturating_sub(bytes));
                if left == 0 {
                    self.of_tenant.remove(&tenant);
                } else {
                    self.of_tenant.insert(tenant, left);
                }
            }
        }
    }
}

/// The bytes that one request holds, until the last clone is dropped. The server puts it beside every request.
#[derive(Clone, Debug)]
pub struct Charge(Arc<Account>);

#[derive(Debug)]
struct Account {
    ledger: Arc<Ledger>,
    held: Mutex<Held>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    share: Share,
    bytes: usize,
}

impl Charge {
    /// Moves the charge from the share of unauthenticated clients to that of its tenant; a second time changes nothing.
    ///
    /// # Errors
    /// When the tenant has no room for it.
    pub fn assign(&self, tenant: TenantId) -> Result<(), OverBudget> {
        let mut held = self.held();
        if held.share != Share::Unauthenticated {
            return Ok(());
        }
        let mut used = self.0.ledger.used();
        used.reserve(self.0.ledger.bytes, Share::Tenant(tenant), held.bytes)?;
        used.release(held.share, held.bytes);
        held.share = Share::Tenant(tenant);
        Ok(())
    }

    /// Charges further bytes.
    ///
    /// # Errors
    /// When there is no room for them.
    pub fn reserve(&self, bytes: usize) -> Result<(), OverBudget> {
        let mut held = self.held();
        self.0.ledger.used().reserve(self.0.ledger.bytes, held.share, bytes)?;
        held.bytes += bytes;
        Ok(())
    }

    /// Charges further bytes, and waits until there is room for them, but not beyond `until`.
    ///
    /// # Errors
    /// When there is no room by then.
    pub async fn reserve_by(&self, bytes: usize, until: Instant) -> Result<(), OverBudget> {
        if self.reserve(bytes).is_ok() {
            return Ok(());
        }
        let _waiting = Waiting::begin(&self.0.ledger);
        loop {
            let mut released = std::pin::pin!(self.0.ledger.released.notified());
            // Registered before the next try, so that no release is missed between the two.
            released.as_mut().enable();
            let Err(over) = self.reserve(bytes) else { return Ok(()) };
            if timeout_at(until, released).await.is_err() {
                return Err(over);
            }
        }
    }

    /// The same for at most [`WAIT_FOR_MEMORY`].
    ///
    /// # Errors
    /// When there is no room by then.
    pub async fn reserve_soon(&self, bytes: usize) -> Result<(), OverBudget> {
        self.reserve_by(bytes, Instant::now() + WAIT_FOR_MEMORY).await
    }

    /// Charges the request for an answer of this length and nothing else any more; waits for at most [`WAIT_FOR_MEMORY`].
    ///
    /// # Errors
    /// When there is no room by then.
    pub async fn settle(&self, answer_bytes: usize) -> Result<(), OverBudget> {
        let wanted = REQUEST_BYTES + answer_bytes.saturating_sub(INCLUDED_BYTES);
        let held = self.held().bytes;
        if wanted > held {
            return self.reserve_soon(wanted - held).await;
        }
        self.release(held - wanted);
        Ok(())
    }

    /// Gives bytes back that were charged and are no longer held.
    pub fn release(&self, bytes: usize) {
        let mut held = self.held();
        let bytes = bytes.min(held.bytes);
        held.bytes -= bytes;
        self.0.ledger.release(held.share, bytes);
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.held().bytes
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let held = *self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.ledger.release(held.share, held.bytes);
    }
}

/// A request that waits for memory.
struct Waiting<'l>(&'l Ledger);

impl<'l> Waiting<'l> {
    fn begin(ledger: &'l Ledger) -> Self {
        ledger.used().waiting += 1;
        Self(ledger)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.used().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn tenant(number: i64) -> TenantId {
        TenantId::from_number(number)
    }

    fn of_tenant(budget: &MemoryBudget, number: i64) -> Charge {
        let charge = budget.enter().unwrap();
        charge.assign(tenant(number)).unwrap();
        charge
    }

    /// How many MiB a charge can grow by.
    fn grows_by(charge: &Charge) -> usize {
        (0..1_000).take_while(|_| charge.reserve(MIB).is_ok()).count()
    }

    #[test]
    fn clients_that_have_not_authenticated_share_an_eighth_and_take_nothing_from_tenants() {
        let budget = MemoryBudget::new(64 * MIB);
        let strangers: Vec<_> = (0..10_000).map_while(|_| budget.enter().ok()).collect();
        assert_eq!(strangers.len(), 8 * MIB / REQUEST_BYTES);
        assert_eq!(budget.enter().unwrap_err(), OverBudget::Process);
        let known = strangers.first().unwrap();
        known.assign(tenant(1)).unwrap();
        known.reserve(MIB).unwrap();
        assert!(budget.enter().is_ok(), "its place among the strangers is free");
    }

    #[test]
    fn no_tenant_takes_what_another_needs_to_begin() {
        let budget = MemoryBudget::new(64 * MIB);
        // 64 MiB less a quarter, an eighth and a thirty-second: 38 MiB for tenants.
        let first = of_tenant(&budget, 1);
        assert_eq!(grows_by(&first), 18, "half");
        let second = of_tenant(&budget, 2);
        assert_eq!(grows_by(&second), 12, "a third");
        let third = of_tenant(&budget, 3);
        assert!(third.reserve(MIB).is_ok());
        assert_eq!(first.reserve(MIB), Err(OverBudget::Tenant));
        drop((second, third));
        drop(first);
        assert_eq!(grows_by(&of_tenant(&budget, 2)), 18, "all of it was given back");
        assert_eq!(budget.0.used().by_tenants, 0);
    }

    #[test]
    fn a_charge_ends_with_its_last_clone_and_can_shrink() {
        let budget = MemoryBudget::new(64 * MIB);
        let charge = of_tenant(&budget, 1);
        charge.reserve(10 * MIB).unwrap();
        charge.release(4 * MIB);
        assert_eq!(budget.0.used().by_tenants, 6 * MIB + REQUEST_BYTES);
        charge.release(100 * MIB);
        assert_eq!(budget.0.used().by_tenants, 0, "never more than is held");
        let clone = charge.clone();
        clone.reserve(MIB).unwrap();
        drop(charge);
        assert_eq!(budget.0.used().by_tenants, MIB);
        drop(clone);
        assert!(budget.0.used().of_tenant.is_empty());
    }

    #[tokio::test]
    async fn a_request_waits_for_memory_until_another_gives_some_back_and_not_for_ever() {
        let budget = MemoryBudget::new(64 * MIB);
        let holder = of_tenant(&budget, 1);
        holder.reserve(18 * MIB).unwrap();
        let waiter = of_tenant(&budget, 1);
        assert_eq!(waiter.reserve_by(2 * MIB, Instant::now()).await, Err(OverBudget::Tenant));
        let waits = tokio::spawn({
            let waiter = waiter.clone();
            async move { waiter.reserve_soon(2 * MIB).await }
        });
        tokio::task::yield_now().await;
        holder.release(4 * MIB);
        assert_eq!(waits.await.unwrap(), Ok(()));
        assert_eq!(budget.0.used().waiting, 0);
    }

    #[test]
    fn refusals_have_a_bound_of_their_own() {
        let budget = MemoryBudget::new(64 * MIB);
        let refusals: Vec<_> = (0..10_000).map_while(|_| budget.refuse().ok()).collect();
        assert_eq!(refusals.len(), 2 * MIB / REFUSAL_BYTES);
        assert!(budget.enter().is_ok());
    }
}
