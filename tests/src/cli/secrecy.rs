//! What nobody else may read: files and messages. For logs see `security/canary.rs`.

use std::os::unix::fs::PermissionsExt;

use calldata_testkit::engine::{Engine, TestDatabase, on};
use calldata_testkit::program::Place;

use super::{create_key, create_tenant, gettoken, history};

#[test]
fn the_database_and_the_token_secret_are_readable_by_their_owner_alone() {
    let place = Place::new();
    let served = place.serve(&[]);
    let mode = |name: &str| std::fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777;
    for name in ["calldata.db", "calldata.db-wal", "calldata.db-shm", "calldata.db.token-secret"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    served.stop();
    let secret = std::fs::read_to_string(place.path("calldata.db.token-secret")).unwrap();
    let database = std::fs::read(place.path("calldata.db")).unwrap();
    let holds = database.windows(secret.trim().len()).any(|bytes| bytes == secret.trim().as_bytes());
    assert!(secret.trim().len() >= 32 && !holds, "the secret is not in the database");
}

#[test]
fn what_is_exported_into_a_file_is_readable_by_its_owner_alone() {
    let place = Place::new();
    create_tenant(&place, "c");
    assert_eq!(place.run(&["export", "--client-id", "c", "--format", "csv", "--out", "sessions.csv"]).status, Some(0));
    assert_eq!(std::fs::metadata(place.path("sessions.csv")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn oif_a2_a_token_outlives_a_restart_without_any_setting() {
    let place = Place::new();
    create_tenant(&place, "c");
    let (_, key) = create_key(&place, "c", &[]);
    let served = place.serve(&[]);
    let token = gettoken(&served.client(), "c", &key).await["authToken"].as_str().unwrap().to_owned();
    served.stop();
    let served = place.serve(&[]);
    assert_eq!(history(&served.client(), "c", &token, r#""callId":"x""#).await["errorCode"], 0);
    served.stop();
    std::fs::remove_file(place.path("calldata.db.token-secret")).unwrap();
    let served = place.serve(&[]);
    assert_eq!(history(&served.client(), "c", &token, r#""callId":"x""#).await["errorCode"], 900_002, "another secret was made");
    served.stop();
}

#[test]
fn oif_a2_postgresql_demands_a_token_secret() {
    on(&[Engine::Postgres], TestDatabase::new, async |database| {
        let place = Place::with_database(database).without("CALLDATA_TOKEN_SECRET");
        let failure = place.run(&["serve", "--listen", "127.0.0.1:0"]).failure();
        assert!(failure.contains("CALLDATA_TOKEN_SECRET") && failure.contains("PostgreSQL"), "{failure}");
        create_tenant(&place, "c");
        assert_eq!(std::fs::read_dir(place.path(".")).unwrap().count(), 0, "nothing is left behind");
    });
}

#[test]
fn a_secret_in_the_database_url_is_not_shown_by_a_failure() {
    let place = Place::new();
    let failure = place.run(&["tenant", "list", "--database-url", "postgres://user:hush-hush@127.0.0.1:1/x"]).failure();
    assert!(!failure.contains("hush-hush"), "{failure}");
}
