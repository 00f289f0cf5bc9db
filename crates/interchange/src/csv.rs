//! Sessions as a table: RFC 4180, a row a session, a column a scalar; what has parts is JSON text in its cell.
//!
//! Spreadsheets take some cells for formulas, so those begin with `'`, and reading takes one away. An empty cell is what is not known; an
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

/// Whether a spreadsheet may take a cell that begins so for a formula, or a reader for the guard itself. The wide forms count where
/// people write Chinese or Japanese.
fn needs_guard(first: char) -> bool {
    matches!(first, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '\'' | '＝' | '＋' | '－' | '＠')
}

fn guarded(text: &str) -> Cow<'_, str> {
    if text.chars().next().is_none_or(needs_guard) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// The text of a cell; `None` when it is empty.
fn unguarded(cell: &str) -> Option<&str> {
    if cell.is_empty() { None } else { Some(cell.strip_prefix('\'').unwrap_or(cell)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_is_guarded_and_comes_back() {
        for dangerous in ["=1+1", "+49", "-5", "@x", "\tx", "\rx", "\nx", "'", "'x", "", "＝1"] {
            let cell = guarded(dangerous);
            assert!(cell.starts_with('\''), "{dangerous:?}");
            assert_eq!(unguarded(&cell), Some(dangerous));
        }
        for plain in ["0301", "a=b", " =1", "{}", "2024-02-27"] {
            assert_eq!((guarded(plain).as_ref(), unguarded(plain)), (plain, Some(plain)));
        }
        assert_eq!(unguarded(""), None);
    }
}
