//! When a delivery that failed is attempted again.

use std::time::Duration;

use calldata_core::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;

/// The pauses after the first attempt, the second, …; a bit less than a day in all.
const PAUSES_S: [u64; 12] = [5, 30, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 4 * HOUR, 4 * HOUR, 4 * HOUR, 4 * HOUR];
/// By how much a pause may be shorter, so that what failed together does not come back together.
const JITTER: f64 = 0.2;
/// The longest pause that an endpoint may ask for.
const LONGEST: Duration = Duration::from_hours(4);
/// For how long a delivery is attempted.
pub(crate) const PATIENCE: Duration = Duration::from_hours(24);

/// When a delivery is attempted again that has failed so many times `since`; `None` where it is given up. `asked` is the pause that the
/// endpoint asks for, and `random` a number from 0 to 1.
pub(crate) fn next(attempts: u32, since: Timestamp, now: Timestamp, asked: Option<Duration>, random: f64) -> Option<Timestamp> {
    let failed = usize::try_from(attempts.saturating_sub(1)).ok()?;
    let pause = Duration::from_secs(*PAUSES_S.get(failed)?).mul_f64(1.0 - JITTER * random.clamp(0.0, 1.0));
    // Never sooner than without being asked: whoever asks for no pause at all would be given up in no time.
    let next = now.plus(pause.max(asked.unwrap_or_default().min(LONGEST)));
    (next <= since.plus(PATIENCE)).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SINCE: Timestamp = Timestamp::EARLIEST;

    #[test]
    fn pauses_grow_from_seconds_to_hours_and_end_within_a_day() {
        let mut now = SINCE;
        let mut attempts = 0;
        let mut pauses = Vec::new();
        loop {
            attempts += 1;
            let Some(next) = next(attempts, SINCE, now, None, 0.0) else { break };
            pauses.push(next.since(now).as_secs());
            now = next;
        }
        assert_eq!(pauses, PAUSES_S);
        assert!(pauses.is_sorted());
        let in_all = now.since(SINCE);
        assert!(in_all <= PATIENCE && in_all + Duration::from_mins(30) >= PATIENCE, "{in_all:?}");
    }

    proptest! {
        #[test]
        fn every_attempt_is_later_and_none_after_a_day(randoms: [f64; 13], asked in proptest::option::of(0_u64..1_000_000), took in 0_u64..15) {
            let mut now = SINCE;
            for (attempts, random) in (1..).zip(randoms) {
                now = now.plus(Duration::from_secs(took));
                let Some(next) = next(attempts, SINCE, now, asked.map(Duration::from_secs), random) else { return Ok(()) };
                let pause = next.since(now);
                let least = Duration::from_secs(PAUSES_S[attempts as usize - 1]).mul_f64(1.0 - JITTER);
                // Moments have milliseconds.
                prop_assert!(pause + Duration::from_millis(1) >= least);
                prop_assert!(pause <= LONGEST);
                prop_assert!(next <= SINCE.plus(PATIENCE));
                now = next;
            }
            prop_assert!(false, "it has to be given up some time");
        }

        #[test]
        fn what_an_endpoint_asks_for_is_heeded_within_bounds(attempts in 1_u32..=8, asked_s in 0_u64..100_000) {
            let asked = Duration::from_secs(asked_s);
            let pause = next(attempts, SINCE, SINCE, Some(asked), 0.5).unwrap().since(SINCE);
            prop_assert!(pause >= asked.min(LONGEST));
            prop_assert_eq!(pause, next(attempts, SINCE, SINCE, None, 0.5).unwrap().since(SINCE).max(asked.min(LONGEST)));
        }
    }
}
