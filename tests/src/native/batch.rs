//! Many sessions, one a line.

use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::{Account, Gateway};
use serde_json::{Value, json};

use super::of;

async fn batch(account: &Account, lines: &str) -> Vec<Value> {
    let answer = account.native_with("POST", "/sessions:batch", &[("content-type", "application/x-ndjson")], lines).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-ndjson")));
    answer.text().lines().map(|line| serde_json::from_str(line).expect("a result is JSON")).collect()
}

#[test]
fn each_line_has_its_result_and_a_bad_one_fails_alone() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let large = format!(r#"{{"callId":"large","caller":"x","content":"{}"}}"#, "x".repeat(1 << 20));
        let lines = [
            r#"{"id":"one","callId":"c","caller":"110"}"#,
            "nonsense",
            "",
            r#"{"id":"one","callId":"other","caller":"110"}"#,
            &large,
            r#"{"callId":"c","caller":"110","colour":"red"}"#,
            "{\"id\":\"two\",\"callId\":\"c\",\"caller\":\"110\"}\r",
        ];
        let results = batch(&account, &lines.join("\n")).await;
        let shown: Vec<_> = results.iter().map(|result| (result["line"].as_u64().unwrap(), result["status"].as_str().unwrap())).collect();
        let expected = [(1, "created"), (2, "rejected"), (4, "duplicate"), (5, "rejected"), (6, "rejected"), (7, "created")];
        assert_eq!(shown, expected);
        assert_eq!((results[0]["id"].clone(), results[2]["id"].clone()), (json!("one"), json!("one")));
        let problem = |result: &Value| {
            let text = |name: &str| result["problem"][name].as_str().map(str::to_owned);
            let status = result["problem"]["status"].as_u64().unwrap();
            (text("code").unwrap(), text("field"), u16::try_from(status).unwrap())
        };
        assert_eq!(problem(&results[1]), of("invalid-request", None, 400));
        assert_eq!(problem(&results[3]), of("too-large", None, 413));
        assert_eq!(problem(&results[4]), of("unknown-member", Some("colour"), 400));
        let one = account.native("GET", "/sessions/one", "").await.json();
        assert_eq!(one["callId"], "c", "a duplicate changes nothing");
        assert_eq!(account.native("GET", "/sessions?count=true", "").await.json()["total"], 2);
        assert_eq!(batch(&account, "").await, Vec::<Value>::new());
        gateway.stop().await;
    });
}

#[test]
fn ten_thousand_lines_are_stored_in_order() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let lines: Vec<_> = (0..10_000).map(|n| format!(r#"{{"id":"s{n}","callId":"c{n}","caller":"110"}}"#)).collect();
        let lines = lines.join("\n");
        let results = batch(&account, &lines).await;
        assert_eq!(results.len(), 10_000);
        for (n, result) in results.iter().enumerate() {
            assert_eq!(*result, json!({ "line": n + 1, "status": "created", "id": format!("s{n}") }));
        }
        assert_eq!(account.native("GET", "/sessions?count=true&limit=1", "").await.json()["total"], 10_000);
        let again = batch(&account, &lines).await;
        assert!(again.iter().all(|result| result["status"] == "duplicate"));
        gateway.stop().await;
    });
}
