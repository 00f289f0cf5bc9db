//! JSON kept as the text it arrived in.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde_json::value::RawValue;

/// The deepest nesting that is accepted; JSON readers in use among our clients stop here.
pub const MAX_DEPTH: usize = 128;
/// Up to so many names, comparing all of them is faster than an index.
const FEW: usize = 16;

/// One JSON value as text: order of members, digits of numbers and spelling of escapes are those of its author; only
/// white space between tokens is dropped, so that the text is one line.
///
/// Every instance is valid JSON, at most [`MAX_DEPTH`] deep, and free of unpaired surrogates, so that any reader can read it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct JsonText(Box<str>);

/// What kind of value a [`JsonText`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are JSON's own")]
pub enum JsonKind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// Why a text is not taken as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonTextError {
    /// The text does not follow the grammar of RFC 8259.
    #[error("not valid JSON")]
    Syntax,
    /// Objects and arrays are nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A `\u` escape names half of a surrogate pair, which no Unicode text can hold.
    #[error("holds an unpaired surrogate")]
    UnpairedSurrogate,
    /// The value is not an object.
    #[error("not an object")]
    NotAnObject,
}

impl JsonText {
    /// Takes one JSON value.
    ///
    /// # Errors
    /// When the text is not JSON, is nested too deeply or holds an unpaired surrogate.
    pub fn parse(text: &str) -> Result<Self, JsonTextError> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|_| JsonTextError::Syntax)?;
        Self::from_grammatical(raw.get())
    }

    /// A JSON string with this content.
    pub fn string(content: &str) -> Self {
        let mut text = String::with_capacity(content.len() + 2);
        push_string(&mut text, content);
        Self(text.into())
    }

    /// A text that an earlier [`JsonText`] was written out as; it is not checked again.
    pub fn trusted(text: String) -> Self {
        Self(text.into())
    }

    /// `text` follows JSON's grammar already; checks what the grammar allows and readers do not, and drops white space.
    fn from_grammatical(text: &str) -> Result<Self, JsonTextError> {
        let bytes = text.as_bytes();
        let mut compact = String::with_capacity(text.len());
        let (mut depth, mut at, mut kept) = (0_usize, 0_usize, 0_usize);
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'"' => at = string_end(bytes, at)?,
                b'{' | b'[' => {
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return Err(JsonTextError::TooDeep);
                    }
                    at += 1;
                }
                b'}' | b']' => {
                    depth -= 1;
                    at += 1;
                }
                b' ' | b'\t' | b'\n' | b'\r' => {
                    compact.push_str(text.get(kept..at).unwrap_or_default());
                    at += 1;
                    kept = at;
                }
                _ => at += 1,
            }
        }
        compact.push_str(text.get(kept..).unwrap_or_default());
        Ok(Self(compact.into()))
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The JSON text, for good.
    pub fn into_string(self) -> String {
        self.0.into()
    }

    /// What kind of value this is.
    pub fn kind(&self) -> JsonKind {
        match self.0.as_bytes().first() {
            Some(b'"') => JsonKind::String,
            Some(b'{') => JsonKind::Object,
            Some(b'[') => JsonKind::Array,
            Some(b't' | b'f') => JsonKind::Bool,
            Some(b'n') => JsonKind::Null,
            _ => JsonKind::Number,
        }
    }

    /// The content of a JSON string; `None` for every other kind.
    pub fn as_string(&self) -> Option<String> {
        let content = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if !content.contains('\\') {
            return Some(content.to_owned());
        }
        serde_json::from_str(&self.0).ok()
    }

    /// The content of a string, the digits of a number; `None` for every other kind.
    pub fn as_scalar_text(&self) -> Option<String> {
        match self.kind() {
            JsonKind::String => self.as_string(),
            JsonKind::Number => Some(self.0.to_string()),
            JsonKind::Null | JsonKind::Bool | JsonKind::Array | JsonKind::Object => None,
        }
    }

    /// For people: the content of a string, the JSON text of anything else.
    pub fn display(&self) -> Cow<'_, str> {
        self.as_string().map_or(Cow::Borrowed(&self.0), Cow::Owned)
    }

    /// For whoever looks for words: the content of a string, and of anything else the JSON text with its strings as they are meant, without
    /// escapes.
    pub fn words(&self) -> Cow<'_, str> {
        if self.kind() == JsonKind::String || !self.0.contains('\\') {
            return self.display();
        }
        let (mut words, mut rest) = (String::with_capacity(self.0.len()), &*self.0);
        while let Some((before, string)) = rest.split_once('"') {
            words.push_str(before);
            let length = end_of_string(string);
            let (string, after) = string.split_at(length);
            words.push('"');
            words.push_str(&serde_json::from_str::<String>(&format!("\"{string}\"")).unwrap_or_else(|_| string.to_owned()));
            words.push('"');
            rest = after.get(1..).unwrap_or_default();
        }
        words.push_str(rest);
        Cow::Owned(words)
    }

    /// The members of an object in order; of a name given twice the last value counts, at the place of the first.
    ///
    /// # Errors
    /// When this is no object.
    pub fn members(&self) -> Result<Vec<(String, JsonText)>, JsonTextError> {
        if self.kind() == JsonKind::Object { checked_members_of(&self.0) } else { Err(JsonTextError::NotAnObject) }
    }

    /// The members of an object as they are, a name that is given twice included; `None` for every other kind.
    pub fn pairs(&self) -> Option<Vec<(String, JsonText)>> {
        let members: RawMembers<'_> = serde_json::from_str(&self.0).ok()?;
        Some(members.0.into_iter().map(|(name, value)| (name, Self(value.get().into()))).collect())
    }

    /// The items of an array; `None` for every other kind.
    pub fn items(&self) -> Option<Vec<JsonText>> {
        let raw: Vec<&RawValue> = serde_json::from_str(&self.0).ok()?;
        Some(raw.into_iter().map(|item| Self(item.get().into())).collect())
    }

    /// Appends a spelling that two texts share exactly when they mean the same: members sorted by name, escapes resolved.
    /// Numbers are compared by their digits.
    pub fn canonical(&self, out: &mut String) {
        match self.kind() {
            JsonKind::Object => {
                let mut members = self.members().unwrap_or_default();
                members.sort_by(|a, b| a.0.cmp(&b.0));
                out.push('{');
                for (name, value) in members {
                    push_string(out, &name);
                    out.push(':');
                    value.canonical(out);
                    out.push(',');
                }
                out.push('}');
            }
            JsonKind::Array => {
                out.push('[');
                for item in self.items().unwrap_or_default() {
                    item.canonical(out);
                    out.push(',');
                }
                out.push(']');
            }
            JsonKind::String => {
                // Without an escape there is one spelling only.
                if self.0.contains('\\') {
                    push_string(out, &self.as_string().unwrap_or_default());
                } else {
                    out.push_str(&self.0);
                }
            }
            JsonKind::Null | JsonKind::Bool | JsonKind::Number => out.push_str(&self.0),
        }
    }
}

