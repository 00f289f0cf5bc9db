//! Who is let in when there is too much to do: refused fast, and so that no tenant takes the room of the others.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::http::Extensions;
use calldata_core::TenantId;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::memory_budget::{Charge, OverBudget, RequestMemory};

/// GETs that wait for a record may be this many times as many: they cost a place in memory and nothing else (PAR-G11).
const WAITING_FACTOR: usize = 16;

/// As many may be in before it is known whose they are: a tenant that floods is then told that it does, and not that all is full.
const ENTRANCE_FACTOR: usize = 2;

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The gateway has too much to do.
    #[error("too many requests are under way")]
    Full,
    /// The tenant has had its share; others are not concerned.
    #[error("the tenant sends too many requests")]
    TooMany {
        /// When to come again.
        retry_after: Duration,
    },
}

impl From<OverBudget> for Refusal {
    fn from(over: OverBudget) -> Self {
        note("memory");
        match over {
            OverBudget::Process => Self::Full,
            OverBudget::Tenant => Self::TooMany { retry_after: Duration::from_secs(1) },
        }
    }
}

/// What a request is about to do, for that decides how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// Its work, and go.
    Working,
    /// Waiting for a record that has not arrived.
    Waiting,
}

/// Counts requests under way, in all and by tenant. Only tenants that proved who they are get an entry anywhere.
pub struct Admission {
    working: Arc<Seats>,
    waiting: Arc<Seats>,
    rates: Option<DefaultKeyedRateLimiter<TenantId>>,
}

impl Admission {
    /// Lets `requests` be under way at a time, and `tenant_rate` begin each second for each tenant; without a rate, as many as come.
    pub fn new(requests: usize, tenant_rate: Option<NonZeroU32>) -> Self {
        let seats = |all| Arc::new(Seats { all, taken: Mutex::default() });
        Self {
            working: seats(requests),
            waiting: seats(requests.saturating_mul(WAITING_FACTOR)),
            rates: tenant_rate.map(|rate| RateLimiter::keyed(Quota::per_second(rate))),
        }
    }

    /// Lets a request in before it is known whose it is; `extensions` are those of the request.
    ///
    /// # Errors
    /// When too many are under way, or there is no memory for it.
    pub fn enter(&self, stay: Stay, extensions: &Extensions) -> Result<Seat, Refusal> {
        let charge = RequestMemory::of(extensions)?;
        Seats::enter(self.seats(stay), charge)
    }

    /// Counts a request to its tenant. With `n` tenants at work, none may have more than one part in `n + 1` of all that may be under
    /// way: there is always room for one more.
    ///
    /// # Errors
    /// When the tenant has had its share, or its rate.
    pub fn admit(&self, seat: &Seat, tenant: TenantId) -> Result<(), Refusal> {
        if let Some(rates) = &self.rates {
            rates.check_key(&tenant).map_err(|until| {
                note("rate");
                let retry_after = until.wait_time_from(DefaultClock::default().now());
                Refusal::TooMany { retry_after }
            })?;
        }
        seat.admit(tenant)?;
        if let Some(charge) = seat.charge() {
            charge.assign(tenant)?;
        }
        Ok(())
    }

    fn seats(&self, stay: Stay) -> &Arc<Seats> {
        match stay {
            Stay::Working => &self.working,
            Stay::Waiting => &self.waiting,
        }
    }
}

#[derive(Debug)]
struct Seats {
    all: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    in_all: usize,
    of: HashMap<TenantId, usize>,
}

impl Taken {
    fn take(&mut self, all: usize) -> Result<(), Refusal> {
        if self.in_all >= all.saturating_mul(ENTRANCE_FACTOR) {
            note("full");
            return Err(Refusal::Full);
        }
        self.in_all += 1;
        Ok(())
    }
}

