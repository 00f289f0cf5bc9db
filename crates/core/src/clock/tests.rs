//! Clocks that are wrong in every way there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::tenant::Retention;
use crate::{Tenant, TenantId};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// When the simulations begin.
const BEGIN: i64 = 1_700_000_000 * SECOND;

/// Two sources that show what a test says.
#[derive(Clone, Debug)]
struct Script {
    wall: Arc<AtomicI64>,
    monotonic: Arc<AtomicI64>,
}

impl Script {
    fn at(wall: i64) -> Self {
        Self { wall: Arc::new(AtomicI64::new(wall)), monotonic: Arc::new(AtomicI64::new(77 * HOUR)) }
    }

    fn pass(&self, us: i64) {
        self.wall.fetch_add(us, Ordering::Relaxed);
        self.monotonic.fetch_add(us, Ordering::Relaxed);
    }

    fn leap(&self, us: i64) {
        self.wall.fetch_add(us, Ordering::Relaxed);
    }
}

impl Sources for Script {
    fn wall_us(&self) -> i64 {
        self.wall.load(Ordering::Relaxed)
    }

    fn monotonic_us(&self) -> i64 {
        self.monotonic.load(Ordering::Relaxed)
    }
}

fn stamp(us: i64) -> Timestamp {
    Timestamp::clamped(us / 1_000)
}

/// Lets time pass while the clock is asked each second.
fn run(clock: &SystemClock<Script>, us: i64) {
    for _ in 0..us / SECOND {
        clock.sources().pass(SECOND);
        clock.now();
    }
}

fn all(clock: &impl Clock) -> [Timestamp; 4] {
    [clock.proven(), clock.earliest(), clock.now(), clock.latest()]
}

#[test]
fn a_clock_that_is_right_shows_one_moment_for_everything() {
    let clock = SystemClock::of(Script::at(BEGIN));
    run(&clock, 3 * HOUR);
    assert_eq!(all(&clock), [stamp(BEGIN + 3 * HOUR); 4]);
    assert_eq!(clock.standing(), Standing::default());
}

#[test]
fn the_machine_tells_the_time_and_its_monotonic_clock_goes_on() {
    let (clock, first) = (SystemClock::default(), Machine.monotonic_us());
    assert!(clock.now().epoch_ms() > 1_600_000_000_000);
    assert!(Machine.monotonic_us() >= first && first > 0);
    assert!(clock.now() >= clock.earliest());
}

#[test]
fn a_leap_of_forty_days_for_a_second_moves_nothing() {
    let clock = SystemClock::of(Script::at(BEGIN));
    run(&clock, HOUR);
    clock.sources().leap(40 * DAY);
    clock.sources().pass(1_200_000);
    let passed = stamp(BEGIN + HOUR + 1_200_000);
    assert_eq!(all(&clock), [passed; 4]);
    assert_eq!(clock.standing().ahead_ms, 40 * DAY / 1_000, "it is told");
    clock.sources().leap(-40 * DAY);
    run(&clock, MINUTE);
    assert_eq!(all(&clock), [stamp(BEGIN + HOUR + 1_200_000 + MINUTE); 4]);
    assert_eq!(clock.standing().ahead_ms, 0);
}

#[test]
fn a_leap_that_stays_is_adopted_and_hides_after_an_hour_and_deletes_after_a_week() {
    let clock = SystemClock::of(Script::at(BEGIN));
    run(&clock, HOUR);
    let mut passed = BEGIN + HOUR;
    clock.sources().leap(40 * DAY);
    let mut wait = |span: i64| {
        run(&clock, span);
        passed += span;
        (stamp(passed), stamp(passed + 40 * DAY))
    };
    let (before, _) = wait(29 * SECOND);
    assert_eq!(all(&clock), [before; 4]);
    let (before, leapt) = wait(3 * SECOND);
    assert_eq!(all(&clock), [before, before, leapt, leapt]);
    let (before, leapt) = wait(59 * MINUTE);
    assert_eq!(all(&clock), [before, before, leapt, leapt]);
    let (before, leapt) = wait(MINUTE);
    assert_eq!(all(&clock), [before, leapt, leapt, leapt]);
    let (before, leapt) = wait(7 * DAY - 2 * HOUR);
    assert_eq!(all(&clock), [before, leapt, leapt, leapt]);
    let (_, leapt) = wait(HOUR);
    assert_eq!(all(&clock), [leapt; 4]);
}

