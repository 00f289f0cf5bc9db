//! Who called: the spelling that was given, and the one form in which callers are compared (PAR-N1 to PAR-N4).

use std::fmt;

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat};

use crate::Country;
use crate::id::{InvalidText, storable};

/// The fewest digits that are taken for a number without `+`, `00` or a trunk prefix.
const MIN_BARE_DIGITS: usize = 7;

/// A caller as given, and as compared.
#[derive(Clone, PartialEq, Eq)]
pub struct Caller {
    spelling: String,
    key: CallerKey,
}

impl Caller {
    /// A caller; a local number is one of `country`.
    ///
    /// # Errors
    /// When the text is empty, too long, or holds NUL.
    pub fn new(spelling: &str, country: Country) -> Result<Self, InvalidText> {
        let spelling = storable(spelling)?;
        let key = CallerKey::of(&spelling, country);
        Ok(Self { spelling, key })
    }

    /// A caller whose comparison form is known, as read back from a store.
    pub fn known(spelling: String, key: CallerKey) -> Self {
        Self { spelling, key }
    }

    /// The spelling that was given (PAR-N3).
    pub fn spelling(&self) -> &str {
        &self.spelling
    }

    /// The same, for good.
    pub fn into_spelling(self) -> String {
        self.spelling
    }

    /// The form in which callers are compared.
    pub fn key(&self) -> &CallerKey {
        &self.key
    }
}

/// Numbers stay out of logs.
impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Caller(…)")
    }
}

/// The one form in which callers are compared: `+` and all digits for a phone number, the trimmed text for anything else.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallerKey(String);

impl CallerKey {
    /// The form of any text; a local number is one of `country`.
    pub fn of(spelling: &str, country: Country) -> Self {
        Self(number_of(spelling, country).unwrap_or_else(|| spelling.trim().to_owned()))
    }

    /// A form that was stored.
    pub fn known(text: String) -> Self {
        Self(text)
    }

    /// The text that is compared.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Numbers stay out of logs.
impl fmt::Debug for CallerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallerKey(…)")
    }
}

/// The international form of a phone number, the bare digits of a number that is none; `None` for everything else.
fn number_of(spelling: &str, country: Country) -> Option<String> {
    // Nearly every number is spelled as it is compared.
    if spelling.strip_prefix('+').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())) {
        return Some(spelling.to_owned());
    }
    // Address books write marks of direction around a number, which nobody sees.
    let seen: String = spelling.chars().filter(|c| !is_unseen(*c)).collect();
    let spelling = seen.as_str();
    let inner = spelling.trim().strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(spelling);
    let text = restore_plus(without_scheme(inner));
    let text = text.trim();
    let (international, rest) = match text.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    // `(0)` is said to people who dial from inside the country; after a calling code it is not part of the number.
    let abroad = international || text.starts_with("00");
    let rest = if abroad { rest.replacen("(0)", "", 1) } else { rest.to_owned() };
    let digits = digits_of(&rest)?;
    if international {
        return Some(format!("+{digits}"));
    }
    if let Some(after) = digits.strip_prefix("00") {
        return Some(if after.starts_with(|c: char| c != '0') { format!("+{after}") } else { digits });
    }
    // A short number, or one that is not of this country: its digits are what is compared.
    Some(local_number(&digits, country).unwrap_or(digits))
}

/// A number without `+` or `00`, by the three rules of PAR-N1 in their order.
fn local_number(digits: &str, country: Country) -> Option<String> {
    let util = &*PHONE_NUMBER_UTIL;
    if let Some(prefix) = country.trunk_prefix()
        && let Some(after_prefix) = digits.strip_prefix(prefix)
    {
        let unstripped = format!("+{}{prefix}", country.calling_code());
        let as_dialled = e164(digits, country, |number| util.is_possible_number(number));
        let found = as_dialled.filter(|number| !number.starts_with(&unstripped)).or_else(|| {
            let abroad = format!("+{}{after_prefix}", country.calling_code());
            e164(&abroad, country, |number| util.is_possible_number(number))
        });
        if found.is_some() {
            return found;
        }
    }
    let valid = |number: &PhoneNumber| util.is_valid_number(number);
    if digits.starts_with(&country.calling_code().to_string()) {
        let abroad = format!("+{digits}");
        if e164(&abroad, country, valid).is_some() {
            return Some(abroad);
        }
    }
    if digits.len() >= MIN_BARE_DIGITS { e164(digits, country, valid) } else { None }
}

