//! Sessions as a table: RFC 4180, a row a session, a column a scalar; what has parts is JSON text in its cell.
//!
//! Spreadsheets take some cells for formulas, so those begin with `'`, and reading takes one away. So does what would be such a cell where
//! a spreadsheet divides a cell at a semicolon, a tab or a line break. An empty cell is what is not known; an
//! empty text is the cell `'`. Times carry the offset of the zone that the table is made for.

mod read;

use std::borrow::Cow;

use calldata_core::{Details, Recording, Session, Source, Timestamp, Zone};

use crate::write::{calling_number, content, dialog_type_name, source_name, text_of, write_answers, write_turns};

pub use read::read;

/// What a cell holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The text of the session's member of the same name.
    Text,
    /// The JSON of the member of the same name.
    Json,
    /// A part of another member.
    Part,
}

/// All columns in order.
const COLUMNS: [(&str, Kind); 27] = [
    ("id", Kind::Text),
    ("callId", Kind::Text),
    ("caller", Kind::Text),
    ("ctiCallId", Kind::Text),
    ("callingNumber", Kind::Text),
    ("calledNumber", Kind::Text),
    ("conversationId", Kind::Text),
    ("countryCode", Kind::Text),
    ("startedAt", Kind::Text),
    ("endedAt", Kind::Text),
    ("updatedAt", Kind::Text),
    ("receivedFirst", Kind::Part),
    ("receivedLast", Kind::Part),
    ("dialogType", Kind::Text),
    ("intent", Kind::Text),
    ("content", Kind::Json),
    ("fields", Kind::Json),
    ("recordingFile", Kind::Part),
    ("recordingLocationId", Kind::Part),
    ("recordingPoolNode", Kind::Part),
    ("recordingAsDelivered", Kind::Part),
    ("announcementFile", Kind::Part),
    ("businessInfo", Kind::Json),
    ("flag", Kind::Text),
    ("turns", Kind::Json),
    ("answers", Kind::Json),
    ("source", Kind::Text),
];

/// Appends the row of names that a table begins with.
pub fn write_header(out: &mut Vec<u8>) {
    let mut row = Row::begin(out);
    for (name, _) in COLUMNS {
        row.text(Some(name));
    }
    row.end();
}

/// Appends the row of a session; its times are told in `zone`.
pub fn write_row(session: &Session, zone: &Zone, out: &mut Vec<u8>) {
    let Session { id, received_first, received_last, details } = session;
    let Details {
        call_id,
        caller,
        country_code,
        cti_call_id,
        calling_number: _,
        called_number,
        conversation,
        started_at,
        ended_at,
        updated_at,
        dialog_type,
        intent,
        content: _,
        fields,
        recording,
        business_info,
        flag,
        turns,
        answers,
        source,
    } = details;
    let nothing = Recording::default();
    let Recording { file, location_id, announcement_file, pool_node, as_delivered } = recording.as_ref().unwrap_or(&nothing);
    let of_pool = *source == Source::Oifde;
    let json = |write: &dyn Fn(&mut String)| {
        let mut text = String::new();
        write(&mut text);
        text
    };

    let mut row = Row::begin(out);
    row.text(Some(id.as_str()));
    row.text(Some(call_id.as_str()));
    row.text(Some(caller.spelling()));
    row.text(cti_call_id.as_deref());
    row.text(calling_number(details));
    row.text(called_number.as_deref());
    row.text(text_of(conversation.as_ref()).as_deref());
    row.text(text_of(country_code.as_ref()).as_deref());
    row.time(*started_at, zone);
    row.time(*ended_at, zone);
    row.time(*updated_at, zone);
    row.time(Some(*received_first), zone);
    row.time(Some(*received_last), zone);
    row.text(dialog_type.as_ref().map(dialog_type_name).as_deref());
    row.text(intent.as_deref());
    row.text(content(details).map(calldata_core::JsonText::as_str));
    row.text(Some(fields.as_json()));
    row.text(file.as_deref());
    row.text(location_id.as_deref());
    row.text(pool_node.filter(|_| of_pool).map(|node| node.to_string()).as_deref());
    row.text(as_delivered.as_deref().filter(|_| of_pool));
    row.text(announcement_file.as_deref());
    row.text(business_info.as_ref().map(calldata_core::JsonText::as_str));
    row.text(flag.as_deref());
    row.text(Some(&json(&|out| write_turns(turns, out))));
    row.text(Some(&json(&|out| write_answers(answers, out))));
    row.text(Some(source_name(*source)));
    row.end();
}

