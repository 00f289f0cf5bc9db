//! `config`, `doctor` and `healthcheck`: what is wrong is told before anybody else notices.

use std::net::TcpListener;
use std::time::Duration;

use calldata_testkit::engine::on_every_engine;
use calldata_testkit::program::{Place, eventually};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

use super::create_tenant;

/// Findings of that check.
fn of<'r>(report: &'r Value, check: &str) -> Vec<&'r Value> {
    report["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == check).collect()
}

#[test]
fn a_file_that_was_generated_changes_nothing_and_can_be_checked() {
    let place = Place::new();
    let generated = place.run(&["config", "generate"]).fine();
    place.write("calldata.toml", &generated);
    assert_eq!(place.run(&["config", "check"]).fine(), "every setting has its default\nthe settings are fine\n");
    place.write("calldata.toml", generated.replace("#drain-s = 10", "drain-s = 3"));
    let checked = place.with("CALLDATA_LOG", "warn").run(&["config", "check", "--max-requests", "7"]).fine();
    for row in ["drain-s       file         3", "log           environment  warn", "max-requests  flag         7"] {
        assert!(checked.contains(row), "{checked}");
    }
}

#[test]
fn every_mistake_in_the_settings_is_told_at_once_in_plain_words_and_none_shows_a_secret() {
    let place = Place::new().with("CALLDATA_LISTN", "127.0.0.1:1").with("CALLDATA_DATABASE_URL", "postgres://u:hush@db/x");
    place.write("calldata.toml", "listen = \"nowhere\"\ntoken-secret = 4711\ntls_key = \"x\"\n");
    let ended = place.run(&["config", "check"]);
    assert_eq!(ended.status, Some(1));
    for told in [
        "calldata.toml, line 1: listen has to be an address",
        "calldata.toml, line 2: token-secret has to be a text",
        "calldata.toml, line 3: there is no setting tls_key; did you mean tls-key?",
        "the environment variable CALLDATA_LISTN is no setting",
        "a token secret is needed with PostgreSQL",
    ] {
        assert_eq!(ended.out.matches(told).count(), 1, "{told}: {}", ended.out);
    }
    assert!(ended.err.contains("there are 5 mistakes") && ended.err.lines().count() == 1, "{}", ended.err);
    assert!(!ended.out.contains("hush") && !ended.out.contains("4711"), "{}", ended.out);
}

#[test]
fn one_mistake_hides_no_other_and_a_secret_that_is_not_in_effect_is_not_shown() {
    let place = Place::new().with("CALLDATA_LISTN", "1");
    place.write("calldata.toml", b"log = debug\nlisten = \"nowhere\"\n# \xff\ndrain-s = \"x\"\n");
    let told = place.run(&["config", "check"]).out;
    for expected in
        ["line 1: cannot be read as TOML", "line 2: listen has to be", "line 4: drain-s has to be", "CALLDATA_LISTN is no setting"]
    {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let place = Place::new();
    place.write("calldata.toml", "database-url-file = \"of-file\"\n");
    let told = place.run(&["config", "check", "--database-url", "sqlite://x.db"]).fine();
    assert!(told.contains("database-url  flag") && !told.contains("database-url-file"), "{told}");
}

#[test]
fn a_switch_that_is_on_in_the_file_can_be_turned_off_above() {
    let place = Place::new();
    place.write("calldata.toml", "no-migrate = true\n");
    assert!(place.run(&["tenant", "list"]).failure().contains("tenants cannot be read"), "there is no schema");
    place.run(&["tenant", "list", "--no-migrate=false"]).fine();
    place.with("CALLDATA_NO_MIGRATE", "0").run(&["tenant", "list"]).fine();
}

#[test]
fn a_doctor_finds_nothing_wrong_where_nothing_is() {
    on_every_engine(async |database| {
        let place = Place::with_database(database).with("CALLDATA_LISTEN", "127.0.0.1:0");
        let report = place.run(&["doctor", "--json"]).json();
        assert_eq!(report["faults"], 0, "{report}");
        for check in ["settings", "clock", "database", "schema", "open files", "ports"] {
            assert!(
                of(&report, check).iter().all(|finding| finding["verdict"] == "fine") && !of(&report, check).is_empty(),
                "{check}: {report}"
            );
        }
        let told = place.run(&["doctor"]).fine();
        assert!(told.lines().all(|line| line.starts_with("fine") || line.starts_with("note") || line.contains('→')), "{told}");
    });
}

#[test]
fn a_doctor_changes_nothing() {
    let place = Place::new().with("CALLDATA_LISTEN", "127.0.0.1:0");
    let report = place.run(&["doctor", "--json"]).json();
    assert_eq!(of(&report, "database")[0]["verdict"], "note", "{report}");
    assert!(!place.path("calldata.db").exists() && !place.path("calldata.db.token-secret").exists());
}

#[test]
fn a_doctor_leaves_other_programs_databases_alone() {
    let place = Place::new().with("CALLDATA_LISTEN", "127.0.0.1:0");
    place.write("calldata.db", "");
    place.run(&["doctor"]).fine();
    assert_eq!(std::fs::read(place.path("calldata.db")).unwrap(), b"", "nothing is written into an empty file");
    place.write("calldata.db", "no database, and long enough that nobody takes it for an empty one: a hundred characters or more, then");
    let ended = place.run(&["doctor", "--json"]);
    assert!(ended.status == Some(1) && ended.out.contains("cannot be read as a database"), "{}", ended.out);
}

#[test]
fn what_serve_would_refuse_is_told_before() {
    let place = Place::new().with("CALLDATA_LISTEN", "127.0.0.1:0");
    for endpoint in ["no url at all", "https://collector:4318", "http://user:hush@collector:4318", "ftp://collector"] {
        let checked = place.run(&["config", "check", "--otlp-endpoint", endpoint]);
        assert!(
            checked.status == Some(1) && checked.out.contains("--otlp-endpoint") && !checked.out.contains("hush"),
            "{endpoint}: {}",
            checked.out
        );
        assert!(!place.run(&["serve", "--otlp-endpoint", endpoint]).failure().contains("hush"));
    }
    place.write("calldata.db.token-secret", "");
    assert!(place.run(&["config", "check"]).out.contains("32 bytes"));
    assert!(place.run(&["serve"]).failure().contains("32 bytes"));
    std::fs::remove_file(place.path("calldata.db.token-secret")).unwrap();
    assert!(place.run(&["config", "check", "--previous-token-secret", "short"]).out.contains("32 bytes"));
}

#[test]
fn a_doctor_tells_what_is_wrong_and_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::new().with("CALLDATA_LISTEN", &address).with("CALLDATA_DATABASE_URL", "sqlite://no/such/folder/calldata.db");
    place.write("secret", "x".repeat(40));
    let place = place.with("CALLDATA_TOKEN_SECRET_FILE", "secret");
    std::process::Command::new("chmod").arg("644").arg(place.path("secret")).status().unwrap();
    let ended = place.run(&["doctor", "--json"]);
    assert_eq!(ended.status, Some(1));
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    let (database, ports, permissions) = (of(&report, "database"), of(&report, "ports"), of(&report, "permissions"));
    assert!(database[0]["verdict"] == "fault" && database[0]["do"].as_str().unwrap().contains("make the folder"), "{report}");
    assert!(ports[0]["verdict"] == "fault" && ports[0]["what"].as_str().unwrap().contains("another program"), "{report}");
    assert!(permissions.iter().any(|finding| finding["do"].as_str().is_some_and(|todo| todo.contains("chmod 600"))), "{report}");
    assert_eq!(report["faults"], 2, "{report}");
}

