//! One budget of bytes for everything that requests hold in memory: heads, bodies, rows and answers.
//!
//! Counts of requests and connections do not bound memory: one page of large sessions weighs as much as ten thousand small posts. Each
//! request therefore has a [`Charge`] from its head to the last byte of its answer. It begins in the entrance, where requests stay as long as
//! it takes to recognise their client, and moves on to the share of its tenant. A request whose client is not recognised moves to the share
//! of its source as soon as the gateway waits for that client, so the entrance stays free for others. See
//! docs/adr/0030-one-budget-of-bytes.md.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::Extensions;
use calldata_core::TenantId;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::Source;

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
/// The part of the budget for connections.
const CONNECTIONS_PART: usize = 4;
/// The part for requests that are being worked on before their client has authenticated.
const ENTRANCE_PART: usize = 8;
/// The part for what clients hold that have not authenticated: answers that they have not taken, and bodies that they have not sent.
const STRANGERS_PART: usize = 8;
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
    entrance: usize,
    strangers: FairShare<IpAddr>,
    tenants: FairShare<TenantId>,
    waiting: usize,
}

/// Bytes that several holders share.
#[derive(Debug)]
struct FairShare<K> {
    in_all: usize,
    of: HashMap<K, usize>,
}

impl<K> Default for FairShare<K> {
    fn default() -> Self {
        Self { in_all: 0, of: HashMap::new() }
    }
}

/// Why a holder gets no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoShare {
    InAll,
    OfHolder,
}

impl<K: Eq + Hash> FairShare<K> {
    /// With `n` holders, none may hold more than one part in `n + 1` of the limit, so that there is room for one more. A holder of nothing may
    /// always begin where there is room at all.
    fn reserve(&mut self, limit: usize, holder: K, bytes: usize) -> Result<(), NoShare> {
        let held = self.of.get(&holder).copied().unwrap_or(0);
        let holders = self.of.len() + usize::from(held == 0);
        if held > 0 && held + bytes > limit / (holders + 1) {
            return Err(NoShare::OfHolder);
        }
        if self.in_all + bytes > limit {
            return Err(NoShare::InAll);
        }
        self.in_all += bytes;
        self.of.insert(holder, held + bytes);
        Ok(())
    }

    fn release(&mut self, holder: K, bytes: usize) {
        self.in_all = self.in_all.saturating_sub(bytes);
        let left = self.of.get(&holder).map_or(0, |held| held.saturating_sub(bytes));
        if left == 0 {
            self.of.remove(&holder);
        } else {
            self.of.insert(holder, left);
        }
    }
}

