//! JSON (PAR-G4): values are the text that was posted.

use calldata_core::fields::push_member;

use super::NO_RESULT;
use crate::record::Record;

/// Room for an answer of the usual size.
const USUAL_BYTES: usize = 512;

pub(super) fn record(record: &Record) -> String {
    let mut text = String::with_capacity(USUAL_BYTES);
    text.push('{');
    record.own().for_each(|(name, value)| push_member(&mut text, name, &value));
    record.fields.push_beside(&mut text, &record.taken());
    text.push('}');
    text
}

pub(super) fn miss() -> String {
    format!(r#"{{"error":"{NO_RESULT}"}}"#)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{documented, with_fields};
    use super::*;

    #[test]
    fn par_g4_the_documented_answer() {
        let expected = r#"{"caller":"+111111111","callid":"145644644ff","timestamp":"2024-02-27T12:16:23.926Z","content":"Postman tests"}"#;
        assert_eq!(record(&documented()), expected);
        assert_eq!(miss(), r#"{"error":"no result found"}"#);
    }

    #[test]
    fn par_p4_values_are_given_back_as_posted() {
        let fields = [("n", "123456789012345678901234567890"), ("e", "1.0E+2"), ("s", r#""\u0041\u0000""#), ("\"", "[]")];
        let text = record(&with_fields(&fields));
        assert!(text.ends_with(r#","n":123456789012345678901234567890,"e":1.0E+2,"s":"\u0041\u0000","\"":[]}"#), "{text}");
    }
}
