//! Plain text (PAR-G7): a line a field.

use super::{NO_RESULT, Style, rows};
use crate::record::Record;

/// What stands before a line that goes on from the one above, so that it cannot be taken for a field.
const INDENT: &str = "    ";

pub(super) fn record(record: &Record, style: &Style) -> String {
    let lines = rows(record, style).into_iter().map(|row| format!("{}: {}\n", on_one_field(&row.label), on_one_field(&row.value)));
    lines.collect::<Vec<_>>().concat()
}

pub(super) fn miss() -> String {
    format!("error: {NO_RESULT}\n")
}

fn on_one_field(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', &format!("\n{INDENT}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{documented, style, with_fields};
    use super::super::{Format, Language};
    use super::*;

    #[test]
    fn par_g7_the_rows_of_the_html_in_the_asked_language() {
        let german = record(&documented(), &style(Format::Text, Language::German));
        assert_eq!(
            german,
            "Telefonnummer: +111111111\nDatum: 27.02.2024 13:16:23\nInhalt: Postman tests\nAnruf-ID: 145644644ff\nParloa-ID: undefined\n"
        );
        let english = record(&documented(), &style(Format::Text, Language::English));
        assert_eq!(
            english,
            "Phone number: +111111111\nDate: 2024-02-27T12:16:23.926Z\nContent: Postman tests\nCall ID: 145644644ff\nParloa-ID: undefined\n"
        );
        assert_eq!(miss(), "error: no result found\n");
    }

    #[test]
    fn par_g7_a_line_break_cannot_look_like_a_field() {
        let fields = [("a\r\nb", r#""1\nCall ID: 2\r3\r\n4""#)];
        let text = record(&with_fields(&fields), &style(Format::Text, Language::English));
        assert!(text.ends_with("Parloa-ID: undefined\na\n    b: 1\n    Call ID: 2\n    3\n    4\n"), "{text}");
        assert!(!text.contains('\r'));
    }
}
