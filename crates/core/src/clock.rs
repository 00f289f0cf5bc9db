//! Where "now" comes from, and how far it can be believed.

mod manual;
mod sources;
mod system;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::Timestamp;

pub use manual::ManualClock;
pub use sources::{Machine, Sources};
pub use system::{ADOPTION, HIDING_PROOF, SystemClock, TOLERANCE};

/// Tells the time. Everything that asks for "now" asks here, so that tests can move it.
///
/// A machine's clock can be wrong, and nobody is told. So there are bounds besides [`Clock::now`]: what would be lost by a clock that is
/// ahead is decided by a bound that is not later, and what would be lost by a clock that is behind by one that is not earlier. A clock
/// that is never wrong shows the same moment for all of them.
pub trait Clock: Send + Sync + 'static {
    /// The present moment. It goes back only where the machine's clock has been set back by more than [`TOLERANCE`] and kept to it.
    fn now(&self) -> Timestamp;

    /// How long this clock has run, whatever the wall clock showed meanwhile: for spans that no step of the wall clock may stretch or cut.
    fn monotonic(&self) -> Duration;

    /// The earliest moment that it can be: what has expired by then is hidden. Never later than [`Clock::now`].
    fn earliest(&self) -> Timestamp {
        self.now()
    }

    /// The latest moment that it can be: sessions are received then, for one whose receipt is too early would expire too early. Never
    /// earlier than [`Clock::now`].
    fn latest(&self) -> Timestamp {
        self.now()
    }

    /// The moment up to which time has proven itself: what has expired by then may be deleted. Never later than [`Clock::earliest`], nor
    /// than what the machine's clock shows while this is asked.
    fn proven(&self) -> Timestamp {
        self.now()
    }

    /// What there is to say of the clock.
    fn standing(&self) -> Standing {
        Standing::default()
    }

    /// Learns what is known from before this process began, by what it has not seen itself; once, before anything else.
    fn begin(&self, _witness: Witness) {}

    /// Learns what others know of the time by now.
    fn hear(&self, _witness: Witness) {}

    /// What is to be kept for the next process: proven time, be it ahead of what the machine's clock shows. `None` where nothing is.
    fn mark(&self) -> Option<Timestamp> {
        None
    }
}

/// What is known of the time besides this machine's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    /// Up to when time was proven when this was last written down, by this or another process.
    pub mark: Option<Timestamp>,
    /// What the clock of the database server shows; `None` where there is none.
    pub server: Option<Timestamp>,
}

/// How a clock differs from the time that has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// By how many milliseconds the machine's clock is ahead of [`Clock::now`]; less than zero where it is behind.
    pub ahead_ms: i64,
    /// By how many milliseconds [`Clock::now`] is ahead of [`Clock::proven`].
    pub unproven_ms: i64,
}
