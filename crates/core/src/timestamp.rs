//! Moments, to the millisecond.

use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment as milliseconds since 1970-01-01T00:00:00Z, between the years 0000 and 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

const EARLIEST_MS: i64 = -62_167_219_200_000;
const LATEST_MS: i64 = 253_402_300_799_999;
/// Bare numbers below this are seconds, from it on milliseconds (PAR-P6).
const FIRST_MILLISECOND_NUMBER: i64 = 100_000_000_000;

impl Timestamp {
    /// The beginning of the year 0000.
    pub const EARLIEST: Self = Self(EARLIEST_MS);

    /// The end of the year 9999.
    pub const LATEST: Self = Self(LATEST_MS);

    /// The moment `ms` milliseconds after the epoch; `None` outside the years 0000 to 9999.
    pub fn from_epoch_ms(ms: i64) -> Option<Self> {
        (EARLIEST_MS..=LATEST_MS).contains(&ms).then_some(Self(ms))
    }

    /// The same, held inside the years 0000 to 9999.
    pub fn clamped(ms: i64) -> Self {
        Self(ms.clamp(EARLIEST_MS, LATEST_MS))
    }

    /// Milliseconds since the epoch.
    pub fn epoch_ms(self) -> i64 {
        self.0
    }

    /// Reads ISO 8601 (without a zone it is UTC), or epoch seconds below 10¹¹ and milliseconds from there on (PAR-P6).
    /// Fractions beyond a millisecond are cut off.
    pub fn parse_lenient(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Self::parse_epoch(text);
        }
        Self::parse_iso8601(text)
    }

    /// Reads ISO 8601; without a zone it is UTC.
    pub fn parse_iso8601(text: &str) -> Option<Self> {
        let ms = match text.parse::<jiff::Timestamp>() {
            Ok(instant) => instant.as_nanosecond().div_euclid(1_000_000),
            Err(_) => match text.parse::<jiff::civil::DateTime>() {
                Ok(civil) => civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_nanosecond().div_euclid(1_000_000),
                // The last day of the year 9999 is none to the library.
                Err(_) => OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos().div_euclid(1_000_000),
            },
        };
        Self::from_epoch_ms(i64::try_from(ms).ok()?)
    }

    /// Reads a time of RFC 3339: date and time to the second at least, and its zone. One whose zone is off by seconds, as they were before
    /// there were time zones, is read as well.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let (date, time) = text.split_at_checked(10)?;
        let (clock, rest) = time.strip_prefix(['T', 't', ' '])?.split_at_checked(8)?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let of = |text: &str, between: char, most: usize| {
            text.split(between).count() <= most && text.split(between).all(|n| n.len() == 2 && digits(n))
        };
        let zone = match rest.strip_prefix('.') {
            Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
            None => rest,
        };
        let has_fraction = rest.len() == zone.len() || rest.len() > zone.len() + 1;
        let offset = zone.strip_prefix(['+', '-']);
        let has_zone =
            matches!(zone, "Z" | "z") || offset.is_some_and(|offset| offset.contains(':') && of(offset, ':', 3) && offset < "24");
        let has_date = date.len() == 10 && date.split('-').count() == 3 && date.split('-').all(digits);
        (has_date && of(clock, ':', 3) && has_fraction && has_zone).then(|| Self::parse_iso8601(text))?
    }

    fn parse_epoch(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number: i64 = whole.parse().ok()?;
        if number.abs() >= FIRST_MILLISECOND_NUMBER {
            return Self::from_epoch_ms(number);
        }
        let thousandths: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
        let sign = if whole.starts_with('-') { -1 } else { 1 };
        Self::from_epoch_ms(number * 1_000 + sign * thousandths)
    }

    /// The moment as a date and time in UTC.
    pub fn to_utc(self) -> OffsetDateTime {
        // A millisecond of the years 0000 to 9999 is always a date.
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// The time from `earlier` until this moment, zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This moment less `span`, held at the year 0000.
    pub fn minus(self, span: Duration) -> Self {
        let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self::clamped(self.0.saturating_sub(span_ms))
    }

    /// This moment plus `span`, held at the year 9999.
    pub fn plus(self, span: Duration) -> Self {
        let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self::clamped(self.0.saturating_add(span_ms))
    }
}

