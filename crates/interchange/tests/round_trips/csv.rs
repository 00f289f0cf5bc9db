//! As a table.

use calldata_core::{Country, NewSession, Recording, Session, Zone};
use calldata_interchange::csv::{read, write_header, write_row};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::generated::{expected, session, stored};
use crate::native::written;

fn table(sessions: &[Session], zone: &Zone) -> Vec<u8> {
    let mut out = Vec::new();
    write_header(&mut out);
    for session in sessions {
        write_row(session, zone, &mut out);
    }
    out
}

fn sessions(table: &[u8]) -> Vec<NewSession> {
    let mut found = Vec::new();
    read(table, Country::GERMANY, |place, session| {
        found.push(session.map_err(|reason| format!("{place}: {reason}")).expect("what we wrote is read"));
        true
    })
    .expect("bytes can be read");
    found
}

fn zone() -> impl Strategy<Value = Zone> {
    select(vec!["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Kiritimati"])
        .prop_map(|name| Zone::parse(name).expect("a zone"))
}

proptest! {
    #[test]
    fn export_after_import_is_the_same_bytes(held in vec(session(), 0..3), zone in zone()) {
        let exported = table(&held, &zone);
        let again: Vec<_> = sessions(&exported).into_iter().map(stored).collect();
        prop_assert_eq!(table(&again, &zone), exported);
    }

    #[test]
    fn a_table_holds_all_that_a_document_holds(mut session in session(), zone in zone()) {
        // That there is a recording of which nothing is known is the one thing that has no cell.
        session.details.recording = session.details.recording.filter(|recording| *recording != Recording::default());
        let read = sessions(&table(std::slice::from_ref(&session), &zone)).pop().unwrap();
        prop_assert_eq!(&read, &expected(&session));
        prop_assert_eq!(written(&stored(read)), written(&session));
    }

    #[test]
    fn no_cell_begins_as_a_formula_does(session in session()) {
        let exported = table(&[session], &Zone::utc());
        let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(exported.as_slice());
        for record in reader.records() {
            for cell in &record.unwrap() {
                prop_assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']), "{cell:?}");
            }
        }
    }
}

#[test]
fn a_row_looks_like_this() {
    let document = concat!(
        r#"{"id":"s","callId":"c","caller":"+49 30 1","flag":"","content":"a\"b","receivedAt":["2024-02-27T12:16:26Z","2024-07-27T12:16:26Z"],"#,
        r#""turns":[{"no":"1","requestedAt":"2024-02-27T12:16:26Z"}]}"#
    );
    let session = stored(crate::native::read(document));
    let exported = String::from_utf8(table(&[session], &Zone::berlin())).unwrap();
    let expected = concat!(
        "id,callId,caller,ctiCallId,callingNumber,calledNumber,conversationId,countryCode,startedAt,endedAt,updatedAt,receivedFirst,",
        "receivedLast,dialogType,intent,content,fields,recordingFile,recordingLocationId,recordingPoolNode,recordingAsDelivered,",
        "announcementFile,businessInfo,flag,turns,answers,source\r\n",
        "s,c,'+49 30 1,,,,,,,,,2024-02-27T13:16:26.000+01:00,2024-07-27T14:16:26.000+02:00,,,",
        r#""""a\""b""",{},,,,,,,',"[{""no"":""1"",""userText"":"""",""intent"":"""",""reply"":"""",""#,
        r#""requestedAt"":""2024-02-27T12:16:26.000Z"",""by"":""bot"",""mode"":""common""}]",[],native"#,
        "\r\n"
    );
    assert_eq!(exported, expected);
}
