//! The table of what each dialect cannot express (docs/crossing.md), held against what both answer: every fact of a session gets a
//! mark, and a dialect expresses the fact when the mark is in its answer.

use std::collections::BTreeMap;
use std::path::Path;

use calldata_core::Country;
use calldata_interchange::SessionDocument;
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::Gateway;
use serde_json::value::RawValue;

/// What a document says, and the mark that is looked for: in the Parloa answer, in the OIFDE record.
struct Fact {
    id: &'static str,
    parloa: &'static str,
    oifde: &'static str,
}

const fn fact(id: &'static str, mark: &'static str) -> Fact {
    Fact { id, parloa: mark, oifde: mark }
}

/// Everything that a session can say; the marks are in [`SESSION`].
const FACTS: [Fact; 22] = [
    fact("call-id", "mark-call"),
    fact("caller-spelling", "030 / 1234567"),
    fact("caller-canonical", "+49301234567"),
    fact("country-code", "0049"),
    fact("cti-call-id", "mark-cti"),
    fact("called-number", "mark-called"),
    fact("conversation", "mark-conversation"),
    Fact { id: "start", parloa: "2024-01-01T00:00:01", oifde: "1704067201" },
    Fact { id: "end", parloa: "2024-01-01T00:00:02", oifde: "1704067202" },
    Fact { id: "last-update", parloa: "2024-01-01T00:00:03", oifde: "1704067203" },
    Fact { id: "receipt", parloa: "2024-02-20T00:00:0", oifde: "170838720" },
    Fact { id: "dialog-type", parloa: "outbound", oifde: r#""dialogType":"2""# },
    fact("intent", "mark-intent"),
    fact("content", "mark-content"),
    fact("user-defined-fields", "mark-field"),
    fact("recording", "mark-recording"),
    fact("business-info", "mark-business"),
    fact("flag", "mark-flag"),
    fact("turns", "mark-said"),
    fact("answers", "mark-question"),
    fact("session-id", "mark-id"),
    Fact { id: "tenant-name", parloa: "oifde-c", oifde: "oifde-c" },
];

const SESSION: &str = r#"{"id":"mark-id","callId":"mark-call","caller":"030 / 1234567","countryCode":"0049","ctiCallId":"mark-cti","calledNumber":"mark-called",
"conversationId":"mark-conversation","startedAt":"2024-01-01T00:00:01Z","endedAt":"2024-01-01T00:00:02Z","updatedAt":"2024-01-01T00:00:03Z",
"receivedAt":["2024-02-20T00:00:04Z","2024-02-20T00:00:05Z"],"dialogType":"outbound","intent":"mark-intent","content":"mark-content",
"fields":{"own":"mark-field"},"recording":{"file":"mark-recording"},"businessInfo":"mark-business","flag":"mark-flag",
"turns":[{"no":"1","userText":"mark-said"}],"answers":[{"question":"mark-question"}]}"#;

/// The rows of the table: id, and whether each dialect expresses it at all.
fn table() -> BTreeMap<String, (bool, bool)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/crossing.md");
    let text = std::fs::read_to_string(path).expect("docs/crossing.md can be read");
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<_> = line.trim().strip_prefix("| `")?.split('|').map(str::trim).collect();
        let [id, _, parloa, oifde, ..] = cells[..] else { return None };
        let expressed = |cell: &str| match cell {
            "no" => false,
            cell if cell == "yes" || cell.starts_with("partly") => true,
            cell => panic!("{id}: {cell} is none of yes, no, partly"),
        };
        Some((id.trim_end_matches('`').to_owned(), (expressed(parloa), expressed(oifde))))
    });
    rows.collect()
}

#[test]
fn the_table_of_what_crosses_is_true() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let session = SessionDocument::parse(SESSION).unwrap().into_session(Country::GERMANY).unwrap();
        assert!(gateway.sessions().import(&account.tenant, vec![session]).await.remove(0).is_ok());
        let fetched = account.get("caller=030%201234567&callid=mark-call&timeLimit=99999999").await;
        let record = account.history(r#""callId":"mark-call""#).await;
        let mut seen: BTreeMap<_, _> = FACTS
            .iter()
            .map(|fact| (fact.id.to_owned(), (fetched.text().contains(fact.parloa), record.text().contains(fact.oifde))))
            .collect();

        // Only a record of the other system tells a calling number apart.
        let other = r#"{"logId":"x","callId":"other","callSorId":"u","callingNumber":"mark-calling"}"#;
        let raw = RawValue::from_string(other.to_owned()).unwrap();
        let session = oifde_api::import::session_of(&raw, Country::GERMANY).unwrap();
        assert!(gateway.sessions().import(&account.tenant, vec![session]).await.remove(0).is_ok());
        let expressed = |text: &str| text.contains("mark-calling");
        let (fetched, record) = (account.get("caller=u&callid=other").await, account.history(r#""callId":"other""#).await);
        seen.insert("calling-number".to_owned(), (expressed(fetched.text()), expressed(record.text())));

        assert_eq!(table(), seen, "id: (Parloa answer, OIFDE record)");
        gateway.stop().await;
    });
}
