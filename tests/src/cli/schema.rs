//! `migrate`, `openapi`, and the exit status of what cannot be understood.

use std::path::Path;
use std::time::Duration;

use calldata_testkit::engine::{Engine, TestDatabase, on};
use calldata_testkit::program::{Place, eventually};

use super::create_tenant;

fn states(table: &str) -> Vec<&str> {
    table.lines().skip(1).filter_map(|line| line.split_whitespace().last()).collect()
}

#[test]
fn the_schema_is_shown_made_and_taken_back() {
    on(&Engine::all(), TestDatabase::empty, async |database| {
        let place = Place::with_database(database);
        let before = place.run(&["migrate", "status"]).fine();
        assert!(!states(&before).is_empty() && states(&before).iter().all(|state| *state == "pending"), "{before}");
        let up = place.run(&["migrate", "up"]).fine();
        assert!(states(&up).iter().all(|state| *state == "made"), "{up}");
        assert_eq!(place.run(&["migrate", "up"]).fine(), up, "once more is nothing more");
        create_tenant(&place, "c");
        let down = place.run(&["migrate", "down"]).fine();
        assert_eq!(states(&down).iter().filter(|state| **state == "pending").count(), 1, "the newest one: {down}");
        assert_eq!(place.run(&["migrate", "status"]).fine(), down);
        place.run(&["migrate", "up"]).fine();
        place.run(&["tenant", "list"]).fine();
    });
}

#[test]
fn commands_leave_the_schema_alone_when_they_are_told_to() {
    on(&Engine::all(), TestDatabase::empty, async |database| {
        let place = Place::with_database(database);
        place.run(&["tenant", "list", "--no-migrate"]).failure();
        let failure = place.run(&["serve", "--no-migrate", "--listen", "127.0.0.1:0"]).failure();
        assert!(failure.contains("migrate"), "{failure}");
        assert!(states(&place.run(&["migrate", "status"]).fine()).iter().all(|state| *state == "pending"));
        place.run(&["tenant", "list"]).fine();
        let served = place.serve(&["--no-migrate"]);
        let ready = served.client().request("GET", "/readyz", &[], Vec::new()).await;
        assert_eq!((ready.status, ready.text()), (200, r#"{"ready":true,"reasons":[]}"#));
        place.run(&["migrate", "down"]).fine();
        // A check is shared by all that ask within a second.
        let client = served.client();
        let behind = async || client.request("GET", "/readyz", &[], Vec::new()).await;
        eventually("the schema is behind", Duration::from_secs(5), async || behind().await.status == 503).await;
        assert!(behind().await.text().contains("migrate up"), "{}", behind().await.text());
        served.stop();
    });
}

#[test]
fn the_api_description_is_written_and_drift_from_it_is_noticed() {
    let place = Place::new();
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi");
    place.run(&["openapi", "--out", "written"]).fine();
    let mut names: Vec<_> = std::fs::read_dir(place.path("written")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["gateway.json", "oifde.json", "parloa.json", "sessions.json"]);
    for name in names {
        let read = |folder: &Path| std::fs::read_to_string(folder.join(&name)).unwrap();
        assert!(read(&place.path("written")) == read(&committed), "{name:?} is not what is committed: just openapi");
    }
    place.run(&["openapi", "--out", "written", "--check"]).fine();

    place.write("written/oifde.json", "{}\n");
    let failure = place.run(&["openapi", "--out", "written", "--check"]).failure();
    assert!(failure.contains("oifde.json"), "{failure}");
    assert_eq!(std::fs::read_to_string(place.path("written/oifde.json")).unwrap(), "{}\n", "a check writes nothing");
    assert!(place.run(&["openapi", "--out", "nowhere", "--check"]).failure().contains("nowhere"));
    assert!(!place.path("nowhere").exists());
}

#[test]
fn what_cannot_be_understood_ends_with_two_and_touches_nothing() {
    let place = Place::new();
    for arguments in [
        &[][..],
        &["nonsense"],
        &["serve", "--nonsense"],
        &["serve", "--listen", "nowhere"],
        &["tenant"],
        &["tenant", "create"],
        &["tenant", "show"],
        &["tenant", "create", "--name", "N", "--client-id", "c", "--tenant-id", "t", "--retention-days", "0"],
        &["tenant", "create", "--name", "N", "--client-id", "c", "--tenant-id", "t", "--retention-days", "3651"],
        &["tenant", "create", "--name", "N", "--client-id", "c", "--tenant-id", "t", "--time-zone", "Mars/Base"],
        &["tenant", "create", "--name", "N", "--client-id", "c", "--tenant-id", "t", "--default-country", "XX"],
        &["tenant", "create", "--name", "N", "--client-id", "c", "--tenant-id", "t", "--miss-status", "500"],
        &["key", "create"],
        &["key", "create", "--client-id", "c", "--scope", "all"],
        &["key", "create", "--client-id", "c", "--expires-days", "0"],
        &["key", "revoke"],
        &["import", "--client-id", "c", "--format", "sessions"],
        &["import", "--client-id", "c", "--format", "xml", "file"],
        &["migrate", "sideways"],
    ] {
        let ended = place.run(arguments);
        assert_eq!((ended.status, ended.out.as_str(), ended.err.is_empty()), (Some(2), "", false), "{arguments:?}");
    }
    assert_eq!(std::fs::read_dir(place.path(".")).unwrap().count(), 0);
}

#[test]
fn help_and_version_end_well() {
    let place = Place::new();
    let help = place.run(&["--help"]).fine();
    for command in ["demo", "serve", "tenant", "key", "import", "migrate", "openapi"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
    }
    assert!(place.run(&["--version"]).fine().starts_with("calldata-gateway "));
}

#[test]
fn failures_are_one_line_and_end_with_one() {
    let place = Place::new();
    place.write("folder-in-the-way", "");
    for (arguments, named) in [
        (&["tenant", "list", "--database-url", "mysql://db/x"][..], "--database-url"),
        (&["tenant", "list", "--database-url", "sqlite://no/such/folder/calldata.db"], "no/such/folder"),
        (&["tenant", "list", "--database-url", "sqlite://:memory:"], "file"),
        (&["tenant", "list", "--database-url", "postgres://127.0.0.1:1/x"], "database"),
        (&["tenant", "list", "--config", "no-such.toml"], "no-such.toml"),
        (&["demo", "--data", "folder-in-the-way/x"], "folder-in-the-way"),
        (&["openapi", "--out", "folder-in-the-way/x"], "folder-in-the-way"),
        (&["serve", "--token-secret", "short"], "32"),
        (&["serve", "--log", "=x=y"], "--log"),
    ] {
        let failure = place.run(arguments).failure();
        assert!(failure.starts_with("calldata-gateway: ") && failure.contains(named), "{arguments:?}: {failure}");
    }
}
