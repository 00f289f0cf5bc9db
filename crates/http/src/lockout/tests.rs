use super::*;
use calldata_core::{ManualClock, Timestamp};
use std::net::{Ipv4Addr, Ipv6Addr};

const SOURCE: Source = Source(IpAddr::V4(Ipv4Addr::LOCALHOST));
const T: TenantName<'_> = TenantName::Oifde("t");

/// A lockout, and the clock that moves it.
fn lockout() -> (Lockout, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp::clamped(1_000_000)));
    (Lockout::new(clock.clone()), clock)
}

#[test]
fn oif_a4_twenty_failures_in_five_minutes_lock_the_pair_for_five_minutes() {
    let (lockout, clock) = lockout();
    for _ in 0..19 {
        lockout.note_failure(SOURCE, T);
        clock.advance(Duration::from_secs(1));
    }
    let locked = |source, tenant| lockout.locked_for(source, tenant, "wrong");
    assert_eq!(locked(SOURCE, T), None);
    lockout.note_failure(SOURCE, T);
    assert_eq!(locked(SOURCE, T), Some(LOCK));
    let mapped = Source(IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()));
    assert!(locked(mapped, T).is_some(), "the same source, otherwise written");
    assert_eq!(locked(SOURCE, TenantName::Oifde("u")), None, "another tenant");
    assert_eq!(locked(SOURCE, TenantName::Client("t")), None, "a name of the other dialect");
    assert_eq!(locked(Source(IpAddr::V6(Ipv6Addr::LOCALHOST)), T), None, "another source");
    clock.advance(Duration::from_millis(299_999));
    assert_eq!(locked(SOURCE, T), Some(Duration::from_millis(1)));
    clock.advance(Duration::from_millis(1));
    assert_eq!(locked(SOURCE, T), None);
    lockout.note_failure(SOURCE, T);
    assert_eq!(locked(SOURCE, T), None, "counted anew");
}

#[test]
fn oif_a4_failures_spread_wider_than_five_minutes_do_not_lock() {
    let (lockout, clock) = lockout();
    for _ in 0..100 {
        lockout.note_failure(SOURCE, T);
        assert_eq!(lockout.locked_for(SOURCE, T, "wrong"), None);
        clock.advance(Duration::from_secs(16));
    }
}

#[test]
fn all_addresses_of_one_ipv6_network_are_one_source() {
    let (lockout, _) = lockout();
    let of = |text: &str| Source(text.parse().unwrap());
    (0..20).for_each(|n| lockout.note_failure(of(&format!("2001:db8::{n}")), T));
    assert!(lockout.locked_for(of("2001:db8::ffff:1"), T, "wrong").is_some());
    assert_eq!(lockout.locked_for(of("2001:db8:0:1::1"), T, "wrong"), None);
}

#[test]
fn a_secret_that_was_right_from_there_is_not_locked_out_by_others() {
    let (lockout, _) = lockout();
    lockout.note_success(SOURCE, T, "right");
    (0..20).for_each(|_| lockout.note_failure(SOURCE, T));
    assert_eq!(lockout.locked_for_bearer(SOURCE, T, "right"), None);
    assert_eq!(lockout.locked_for_bearer(SOURCE, T, "wrong"), Some(LOCK));
    let elsewhere = Source(IpAddr::V6(Ipv6Addr::LOCALHOST));
    (0..20).for_each(|_| lockout.note_failure(elsewhere, T));
    assert_eq!(lockout.locked_for_bearer(elsewhere, T, "right"), Some(LOCK), "it was right from another source");
}

#[test]
fn names_that_a_client_makes_up_neither_flush_its_lock_nor_keep_it_from_being_locked() {
    let (lockout, clock) = lockout();
    lockout.note_success(SOURCE, T, "right");
    (0..20).for_each(|_| lockout.note_failure(SOURCE, T));
    for number in 0..79 {
        lockout.note_failure(SOURCE, TenantName::Client(&format!("made-up-{number}")));
    }
    let new = TenantName::Client("never-tried");
    assert_eq!(lockout.locked_for_bearer(SOURCE, new, "wrong"), None, "99 of one source");
    lockout.note_failure(SOURCE, TenantName::Client("made-up"));
    assert_eq!(lockout.locked_for_bearer(SOURCE, new, "wrong"), Some(LOCK), "100 of one source");
    assert_eq!(lockout.locked_for(SOURCE, new, "wrong"), Some(LOCK));
    assert_eq!(lockout.locked_for_bearer(SOURCE, T, "right"), None, "it was right from there");
    assert_eq!(lockout.locked_for(Source(IpAddr::V6(Ipv6Addr::LOCALHOST)), new, "wrong"), None, "another source");
    // Those that were under way already are counted as well, however many.
    for number in 0..130_014 {
        lockout.note_failure(SOURCE, TenantName::Client(&format!("flood-{number}")));
    }
    assert!(lockout.locked_for(SOURCE, T, "wrong").is_some() && lockout.locked_for(SOURCE, new, "wrong").is_some());
    let record = lockout.sources.get(&SOURCE.network()).unwrap();
    let held = format!("{:?}", record.lock().unwrap()).len();
    assert!(held < 16 << 10, "a source with {held} bytes of failures");
    clock.advance(LOCK);
    assert_eq!(lockout.locked_for(SOURCE, new, "wrong"), None);
}

#[test]
fn a_lock_of_the_source_spares_at_gettoken_what_was_right_and_one_of_the_pair_does_not() {
    let (lockout, _) = lockout();
    lockout.note_success(SOURCE, T, "right");
    for number in 0..100 {
        lockout.note_failure(SOURCE, TenantName::Client(&format!("made-up-{number}")));
    }
    assert_eq!(lockout.locked_for(SOURCE, T, "right"), None);
    assert_eq!(lockout.locked_for(SOURCE, T, "another"), Some(LOCK));
    (0..20).for_each(|_| lockout.note_failure(SOURCE, T));
    assert_eq!(lockout.locked_for(SOURCE, T, "right"), Some(LOCK));
}

#[test]
fn a_step_of_the_wall_clock_ends_no_lock() {
    let (lockout, clock) = lockout();
    (0..20).for_each(|_| lockout.note_failure(SOURCE, T));
    for moment_ms in [0, 1_000_000 + 40 * 86_400_000] {
        clock.set(Timestamp::clamped(moment_ms));
        assert_eq!(lockout.locked_for(SOURCE, T, "wrong"), Some(LOCK));
    }
}
