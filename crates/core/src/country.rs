//! Countries, as far as phone numbers know them.

use std::fmt;

use rlibphonenumber::{PHONE_NUMBER_UTIL, Region, get_national_significant_number_owned};

/// A country whose phone numbers can be recognised.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Country {
    region: Region,
    calling_code: u16,
    trunk_prefix: &'static str,
}

/// What callers dial inside their country before an area code, over all countries; the empty one is for those that dial nothing.
const TRUNK_PREFIXES: [&str; 5] = ["0", "8", "1", "06", "01"];

/// What was given names no country.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a country (a calling code such as +41, or two letters such as CH)")]
pub struct UnknownCountry;

impl Country {
    /// Germany, the default of a tenant that sets none (PAR-N1).
    pub const GERMANY: Self = Self { region: Region::DE, calling_code: 49, trunk_prefix: "0" };

    /// Reads `+41`, ` 41`, `41`, `0041` or `CH` (PAR-N1). A calling code that several countries share means the largest of them.
    ///
    /// # Errors
    /// When it is none of these, or of no country.
    pub fn parse(text: &str) -> Result<Self, UnknownCountry> {
        let text = text.trim();
        let digits = text.strip_prefix('+').or_else(|| text.strip_prefix("00")).unwrap_or(text).trim();
        let util = &*PHONE_NUMBER_UTIL;
        let region = if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            let code: u16 = digits.parse().map_err(|_| UnknownCountry)?;
            util.get_region_for_country_code(i32::from(code)).filter(|region| *region != Region::World)
        } else if text.len() == 2 {
            Region::from_code(&text.to_ascii_uppercase()).ok()
        } else {
            None
        }
        .ok_or(UnknownCountry)?;
        let calling_code = util.get_country_code_for_region(region).ok_or(UnknownCountry)?;
        let calling_code = u16::try_from(calling_code).map_err(|_| UnknownCountry)?;
        Ok(Self { region, calling_code, trunk_prefix: trunk_prefix_of(region) })
    }

    /// The two letters of ISO 3166-1.
    pub fn code(self) -> String {
        self.region.as_region_str().to_string()
    }

    /// The calling code without `+`, such as 49.
    pub fn calling_code(self) -> u16 {
        self.calling_code
    }

    pub(crate) fn region(self) -> Region {
        self.region
    }

    /// What a caller inside this country dials before an area code, such as `0`; `None` where there is nothing to dial.
    pub(crate) fn trunk_prefix(self) -> Option<&'static str> {
        (!self.trunk_prefix.is_empty()).then_some(self.trunk_prefix)
    }
}

/// The library knows the prefix and does not tell it: it is the one that it takes away from a number of that country.
fn trunk_prefix_of(region: Region) -> &'static str {
    let util = &*PHONE_NUMBER_UTIL;
    let Ok(example) = util.get_example_number(region) else { return "" };
    let national = get_national_significant_number_owned(&example);
    let taken_away = |prefix: &&str| util.parse(format!("{prefix}{national}"), Some(region)).is_ok_and(|read| read == example);
    TRUNK_PREFIXES.into_iter().find(taken_away).unwrap_or("")
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.region.as_region_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn par_n1_five_spellings_of_one_country() {
        for same in ["+41", " 41", "41", "0041", "CH", "ch", " +41 "] {
            assert_eq!(Country::parse(same).unwrap().code(), "CH", "{same}");
        }
        assert_eq!(Country::parse("+49"), Ok(Country::GERMANY));
        assert_eq!(Country::parse("+1").unwrap().code(), "US");
        assert_eq!(Country::parse("GG").unwrap().calling_code(), 44);
        assert_eq!(format!("{0} {0:?}", Country::GERMANY), "DE DE");
    }

    #[test]
    fn par_n1_trunk_prefixes() {
        for (country, prefix) in [
            ("DE", "0"),
            ("RU", "8"),
            ("US", "1"),
            ("CA", "1"),
            ("HU", "06"),
            ("BR", "0"),
            ("CN", "0"),
            ("GB", "0"),
            ("IT", ""),
            ("ES", ""),
            ("DK", ""),
        ] {
            assert_eq!(Country::parse(country).unwrap().trunk_prefix().unwrap_or(""), prefix, "{country}");
        }
        assert_eq!(Country::parse("DE"), Ok(Country::GERMANY));
    }

    #[test]
    fn par_p5_what_is_no_country() {
        for bad in ["", " ", "+", "00", "XX", "ZZ", "999", "+800", "D", "DEU", "Germany", "4 1", "+4a", "99999999", "١", "ß", "\u{0}\u{0}"]
        {
            assert_eq!(Country::parse(bad), Err(UnknownCountry), "{bad:?}");
        }
    }
}
