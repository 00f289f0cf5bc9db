//! Where "now" comes from.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::Timestamp;

/// Tells the time. Everything that asks for "now" asks here, so that tests can move it.
pub trait Clock: Send + Sync + 'static {
    /// The present moment; never earlier than what this clock has told before.
    fn now(&self) -> Timestamp;

    /// How long this clock has run, whatever the wall clock showed meanwhile: for spans that no step of the wall clock may stretch or cut.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock, held still while the machine steps back.
#[derive(Debug)]
pub struct SystemClock {
    latest_ms: AtomicI64,
    began: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { latest_ms: AtomicI64::new(i64::MIN), began: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
        let read = OffsetDateTime::now_utc().unix_timestamp_nanos().div_euclid(1_000_000);
        let read_ms = i64::try_from(read).unwrap_or(i64::MAX);
        Timestamp::clamped(self.latest_ms.fetch_max(read_ms, Ordering::AcqRel).max(read_ms))
    }

    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }
}

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
    fn the_system_clock_never_goes_back() {
        let clock = SystemClock::default();
        let first = clock.now();
        assert!(first.epoch_ms() > 1_600_000_000_000);
        clock.latest_ms.store(first.epoch_ms() + 60_000, Ordering::Release);
        assert_eq!(clock.now(), first.plus(Duration::from_secs(60)));
    }

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
