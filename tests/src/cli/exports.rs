//! `export`, `import` of what it wrote, and `erase`.

use calldata_testkit::program::Place;

const SESSIONS: &str = concat!(
    r#"{"id":"a","callId":"c1","caller":"+49 30 123456","startedAt":"2024-02-27T12:00:00.500Z","receivedAt":["2026-11-01T00:00:00.000Z","2026-11-02T00:00:00.000Z"],"intent":"a;=1\n+2\t'-3","content":"=1+1","fields":{"z":1.10,"a":"\u0000"},"turns":[{"no":"1","userText":"-hi","by":"agent"}],"source":"native"}"#,
    "\n",
    r#"{"id":"b","callId":"c2","caller":"user-1","content":null,"fields":{"turns":"as posted"},"flag":"","source":"parloa"}"#,
    "\n",
    r#"{"id":"01900000-0000-7000-8000-000000000001","callId":"c3","caller":"110","businessInfo":[1.0],"recording":{"file":"Y:/r.wav","locationId":"7","poolNode":3},"answers":[{"no":"1","original":""}],"source":"oifde"}"#,
    "\n",
);

fn tenant(place: &Place, client_id: &str) {
    let tenant_id = format!("t-{client_id}");
    place
        .run(&[
            "tenant",
            "create",
            "--name",
            "A",
            "--client-id",
            client_id,
            "--tenant-id",
            &tenant_id,
            "--retention-days",
            "3650",
            "--json",
        ])
        .json();
}

fn exported(place: &Place, client_id: &str, format: &str, more: &[&str]) -> String {
    let ended = place.run(&[&["export", "--client-id", client_id, "--format", format][..], more].concat());
    assert_eq!(ended.status, Some(0), "{}", ended.err);
    ended.out
}

#[test]
fn what_is_exported_can_be_imported_and_exported_again_byte_by_byte() {
    let place = Place::new();
    tenant(&place, "one");
    place.write("sessions.ndjson", SESSIONS);
    assert_eq!(
        place.run(&["import", "--client-id", "one", "--format", "sessions", "sessions.ndjson"]).fine(),
        "created 3, updated 0, rejected 0\n"
    );
    for (number, format) in ["sessions", "csv", "vcon"].into_iter().enumerate() {
        let other = format!("other-{number}");
        tenant(&place, &other);
        let written = exported(&place, "one", format, &[]);
        place.write("written", &written);
        assert_eq!(
            place.run(&["import", "--client-id", &other, "--format", format, "written"]).fine(),
            "created 3, updated 0, rejected 0\n"
        );
        assert_eq!(exported(&place, &other, "sessions", &[]), exported(&place, "one", "sessions", &[]), "{format}");
        assert_eq!(exported(&place, &other, format, &[]), written, "{format}");
    }
}

#[test]
fn a_part_is_exported_into_a_new_file_and_never_over_another() {
    let place = Place::new();
    tenant(&place, "c");
    place.write("sessions.ndjson", SESSIONS);
    place.run(&["import", "--client-id", "c", "--format", "sessions", "sessions.ndjson"]).fine();
    let part = ["--from", "2024-02-27T00:00:00Z", "--to", "2024-02-28T00:00:00Z"];
    assert_eq!(exported(&place, "c", "sessions", &part).lines().count(), 1);
    let table = exported(&place, "c", "csv", &["--time-zone", "Europe/Berlin"]);
    assert!(table.contains("2024-02-27T13:00:00.500+01:00"));
    assert!(table.contains("\"a;'=1\n'+2\t''-3\""), "no spreadsheet runs a part of a cell: {table}");
    assert_eq!(exported(&place, "c", "sessions", &["--out", "file"]), "");
    assert_eq!(std::fs::read_to_string(place.path("file")).unwrap(), exported(&place, "c", "sessions", &[]));
    let over = place.run(&["export", "--client-id", "c", "--format", "csv", "--out", "file"]).failure();
    assert!(over.contains("file"), "{over}");
    assert!(place.run(&["export", "--client-id", "nobody", "--format", "csv"]).failure().contains("nobody"));
}

#[test]
fn a_caller_is_erased_for_good_and_the_number_may_come_from_standard_input() {
    let place = Place::new();
    tenant(&place, "c");
    place.write("sessions.ndjson", SESSIONS);
    place.run(&["import", "--client-id", "c", "--format", "sessions", "sessions.ndjson"]).fine();
    let theirs = ["export", "--client-id", "c", "--format", "sessions", "--caller", "-"];
    let of_caller = place.run_with_input(&theirs, "(030) 12 34 56\n");
    assert!(of_caller.out.lines().count() == 1 && of_caller.out.contains("30 123456"), "{of_caller:?}");
    assert!(place.run_with_input(&theirs, "nobody\n").out.is_empty());
    assert!(place.run_with_input(&["erase", "--client-id", "c", "--caller", "-"], "a\0b\n").failure().contains("--caller holds NUL"));
    let receipt = place.run_with_input(&["erase", "--client-id", "c", "--caller", "-", "--json"], "030 123456\n").json();
    assert_eq!(receipt["sessions"], 1);
    assert!(receipt["caller"].as_str().unwrap().starts_with("hmac:") && receipt["purgedAt"].is_string(), "{receipt}");
    assert!(!exported(&place, "c", "sessions", &[]).contains("30 123456"));
    let bytes = ["calldata.db", "calldata.db-wal"].map(|name| std::fs::read(place.path(name)).unwrap_or_default()).concat();
    assert!(!bytes.windows(9).any(|window| window == b"30 123456" || window == b"930123456"), "it is in the files no more");
    let nothing = place.run(&["erase", "--client-id", "c", "--caller", "+4930123456", "--json"]).json();
    assert_eq!(nothing["sessions"], 0);
}