/// `2024-02-27T12:16:23.926Z`
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let utc = self.to_utc();
        let (year, month, day) = utc.to_calendar_date();
        let (hour, minute, second, ms) = utc.to_hms_milli();
        let month = u8::from(month);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> Option<i64> {
        Timestamp::parse_lenient(text).map(Timestamp::epoch_ms)
    }

    #[test]
    fn a_time_of_rfc_3339_has_all_its_parts() {
        let noon = Timestamp::parse_iso8601("2024-02-27T12:00:00Z");
        for right in [
            "2024-02-27T12:00:00Z",
            "2024-02-27t12:00:00z",
            "2024-02-27 12:00:00.000Z",
            "2024-02-27T13:00:00+01:00",
            "2024-02-27T12:53:28+00:53:28",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(right), noon, "{right}");
        }
        for wrong in [
            "",
            "2024-02-27",
            "2024-02-27T12:00Z",
            "2024-02-27T12:00:00",
            "2024-02-27T12:00:00+0100",
            "2024-02-27T12:00:00+24:00",
            "2024-02-27T12:00:00,5Z",
            "2024-02-27T12:00:00.Z",
            "20240227T120000Z",
            "2024-2-27T12:00:000Z",
            "now",
            "1709035200",
            "2024-02-30T12:00:00Z",
            "2024-02-27T25:00:00Z",
            "2024-02-27T12:00:00\u{e9}",
            "\u{e9}",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn par_p6_iso_8601_in_its_usual_spellings() {
        for same in [
            "2024-02-27T12:16:23.926Z",
            "2024-02-27T12:16:23.926",
            "2024-02-27 12:16:23.926",
            "2024-02-27T13:16:23.926+01:00",
            "2024-02-27T13:16:23.926+0100",
            "2024-02-27T13:16:23,9269+01",
            "2024-02-27t12:16:23.926z",
            " 2024-02-27T12:16:23.926999Z ",
        ] {
            assert_eq!(ms(same), Some(1_709_036_183_926), "{same}");
        }
        assert_eq!(ms("2024-02-27"), Some(1_708_992_000_000));
        assert_eq!(ms("1969-12-31T23:59:59.9995Z"), Some(-1), "cut towards the past, not towards zero");
    }

    #[test]
    fn par_p6_epoch_seconds_below_ten_to_the_eleven_and_milliseconds_from_there() {
        assert_eq!(ms("1709036183"), Some(1_709_036_183_000));
        assert_eq!(ms("1709036183.9261"), Some(1_709_036_183_926));
        assert_eq!(ms("99999999999"), Some(99_999_999_999_000));
        assert_eq!(ms("100000000000"), Some(100_000_000_000));
        assert_eq!(ms("1709036183926"), Some(1_709_036_183_926));
        assert_eq!(ms("0"), Some(0));
        assert_eq!(ms("-1.5"), Some(-1_500));
        assert_eq!(ms("-0.5"), Some(-500));
    }

    #[test]
    fn par_p6_what_is_no_time_is_refused() {
        for bad in [
            "",
            "yesterday",
            "27.02.2024",
            "2024-13-01",
            "2024-02-30T00:00:00Z",
            "1.2.3",
            ".",
            "1.",
            "-",
            "99999999999999999999",
            "253402300800000",
            "+010000-01-01T00:00:00Z",
            "1e3",
        ] {
            assert_eq!(ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn shown_with_milliseconds() {
        assert_eq!(Timestamp(1_709_036_183_926).to_string(), "2024-02-27T12:16:23.926Z");
        assert_eq!(Timestamp(-1).to_string(), "1969-12-31T23:59:59.999Z");
        assert_eq!(Timestamp(LATEST_MS).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp(EARLIEST_MS).to_string(), "0000-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_epoch_ms(LATEST_MS + 1), None);
        assert_eq!(Timestamp::from_epoch_ms(EARLIEST_MS - 1), None);
    }

    #[test]
    fn what_is_shown_is_read_as_the_same_also_at_the_ends() {
        for ms in [EARLIEST_MS, EARLIEST_MS + 1, -1, 0, 1_709_036_183_926, LATEST_MS - 86_400_000, LATEST_MS - 3_600_000, LATEST_MS] {
            assert_eq!(Timestamp::parse_iso8601(&Timestamp(ms).to_string()), Some(Timestamp(ms)), "{ms}");
        }
        assert_eq!(Timestamp::parse_iso8601("9999-12-31T23:59:59.999-00:01"), None);
    }

    #[test]
    fn arithmetic_holds_at_the_ends() {
        let now = Timestamp(5_000);
        assert_eq!(now.since(Timestamp(2_000)), Duration::from_secs(3));
        assert_eq!(now.since(Timestamp(9_000)), Duration::ZERO);
        assert_eq!(now.minus(Duration::from_secs(1)), Timestamp(4_000));
        assert_eq!(now.plus(Duration::from_secs(1)), Timestamp(6_000));
        assert_eq!(now.minus(Duration::MAX).epoch_ms(), EARLIEST_MS);
        assert_eq!(now.plus(Duration::MAX).epoch_ms(), LATEST_MS);
    }
}
