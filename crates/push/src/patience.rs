//! How long an endpoint is left alone that fails whatever it is sent.

use std::time::Duration;

use calldata_core::Timestamp;

/// So many failures in a row are a coincidence.
const COINCIDENCE: u32 = 8;
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_mins(1);

/// What an endpoint was like of late. Each delivery has its own retries; this keeps the gateway from sending all of them, one after
/// the other, to where nobody answers, while other endpoints wait for their turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    failures: u32,
    rests_until: Option<Timestamp>,
    is_slow: bool,
}

impl Patience {
    pub(crate) fn took_one(&mut self) {
        *self = Self::default();
    }

    /// It kept a delivery waiting.
    pub(crate) fn was_slow(&mut self) {
        self.is_slow = true;
    }

    /// Whether it kept a delivery waiting, and has taken none quickly since.
    pub(crate) fn is_slow(&self) -> bool {
        self.is_slow
    }

    pub(crate) fn failed(&mut self, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        if let Some(more) = self.failures.checked_sub(COINCIDENCE) {
            let rest = FIRST_REST.saturating_mul(1_u32.checked_shl(more).unwrap_or(u32::MAX)).min(LONGEST_REST);
            self.rests_until = Some(now.plus(rest));
        }
    }

    /// Whether it is left alone at present.
    pub(crate) fn rests(&self, now: Timestamp) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }

    /// How many deliveries it is sent at a time: one, where the last ones failed.
    pub(crate) fn at_a_time(&self, usual: usize) -> usize {
        if self.failures >= COINCIDENCE { 1 } else { usual }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_fails_again_and_again_is_left_alone_for_longer_and_longer() {
        let now = Timestamp::EARLIEST;
        let mut patience = Patience::default();
        for _ in 1..COINCIDENCE {
            patience.failed(now);
        }
        assert!(!patience.rests(now));
        assert_eq!(patience.at_a_time(4), 4);
        for rest_s in [1, 2, 4, 8, 16, 32, 60, 60] {
            patience.failed(now);
            assert!(patience.rests(now.plus(Duration::from_millis(rest_s * 1_000 - 1))), "{rest_s}");
            assert!(!patience.rests(now.plus(Duration::from_secs(rest_s))), "{rest_s}");
            assert_eq!(patience.at_a_time(4), 1);
        }
        for _ in 0..100 {
            patience.failed(now);
        }
        assert!(!patience.rests(now.plus(LONGEST_REST)));
        patience.was_slow();
        patience.failed(now);
        assert!(patience.is_slow());
        patience.took_one();
        assert!(!patience.rests(now) && !patience.is_slow());
        assert_eq!(patience.at_a_time(4), 4);
    }
}