impl Seats {
    fn enter(seats: &Arc<Self>, charge: Option<Charge>) -> Result<Seat, Refusal> {
        seats.lock().take(seats.all)?;
        Ok(Seat(Arc::new(Taker { seats: Arc::clone(seats), tenant: OnceLock::new(), left: AtomicBool::new(false), charge })))
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a refusal.
pub(crate) fn note(reason: &'static str) {
    metrics::counter!("calldata_requests_refused_total", "reason" => reason).increment(1);
}

/// A request under way; it counts until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Seat(Arc<Taker>);

#[derive(Debug)]
struct Taker {
    seats: Arc<Seats>,
    tenant: OnceLock<TenantId>,
    charge: Option<Charge>,
    /// The request does not count at present; changed under the lock only.
    left: AtomicBool,
}

impl Seat {
    /// The memory that the request is charged for; none where no server stands in front.
    pub fn charge(&self) -> Option<&Charge> {
        self.0.charge.as_ref()
    }

    /// Charges the request for further bytes that it is about to hold; waits a moment for them.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub async fn reserve(&self, bytes: usize) -> Result<(), Refusal> {
        match self.charge() {
            Some(charge) => Ok(charge.reserve_soon(bytes).await?),
            None => Ok(()),
        }
    }

    /// Gives the room back while the request waits for something that others need not wait for. To be used before the request is admitted.
    pub(crate) fn leave(&self) {
        let mut taken = self.0.seats.lock();
        if !self.0.left.swap(true, Ordering::AcqRel) {
            taken.in_all = taken.in_all.saturating_sub(1);
        }
    }

    /// Takes room again, as when it entered.
    pub(crate) fn come_back(&self) -> Result<(), Refusal> {
        let seats = &self.0.seats;
        let mut taken = seats.lock();
        if !self.0.left.load(Ordering::Acquire) {
            return Ok(());
        }
        taken.take(seats.all)?;
        self.0.left.store(false, Ordering::Release);
        Ok(())
    }

    fn admit(&self, tenant: TenantId) -> Result<(), Refusal> {
        let mut taken = self.0.seats.lock();
        if self.0.tenant.get().is_some() {
            return Ok(());
        }
        let held = taken.of.get(&tenant).copied().unwrap_or(0);
        let tenants = taken.of.len() + usize::from(held == 0);
        if held > 0 && held >= self.0.seats.all / (tenants + 1) {
            note("share");
            return Err(Refusal::TooMany { retry_after: Duration::from_secs(1) });
        }
        taken.of.insert(tenant, held + 1);
        // Nobody else sets it while the lock is held.
        let _ = self.0.tenant.set(tenant);
        Ok(())
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        if !self.left.load(Ordering::Acquire) {
            taken.in_all = taken.in_all.saturating_sub(1);
        }
        let Some(tenant) = self.tenant.get() else { return };
        let left = taken.of.get(tenant).map_or(0, |held| held - 1);
        if left == 0 {
            taken.of.remove(tenant);
        } else {
            taken.of.insert(*tenant, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(number: i64) -> TenantId {
        TenantId::from_number(number)
    }

    fn admitted(admission: &Admission, number: i64) -> Result<Seat, Refusal> {
        let seat = admission.enter(Stay::Working, &Extensions::new())?;
        admission.admit(&seat, tenant(number)).map(|()| seat)
    }

    #[test]
    fn no_tenant_takes_all_the_room() {
        let admission = Admission::new(12, None);
        let first: Vec<_> = (0..20).map_while(|_| admitted(&admission, 1).ok()).collect();
        assert_eq!(first.len(), 6);
        let second: Vec<_> = (0..20).map_while(|_| admitted(&admission, 2).ok()).collect();
        assert_eq!(second.len(), 4);
        let third = admitted(&admission, 3).unwrap();
        assert!(matches!(admitted(&admission, 1), Err(Refusal::TooMany { .. })));
        drop((second, third));
        drop(first);
        assert_eq!((0..20).map_while(|_| admitted(&admission, 2).ok()).collect::<Vec<_>>().len(), 6, "all seats are free again");
    }

    #[test]
    fn beyond_the_bound_nobody_is_let_in_and_who_waits_counts_apart() {
        let admission = Admission::new(2, None);
        let inside: Vec<_> = (0..4).map(|_| admission.enter(Stay::Working, &Extensions::new()).unwrap()).collect();
        assert_eq!(admission.enter(Stay::Working, &Extensions::new()).unwrap_err(), Refusal::Full);
        assert!(admission.enter(Stay::Waiting, &Extensions::new()).is_ok());
        drop(inside);
        assert!(admission.enter(Stay::Working, &Extensions::new()).is_ok());
    }

    #[test]
    fn who_leaves_for_a_while_takes_no_room_and_comes_back_only_where_there_is_some() {
        let admission = Admission::new(1, None);
        let (first, second) =
            (admission.enter(Stay::Working, &Extensions::new()).unwrap(), admission.enter(Stay::Working, &Extensions::new()).unwrap());
        first.leave();
        first.leave();
        let third = admission.enter(Stay::Working, &Extensions::new()).unwrap();
        assert_eq!(admission.enter(Stay::Working, &Extensions::new()).unwrap_err(), Refusal::Full, "one has left, and not two");
        assert_eq!(first.come_back(), Err(Refusal::Full));
        drop(first);
        assert_eq!(admission.enter(Stay::Working, &Extensions::new()).unwrap_err(), Refusal::Full, "who has left gives nothing back");
        third.leave();
        assert_eq!((third.come_back(), third.come_back()), (Ok(()), Ok(())));
        assert_eq!(admission.enter(Stay::Working, &Extensions::new()).unwrap_err(), Refusal::Full);
        drop((second, third));
        let all: Vec<_> = (0..3).map_while(|_| admission.enter(Stay::Working, &Extensions::new()).ok()).collect();
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn a_rate_holds_for_each_tenant_by_itself() {
        let admission = Admission::new(100, NonZeroU32::new(3));
        for _ in 0..3 {
            admitted(&admission, 1).unwrap();
        }
        let Err(Refusal::TooMany { retry_after }) = admitted(&admission, 1) else { unreachable!("the fourth within a second is too many") };
        assert!(retry_after <= Duration::from_secs(1), "{retry_after:?}");
        admitted(&admission, 2).unwrap();
    }
}
