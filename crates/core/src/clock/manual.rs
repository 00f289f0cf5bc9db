//! A clock for tests.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::Clock;
use crate::Timestamp;

/// A clock that moves when it is told to.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn at(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.epoch_ms()))
    }

    /// Lets time pass.
    pub fn advance(&self, span: Duration) {
        let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        self.0.fetch_add(span_ms, Ordering::AcqRel);
    }

    /// Shows another moment, be it an earlier one.
    pub fn set(&self, moment: Timestamp) {
        self.0.store(moment.epoch_ms(), Ordering::Release);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::clamped(self.0.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_by_what_it_is_told() {
        let clock = ManualClock::at(Timestamp::clamped(1_000));
        clock.advance(Duration::from_millis(500));
        assert_eq!(clock.now(), Timestamp::clamped(1_500));
        clock.set(Timestamp::clamped(7));
        assert_eq!(clock.now(), Timestamp::clamped(7));
    }
}
