//! All sessions at once.

use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::Gateway;

use super::{created, of, problem};

#[test]
fn all_sessions_are_exported_once_in_each_format() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let theirs = gateway.a_tenant("d").await;
        let lines: Vec<_> = (0..1_000).map(|n| format!(r#"{{"id":"s{n:04}","callId":"c{n}","caller":"+4930{n:06}"}}"#)).collect();
        account.native("POST", "/sessions:batch", &lines.join("\n")).await;
        created(&theirs, r#"{"id":"theirs","callId":"c","caller":"110"}"#).await;
        let export = account.native("GET", "/sessions:export", "").await;
        assert_eq!((export.status, export.header("content-type")), (200, Some("application/x-ndjson")));
        let ids: Vec<_> = export
            .text()
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids, (0..1_000).map(|n| format!("s{n:04}")).collect::<Vec<_>>());
        let table = account.native("GET", "/sessions:export?format=csv&timeZone=Europe/Berlin", "").await;
        assert_eq!(table.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
        assert_eq!(table.text().lines().count(), 1_001);
        assert!(table.text().lines().nth(1).unwrap().contains("'+4930000000"), "no spreadsheet takes a number for a formula");
        assert!(table.text().contains("2024-02-27T13:16:23.926+01:00"));
        let vcons = account.native_with("GET", "/sessions:export", &[("accept", "application/vcon+json")], "").await;
        assert_eq!(vcons.text().lines().count(), 1_000);
        let one = account.native_with("GET", "/sessions/s0007", &[("accept", "application/vcon+json")], "").await;
        assert_eq!(one.header("content-type"), Some("application/vcon+json"));
        assert_eq!(vcons.text().lines().nth(7), Some(one.text()));
        gateway.stop().await;
    });
}

#[test]
fn an_export_is_of_what_matches_and_of_nothing_where_nothing_does() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        created(&account, r#"{"id":"a","callId":"c","caller":"110","startedAt":"2024-01-01T00:00:00Z","content":"wort"}"#).await;
        created(&account, r#"{"id":"b","callId":"c","caller":"112","startedAt":"2024-01-02T00:00:00Z"}"#).await;
        let exported = async |query: &str| account.native("GET", &format!("/sessions:export?{query}"), "").await.text().lines().count();
        for (query, expected) in [
            ("", 2),
            ("caller=110", 1),
            ("from=2024-01-02T00:00:00Z", 1),
            ("to=2024-01-01T00:00:00Z", 1),
            ("text=WORT", 1),
            ("callId=d", 0),
        ] {
            assert_eq!(exported(query).await, expected, "{query}");
        }
        for (query, field) in [("format=xml", Some("format")), ("timeZone=Nowhere", Some("timeZone")), ("from=x", Some("from"))] {
            let answer = account.native("GET", &format!("/sessions:export?{query}"), "").await;
            assert_eq!(problem(&answer), of("invalid-field", field, 400), "{query}");
        }
        gateway.stop().await;
    });
}
