//! The machine's clock, followed with care.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use super::{Clock, Machine, Sources, Standing, Witness};
use crate::Timestamp;

/// A difference up to this is no leap: time runs a little faster or slower until it is gone.
pub const TOLERANCE: Duration = Duration::from_secs(2);
/// For how long the machine's clock must have kept to another time before that is adopted, forward or back.
pub const ADOPTION: Duration = Duration::from_secs(30);
/// For how long a time that leapt ahead must have lasted before anything is hidden by it.
pub const HIDING_PROOF: Duration = Duration::from_hours(1);

const TOLERANCE_US: i64 = us(TOLERANCE);
const ADOPTION_US: i64 = us(ADOPTION);
const HIDING_PROOF_US: i64 = us(HIDING_PROOF);
/// How often the machine's clock is compared with the time that has passed.
const LOOK_INTERVAL_US: i64 = us(Duration::from_millis(250));
/// A clock that nobody has looked at for longer than this was not seen to keep to a time meanwhile.
const LONGEST_GAP_US: i64 = us(Duration::from_secs(5));
/// Between two readings of one look the process may have been put aside; then they say nothing.
const LONGEST_LOOK_US: i64 = us(Duration::from_millis(20));
/// A small difference is made up for by a tenth of the time that passes, and by this at most in one look.
const SLEW: i64 = 10;
const LARGEST_SLEW_US: i64 = us(Duration::from_millis(100));
/// A clock may drift by a thousandth, for as long as it likes, and is steady all the same.
const DRIFT: i64 = 1_000;
/// For how long time must have been steady before it is proven: for as long as what it is ahead by, and within these bounds.
const FORWARD_PROOF_US: (i64, i64) = (us(Duration::from_hours(24)), us(Duration::from_hours(7 * 24)));
/// The same where it is behind what was proven before.
const BACKWARD_PROOF_US: (i64, i64) = (us(Duration::from_hours(1)), us(Duration::from_hours(7 * 24)));
/// A start that finds the clock further ahead of the mark than this was a long time down, or has a clock that is wrong.
const LONG_AGO_US: i64 = us(Duration::from_hours(24));
/// Receipts keep to proven time where the clock is further behind it than this.
const BEHIND_US: i64 = us(Duration::from_mins(1));

const fn us(span: Duration) -> i64 {
    // The longest span here is a week.
    span.as_secs().cast_signed() * 1_000_000 + span.subsec_micros() as i64
}

/// Goes on by the time that passes, and follows the machine's clock once that has kept to what it shows.
///
/// All times are offsets from the monotonic source, so that reading is one call and one addition, and nothing moves when the machine's
/// clock does. See ADR 0024.
#[derive(Debug)]
pub struct SystemClock<S = Machine> {
    sources: S,
    /// From the monotonic source to [`Clock::now`].
    offset_us: AtomicI64,
    /// By how much [`Clock::earliest`] is behind [`Clock::now`].
    hiding_lag_us: AtomicI64,
    /// From the monotonic source to proven time.
    proven_us: AtomicI64,
    /// From the monotonic source to the latest moment that the database's server vouches for.
    limit_us: AtomicI64,
    /// The latest moment that was told, so that time stands still for a small step back rather than going back.
    told_us: AtomicI64,
    /// When the machine's clock was last looked at.
    looked_at_us: AtomicI64,
    watch: Mutex<Watch>,
}

/// What was seen of the machine's clock.
#[derive(Debug)]
struct Watch {
    /// It shows another time than passes.
    leap: Option<Leap>,
    /// The last look that said anything.
    looked_at_us: i64,
    /// Since when [`Clock::earliest`] is behind by what it is.
    hiding_since_us: i64,
    /// Since when there was no leap.
    steady_since_us: i64,
    /// By how much small differences have been made up for since.
    moved_us: i64,
}

/// A clock that has leapt, and whether it keeps to that.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_field_names, reason = "each is in microseconds, and says so")]
struct Leap {
    offset_us: i64,
    since_us: i64,
    seen_us: i64,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::of(Machine)
    }
}

impl<S: Sources> SystemClock<S> {
    /// A clock that begins with what the machine's shows, of these sources.
    pub fn of(sources: S) -> Self {
        let (at, wall) = (sources.monotonic_us(), sources.wall_us());
        let offset = wall.saturating_sub(at);
        let watch = Watch { leap: None, looked_at_us: at, hiding_since_us: at, steady_since_us: at, moved_us: 0 };
        Self {
            sources,
            offset_us: AtomicI64::new(offset),
            hiding_lag_us: AtomicI64::new(0),
            proven_us: AtomicI64::new(offset),
            limit_us: AtomicI64::new(i64::MAX),
            told_us: AtomicI64::new(wall),
            looked_at_us: AtomicI64::new(at),
            watch: Mutex::new(watch),
        }
    }