/// Whose share a charge is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// Of a client from this address, which is being recognised.
    Entrance(IpAddr),
    Stranger(IpAddr),
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

    /// Charges a request from this source whose client is not recognised yet.
    ///
    /// # Errors
    /// When too many are being recognised.
    pub fn enter(&self, source: Source) -> Result<Charge, OverBudget> {
        self.charge(Share::Entrance(source.network()), REQUEST_BYTES)
    }

    /// Charges a request from this source that is answered with a refusal and nothing else.
    ///
    /// # Errors
    /// When there is not even memory for that.
    pub fn refuse(&self, source: Source) -> Result<Charge, OverBudget> {
        self.charge(Share::Stranger(source.network()), REQUEST_BYTES)
    }

    fn charge(&self, share: Share, bytes: usize) -> Result<Charge, OverBudget> {
        self.0.used().reserve(self.0.bytes, share, bytes)?;
        let held = Mutex::new(Held { share, bytes });
        Ok(Charge(Arc::new(Account { ledger: Arc::clone(&self.0), held })))
    }

    /// Writes down for the metrics how much is in use.
    pub fn report(&self) {
        let (entrance, strangers, tenants) = {
            let used = self.0.used();
            (used.entrance, used.strangers.in_all, used.tenants.in_all)
        };
        for (share, bytes) in [("entrance", entrance), ("strangers", strangers), ("tenants", tenants)] {
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
    fn reserve(&mut self, budget: usize, share: Share, bytes: usize) -> Result<(), OverBudget> {
        let (entrance, strangers) = (budget / ENTRANCE_PART, budget / STRANGERS_PART);
        match share {
            Share::Entrance(_) if self.entrance + bytes > entrance => Err(OverBudget::Process),
            Share::Entrance(_) => {
                self.entrance += bytes;
                Ok(())
            }
            Share::Stranger(source) => self.strangers.reserve(strangers, source, bytes).map_err(|_| OverBudget::Process),
            Share::Tenant(tenant) => {
                let for_tenants = budget - budget / CONNECTIONS_PART - entrance - strangers;
                self.tenants.reserve(for_tenants, tenant, bytes).map_err(|refused| match refused {
                    NoShare::InAll => OverBudget::Process,
                    NoShare::OfHolder => OverBudget::Tenant,
                })
            }
        }
    }

    fn release(&mut self, share: Share, bytes: usize) {
        match share {
            Share::Entrance(_) => self.entrance = self.entrance.saturating_sub(bytes),
            Share::Stranger(source) => self.strangers.release(source, bytes),
            Share::Tenant(tenant) => self.tenants.release(tenant, bytes),
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
    /// Moves the charge to the share of its tenant; a second time changes nothing.
    ///
    /// # Errors
    /// When the tenant has no room for it.
    pub fn assign(&self, tenant: TenantId) -> Result<(), OverBudget> {
        let mut held = self.held();
        match held.share {
            Share::Tenant(_) => Ok(()),
            Share::Entrance(_) | Share::Stranger(_) => self.move_to(&mut held, Share::Tenant(tenant)),
        }
    }

    /// Frees the entrance: from now on the gateway waits for a client that is not recognised, to send something or to take its answer.
    /// Changes nothing once the charge has moved on.
    ///
    /// # Errors
    /// When clients of this source hold all that they may.
    pub fn wait_for_client(&self) -> Result<(), OverBudget> {
        let mut held = self.held();
        match held.share {
            Share::Entrance(source) => self.move_to(&mut held, Share::Stranger(source)),
            Share::Stranger(_) | Share::Tenant(_) => Ok(()),
        }
    }

    fn move_to(&self, held: &mut Held, share: Share) -> Result<(), OverBudget> {
        let mut used = self.0.ledger.used();
        used.reserve(self.0.ledger.bytes, share, held.bytes)?;
        used.release(held.share, held.bytes);
        held.share = share;
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
    use std::net::Ipv4Addr;

    const MIB: usize = 1 << 20;

    fn tenant(number: i64) -> TenantId {
        TenantId::from_number(number)
    }

    fn source(number: u8) -> Source {
        Source(IpAddr::V4(Ipv4Addr::new(192, 0, 2, number)))
    }

    fn of_tenant(budget: &MemoryBudget, number: i64) -> Charge {
        let charge = budget.enter(source(1)).unwrap();
        charge.assign(tenant(number)).unwrap();
        charge
    }

    /// How many MiB a charge can grow by.
    fn grows_by(charge: &Charge) -> usize {
        (0..1_000).take_while(|_| charge.reserve(MIB).is_ok()).count()
    }

    #[test]
    fn clients_that_are_waited_for_leave_the_entrance_and_one_source_holds_half_of_their_share() {
        let budget = MemoryBudget::new(64 * MIB);
        let waits = |number| budget.enter(source(number)).and_then(|charge| charge.wait_for_client().map(|()| charge)).ok();
        let first: Vec<_> = (0..10_000).map_while(|_| waits(1)).collect();
        assert_eq!(first.len(), 4 * MIB / REQUEST_BYTES, "half of an eighth");
        let second: Vec<_> = (0..10_000).map_while(|_| waits(2)).collect();
        assert_eq!(second.len(), 8 * MIB / 3 / REQUEST_BYTES, "a third");
        assert!(budget.refuse(source(1)).is_err() && budget.refuse(source(3)).is_ok());
        let known = of_tenant(&budget, 1);
        assert!(known.reserve(MIB).is_ok(), "tenants feel nothing of it");
        assert_eq!(budget.0.used().entrance, 0);
        first.first().unwrap().assign(tenant(1)).unwrap();
        assert!(waits(1).is_none() && budget.0.used().strangers.in_all < 8 * MIB);
    }

    #[test]
    fn the_entrance_is_an_eighth() {
        let budget = MemoryBudget::new(64 * MIB);
        let entering: Vec<_> = (0..10_000).map_while(|_| budget.enter(source(1)).ok()).collect();
        assert_eq!(entering.len(), 8 * MIB / REQUEST_BYTES);
        assert_eq!(budget.enter(source(2)).unwrap_err(), OverBudget::Process);
        entering.first().unwrap().assign(tenant(1)).unwrap();
        assert!(budget.enter(source(2)).is_ok());
    }

    #[test]
    fn no_tenant_takes_what_another_needs_to_begin() {
        let budget = MemoryBudget::new(64 * MIB);
        // 64 MiB less a quarter and two eighths: 32 MiB for tenants.
        let first = of_tenant(&budget, 1);
        assert_eq!(grows_by(&first), 15, "half");
        let second = of_tenant(&budget, 2);
        assert_eq!(grows_by(&second), 10, "a third");
        let third = of_tenant(&budget, 3);
        assert!(third.reserve(MIB).is_ok());
        assert_eq!(first.reserve(MIB), Err(OverBudget::Tenant));
        drop((second, third));
        drop(first);
        assert_eq!(grows_by(&of_tenant(&budget, 2)), 15, "all of it was given back");
        assert_eq!(budget.0.used().tenants.in_all, 0);
    }

    #[test]
    fn a_charge_ends_with_its_last_clone_and_can_shrink() {
        let budget = MemoryBudget::new(64 * MIB);
        let charge = of_tenant(&budget, 1);
        charge.reserve(10 * MIB).unwrap();
        charge.release(4 * MIB);
        assert_eq!(budget.0.used().tenants.in_all, 6 * MIB + REQUEST_BYTES);
        charge.release(100 * MIB);
        assert_eq!(budget.0.used().tenants.in_all, 0, "never more than is held");
        let clone = charge.clone();
        clone.reserve(MIB).unwrap();
        drop(charge);
        assert_eq!(budget.0.used().tenants.in_all, MIB);
        drop(clone);
        assert!(budget.0.used().tenants.of.is_empty());
    }

    #[tokio::test]
    async fn a_request_waits_for_memory_until_another_gives_some_back_and_not_for_ever() {
        let budget = MemoryBudget::new(64 * MIB);
        let holder = of_tenant(&budget, 1);
        holder.reserve(15 * MIB).unwrap();
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
}