/// Appends a JSON string with this content.
pub fn push_string(text: &mut String, content: &str) {
    if content.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        text.push('"');
        text.push_str(content);
        text.push('"');
    } else {
        text.push_str(&serde_json::Value::from(content).to_string());
    }
}

/// Content stays out of logs: a value may hold a phone number or a transcript.
impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonText({:?}, {} bytes)", self.kind(), self.0.len())
    }
}

/// The members of the object in `text`, which need not be checked yet; see [`JsonText::members`].
///
/// # Errors
/// When `text` is not JSON, not an object, or a member breaks the rules of [`JsonText`].
pub fn members_of(text: &str) -> Result<Vec<(String, JsonText)>, JsonTextError> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| JsonTextError::Syntax)?;
    let whole = JsonText::from_grammatical(raw.get())?;
    if whole.kind() != JsonKind::Object {
        return Err(JsonTextError::NotAnObject);
    }
    checked_members_of(&whole.0)
}

/// The members of an object that is a [`JsonText`].
fn checked_members_of(object: &str) -> Result<Vec<(String, JsonText)>, JsonTextError> {
    let members: RawMembers<'_> = serde_json::from_str(object).map_err(|_| JsonTextError::Syntax)?;
    let mut kept: Vec<(String, JsonText)> = Vec::with_capacity(members.0.len());
    let few = members.0.len() <= FEW;
    let mut places = HashMap::new();
    for (name, value) in members.0 {
        let value = JsonText(value.get().into());
        let at = if few { kept.iter().position(|(known, _)| *known == name) } else { places.get(&name).copied() };
        match at.and_then(|at: usize| kept.get_mut(at)) {
            Some(earlier) => earlier.1 = value,
            None => {
                if !few {
                    places.insert(name.clone(), kept.len());
                }
                kept.push((name, value));
            }
        }
    }
    Ok(kept)
}