#[test]
fn a_step_back_is_adopted_while_receipts_keep_to_what_was_proven() {
    let clock = SystemClock::of(Script::at(BEGIN));
    run(&clock, HOUR);
    clock.sources().leap(-2 * HOUR);
    run(&clock, 32 * SECOND);
    let (back, kept) = (stamp(BEGIN - HOUR + 32 * SECOND), stamp(BEGIN + HOUR + 32 * SECOND));
    assert_eq!(all(&clock), [back, back, back, kept]);
    run(&clock, 2 * HOUR);
    let back = stamp(BEGIN + HOUR + 32 * SECOND);
    assert_eq!(all(&clock), [back; 4], "it has kept to that for as long as it is");
}

#[test]
fn a_small_step_is_made_up_for_without_going_back() {
    for step in [-1_900_000, 1_900_000] {
        let clock = SystemClock::of(Script::at(BEGIN));
        run(&clock, HOUR);
        clock.sources().leap(step);
        let (mut before, mut largest) = (clock.now(), Duration::ZERO);
        for _ in 0..30 * 100 {
            clock.sources().pass(SECOND / 100);
            let now = clock.now();
            assert!(now >= before);
            largest = largest.max(now.since(before));
            before = now;
        }
        assert_eq!(clock.now(), stamp(BEGIN + HOUR + step + 30 * SECOND), "it is the machine's clock again");
        assert!(largest <= Duration::from_millis(40), "{largest:?}");
    }
}

#[test]
fn a_clock_that_runs_at_another_speed_is_not_believed() {
    let clock = SystemClock::of(Script::at(BEGIN));
    for _ in 0..86_400 {
        clock.sources().pass(SECOND);
        clock.sources().leap(SECOND / 2);
        clock.now();
    }
    assert!(clock.earliest() <= stamp(BEGIN + DAY + DAY / 8), "{} {}", clock.earliest(), stamp(BEGIN + DAY));
    assert_eq!(clock.proven(), stamp(BEGIN + DAY));
}

#[test]
fn a_start_after_forty_days_shows_the_time_and_hides_nothing_for_an_hour() {
    let clock = SystemClock::of(Script::at(BEGIN + 40 * DAY));
    clock.begin(Witness { mark: Some(stamp(BEGIN)), server: None });
    let now = stamp(BEGIN + 40 * DAY);
    assert_eq!(all(&clock), [stamp(BEGIN), stamp(BEGIN), now, now]);
    run(&clock, HOUR + SECOND);
    let now = stamp(BEGIN + 40 * DAY + HOUR + SECOND);
    assert_eq!(all(&clock), [stamp(BEGIN + HOUR + SECOND), now, now, now]);
}

#[test]
fn a_start_after_a_night_hides_what_has_expired_meanwhile_at_once() {
    let clock = SystemClock::of(Script::at(BEGIN + 10 * HOUR));
    clock.begin(Witness { mark: Some(stamp(BEGIN)), server: None });
    let now = stamp(BEGIN + 10 * HOUR);
    assert_eq!(all(&clock), [stamp(BEGIN), now, now, now]);
    run(&clock, DAY);
    assert_eq!(all(&clock), [stamp(BEGIN + 10 * HOUR + DAY); 4]);
}

#[test]
fn a_start_before_the_network_told_the_time_goes_on_from_the_mark() {
    let clock = SystemClock::of(Script::at(0));
    clock.begin(Witness { mark: Some(stamp(BEGIN)), server: None });
    run(&clock, 20 * SECOND);
    assert_eq!(all(&clock)[1..], [stamp(BEGIN + 20 * SECOND); 3]);
    clock.sources().leap(BEGIN);
    run(&clock, MINUTE);
    assert_eq!(all(&clock), [stamp(BEGIN + 20 * SECOND + MINUTE); 4]);
}

#[test]
fn what_another_instance_has_proven_is_believed_unless_it_lies_ahead() {
    let clock = SystemClock::of(Script::at(BEGIN + DAY));
    clock.begin(Witness { mark: Some(stamp(BEGIN)), server: None });
    clock.hear(Witness { mark: Some(stamp(BEGIN + 2 * DAY)), server: None });
    assert_eq!(clock.mark(), Some(stamp(BEGIN)));
    clock.hear(Witness { mark: Some(stamp(BEGIN + HOUR)), server: None });
    assert_eq!(clock.mark(), Some(stamp(BEGIN + HOUR)));
}