/// The E.164 form of what `country` would understand, when it is a number of that calling code and `accepted`.
fn e164(text: &str, country: Country, accepted: impl Fn(&PhoneNumber) -> bool) -> Option<String> {
    let util = &*PHONE_NUMBER_UTIL;
    let number = util.parse(text, Some(country.region())).ok()?;
    if number.country_code != i32::from(country.calling_code()) || !accepted(&number) {
        return None;
    }
    Some(util.format(&number, PhoneNumberFormat::E164).into_owned())
}

/// The digits among separators; `None` when there is anything else, or no digit at all. The library would read letters as keys
/// of a phone and skip what it does not know, so that two user ids could become one number.
fn digits_of(text: &str) -> Option<String> {
    let mut digits = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '0'..='9' => digits.push(c),
            // The last ones are hyphens that do not break, dashes, and a minus.
            '-' | '/' | '.' | '(' | ')' | '[' | ']' | '\u{2010}'..='\u{2015}' | '\u{2212}' => {}
            _ if c.is_whitespace() => {}
            _ => return None,
        }
    }
    (!digits.is_empty()).then_some(digits)
}

/// Marks that have no width.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The number in `tel:+49…` or `sip:+49…@host` (PAR-N2).
fn without_scheme(text: &str) -> &str {
    let trimmed = text.trim();
    for scheme in ["sips:", "sip:", "tel:"] {
        if let Some((head, rest)) = trimmed.split_at_checked(scheme.len())
            && head.eq_ignore_ascii_case(scheme)
        {
            return rest.split(['@', ';', '?', ':']).next().unwrap_or(rest);
        }
    }
    text
}

