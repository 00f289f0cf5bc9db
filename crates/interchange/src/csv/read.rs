//! Reading such a table.

use std::borrow::Cow;
use std::io::{self, BufRead};

use calldata_core::json_text::push_string;
use calldata_core::{Country, JsonText, NewSession};
use csv::{ByteRecord, ErrorKind, ReaderBuilder};

use super::{COLUMNS, Kind, unguarded};
use crate::SessionDocument;
use crate::bounded::{Allowance, Bounded};
use crate::invalid::shown;
use crate::object::{Object, push_array};

/// Reads row by row and hands over each session with its place; `hand_over` returns whether to go on. The first row names the columns,
/// in any order; `callId` and `caller` have to be among them. A local number without a country is one of `country`. Rows are counted as
/// a spreadsheet counts them, from the row of names.
///
/// # Errors
/// When the input cannot be read. What is wrong with a row, or with the names, is handed over instead.
pub fn read(
    input: impl BufRead,
    country: Country,
    mut hand_over: impl FnMut(String, Result<NewSession, String>) -> bool,
) -> io::Result<()> {
    let allowance = Allowance::new();
    // The names are read as a row, and a row with too few cells is ours to report.
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(Bounded::new(input, &allowance));
    let mut record = ByteRecord::new();
    let mut header = None;
    for row in 1_u64.. {
        allowance.renew();
        let place = format!("row {row}");
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) if allowance.is_used_up() => {
                hand_over(place, Err("is too long, and what follows it is not read".into()));
                break;
            }
            Err(error) => {
                return Err(match error.into_kind() {
                    ErrorKind::Io(error) => error,
                    _ => io::Error::from(io::ErrorKind::InvalidData),
                });
            }
        }
        match &header {
            None => match columns(&record) {
                Ok(columns) => header = Some(columns),
                Err(reason) => {
                    hand_over(place, Err(reason));
                    break;
                }
            },
            Some(columns) => {
                let session = document(columns, &record).and_then(|document| {
                    let session = SessionDocument::parse(&document).and_then(|document| document.into_session(country));
                    session.map_err(|error| error.to_string())
                });
                if !hand_over(place, session) {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// The columns that the first row names.
fn columns(names: &ByteRecord) -> Result<Vec<&'static str>, String> {
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        let name = std::str::from_utf8(name).map_err(|_| "a name of a column is not valid UTF-8".to_owned())?;
        let known = COLUMNS.iter().find(|(known, _)| *known == name.trim()).map(|(known, _)| *known);
        let known = known.ok_or_else(|| format!("unknown column `{}`", shown(name)))?;
        if columns.contains(&known) {
            return Err(format!("column `{known}` is given twice"));
        }
        columns.push(known);
    }
    match ["callId", "caller"].into_iter().find(|needed| !columns.contains(needed)) {
        Some(missing) => Err(format!("column `{missing}` is missing")),
        None => Ok(columns),
    }
}

/// The cells of a row, by column.
struct Cells<'r>(Vec<(&'static str, &'r str)>);

impl<'r> Cells<'r> {
    fn of(columns: &[&'static str], row: &'r ByteRecord) -> Result<Self, String> {
        if let Some(without) = columns.get(row.len()) {
            return Err(format!("has no cell for `{without}`"));
        }
        if let (true, Some(last)) = (row.len() > columns.len(), columns.last()) {
            return Err(format!("has more cells than there are columns, after `{last}`"));
        }
        let cell = |(name, cell): (&&'static str, &'r [u8])| {
            std::str::from_utf8(cell).map(|cell| (*name, cell)).map_err(|_| format!("{name} is not valid UTF-8"))
        };
        columns.iter().zip(row).map(cell).collect::<Result<_, _>>().map(Self)
    }

    fn text(&self, name: &str) -> Option<Cow<'r, str>> {
        self.0.iter().find(|(known, _)| *known == name).and_then(|(_, cell)| unguarded(cell))
    }

    fn json(&self, name: &str) -> Result<Option<JsonText>, String> {
        self.text(name).map(|text| JsonText::parse(&text).map_err(|error| format!("{name}: {error}"))).transpose()
    }
}

/// The document of ours that a row stands for.
fn document(columns: &[&'static str], row: &ByteRecord) -> Result<String, String> {
    let cells = Cells::of(columns, row)?;
    let mut text = String::new();
    let mut object = Object::open(&mut text);
    for (name, kind) in COLUMNS {
        match kind {
            Kind::Text => object.string_if_known(name, cells.text(name).as_deref()),
            Kind::Json => {
                if let Some(json) = cells.json(name)? {
                    object.json(name, json.as_str());
                }
            }
            Kind::Part => {}
        }
    }
    match (cells.text("receivedFirst"), cells.text("receivedLast")) {
        (None, None) => {}
        (None, Some(_)) => return Err("receivedFirst is missing".into()),
        (Some(_), None) => return Err("receivedLast is missing".into()),
        (Some(first), Some(last)) => {
            object.value("receivedAt", |out| push_array(out, [first, last], |time, out| push_string(out, &time)));
        }
    }
    let recording = recording(&cells)?;
    if recording != "{}" {
        object.json("recording", &recording);
    }
    object.close();
    Ok(text)
}

fn recording(cells: &Cells<'_>) -> Result<String, String> {
    let mut text = String::new();
    let mut object = Object::open(&mut text);
    object.string_if_known("file", cells.text("recordingFile").as_deref());
    object.string_if_known("locationId", cells.text("recordingLocationId").as_deref());
    object.string_if_known("announcementFile", cells.text("announcementFile").as_deref());
    if let Some(node) = cells.text("recordingPoolNode") {
        let node: i64 = node.parse().map_err(|_| "recordingPoolNode must be a whole number".to_owned())?;
        object.json("poolNode", &node.to_string());
    }
    object.string_if_known("asDelivered", cells.text("recordingAsDelivered").as_deref());
    object.close();
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(table: &[u8]) -> Vec<(String, Result<String, String>)> {
        let mut found = Vec::new();
        read(table, Country::GERMANY, |place, session| {
            found.push((place, session.map(|session| session.details.call_id.into_string())));
            true
        })
        .unwrap();
        found
    }

    fn expected(found: &[(&str, Result<&str, &str>)]) -> Vec<(String, Result<String, String>)> {
        let owned =
            |(place, session): &(&str, Result<&str, &str>)| ((*place).to_owned(), session.map(str::to_owned).map_err(str::to_owned));
        found.iter().map(owned).collect()
    }

    #[test]
    fn columns_come_in_any_order_and_bad_rows_are_named() {
        let table = b"\xef\xbb\xbfcaller,callId,startedAt,fields,receivedFirst,receivedLast,recordingPoolNode\n\
            '+49 30 1,one,2024-02-27T13:16:23+01:00,\"{\"\"a\"\":\r\n1}\",,,\n\
            x,two,soon,,,,\r\n\
            x,three,,{,,,\n\
            x,four\n\
            \n\
            x,five,,,,,,,\n\
            x,\xff,,,,,\n\
            x,seven,,,2024-02-27,,\n\
            x,eight,,,,,7\n\
            x,nine,,,,,many\n\
            x,,,,,,\n\
            x,ten,,,,,";
        let cases = [
            ("row 2", Ok("one")),
            ("row 3", Err("startedAt is not a time (RFC 3339)")),
            ("row 4", Err("fields: not valid JSON")),
            ("row 5", Err("has no cell for `startedAt`")),
            ("row 6", Err("has more cells than there are columns, after `recordingPoolNode`")),
            ("row 7", Err("callId is not valid UTF-8")),
            ("row 8", Err("receivedLast is missing")),
            ("row 9", Err("unknown field `recording.poolNode`")),
            ("row 10", Err("recordingPoolNode must be a whole number")),
            ("row 11", Err("missing field `callId`")),
            ("row 12", Ok("ten")),
        ];
        assert_eq!(found(table), expected(&cases));
    }

    #[test]
    fn a_table_with_other_columns_is_none_of_ours() {
        for (names, reason) in [
            ("caller,callId,colour", "unknown column `colour`"),
            ("caller,callId,caller", "column `caller` is given twice"),
            ("caller,id", "column `callId` is missing"),
            ("caller;callId", "unknown column `caller;callId`"),
        ] {
            assert_eq!(found(format!("{names}\nx,y,z\n").as_bytes()), expected(&[("row 1", Err(reason))]));
        }
        assert_eq!(found(b""), []);
    }

    #[test]
    fn nothing_is_read_beyond_what_is_wanted() {
        let mut places = Vec::new();
        read(&b"caller,callId\na,1\nb,2\nc,3\n"[..], Country::GERMANY, |place, _| {
            places.push(place);
            places.len() < 2
        })
        .unwrap();
        assert_eq!(places, ["row 2", "row 3"]);
    }

    #[test]
    fn a_row_without_an_end_is_too_long() {
        let table = io::BufReader::new(io::Read::chain(&b"caller,callId\nx,\"y"[..], io::repeat(b'y')));
        let mut found = Vec::new();
        read(table, Country::GERMANY, |place, session| {
            found.push((place, session.map(|_| ())));
            true
        })
        .unwrap();
        assert_eq!(found, [("row 2".to_owned(), Err("is too long, and what follows it is not read".to_owned()))]);
    }
}