/// A row that is being written.
struct Row<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Row<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        Self { out, empty: true }
    }

    fn text(&mut self, text: Option<&str>) {
        if !std::mem::replace(&mut self.empty, false) {
            self.out.push(b',');
        }
        let Some(text) = text else { return };
        let cell = guarded(text);
        if !cell.contains(['"', ',', '\r', '\n']) {
            self.out.extend_from_slice(cell.as_bytes());
            return;
        }
        self.out.push(b'"');
        self.out.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
        self.out.push(b'"');
    }

    fn time(&mut self, time: Option<Timestamp>, zone: &Zone) {
        self.text(time.map(|time| zone.rfc3339(time)).as_deref());
    }

    fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

/// What a formula begins with. The wide forms count where people write Chinese or Japanese.
fn begins_formula(first: char) -> bool {
    matches!(first, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠')
}

/// Whether a spreadsheet may take a cell that begins so for a formula, or a reader for the guard itself.
fn needs_guard(first: char) -> bool {
    begins_formula(first) || is_separator(first) && first != ';' || first == '\''
}

/// Where another cell may begin within a cell: a spreadsheet whose list separator is a semicolon or a tab does not heed quotes that stand
/// within a field, and takes a line break for the end of a row.
fn is_separator(character: char) -> bool {
    matches!(character, ';' | '\t' | '\r' | '\n')
}

/// Whether a part of a cell would run as a formula if a cell began with it, behind guards and the quotes that a table adds.
fn runs_within(part: &str) -> bool {
    part.trim_start_matches('\'').trim_start_matches('"').starts_with(begins_formula)
}

/// A cell's text with guards: at its beginning, and behind each separator within it.
fn guarded(text: &str) -> Cow<'_, str> {
    let needs_first = text.chars().next().is_none_or(needs_guard);
    if !needs_first && !text.contains(is_separator) {
        return Cow::Borrowed(text);
    }
    let mut cell = String::from(if needs_first { "'" } else { "" });
    for part in text.split_inclusive(is_separator) {
        if cell.ends_with(is_separator) && runs_within(part) {
            cell.push('\'');
        }
        cell.push_str(part);
    }
    Cow::Owned(cell)
}

/// The text of a cell; `None` when it is empty.
fn unguarded(cell: &str) -> Option<Cow<'_, str>> {
    if cell.is_empty() {
        return None;
    }
    let whole = cell.strip_prefix('\'').unwrap_or(cell);
    if !whole.contains(is_separator) {
        return Some(Cow::Borrowed(whole));
    }
    let mut text = String::with_capacity(whole.len());
    for part in whole.split_inclusive(is_separator) {
        let is_guarded = text.ends_with(is_separator) && runs_within(part);
        text.push_str(part.strip_prefix('\'').filter(|_| is_guarded).unwrap_or(part));
    }
    Some(Cow::Owned(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_is_guarded_and_comes_back() {
        for dangerous in ["=1+1", "+49", "-5", "@x", "\tx", "\rx", "\nx", "'", "'x", "", "＝1"] {
            let cell = guarded(dangerous);
            assert!(cell.starts_with('\''), "{dangerous:?}");
            assert_eq!(unguarded(&cell).as_deref(), Some(dangerous));
        }
        for plain in ["0301", "a=b", " =1", "{}", "2024-02-27", "a;b", "a;'b", "a; =1", "a;\"b\"", "a\r\nb", ";"] {
            assert_eq!((guarded(plain).as_ref(), unguarded(plain).as_deref()), (plain, Some(plain)));
        }
        assert_eq!(unguarded(""), None);
    }

    #[test]
    fn what_would_run_behind_a_separator_within_a_cell_is_guarded_too() {
        for (text, cell) in [
            ("a;=1", "a;'=1"),
            ("a\t+1", "a\t'+1"),
            ("a\r\n-1\n@x", "a\r\n'-1\n'@x"),
            ("a;\"=1", "a;'\"=1"),
            ("a;'=1", "a;''=1"),
            (";=1", ";'=1"),
            ("\t=1", "'\t'=1"),
            ("=1;=1", "'=1;'=1"),
            ("a;＝1", "a;'＝1"),
        ] {
            assert_eq!(guarded(text), cell);
            assert_eq!(unguarded(cell).as_deref(), Some(text));
        }
    }

    /// However a table is taken apart, at a comma or at another separator, no part of it begins as a formula does.
    #[test]
    fn every_short_text_comes_back_and_no_part_of_its_cell_runs() {
        let alphabet = [';', '\t', '\n', '\'', '"', '=', 'a'];
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            let longer: Vec<_> = texts.iter().flat_map(|text| alphabet.iter().map(move |letter| format!("{text}{letter}"))).collect();
            for text in &longer {
                let cell = guarded(text);
                assert_eq!(unguarded(&cell).as_deref(), Some(text.as_str()), "{cell:?}");
                let mut parts = cell.split(is_separator);
                assert!(parts.next().is_some_and(|first| !first.starts_with('=')), "{text:?} {cell:?}");
                assert!(parts.all(|part| !part.trim_start_matches('"').starts_with('=')), "{text:?} {cell:?}");
            }
            texts = longer;
        }
    }
}
