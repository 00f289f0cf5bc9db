//! Slowing down who guesses secrets (OIF-A4): 20 failures within 5 minutes from one source for one tenant lock that pair for 5 minutes.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use calldata_core::{TenantName, Timestamp};
use moka::sync::Cache;

use crate::Source;
use crate::admission::note;

const MAX_FAILURES: usize = 20;
const WINDOW: Duration = Duration::from_secs(300);
const LOCK: Duration = Duration::from_secs(300);
/// Pairs, and secrets that were right, remembered at most; the least used are forgotten first.
const MAX_REMEMBERED: u64 = 100_000;
/// Names longer than any tenant's need not be told apart.
const MAX_NAME_BYTES: usize = 512;
/// How many marks are known to be remembered without asking what remembers them.
const NOTED_LATELY: u64 = 1_024;
const MINUTE: Duration = Duration::from_secs(60);
const MINUTE_MS: i64 = 60_000;

type Pair = (Source, String);

/// Failures by source and tenant. Nothing is asked of the database here, and no secret is compared.
#[derive(Debug)]
pub struct Lockout {
    failures: Cache<Pair, Arc<Mutex<Failures>>>,
    /// Nothing can be locked from here on, in epoch milliseconds: while nobody guesses, nothing has to be looked up.
    free_from_ms: AtomicI64,
    right: Cache<u64, ()>,
    /// The marks that were noted last, each where its own bits say: the cache hears of a client once a minute and not at every request.
    lately: Box<[AtomicU64]>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Failures {
    at: Vec<Timestamp>,
    locked_until: Option<Timestamp>,
}

impl Default for Lockout {
    fn default() -> Self {
        Self {
            failures: Cache::builder().max_capacity(MAX_REMEMBERED).time_to_idle(WINDOW + LOCK).build(),
            free_from_ms: AtomicI64::new(i64::MIN),
            right: Cache::builder().max_capacity(MAX_REMEMBERED).time_to_idle(WINDOW + LOCK + MINUTE).build(),
            lately: (0..NOTED_LATELY).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Lockout {
    /// For how long this source is locked out of this tenant; `None` where it is not.
    pub fn locked_for(&self, source: Source, tenant: TenantName<'_>, now: Timestamp) -> Option<Duration> {
        self.lock_left(source, tenant, now).inspect(|_| refused(tenant))
    }

    /// The same for whoever brings this secret: one that was right from this source a while ago is not locked out by the failures of
    /// others who share its address. It is checked like any other all the same.
    pub fn locked_for_bearer(&self, source: Source, tenant: TenantName<'_>, secret: &str, now: Timestamp) -> Option<Duration> {
        let left = self.lock_left(source, tenant, now).filter(|_| !self.right.contains_key(&self.mark(source, tenant, secret)));
        left.inspect(|_| refused(tenant))
    }

    fn lock_left(&self, source: Source, tenant: TenantName<'_>, now: Timestamp) -> Option<Duration> {
        if now.epoch_ms() >= self.free_from_ms.load(Ordering::Acquire) {
            return None;
        }
        let failures = self.failures.get(&pair(source, tenant))?;
        let failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.locked_until.filter(|until| now < *until).map(|until| until.since(now))
    }

    /// Counts a failure.
    pub fn note_failure(&self, source: Source, tenant: TenantName<'_>, now: Timestamp) {
        let failures = self.failures.get_with(pair(source, tenant), Arc::default);
        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.at.retain(|at| now.since(*at) < WINDOW);
        failures.at.push(now);
        count(tenant, "wrong");
        if failures.at.len() >= MAX_FAILURES {
            // Whose name it was is the client's own word; where it came from is what an operator can act on.
            tracing::warn!(source = %source.0, "locked out after too many wrong secrets");
            failures.at.clear();
            failures.locked_until = Some(now.plus(LOCK));
            self.free_from_ms.fetch_max(now.plus(LOCK).epoch_ms(), Ordering::AcqRel);
        }
    }

    /// Remembers that this secret was right from this source.
    pub fn note_success(&self, source: Source, tenant: TenantName<'_>, secret: &str, now: Timestamp) {
        count(tenant, "right");
        let mark = self.mark(source, tenant, secret);
        let slot = usize::try_from(mark % NOTED_LATELY).ok().and_then(|at| self.lately.get(at));
        let noted = mark.wrapping_add(now.epoch_ms().div_euclid(MINUTE_MS).cast_unsigned());
        if slot.is_some_and(|slot| slot.swap(noted, Ordering::AcqRel) == noted) {
            return;
        }
        if self.right.get(&mark).is_none() {
            self.right.insert(mark, ());
        }
    }

    /// A number that nobody can foresee or turn back; good for telling secrets apart, and for nothing else.
    fn mark(&self, source: Source, tenant: TenantName<'_>, secret: &str) -> u64 {
        self.hasher.hash_one((parts(source, tenant), secret))
    }
}

fn pair(source: Source, tenant: TenantName<'_>) -> Pair {
    let (source, kind, name) = parts(source, tenant);
    (source, std::iter::once(kind).chain(name.chars()).collect())
}

/// What tells pairs apart.
fn parts(source: Source, tenant: TenantName<'_>) -> (Source, char, &str) {
    let (kind, name) = match tenant {
        TenantName::Client(name) => ('c', name),
        TenantName::Oifde(name) => ('o', name),
        TenantName::OfKey => ('k', ""),
    };
    let name = name.get(..name.ceil_char_boundary(MAX_NAME_BYTES)).unwrap_or(name);
    (Source(network(source.0.to_canonical())), kind, name)
}

/// Whoever has one address of IPv6 has all of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

/// Counts what came of a key, a secret or a token.
fn count(tenant: TenantName<'_>, outcome: &'static str) {
    let dialect = match tenant {
        TenantName::Client(_) => "parloa",
        TenantName::Oifde(_) => "oifde",
        TenantName::OfKey => "native",
    };
    metrics::counter!("calldata_authentications_total", "dialect" => dialect, "outcome" => outcome).increment(1);
}

fn refused(tenant: TenantName<'_>) {
    note("lockout");
    count(tenant, "locked out");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const SOURCE: Source = Source(IpAddr::V4(Ipv4Addr::LOCALHOST));
    const T: TenantName<'_> = TenantName::Oifde("t");

    #[test]
    fn oif_a4_twenty_failures_in_five_minutes_lock_the_pair_for_five_minutes() {
        let lockout = Lockout::default();
        let start = Timestamp::clamped(1_000_000);
        for n in 0..19 {
            lockout.note_failure(SOURCE, T, start.plus(Duration::from_secs(n)));
        }
        let now = start.plus(Duration::from_secs(19));
        assert_eq!(lockout.locked_for(SOURCE, T, now), None);
        lockout.note_failure(SOURCE, T, now);
        assert_eq!(lockout.locked_for(SOURCE, T, now), Some(LOCK));
        let mapped = Source(IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()));
        assert!(lockout.locked_for(mapped, T, now).is_some(), "the same source, otherwise written");
        assert_eq!(lockout.locked_for(SOURCE, TenantName::Oifde("u"), now), None, "another tenant");
        assert_eq!(lockout.locked_for(SOURCE, TenantName::Client("t"), now), None, "a name of the other dialect");
        assert_eq!(lockout.locked_for(Source(IpAddr::V6(Ipv6Addr::LOCALHOST)), T, now), None, "another source");
        assert_eq!(lockout.locked_for(SOURCE, T, now.plus(Duration::from_millis(299_999))), Some(Duration::from_millis(1)));
        assert_eq!(lockout.locked_for(SOURCE, T, now.plus(LOCK)), None);
        lockout.note_failure(SOURCE, T, now.plus(LOCK));
        assert_eq!(lockout.locked_for(SOURCE, T, now.plus(LOCK)), None, "counted anew");
    }

    #[test]
    fn oif_a4_failures_spread_wider_than_five_minutes_do_not_lock() {
        let lockout = Lockout::default();
        let mut now = Timestamp::clamped(1_000_000);
        for _ in 0..100 {
            lockout.note_failure(SOURCE, T, now);
            assert_eq!(lockout.locked_for(SOURCE, T, now), None);
            now = now.plus(Duration::from_secs(16));
        }
    }

    #[test]
    fn all_addresses_of_one_ipv6_network_are_one_source() {
        let lockout = Lockout::default();
        let now = Timestamp::clamped(1_000_000);
        let of = |text: &str| Source(text.parse().unwrap());
        (0..20).for_each(|n| lockout.note_failure(of(&format!("2001:db8::{n}")), T, now));
        assert!(lockout.locked_for(of("2001:db8::ffff:1"), T, now).is_some());
        assert_eq!(lockout.locked_for(of("2001:db8:0:1::1"), T, now), None);
    }

    #[test]
    fn a_secret_that_was_right_from_there_is_not_locked_out_by_others() {
        let lockout = Lockout::default();
        let now = Timestamp::clamped(1_000_000);
        lockout.note_success(SOURCE, T, "right", now);
        (0..20).for_each(|_| lockout.note_failure(SOURCE, T, now));
        assert_eq!(lockout.locked_for_bearer(SOURCE, T, "right", now), None);
        assert_eq!(lockout.locked_for_bearer(SOURCE, T, "wrong", now), Some(LOCK));
        let elsewhere = Source(IpAddr::V6(Ipv6Addr::LOCALHOST));
        (0..20).for_each(|_| lockout.note_failure(elsewhere, T, now));
        assert_eq!(lockout.locked_for_bearer(elsewhere, T, "right", now), Some(LOCK), "it was right from another source");
    }
}