#[test]
fn nothing_is_proven_that_the_server_does_not_show() {
    let clock = SystemClock::of(Script::at(BEGIN + 40 * DAY));
    let server = Some(stamp(BEGIN));
    clock.begin(Witness { mark: Some(stamp(BEGIN + 40 * DAY)), server });
    assert!(clock.proven() <= stamp(BEGIN + 2 * SECOND));
    run(&clock, 10 * DAY);
    assert!(clock.proven() <= stamp(BEGIN + 10 * DAY + 2 * SECOND));
}

/// What happens to a machine.
#[derive(Clone, Debug)]
enum Happening {
    /// Its clock is wrong by so much, for so long.
    Wrong { by: i64, lasts: i64 },
    /// Its clock is set by a little, and stays there.
    Step(i64),
    /// Its clock drifts from the monotonic one, by so many millionths.
    Drift(i64),
    /// It sleeps; its monotonic clock goes on.
    Sleep(i64),
    /// The process is stopped for so long, and starts with a clock that is wrong by so much, for so long.
    Restart { down: i64, by: i64, lasts: i64 },
    /// Nothing happens.
    Quiet(i64),
}

fn by() -> impl Strategy<Value = i64> {
    prop_oneof![-400 * DAY..400 * DAY, -3 * DAY..3 * DAY, -2 * HOUR..2 * HOUR, -MINUTE..MINUTE]
}

/// A clock is wrong for less than what it is wrong by, and never for a day.
fn wrong() -> impl Strategy<Value = (i64, i64)> {
    let lasts = prop_oneof![0..3 * SECOND, 0..2 * MINUTE, 0..HOUR, 0..20 * HOUR];
    (by(), lasts).prop_map(|(by, lasts): (i64, i64)| if by < 0 { (by, lasts.min(50 * MINUTE)) } else { (by, lasts) })
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        wrong().prop_map(|(by, lasts)| Happening::Wrong { by, lasts }),
        (-2_500_000..2_500_000_i64).prop_map(Happening::Step),
        (-200..200_i64).prop_map(Happening::Drift),
        (0..2 * DAY).prop_map(Happening::Sleep),
        (0..3 * DAY, wrong()).prop_map(|(down, (by, lasts))| Happening::Restart { down, by, lasts }),
        (0..2 * DAY).prop_map(Happening::Quiet),
    ]
}

/// A machine whose clock may be wrong, and what a process on it remembers of sessions.
struct World {
    /// What time it really is.
    truth: i64,
    wall: i64,
    drift: i64,
    script: Script,
    clock: SystemClock<Script>,
    mark: Timestamp,
    tenant: Tenant,
    /// When sessions really were received, and when they say that they were.
    sessions: Vec<(i64, Timestamp)>,
    /// Since when the machine's clock is right.
    right_since: i64,
}

impl World {
    fn new() -> Self {
        let script = Script::at(BEGIN);
        let mut tenant = Tenant::new("C", "c", "t", stamp(BEGIN));
        tenant.id = TenantId::from_number(1);
        tenant.retention = Retention::days(1).unwrap();
        let clock = SystemClock::of(script.clone());
        let (sessions, mark) = (Vec::new(), stamp(BEGIN));
        Self { truth: BEGIN, wall: 0, drift: 0, script, clock, mark, tenant, sessions, right_since: BEGIN }
    }

    /// Goes on in steps while a process runs; one step is a look of the clock, a post now and then, and a purge.
    fn goes_on(&mut self, span: i64) -> Result<(), TestCaseError> {
        let step = if span <= 5 * MINUTE { SECOND } else { 4 * SECOND };
        let mut left = span;
        while left > 0 {
            let some = left.min(step);
            left -= some;
            self.passes(some);
            self.clock.now();
            if self.truth / (10 * MINUTE) != (self.truth - some) / (10 * MINUTE) {
                self.sessions.push((self.truth, self.clock.latest()));
                self.checks()?;
            }
            if self.truth / MINUTE != (self.truth - some) / MINUTE {
                self.clock.hear(Witness { mark: Some(self.mark), server: None });
                self.mark = self.clock.mark().unwrap();
            }
        }
        self.checks()
    }

