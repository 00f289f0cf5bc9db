//! Time zones of the IANA database, which is part of the program.

use std::fmt;

use jiff::tz::TimeZone;
use time::PrimitiveDateTime;

use crate::Timestamp;

/// An IANA time zone such as `Europe/Berlin`.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// A name that no time zone has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time zone of the IANA database (such as Europe/Berlin or UTC)")]
pub struct UnknownZone;

/// Which of two readings a local time gets that a clock change made ambiguous, or skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The earlier moment.
    Earlier,
    /// The later moment.
    Later,
}

impl Zone {
    /// The zone of that name, in any letter case.
    ///
    /// # Errors
    /// When there is none.
    pub fn parse(name: &str) -> Result<Self, UnknownZone> {
        TimeZone::get(name).map(Self).map_err(|_| UnknownZone)
    }

    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// German time.
    pub fn berlin() -> Self {
        // The database of zones is part of the program; UTC stands for what cannot be missing.
        Self::parse("Europe/Berlin").unwrap_or_else(|_| Self::utc())
    }

    /// The IANA name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// `27.02.2024 13:16:23`: the German way to write the local time (PAR-G5).
    pub fn german(&self, at: Timestamp) -> String {
        jiff::Timestamp::from_millisecond(at.epoch_ms())
            .map(|instant| instant.to_zoned(self.0.clone()).strftime("%d.%m.%Y %H:%M:%S").to_string())
            .unwrap_or_default()
    }

    /// `2024-02-27T13:16:23.926+01:00`: RFC 3339 to the millisecond, in this zone; `Z` stands for UTC. A time is told in UTC where RFC
    /// 3339 has no words for this zone: an offset of old with seconds in it, or a local year beyond 0000 to 9999.
    pub fn rfc3339(&self, at: Timestamp) -> String {
        self.local(at).unwrap_or_else(|| at.to_string())
    }

    /// The same; `None` where it is told in UTC.
    fn local(&self, at: Timestamp) -> Option<String> {
        let offset_s = self.0.to_offset(jiff::Timestamp::from_millisecond(at.epoch_ms()).ok()?).seconds();
        if offset_s == 0 || offset_s % 60 != 0 {
            return None;
        }
        let local = Timestamp::from_epoch_ms(at.epoch_ms() + i64::from(offset_s) * 1_000)?.to_string();
        let sign = if offset_s < 0 { '-' } else { '+' };
        let minutes = offset_s.abs() / 60;
        Some(format!("{}{sign}{:02}:{:02}", local.strip_suffix('Z')?, minutes / 60, minutes % 60))
    }

    /// The moment of a local time, held inside the years 0000 to 9999; `None` for a local time outside of them.
    pub fn moment(&self, local: PrimitiveDateTime, reading: Reading) -> Option<Timestamp> {
        let civil = jiff::civil::DateTime::new(
            i16::try_from(local.year()).ok()?,
            i8::try_from(u8::from(local.month())).ok()?,
            i8::try_from(local.day()).ok()?,
            i8::try_from(local.hour()).ok()?,
            i8::try_from(local.minute()).ok()?,
            i8::try_from(local.second()).ok()?,
            0,
        );
        let ambiguous = self.0.to_ambiguous_timestamp(civil.ok()?);
        let instant = match reading {
            Reading::Earlier => ambiguous.earlier(),
            Reading::Later => ambiguous.later(),
        };
        // At the very end of the year 9999 there is a local time and no moment: it is read as UTC.
        let ms = instant.map_or_else(|_| local.assume_utc().unix_timestamp().saturating_mul(1_000), jiff::Timestamp::as_millisecond);
        Some(Timestamp::clamped(ms))
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn par_g5_german_dates_know_summer_time() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        assert_eq!(berlin.german(Timestamp::clamped(1_709_036_183_926)), "27.02.2024 13:16:23");
        assert_eq!(berlin.german(Timestamp::clamped(1_720_000_000_000)), "03.07.2024 11:46:40");
        assert_eq!(Zone::parse("Mars/Base"), Err(UnknownZone));
        assert_eq!(berlin.name(), "Europe/Berlin");
        assert_eq!((Zone::utc().name(), Zone::berlin()), ("UTC", berlin.clone()));
        assert_eq!(format!("{berlin:?}"), "Zone(Europe/Berlin)");
    }

    #[test]
    fn times_carry_the_offset_of_their_zone() {
        let at = Timestamp::clamped(1_709_036_183_926);
        let shown = |zone: &str, at| Zone::parse(zone).unwrap().rfc3339(at);
        assert_eq!(shown("Europe/Berlin", at), "2024-02-27T13:16:23.926+01:00");
        assert_eq!(shown("Europe/Berlin", Timestamp::clamped(1_720_000_000_000)), "2024-07-03T11:46:40.000+02:00");
        assert_eq!(shown("America/St_Johns", at), "2024-02-27T08:46:23.926-03:30");
        assert_eq!((shown("UTC", at), shown("Europe/London", at)), (at.to_string(), at.to_string()));
        for zone in ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York", "Pacific/Kiritimati"] {
            for ms in [i64::MIN, -62_167_219_200_000 + 3_600_000, -5_000_000_000_000, -1, 0, 253_402_207_200_000, i64::MAX] {
                let at = Timestamp::clamped(ms);
                assert_eq!(Timestamp::parse_iso8601(&shown(zone, at)), Some(at), "{zone} {ms}: {}", shown(zone, at));
            }
        }
        assert_eq!(shown("Europe/Berlin", Timestamp::clamped(-5_000_000_000_000)), "1811-07-23T15:06:40.000Z", "a mean solar time");
    }

    #[test]
    fn oif_q3_the_first_and_the_last_second_of_all_are_times() {
        for zone in [Zone::utc(), Zone::parse("Asia/Shanghai").unwrap(), Zone::parse("America/New_York").unwrap()] {
            let first = zone.moment(datetime!(0000-01-01 00:00:00), Reading::Earlier).unwrap();
            let last = zone.moment(datetime!(9999-12-31 23:59:59), Reading::Later).unwrap();
            assert!(first < Timestamp::clamped(-62_100_000_000_000) && last > Timestamp::clamped(253_402_000_000_000), "{zone:?}");
        }
    }

    #[test]
    fn oif_q3_an_hour_that_happens_twice_has_two_readings() {
        let berlin = Zone::parse("europe/berlin").unwrap();
        let twice = datetime!(2024-10-27 02:30:00);
        let earlier = berlin.moment(twice, Reading::Earlier).unwrap();
        let later = berlin.moment(twice, Reading::Later).unwrap();
        assert_eq!(earlier.to_string(), "2024-10-27T00:30:00.000Z");
        assert_eq!(later.to_string(), "2024-10-27T01:30:00.000Z");
        let skipped = datetime!(2024-03-31 02:30:00);
        assert!(berlin.moment(skipped, Reading::Earlier) < berlin.moment(skipped, Reading::Later));
    }
}