#[test]
fn a_gateway_that_runs_is_found_healthy_and_one_that_does_not_is_told() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let served = place.serve(&[]);
        let address = served.address.to_string();
        assert_eq!(place.run(&["healthcheck", "--listen", &address]).fine(), "ready\n");
        let report = place.run(&["doctor", "--json", "--listen", &address]).json();
        assert_eq!(of(&report, "ports")[0]["what"], format!("a gateway answers on {address}"));
        database.execute("DELETE FROM seaql_migrations WHERE version LIKE '%last_receipt'").await;
        // A check is shared by all that ask within a second.
        let healthcheck = || place.run(&["healthcheck", "--listen", &address]);
        eventually("the schema is behind", Duration::from_secs(5), async || healthcheck().status == Some(1)).await;
        assert!(healthcheck().failure().contains("behind"));
        served.stop();
        assert!(place.run(&["healthcheck", "--listen", &address]).failure().contains("nobody answers"));
    });
}

/// Writes a certificate that is good until that year, and its key.
fn write_certificate(place: &Place, name: &str, until: i32) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(["gateway.example".to_owned()]).unwrap();
    (parameters.not_before, parameters.not_after) = (rcgen::date_time_ymd(2019, 1, 1), rcgen::date_time_ymd(until, 1, 1));
    place.write(&format!("{name}.pem"), parameters.self_signed(&key).unwrap().pem());
    place.write(&format!("{name}-key.pem"), key.serialize_pem());
}

#[test]
fn a_gateway_with_tls_is_known_by_its_certificate_whose_end_is_told() {
    let place = Place::new();
    for (name, until) in [("good", 2100), ("other", 2100), ("expired", 2020)] {
        write_certificate(&place, name, until);
    }
    let tls = |name: &str| [format!("--tls-certificate={name}.pem"), format!("--tls-key={name}-key.pem")];
    let [good, other, expired] = ["good", "other", "expired"].map(tls);
    let served = place.serve(&good.each_ref().map(String::as_str));
    let listen = format!("--listen={}", served.address);
    let with = |command: &str, tls: &[String; 2]| place.run(&[command, &listen, &tls[0], &tls[1]]);
    assert_eq!(with("healthcheck", &good).fine(), "ready\n");
    assert_eq!(with("healthcheck", &other).fine(), "ready\n", "also while a new certificate is not taken up yet");
    assert!(place.run(&["healthcheck", &listen]).failure().contains("no gateway"), "it speaks TLS only");
    assert!(with("doctor", &good).fine().contains("the certificate is good for"));
    let ended = with("doctor", &expired);
    assert!(ended.status == Some(1) && ended.out.contains("FAULT  TLS") && ended.out.contains("expired"), "{}", ended.out);
    served.stop();
}