    fn passes(&mut self, us: i64) {
        self.truth += us;
        // The monotonic clock is the one that drifts.
        let monotonic = us + us * self.drift / 1_000_000;
        self.script.monotonic.fetch_add(monotonic, Ordering::Relaxed);
        self.script.wall.store(self.truth + self.wall, Ordering::Relaxed);
    }

    fn set(&mut self, wrong_by: i64) {
        self.wall = wrong_by;
        self.script.wall.store(self.truth + self.wall, Ordering::Relaxed);
        self.right_since = self.truth;
    }

    fn restarts(&mut self) {
        self.clock = SystemClock::of(self.script.clone());
        self.clock.begin(Witness { mark: Some(self.mark), server: None });
    }

    fn checks(&mut self) -> Result<(), TestCaseError> {
        const RETENTION: i64 = DAY;
        // What small steps and drift make of it.
        const SLACK: i64 = 5 * MINUTE;
        let [proven, earliest, now, latest] = all(&self.clock);
        prop_assert!(proven <= earliest && earliest <= now && now <= latest);
        let (hidden, deleted) = (self.tenant.horizon(earliest), self.tenant.horizon(proven));
        for (received, says) in &self.sessions {
            let age = self.truth - received;
            prop_assert!(*says > deleted || age >= RETENTION - SLACK, "deleted at the age of {} s", age / SECOND);
            if *says <= hidden && age < RETENTION - SLACK {
                let bound = us(ADOPTION) + 10 * SECOND;
                let right_for = self.truth - self.right_since;
                prop_assert!(self.wall != 0 || right_for <= bound, "hidden {} s after the clock was right", right_for / SECOND);
            }
        }
        let truth = self.truth;
        self.sessions.retain(|(received, _)| truth - received < 3 * RETENTION);
        Ok(())
    }

    /// A clock falls behind only where nothing is unproven: receipts keep to what is proven then, and no better is known.
    fn possible(&self, by: i64) -> i64 {
        let unproven = self.truth - self.clock.proven().epoch_ms() * 1_000;
        if unproven > 2 * MINUTE { by.max(0) } else { by }
    }

    fn happens(&mut self, happening: Happening) -> Result<(), TestCaseError> {
        match happening {
            Happening::Wrong { by, lasts } => {
                self.set(self.possible(by));
                self.goes_on(lasts)?;
                self.set(0);
                self.goes_on(HOUR)
            }
            Happening::Step(by) => {
                self.set(by);
                self.goes_on(MINUTE)?;
                self.set(0);
                self.goes_on(MINUTE)
            }
            Happening::Drift(drift) => {
                self.drift = drift;
                self.goes_on(HOUR)
            }
            Happening::Sleep(span) => {
                self.passes(span);
                self.clock.now();
                self.goes_on(MINUTE)
            }
            Happening::Restart { down, by, lasts } => {
                let by = self.possible(by);
                self.passes(if by < 0 { down.min(MINUTE) } else { down });
                self.set(by);
                self.restarts();
                self.goes_on(lasts)?;
                self.set(0);
                self.goes_on(HOUR)
            }
            Happening::Quiet(span) => self.goes_on(span),
        }
    }
}

fn us(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Days of a machine whose clock is wrong now and then.
    #[test]
    fn whatever_the_clock_does_nothing_goes_early_and_all_goes_in_the_end(happenings in proptest::collection::vec(happening(), 1..12)) {
        let mut world = World::new();
        world.goes_on(DAY)?;
        for happening in happenings {
            world.happens(happening)?;
        }
        // The clock is right now, and stays so; small differences are made up for within half a minute.
        world.goes_on(us(ADOPTION) + 10 * SECOND)?;
        let near = |shown: Timestamp, truth: i64| (shown.epoch_ms() - truth / 1_000).abs() <= 2_000;
        prop_assert!(near(world.clock.now(), world.truth), "{} {}", world.clock.now(), stamp(world.truth));
        world.goes_on(8 * DAY)?;
        prop_assert!(world.truth - world.clock.proven().epoch_ms() * 1_000 <= 2 * MINUTE, "what has expired goes");
        prop_assert!(near(world.clock.earliest(), world.truth) && near(world.clock.latest(), world.truth));
    }
}
