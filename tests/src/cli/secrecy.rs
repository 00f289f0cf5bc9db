//! What nobody else may read: files, logs, messages.

use std::os::unix::fs::PermissionsExt;

use calldata_testkit::engine::{Engine, TestDatabase, on, on_every_engine};
use calldata_testkit::program::Place;

use super::{create_key, create_tenant, get, gettoken, history, post};

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

#[test]
fn no_secret_and_no_number_is_in_the_log() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let brought = "canary-key-4711-abcdef";
        place.run_with_input(&["key", "create", "--client-id", "c", "--secret-stdin"], brought).fine();
        let (_, made) = create_key(&place, "c", &["--scope", "read"]);
        let served = place.serve(&["--log", "trace"]);
        let client = served.client();
        let number = "+49305550199";
        let spelled = ["49305550199", "305550199", "030 555 01 99", "canary-user", "canary-content", "canary-call"];

        for key in [brought, &made, "canary-wrong-key"] {
            post(&client, "c", key, &format!(r#"{{"callid":"canary-call","callerid":"{number}","content":"canary-content"}}"#)).await;
            post(&client, "c", key, r#"{"callid":"canary-call","callerid":"030 555 01 99"}"#).await;
            post(&client, "c", key, r#"{"callid":"canary-call","callerid":"canary-user","timestamp":"canary-content"}"#).await;
            post(&client, "c", key, r#"{"callid":"canary-call","callerid":"canary-user\u0000"}"#).await;
            post(&client, "c", key, r#""canary-user canary-content""#).await;
            post(&client, "c", key, r#"{"canary-user": canary-content +49305550199"#).await;
            get(&client, "c", key, "callid=canary-call&caller=%2B49305550199").await;
            get(&client, "c", key, "callid=canary-call&caller=030%20555%2001%2099&timeLimit=canary-content&countryCode=canary-user").await;
            // The key where many clients put it: in the URL, or in a header of another kind.
            client
                .request("GET", &format!("/api/CallData?clientId=c&code={key}&callid=canary-call&caller=49305550199"), &[], Vec::new())
                .await;
            client.request("GET", &format!("/api/canary-user/{key}?caller=49305550199"), &[], Vec::new()).await;
            client.request("GET", "/api/CallData?clientId=c", &[("authorization", &format!("Bearer {key}"))], Vec::new()).await;
            client.request("GET", "/api/CallData?caller=49305550199", &[("authorization", &format!("Basic {key}"))], Vec::new()).await;
            client.request("GET", "/livez", &[("x-request-id", &format!("{key} {number}"))], Vec::new()).await;
            let token = gettoken(&client, "c", key).await;
            history(&client, "c", key, &format!(r#""userMobile":"{number}""#)).await;
            history(&client, "c", key, r#""userMobile":"canary-user\u0000","beginTime":"canary-content""#).await;
            if let Some(token) = token["authToken"].as_str() {
                history(&client, "c", token, &format!(r#""userMobile":"{number}","callId":"canary-call""#)).await;
            }
            for path in ["/oifde/rest/api/gettoken", "/oifde/rest/api/queryRecordHistory"] {
                client
                    .request("POST", path, &[], format!("{{\"tenantId\":\"t-c\",\"authToken\":\"{key}\" canary-user {number}").into_bytes())
                    .await;
            }
        }
        // Inside, the store fails as well: its words must not carry values along.
        place.run(&["migrate", "down"]).fine();
        post(&client, "c", brought, &format!(r#"{{"callid":"canary-call","callerid":"{number}","content":"canary-content"}}"#)).await;
        get(&client, "c", brought, "callid=canary-call&caller=%2B49305550199").await;
        history(&client, "c", brought, &format!(r#""userMobile":"{number}""#)).await;

        let log = served.stop();
        assert!(log.contains("answered") && log.contains("/api/CallData"), "it was logged at all: {log}");
        let tokens = ["cdt1.", "canary-key", "canary-wrong", made.as_str()];
        for canary in tokens.iter().chain(&spelled) {
            let line = log.lines().find(|line| line.contains(canary));
            assert_eq!(line, None, "{canary}");
        }
    });
}

#[test]
fn what_cannot_be_loaded_is_reported_without_what_it_says() {
    let place = Place::new();
    create_tenant(&place, "c");
    let bad = [
        r#"{"callId":"canary","caller":"canary","startedAt":"canary"}"#,
        r#"{"callId":"canary","caller":7}"#,
        r#"{"callId":"canary","caller":"canary","turns":[{"by":"canary"}]}"#,
        r#"canary {"callId":"canary"}"#,
    ];
    place.write("file", bad.join("\n"));
    let loaded = place.run(&["import", "--client-id", "c", "--format", "sessions", "file"]);
    assert_eq!((loaded.out.as_str(), loaded.err.contains("canary")), ("created 0, updated 0, rejected 4\n", false), "{}", loaded.err);
}
