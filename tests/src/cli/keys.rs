//! `key`.

use std::time::Duration;

use calldata_core::Timestamp;
use calldata_testkit::builders::DAY;
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::program::{Place, eventually};
use serde_json::{Value, json};

use super::{create_key, create_tenant, get, gettoken, history, knock, post};

/// How soon a use of a key has to be seen.
const NOTED: Duration = Duration::from_secs(20);

fn keys(place: &Place, client_id: &str) -> Vec<Value> {
    let list = place.run(&["key", "list", "--client-id", client_id, "--json"]).json();
    list["keys"].as_array().unwrap().clone()
}

fn time(value: &Value) -> Timestamp {
    Timestamp::parse_iso8601(value.as_str().unwrap()).unwrap()
}

#[test]
fn a_key_is_shown_once_and_then_only_by_its_identifier() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let made = place.run(&["key", "create", "--client-id", "c", "--json"]).json();
        let names: Vec<_> = made.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["id", "key"]);
        let text = place.run(&["key", "create", "--client-id", "c"]).fine();
        let secret = text.lines().find_map(|line| line.strip_prefix("key")).unwrap().trim();
        assert_ne!(secret, made["key"]);
        let list = place.run(&["key", "list", "--client-id", "c"]).fine();
        let json = place.run(&["key", "list", "--client-id", "c", "--json"]).fine();
        for shown in [&list, &json] {
            assert!(shown.contains(made["id"].as_str().unwrap()), "{shown}");
            assert!(!shown.contains(made["key"].as_str().unwrap()) && !shown.contains(secret), "{shown}");
        }
        let listed = keys(&place, "c");
        let first = listed.iter().find(|key| key["id"] == made["id"]).unwrap();
        assert_eq!((&first["scopes"], &first["state"]), (&json!(["read", "write"]), &json!("live")));
        assert_eq!([&first["expiresAt"], &first["revokedAt"], &first["lastUsedAt"]], [&Value::Null; 3]);
    });
}

#[test]
fn scopes_and_an_end_can_be_given_and_are_kept_to() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (reading, reader) = create_key(&place, "c", &["--scope", "read", "--expires-days", "30"]);
        let (_, writer) = create_key(&place, "c", &["--scope", "write"]);
        let (all, _) = create_key(&place, "c", &["--scope", "admin", "--scope", "write", "--scope", "read"]);
        let listed = keys(&place, "c");
        let of = |id: &str| listed.iter().find(|key| key["id"] == id).unwrap();
        assert_eq!(of(&reading)["scopes"], json!(["read"]));
        assert_eq!(of(&all)["scopes"], json!(["read", "write", "admin"]));
        assert_eq!(time(&of(&reading)["expiresAt"]).since(time(&of(&reading)["createdAt"])), DAY * 30);

        let served = place.serve(&[]);
        let client = served.client();
        let input = r#"{"callid":"call","callerid":"u"}"#;
        assert_eq!(post(&client, "c", &reader, input).await.status, 403);
        assert_eq!(post(&client, "c", &writer, input).await.status, 200);
        assert_eq!(get(&client, "c", &writer, "caller=u&callid=call").await.status, 403);
        assert_eq!(get(&client, "c", &reader, "caller=u&callid=call").await.json()["callid"], "call");
        assert_eq!(history(&client, "c", &writer, r#""callId":"call""#).await["errorCode"], 900_002);
        assert_eq!(history(&client, "c", &reader, r#""callId":"call""#).await["total"], 1);
        served.stop();
    });
}

#[test]
fn an_existing_secret_is_taken_over_if_it_is_long_enough() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let create = ["key", "create", "--client-id", "c", "--secret-stdin", "--json"];
        for short in ["", "\n", "fifteen-letters", "fifteen-letters\r\n"] {
            assert!(place.run_with_input(&create, short).failure().contains("16"), "{short:?}");
        }
        assert!(place.run_with_input(&create, "with a blank inside it").failure().contains("white space"));
        let brought = "sixteen-letters!";
        let made = place.run_with_input(&create, &format!("{brought}\n"));
        assert!(!made.out.contains(brought), "nothing repeats it");
        let made = made.json();
        assert!(made["id"].is_string() && made.get("key").is_none(), "{made}");
        assert!(!place.run_with_input(&create, brought).failure().contains(brought), "twice the same is refused, and not repeated");
        let served = place.serve(&[]);
        assert_eq!(knock(&served.client(), "c", brought).await, 200);
        served.stop();
    });
}

#[test]
fn a_key_shows_when_it_was_last_used_in_either_dialect() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (parloa, first) = create_key(&place, "c", &[]);
        let (oifde, second) = create_key(&place, "c", &[]);
        let (unused, _) = create_key(&place, "c", &[]);
        let served = place.serve(&[]);
        assert_eq!(knock(&served.client(), "c", &first).await, 200);
        assert_eq!(gettoken(&served.client(), "c", &second).await["errorCode"], 0);
        let used = |id: &str| keys(&place, "c").into_iter().find(|key| key["id"] == id).unwrap();
        eventually("uses are noted while it serves", NOTED, async || {
            used(&parloa)["lastUsedAt"].is_string() && used(&oifde)["lastUsedAt"].is_string()
        })
        .await;
        let key = used(&parloa);
        assert!(time(&key["lastUsedAt"]) >= time(&key["createdAt"]));
        assert_eq!(used(&unused)["lastUsedAt"], Value::Null);
        let text = place.run(&["key", "list", "--client-id", "c"]).fine();
        assert!(text.contains(key["lastUsedAt"].as_str().unwrap()) && text.contains("never"), "{text}");
        served.stop();
    });
}

#[test]
fn a_use_just_before_a_stop_is_noted() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &[]);
        let served = place.serve(&[]);
        assert_eq!(knock(&served.client(), "c", &key).await, 200);
        served.stop();
        assert!(keys(&place, "c")[0]["lastUsedAt"].is_string());
    });
}

#[test]
fn a_revoked_key_stays_on_the_list_as_revoked() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (id, key) = create_key(&place, "c", &[]);
        assert_eq!(place.run(&["key", "revoke", &id, "--json"]).json(), json!({ "revoked": id }));
        let revoked = keys(&place, "c")[0].clone();
        assert_eq!((&revoked["state"], revoked["revokedAt"].is_string()), (&json!("revoked"), true));
        place.run(&["key", "revoke", &id]).fine();
        assert_eq!(keys(&place, "c")[0]["revokedAt"], revoked["revokedAt"], "once is once");
        assert!(place.run(&["key", "revoke", "k0123"]).failure().contains("k0123"));
        assert!(place.run(&["key", "create", "--client-id", "nobody"]).failure().contains("nobody"));
        let served = place.serve(&[]);
        assert_eq!(knock(&served.client(), "c", &key).await, 401);
        served.stop();
    });
}