/// The names in an object that is a [`JsonText`], as they are spelled: with escapes, where there are any.
pub(crate) fn names_of_object(object: &str) -> impl Iterator<Item = &str> {
    let bytes = object.as_bytes();
    let mut at = 1;
    std::iter::from_fn(move || {
        bytes.get(at).filter(|byte| **byte == b'"')?;
        let end = string_end(bytes, at).ok()?;
        let name = object.get(at + 1..end - 1);
        at = end_of_value(bytes, end + 1) + 1;
        name
    })
}

/// The index of the comma or bracket after the value that begins at `at`.
fn end_of_value(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(bytes, at).unwrap_or(bytes.len());
                continue;
            }
            b'{' | b'[' => depth += 1,
            b',' | b'}' | b']' if depth == 0 => break,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    at
}

/// The index after the string that opens at `open`.
fn string_end(bytes: &[u8], open: usize) -> Result<usize, JsonTextError> {
    let mut at = open + 1;
    loop {
        match bytes.get(at) {
            Some(b'\\') if bytes.get(at + 1) == Some(&b'u') => match code_unit(bytes, at) {
                Some(0xD800..=0xDBFF) => {
                    let low =
                        (bytes.get(at + 6) == Some(&b'\\') && bytes.get(at + 7) == Some(&b'u')).then(|| code_unit(bytes, at + 6)).flatten();
                    if !matches!(low, Some(0xDC00..=0xDFFF)) {
                        return Err(JsonTextError::UnpairedSurrogate);
                    }
                    at += 12;
                }
                Some(0xDC00..=0xDFFF) => return Err(JsonTextError::UnpairedSurrogate),
                _ => at += 6,
            },
            Some(b'\\') => at += 2,
            Some(b'"') => return Ok(at + 1),
            Some(_) => at += 1,
            None => return Err(JsonTextError::Syntax),
        }
    }
}

/// The code unit of the `\uXXXX` escape at `at`.
fn code_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = std::str::from_utf8(bytes.get(at + 2..at + 6)?).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

/// Members in order with duplicates, values as text.
struct RawMembers<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for RawMembers<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> serde::de::Visitor<'de> for Members {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members).map(RawMembers)
    }
}

