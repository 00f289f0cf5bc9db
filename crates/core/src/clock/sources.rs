//! What a machine has to tell the time by.

use time::OffsetDateTime;

/// Two sources of time: one that says what time it is and may be set, and one that only says how much time has passed.
pub trait Sources: Send + Sync + 'static {
    /// Microseconds since 1970, as the machine's clock shows them.
    fn wall_us(&self) -> i64;

    /// Microseconds since some moment. They never go back, and go on while the machine sleeps.
    fn monotonic_us(&self) -> i64;
}

/// The clocks of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine;

impl Sources for Machine {
    fn wall_us(&self) -> i64 {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
        let read = OffsetDateTime::now_utc().unix_timestamp_nanos().div_euclid(1_000);
        i64::try_from(read).unwrap_or(i64::MAX)
    }

    #[cfg(target_os = "linux")]
    fn monotonic_us(&self) -> i64 {
        // Unlike the one behind `Instant`, this one counts the time for which the machine was suspended.
        let read = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        read.tv_sec.saturating_mul(1_000_000).saturating_add(read.tv_nsec / 1_000)
    }

    #[cfg(not(target_os = "linux"))]
    fn monotonic_us(&self) -> i64 {
        use std::sync::OnceLock;
        use std::time::Instant;

        static BEGAN: OnceLock<Instant> = OnceLock::new();
        i64::try_from(BEGAN.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}
