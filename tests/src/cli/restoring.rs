//! What a restore means for clients that remember ids: an id of before is refused, and none is used again for something else.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use calldata_testkit::client::Client;
use calldata_testkit::engine::{Engine, TestDatabase, on};
use calldata_testkit::events::Event;
use calldata_testkit::program::{Place, Served};
use calldata_testkit::receiver::Receiver;

use super::{create_key, create_tenant};

/// A gateway whose database is backed up and restored, and everything that its clients remember.
struct Rig {
    place: Place,
    key: String,
    receiver: Receiver,
    /// The session that each id of an event was handed out for.
    events: HashMap<String, String>,
    /// And each id of a message.
    messages: HashMap<String, String>,
}

impl Rig {
    async fn new(place: Place) -> Self {
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &["--scope", "read", "--scope", "write", "--scope", "admin"]);
        let rig = Self { place, key, receiver: Receiver::start().await, events: HashMap::new(), messages: HashMap::new() };
        let served = rig.serve();
        let body = format!(r#"{{"url":"{}"}}"#, rig.receiver.url());
        assert_eq!(rig.ask(&served.client(), "POST", "/v1/webhooks", &[], &body).await.0, 201);
        served.stop();
        rig
    }

    fn serve(&self) -> Served {
        self.place.serve(&["--webhook-allow", "127.0.0.0/8"])
    }

    async fn ask(&self, client: &Client, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, serde_json::Value) {
        let authorization = format!("Bearer {}", self.key);
        let json = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let answer = client.request(method, path, &[&json, headers].concat(), body.as_bytes().to_vec()).await;
        (answer.status, answer.json())
    }

    /// Stores sessions of these names, which are told as events and as messages; returns the last event.
    async fn store(&mut self, served: &Served, names: &[&str]) -> Event {
        let client = served.client();
        let mut events = client.follow(&self.key, None).await;
        let before = self.receiver.messages().len();
        let mut last = None;
        for name in names {
            let body = format!(r#"{{"id":"{name}","callId":"c","caller":"110"}}"#);
            assert_eq!(self.ask(&client, "POST", "/v1/sessions", &[], &body).await.0, 201);
            let event = events.next().await;
            assert_eq!(event.data["data"]["id"], *name);
            let used = self.events.insert(event.id.clone(), (*name).to_owned());
            assert_eq!(used, None, "the id {} was handed out for another event", event.id);
            last = Some(event);
        }
        for message in &self.receiver.receives(before + names.len()).await[before..] {
            let id = message.header("webhook-id").unwrap().to_owned();
            let session = message.json()["data"]["id"].as_str().unwrap().to_owned();
            let used = self.messages.insert(id.clone(), session.clone());
            assert!(used.is_none_or(|used| used == session), "the id {id} was used for another message");
        }
        for name in names {
            assert!(self.messages.values().any(|session| session == name), "{name} was told to the endpoint");
        }
        last.expect("something was stored")
    }

    /// Whether an id is refused as the description says.
    async fn is_refused(&self, served: &Served, id: &str) -> bool {
        let client = served.client();
        let authorization = format!("Bearer {}", self.key);
        let headers = [("authorization", authorization.as_str()), ("last-event-id", id)];
        let request = client.request("GET", "/v1/events", &headers, Vec::new());
        // One that is accepted is followed without an end.
        let Ok(answer) = tokio::time::timeout(std::time::Duration::from_secs(2), request).await else { return false };
        answer.status == 400 && answer.json()["code"] == "invalid-cursor"
    }
}

async fn nothing_is_missed_and_no_id_is_used_again(place: Place, back_up: impl Fn(&Place), restore: impl Fn(&Place)) {
    let mut rig = Rig::new(place).await;
    let served = rig.serve();
    let first = rig.store(&served, &["kept-1", "kept-2", "kept-3"]).await;
    back_up(&rig.place);
    assert!(!rig.is_refused(&served, &first.id).await, "a backup changes nothing for those who go on");
    let mut remembered = vec![first.id];
    remembered.push(rig.store(&served, &["lost-1", "lost-2", "lost-3", "lost-4", "lost-5"]).await.id);
    served.stop();
    // The same backup is restored twice: what comes after either is another history.
    for round in ["a", "b"] {
        restore(&rig.place);
        let served = rig.serve();
        for id in &remembered {
            assert!(rig.is_refused(&served, id).await, "{id}, after restore {round}");
        }
        let names = [1, 2, 3, 4, 5].map(|number| format!("{round}-{number}"));
        let last = rig.store(&served, &names.each_ref().map(String::as_str)).await;
        assert!(!rig.is_refused(&served, &last.id).await, "ids of now are accepted");
        remembered.push(last.id);
        served.stop();
        let served = rig.serve();
        assert!(!rig.is_refused(&served, remembered.last().unwrap()).await, "and after a restart");
        served.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_of_a_backup_no_event_is_missed_and_no_id_used_again() {
    let backed_up = |place: &Place| drop(place.run(&["backup", "backup.db"]).fine());
    let restored = |place: &Place| {
        for beside in ["calldata.db-wal", "calldata.db-shm"] {
            let _ = std::fs::remove_file(place.path(beside));
        }
        std::fs::copy(place.path("backup.db"), place.path("calldata.db")).unwrap();
    };
    nothing_is_missed_and_no_id_is_used_again(Place::new(), backed_up, restored).await;
}

/// What was copied past the gateway cannot be told from what it was copied from: the operator says so.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_of_a_raw_copy_a_command_does_the_same() {
    let backed_up = |place: &Place| {
        for name in ["calldata.db", "calldata.db-wal"] {
            std::fs::copy(place.path(name), place.path(&format!("raw-{name}"))).unwrap();
        }
    };
    let restored = |place: &Place| {
        let _ = std::fs::remove_file(place.path("calldata.db-shm"));
        for name in ["calldata.db", "calldata.db-wal"] {
            std::fs::copy(place.path(&format!("raw-{name}")), place.path(name)).unwrap();
        }
        assert!(place.run(&["migrate", "new-epoch"]).fine().contains("a new epoch has begun"));
    };
    nothing_is_missed_and_no_id_is_used_again(Place::new(), backed_up, restored).await;
}

#[test]
fn after_a_restore_of_a_dump_no_event_is_missed_and_no_id_used_again() {
    on(&[Engine::Postgres], TestDatabase::new, async |database| {
        let url = database.url();
        let backed_up = |place: &Place| tool("pg_dump", &["--dbname", &url, "--file"], &place.path("dump.sql"));
        let restored = |place: &Place| {
            let empty = place.path("empty.sql");
            std::fs::write(&empty, "DROP SCHEMA public CASCADE; CREATE SCHEMA public;").unwrap();
            for script in [empty, place.path("dump.sql")] {
                tool("psql", &["--dbname", &url, "--quiet", "--set", "ON_ERROR_STOP=1", "--file"], &script);
            }
        };
        nothing_is_missed_and_no_id_is_used_again(Place::with_database(database), backed_up, restored).await;
    });
}

/// Runs a program of the newest PostgreSQL that is installed.
fn tool(name: &str, arguments: &[&str], file: &Path) {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed where its server is");
    let mut found: Vec<PathBuf> =
        versions.map(|version| version.unwrap().path().join("bin").join(name)).filter(|path| path.exists()).collect();
    found.sort();
    let tool = found.pop().expect("the tools of PostgreSQL are installed with its server");
    let ended = Command::new(tool).args(arguments).arg(file).output().unwrap();
    assert!(ended.status.success(), "{name}: {}", String::from_utf8_lossy(&ended.stderr));
}