/// How many bytes of a text there are before the quote that ends the string which it begins in.
fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let is_end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        is_end
    });
    end.unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_order_and_escapes_are_kept_and_white_space_is_not() {
        let text = JsonText::parse("{ \"b\" : 123456789012345678901234567890 ,\n \"a\":\"\\u0041 x\" }").unwrap();
        assert_eq!(text.as_str(), r#"{"b":123456789012345678901234567890,"a":"\u0041 x"}"#);
    }

    #[test]
    fn unpaired_surrogates_are_refused_wherever_they_are() {
        for bad in [r#""\ud800""#, r#""\udc00 ""#, r#"[{"a":"\ud83dx"}]"#, r#"{"\ud800":1}"#, r#""\ud83d\ud83d""#] {
            assert_eq!(JsonText::parse(bad), Err(JsonTextError::UnpairedSurrogate), "{bad}");
        }
        assert_eq!(JsonText::parse(r#""\ud83d\ude00""#).unwrap().as_string().unwrap(), "😀");
        assert!(JsonText::parse(r#""\\ud800""#).is_ok(), "an escaped backslash is no surrogate");
        assert!(JsonText::parse(r#""\n\"\\dc00""#).is_ok());
        assert_eq!(JsonText::parse(r#""\ud83d!udc00!""#), Err(JsonTextError::UnpairedSurrogate));
        assert_eq!(JsonText::parse(r#""\ud83d\\dc00!""#), Err(JsonTextError::UnpairedSurrogate));
    }

    #[test]
    fn nesting_is_accepted_up_to_the_limit_and_refused_beyond() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(JsonText::parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(JsonText::parse(&nested(MAX_DEPTH + 1)), Err(JsonTextError::TooDeep));
        assert_eq!(JsonText::parse(&nested(5_000)), Err(JsonTextError::TooDeep));
        let wide = format!("[{}{{}}]", "[[]],{\"a\":{}},".repeat(MAX_DEPTH));
        assert!(JsonText::parse(&wide).is_ok(), "many side by side are not deep");
    }

    #[test]
    fn the_last_of_two_members_counts_at_the_place_of_the_first() {
        let members = members_of(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        let members: Vec<_> = members.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(members, [("a", "3"), ("b", "2")]);
        let many: Vec<_> = (0..50).flat_map(|n| [format!(r#""k{}":{n}"#, n % 25), format!(r#""m{n}":null"#)]).collect();
        let members = members_of(&format!("{{{}}}", many.join(","))).unwrap();
        let expected: Vec<_> = (0..50).flat_map(|n| (n < 25).then(|| format!("k{n}")).into_iter().chain([format!("m{n}")])).collect();
        assert_eq!(members.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), expected);
        assert_eq!(members[0].1.as_str(), "25");
    }

    #[test]
    fn words_are_those_that_are_meant_however_they_are_written() {
        let words = |text: &str| JsonText::parse(text).unwrap().words().into_owned();
        assert_eq!(words(r#""Gr\u00f6\u00dfe""#), "Größe");
        assert_eq!(words(r#"{"a":["Gr\u00f6\u00dfe","say \"hi\"\n"],"\\":1}"#), "{\"a\":[\"Größe\",\"say \"hi\"\n\"],\"\\\":1}");
        assert_eq!(words(r#"{"a":"Größe","n":1.50}"#), r#"{"a":"Größe","n":1.50}"#);
        assert_eq!(words(r#"["\\","\ud83d\ude00",null]"#), r#"["\","😀",null]"#);
    }

    #[test]
    fn pairs_tell_what_is_given_twice() {
        let pairs = JsonText::parse(r#"{"a": 1,"b":[2], "\u0061":3}"#).unwrap().pairs().unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", "1"), ("b", "[2]"), ("a", "3")]);
        assert_eq!(JsonText::parse("[1]").unwrap().pairs(), None);
    }

    #[test]
    fn canonical_spelling_ignores_order_and_escapes_but_not_digits() {
        let canonical = |text: &str| {
            let mut out = String::new();
            JsonText::parse(text).unwrap().canonical(&mut out);
            out
        };
        assert_eq!(canonical(r#"{"a":{"x":1,"y":"A"},"b":[1,2]}"#), canonical(r#"{"b":[1,2],"a":{"y":"\u0041","x":1}}"#));
        assert_ne!(canonical("[1,2]"), canonical("[2,1]"));
        assert_ne!(canonical("123456789012345678901234567890"), canonical("123456789012345678901234567891"));
        assert_ne!(canonical(r#""1""#), canonical("1"));
    }

    #[test]
    fn a_string_is_written_as_the_library_writes_it() {
        for content in ["", "plain ü 😀", "a\"b", "\\", "\n\r\t\u{8}\u{c}\0\u{1f}", "\u{7f}", "/"] {
            let text = JsonText::string(content);
            assert_eq!(text.as_str(), serde_json::to_string(content).unwrap());
            assert_eq!(text.as_string().as_deref(), Some(content));
        }
        assert_eq!(JsonText::parse(r#""\u0041\\""#).unwrap().as_string().as_deref(), Some("A\\"));
        assert_eq!(JsonText::parse("12").unwrap().as_string(), None);
    }

    #[test]
    fn debug_shows_no_content() {
        assert_eq!(format!("{:?}", JsonText::string("+4930123")), "JsonText(String, 10 bytes)");
    }

    #[test]
    fn kinds_and_texts() {
        let kinds = [
            ("null", JsonKind::Null),
            ("true", JsonKind::Bool),
            ("-1", JsonKind::Number),
            (r#""x""#, JsonKind::String),
            ("[]", JsonKind::Array),
            ("{}", JsonKind::Object),
        ];
        for (text, kind) in kinds {
            assert_eq!(JsonText::parse(text).unwrap().kind(), kind);
        }
        assert_eq!(JsonText::parse("12.50").unwrap().as_scalar_text().as_deref(), Some("12.50"));
        assert_eq!(JsonText::parse("true").unwrap().as_scalar_text(), None);
        assert_eq!(JsonText::parse("[1, 2]").unwrap().display(), "[1,2]");
        assert_eq!(JsonText::string("a\"b").display(), "a\"b");
        assert_eq!(JsonText::parse("[1,\"b\"]").unwrap().items().unwrap().len(), 2);
        assert!(JsonText::parse("1").unwrap().items().is_none());
        assert_eq!(members_of("[]").unwrap_err(), JsonTextError::NotAnObject);
        assert_eq!(members_of("{").unwrap_err(), JsonTextError::Syntax);
        assert_eq!(JsonText::parse("{} {}").unwrap_err(), JsonTextError::Syntax);
    }
}
