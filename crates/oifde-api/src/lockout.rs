//! Slowing down who guesses secrets (OIF-A4): 20 failures within 5 minutes from one source for one tenant lock that pair for 5 minutes.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use calldata_core::Timestamp;
use moka::sync::Cache;
use std::sync::Arc;

const MAX_FAILURES: usize = 20;
const WINDOW: Duration = Duration::from_secs(300);
const LOCK: Duration = Duration::from_secs(300);
/// Pairs remembered at most; the least used are forgotten first.
const MAX_PAIRS: u64 = 100_000;
/// Names longer than any tenant's need not be told apart.
const MAX_NAME_BYTES: usize = 512;

type Pair = (IpAddr, String);

/// Failures by source and tenant.
#[derive(Debug)]
pub(crate) struct Lockout(Cache<Pair, Arc<Mutex<Failures>>>);

#[derive(Debug, Default)]
struct Failures {
    at: Vec<Timestamp>,
    locked_until: Option<Timestamp>,
}

impl Default for Lockout {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MAX_PAIRS).time_to_idle(WINDOW + LOCK).build())
    }
}

impl Lockout {
    /// Whether this source is locked out of this tenant.
    pub(crate) fn is_locked(&self, source: IpAddr, tenant: &str, now: Timestamp) -> bool {
        let Some(failures) = self.0.get(&pair(source, tenant)) else { return false };
        let failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.locked_until.is_some_and(|until| now < until)
    }

    /// Counts a failure.
    pub(crate) fn note_failure(&self, source: IpAddr, tenant: &str, now: Timestamp) {
        let failures = self.0.get_with(pair(source, tenant), Arc::default);
        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.at.retain(|at| now.since(*at) < WINDOW);
        failures.at.push(now);
        if failures.at.len() >= MAX_FAILURES {
            failures.at.clear();
            failures.locked_until = Some(now.plus(LOCK));
        }
    }
}

fn pair(source: IpAddr, tenant: &str) -> Pair {
    let name = tenant.char_indices().take_while(|(at, _)| *at < MAX_NAME_BYTES).map(|(_, c)| c).collect();
    (source.to_canonical(), name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn oif_a4_twenty_failures_in_five_minutes_lock_the_pair_for_five_minutes() {
        let lockout = Lockout::default();
        let start = Timestamp::clamped(1_000_000);
        for n in 0..19 {
            lockout.note_failure(SOURCE, "t", start.plus(Duration::from_secs(n)));
        }
        let now = start.plus(Duration::from_secs(19));
        assert!(!lockout.is_locked(SOURCE, "t", now));
        lockout.note_failure(SOURCE, "t", now);
        assert!(lockout.is_locked(SOURCE, "t", now));
        assert!(lockout.is_locked(IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()), "t", now), "the same source, otherwise written");
        assert!(!lockout.is_locked(SOURCE, "u", now), "another tenant");
        assert!(!lockout.is_locked(IpAddr::V6(Ipv6Addr::LOCALHOST), "t", now), "another source");
        assert!(lockout.is_locked(SOURCE, "t", now.plus(Duration::from_millis(299_999))));
        assert!(!lockout.is_locked(SOURCE, "t", now.plus(LOCK)));
        lockout.note_failure(SOURCE, "t", now.plus(LOCK));
        assert!(!lockout.is_locked(SOURCE, "t", now.plus(LOCK)), "counted anew");
    }

    #[test]
    fn oif_a4_failures_spread_wider_than_five_minutes_do_not_lock() {
        let lockout = Lockout::default();
        let mut now = Timestamp::clamped(1_000_000);
        for _ in 0..100 {
            lockout.note_failure(SOURCE, "t", now);
            assert!(!lockout.is_locked(SOURCE, "t", now));
            now = now.plus(Duration::from_secs(16));
        }
    }
}