    /// What it reads time from.
    pub fn sources(&self) -> &S {
        &self.sources
    }

    /// Now, and the monotonic reading that it is of.
    fn read(&self) -> (i64, i64) {
        let at = self.sources.monotonic_us();
        if at.saturating_sub(self.looked_at_us.load(Ordering::Relaxed)) >= LOOK_INTERVAL_US {
            self.look();
        }
        let now = at.saturating_add(self.offset_us.load(Ordering::Acquire));
        let told = self.told_us.load(Ordering::Acquire);
        if now > told {
            return (self.told_us.fetch_max(now, Ordering::AcqRel).max(now), at);
        }
        if told - now <= TOLERANCE_US {
            return (told, at);
        }
        // Told by somebody who had not heard of a step back yet.
        let _ = self.told_us.compare_exchange(told, now, Ordering::AcqRel, Ordering::Relaxed);
        (now, at)
    }

    /// Proven time at a monotonic reading.
    fn proven_at(&self, at: i64) -> i64 {
        let proven = self.proven_us.load(Ordering::Acquire).min(self.limit_us.load(Ordering::Acquire));
        at.saturating_add(proven)
    }

    fn earliest_us(&self) -> (i64, i64) {
        let (now, at) = self.read();
        let lag = self.hiding_lag_us.load(Ordering::Acquire);
        // What is proven needs no other proof.
        let earliest = if lag == 0 { now } else { now.min((now - lag).max(self.proven_at(at))) };
        (earliest, at)
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares the machine's clock with the time that has passed. Where somebody else is at it, that is enough.
    fn look(&self) {
        let mut watch = match self.watch.try_lock() {
            Ok(watch) => watch,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let before = self.sources.monotonic_us();
        let wall = self.sources.wall_us();
        let at = self.sources.monotonic_us();
        if at - before > LONGEST_LOOK_US {
            return;
        }
        self.looked_at_us.store(at, Ordering::Relaxed);
        let wall_offset = wall.saturating_sub(before + (at - before) / 2);
        self.follow(&mut watch, at, wall_offset);
        watch.looked_at_us = at;
        if self.hiding_lag_us.load(Ordering::Acquire) > 0 && at - watch.hiding_since_us >= HIDING_PROOF_US {
            self.hiding_lag_us.store(0, Ordering::Release);
        }
        self.prove(&mut watch, at);
    }

    fn follow(&self, watch: &mut Watch, at: i64, wall_offset: i64) {
        let offset = self.offset_us.load(Ordering::Acquire);
        let ahead = wall_offset.saturating_sub(offset);
        if ahead.abs() <= TOLERANCE_US {
            if watch.leap.take().is_some() {
                tracing::warn!("the machine's clock shows the time again that has passed");
                watch.begin_steady(at);
            }
            let most = ((at - watch.looked_at_us) / SLEW).clamp(0, LARGEST_SLEW_US);
            let step = ahead.clamp(-most, most);
            self.offset_us.store(offset + step, Ordering::Release);
            watch.moved_us += step.abs();
            return;
        }
        watch.begin_steady(at);
        match &mut watch.leap {
            Some(leap) if (wall_offset - leap.offset_us).abs() <= TOLERANCE_US && at - leap.seen_us <= LONGEST_GAP_US => {
                leap.seen_us = at;
                if at - leap.since_us >= ADOPTION_US {
                    watch.leap = None;
                    self.adopt(watch, at, wall_offset, ahead);
                }
            }
            leap => {
                if leap.is_none() {
                    tracing::warn!(
                        ahead_s = ahead / 1_000_000,
                        "the machine's clock leapt; time goes on without it until it keeps to that"
                    );
                }
                *leap = Some(Leap { offset_us: wall_offset, since_us: at, seen_us: at });
            }
        }
    }

    fn adopt(&self, watch: &mut Watch, at: i64, wall_offset: i64, ahead: i64) {
        tracing::warn!(ahead_s = ahead / 1_000_000, "the machine's clock has kept to another time, which is adopted; is it right?");
        let lag = self.hiding_lag_us.load(Ordering::Acquire).saturating_add(ahead).max(0);
        if ahead > 0 {
            // Before time moves, so that nothing is hidden in between.
            watch.hiding_since_us = at;
            self.hiding_lag_us.store(lag, Ordering::Release);
            self.offset_us.store(wall_offset, Ordering::Release);
        } else {
            self.offset_us.store(wall_offset, Ordering::Release);
            self.hiding_lag_us.store(lag, Ordering::Release);
            self.told_us.store(at.saturating_add(wall_offset), Ordering::Release);
        }
    }

    /// Takes the present time for proven once it was steady for long enough.
    fn prove(&self, watch: &mut Watch, at: i64) {
        if watch.moved_us > TOLERANCE_US + (at - watch.steady_since_us) / DRIFT {
            watch.begin_steady(at);
        }
        let offset = self.offset_us.load(Ordering::Acquire);
        let lead = offset.saturating_sub(self.proven_us.load(Ordering::Acquire));
        let (least, most) = if lead > 0 { FORWARD_PROOF_US } else { BACKWARD_PROOF_US };
        if watch.leap.is_none() && lead != 0 && at - watch.steady_since_us >= lead.saturating_abs().clamp(least, most) {
            self.proven_us.store(offset, Ordering::Release);
        }
    }

    fn limit(&self, at: i64, server: Option<Timestamp>) {
        if let Some(server) = server {
            self.limit_us.store(of_timestamp(server).saturating_sub(at).saturating_add(TOLERANCE_US), Ordering::Release);
        }
    }
}

impl Watch {
    fn begin_steady(&mut self, at: i64) {
        self.steady_since_us = at;
        self.moved_us = 0;
    }
}

impl<S: Sources> Clock for SystemClock<S> {
    fn now(&self) -> Timestamp {
        to_timestamp(self.read().0)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.sources.monotonic_us().try_into().unwrap_or_default())
    }

    fn earliest(&self) -> Timestamp {
        to_timestamp(self.earliest_us().0)
    }

    fn latest(&self) -> Timestamp {
        let (now, at) = self.read();
        let proven = self.proven_at(at);
        to_timestamp(if proven - now > BEHIND_US { proven } else { now })
    }

    fn proven(&self) -> Timestamp {
        let (earliest, at) = self.earliest_us();
        to_timestamp(earliest.min(self.proven_at(at)).min(self.sources.wall_us()))
    }

    fn standing(&self) -> Standing {
        let (now, wall) = (self.read().0, self.sources.wall_us());
        let unproven = to_timestamp(now).epoch_ms() - self.proven().epoch_ms();
        Standing { ahead_ms: wall.saturating_sub(now) / 1_000, unproven_ms: unproven }
    }

    fn begin(&self, witness: Witness) {
        let mut watch = self.watch();
        let (at, wall) = (self.sources.monotonic_us(), self.sources.wall_us());
        self.limit(at, witness.server);
        let Some(mark) = witness.mark.map(|mark| witness.server.map_or(mark, |server| mark.min(server))) else { return };
        let (mark, offset) = (of_timestamp(mark), of_timestamp(mark).saturating_sub(at));
        self.proven_us.store(offset, Ordering::Release);
        if mark - wall > TOLERANCE_US {
            tracing::warn!(
                behind_s = (mark - wall) / 1_000_000,
                "the machine's clock is behind the time that was proven before: is it right?"
            );
            // As if it had been set back a moment ago.
            self.offset_us.store(offset, Ordering::Release);
        } else if wall - mark > LONG_AGO_US {
            tracing::warn!(
                ahead_s = (wall - mark) / 1_000_000,
                "the machine's clock is far ahead of the time that was proven before, as after a long stop; nothing is hidden by it for an \
                 hour, and nothing deleted for days"
            );
            self.hiding_lag_us.store(wall - mark, Ordering::Release);
        }
        watch.hiding_since_us = at;
        watch.begin_steady(at);
    }

    fn hear(&self, witness: Witness) {
        let (now, at) = self.read();
        self.limit(at, witness.server);
        let Some(mark) = witness.mark.map(of_timestamp) else { return };
        // Another process has seen more; what lies ahead of this one's clock is not believed, though.
        if mark <= now {
            self.proven_us.fetch_max(mark.saturating_sub(at), Ordering::AcqRel);
        }
    }

    fn mark(&self) -> Option<Timestamp> {
        Some(to_timestamp(self.proven_at(self.sources.monotonic_us())))
    }
}

fn to_timestamp(us: i64) -> Timestamp {
    Timestamp::clamped(us.div_euclid(1_000))
}

fn of_timestamp(moment: Timestamp) -> i64 {
    moment.epoch_ms().saturating_mul(1_000)
}
