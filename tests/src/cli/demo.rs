//! `demo`: what a newcomer sees first.

use std::process::Command;

use calldata_testkit::program::{Place, Served};
use serde_json::Value;

/// What it prints after where it listens.
fn instructions(served: &mut Served) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = served.line();
        let last = line.contains("Ctrl-C");
        lines.push(line);
        if last {
            return lines;
        }
    }
}

/// The word after this label.
fn word(lines: &[String], label: &str) -> String {
    let line = lines.iter().find_map(|line| line.strip_prefix(label)).unwrap_or_else(|| panic!("{label}: {lines:?}"));
    line.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn the_demo_prints_a_key_and_curl_lines_that_are_answered() {
    let place = Place::new();
    let mut served = place.start("demo", &[]);
    let lines = instructions(&mut served);
    let (client_id, tenant_id, key) = (word(&lines, "client id"), word(&lines, "tenant id"), word(&lines, "key"));
    assert!(lines.iter().any(|line| line.contains(&format!("{}/docs", served.address))));
    let commands: Vec<_> = lines.iter().map(|line| line.trim()).filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(commands.len(), 8, "{lines:?}");
    let answers: Vec<_> = commands
        .iter()
        .map(|command| {
            assert!(command.contains(&key) && (command.contains(&client_id) || command.contains(&tenant_id)), "{command}");
            // As a newcomer does: copied into a shell.
            let answered =
                Command::new("sh").args(["-c", &format!("{command} --silent --show-error --fail --noproxy '*'")]).output().unwrap();
            assert!(answered.status.success(), "{command}: {}", String::from_utf8_lossy(&answered.stderr));
            String::from_utf8(answered.stdout).unwrap()
        })
        .collect();
    let json = |at: usize| serde_json::from_str::<Value>(&answers[at]).unwrap_or_else(|error| panic!("{error}: {}", answers[at]));
    assert_eq!(answers[0], r#"{"choice":"success","output":{}}"#);
    assert_eq!((json(1)["content"].as_str(), json(1)["caller"].as_str()), (Some("Postman tests"), Some("+111111111")));
    assert_eq!(json(2)["callid"], "demo-call-1");
    assert!(answers[3].contains("<callid>demo-call-1</callid>") && answers[4].contains("<html") && answers[5].contains("demo-call-1"));
    assert_eq!((&json(6)["total"], &json(6)["recordList"][0]["logId"]), (&1.into(), &"demo-invoice".into()));
    assert_eq!(json(6)["recordList"][0]["recordDetials"].as_array().map(Vec::len), Some(2));
    assert_eq!((&json(7)["errorCode"], &json(7)["expireTime"]), (&0.into(), &3600.into()));
    served.stop();
    assert_eq!(std::fs::read_dir(place.path(".")).unwrap().count(), 1, "its data is gone, but for our own log");
}

#[tokio::test]
async fn the_demo_keeps_its_data_where_it_is_told_to() {
    let place = Place::new();
    let mut keys = Vec::new();
    for _ in 0..2 {
        let mut served = place.start("demo", &["--data", "kept"]);
        keys.push(word(&instructions(&mut served), "key"));
        for key in &keys {
            let found = super::get(&served.client(), "demo", key, "callid=demo-call-2&caller=%2B49307654321").await;
            assert_eq!(found.json()["callid"], "demo-call-2");
        }
        served.stop();
    }
    assert_ne!(keys[0], keys[1]);
    let place = place.with("CALLDATA_DATABASE_URL", "sqlite://kept/calldata.db");
    let tenants = place.run(&["tenant", "list", "--json"]).json();
    assert_eq!(tenants["tenants"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_page_shows_the_api_description() {
    let place = Place::new();
    let served = place.start("demo", &[]);
    let client = served.client();
    let page = client.request("GET", "/docs/", &[], Vec::new()).await;
    assert!(page.status == 200 && page.text().contains("swagger-ui"), "{}", page.text());
    for path in ["/openapi.json", "/openapi/parloa.json", "/openapi/oifde.json"] {
        let description = client.request("GET", path, &[], Vec::new()).await;
        assert!(description.json()["paths"].is_object(), "{path}");
    }
    served.stop();
}
