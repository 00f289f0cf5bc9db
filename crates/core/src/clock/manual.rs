//! A clock for tests.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use super::Clock;
use crate::Timestamp;

/// A clock that moves when it is told to.
#[derive(Debug)]
pub struct ManualClock {
    shown_ms: AtomicI64,
    passed_ms: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn at(start: Timestamp) -> Self {
        Self { shown_ms: AtomicI64::new(start.epoch_ms()), passed_ms: AtomicU64::new(0) }
    }

    /// Lets time pass.
    pub fn advance(&self, span: Duration) {
        let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.shown_ms.fetch_add(i64::try_from(span_ms).unwrap_or(i64::MAX), Ordering::AcqRel);
        self.passed_ms.fetch_add(span_ms, Ordering::AcqRel);
    }

    /// Shows another moment, be it an earlier one. No time passes.
    pub fn set(&self, moment: Timestamp) {
        self.shown_ms.store(moment.epoch_ms(), Ordering::Release);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::clamped(self.shown_ms.load(Ordering::Acquire))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.passed_ms.load(Ordering::Acquire))
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
        assert_eq!(clock.monotonic(), Duration::from_millis(500), "a step of the wall clock is no time that passed");
    }
}