/// A `+` that was not encoded in a query arrives as a space (PAR-N4), one that was encoded twice as `%2B`.
fn restore_plus(text: &str) -> String {
    if let Some(rest) = text.strip_prefix(' ')
        && rest.starts_with(|c: char| matches!(c, '1'..='9'))
    {
        return format!("+{rest}");
    }
    match text.get(..3) {
        Some(encoded) if encoded.eq_ignore_ascii_case("%2b") => format!("+{}", text.get(3..).unwrap_or_default()),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(spelling: &str, country: &str) -> String {
        CallerKey::of(spelling, Country::parse(country).unwrap()).0
    }

    #[test]
    fn a_number_out_of_an_address_book_is_that_number() {
        for spelling in
            ["\u{202a}+49 30 123456\u{202c}", "\u{feff}030\u{2011}123456", "\u{200e}(030) 12\u{2013}34\u{2212}56", "+49\u{200b}30123456"]
        {
            assert_eq!(key(spelling, "DE"), "+4930123456", "{}", spelling.escape_unicode());
        }
        assert_eq!(key("u\u{2011}1", "DE"), "u\u{2011}1", "and a name stays one");
    }

    #[test]
    fn par_n1_spellings_of_one_number_compare_equal() {
        for same in [
            "+41791234567",
            "+41 79 123 45 67",
            "+41 (0)79 123 45 67",
            "0041791234567",
            "0041 (0)79/123.45.67",
            "079 123 45 67",
            "0791234567",
            "(079) 123-45-67",
            "41791234567",
            "791234567",
            "[079] 1234567",
            "+41\u{a0}79\u{a0}1234567",
        ] {
            assert_eq!(key(same, "CH"), "+41791234567", "{same}");
        }
    }

    #[test]
    fn par_n1_the_documented_numbers() {
        assert_eq!(key("4917670919361", "+49"), "+4917670919361");
        assert_eq!(key("017670919361", "+49"), "+4917670919361");
        assert_eq!(key("+4917670919361", "+41"), "+4917670919361");
        assert_eq!(key("+41 12345678", "+49"), "+4112345678", "taken as it is, though no such number exists");
        assert_eq!(key("+111111111", "+49"), "+111111111");
    }

    #[test]
    fn par_n1_short_numbers_and_ids_are_compared_exactly() {
        for exact in ["10086", "110", "112", "0", "00", "000", "0000123", "899149138753490944", "user-12345", "123456"] {
            assert_eq!(key(exact, "CH"), exact, "{exact}");
        }
        for same in ["116117", "116 117", "116-117", "(116) 117", "  116117 ", "tel:116117", "sip:116117@host"] {
            assert_eq!(key(same, "DE"), "116117", "separators fall away: {same}");
        }
    }

    #[test]
    fn par_n1_countries_with_other_or_no_trunk_prefixes() {
        assert_eq!(key("2125551234", "US"), "+12125551234");
        assert_eq!(key("12125551234", "US"), "+12125551234");
        assert_eq!(key("(212) 555-1234", "US"), "+12125551234");
        assert_eq!(key("88001234567", "RU"), "+78001234567");
        assert_eq!(key("01149301234567", "US"), "01149301234567", "a dialled way abroad is no number of this country");
        assert_eq!(key("0612345678", "FR"), "+33612345678");
        assert_eq!(key("06 1 234 5678", "HU"), "+3612345678");
        assert_eq!(key("06 698 12345", "IT"), "+390669812345", "in Italy the zero belongs to the number");
        assert_eq!(key("912345678", "ES"), "+34912345678");
        assert_eq!(key("0111512345678", "AR"), key("+5491112345678", "AR"));
    }

    #[test]
    fn par_n1_a_possible_number_with_trunk_prefix_is_national_also_when_it_looks_international() {
        // 049… is an area code around Leer; it must not be read as +49.
        assert_eq!(key("0491 12345", "DE"), "+4949112345");
        assert_eq!(key("0123", "DE"), key("+49123", "DE"));
    }

    #[test]
    fn par_n2_sip_and_tel_are_their_number_and_ids_are_not_numbers() {
        for same in [
            "sip:+4930123456@example.org",
            "SIP:+4930123456@example.org;user=phone",
            "sips:+4930123456@h:5061",
            "tel:+49-30-123456",
            "tel:+4930123456;ext=5",
            "sip:030123456@host",
            "sip:%2B4930123456@host",
            "<sip:+4930123456@host>",
            "sip:+4930123456:secret@host",
        ] {
            assert_eq!(key(same, "DE"), "+4930123456", "{same}");
        }
        for exact in [
            "anonymous",
            "180****9999",
            "user-12345",
            "sip:bob@example.org",
            "tel:",
            "+49x30",
            "49+30",
            "",
            "+",
            "---",
            "٠٣٠١٢٣٤٥٦",
            "+49#30",
        ] {
            assert_eq!(key(exact, "DE"), exact, "{exact}");
        }
        assert_eq!(key("  anonymous\t", "DE"), "anonymous", "trimmed");
    }

    #[test]
    fn par_n4_a_lost_plus_is_restored() {
        assert_eq!(key(" 4911111", "DE"), "+4911111");
        assert_eq!(key(" 41 79 1234567", "DE"), "+41791234567");
        assert_eq!(key("%2B4911111", "DE"), "+4911111");
        assert_eq!(key("  10086", "DE"), "10086", "two spaces are no plus");
        assert_eq!(key(" 030123456", "DE"), "+4930123456", "no country begins with 0");
    }

    #[test]
    fn par_n3_the_spelling_is_kept() {
        let caller = Caller::new("030 / 123456", Country::GERMANY).unwrap();
        assert_eq!((caller.spelling(), caller.key().as_str()), ("030 / 123456", "+4930123456"));
        assert_eq!(format!("{caller:?} {:?}", caller.key()), "Caller(…) CallerKey(…)");
        assert_eq!(Caller::new("a\0b", Country::GERMANY), Err(InvalidText::Nul));
        assert_eq!(Caller::new("", Country::GERMANY), Err(InvalidText::Empty));
    }
}
