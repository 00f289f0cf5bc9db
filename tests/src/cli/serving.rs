//! `serve`: what a running server feels of other commands, and how it ends.

use std::time::Duration;

use calldata_testkit::client::Client;
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::program::{Place, eventually};

use super::{create_key, create_tenant, get, gettoken, history, knock, post};

/// Revocations and suspensions have to be felt within this time.
const FELT: Duration = Duration::from_secs(10);

#[test]
fn a_tenant_and_a_key_work_as_soon_as_they_are_made() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        let served = place.serve(&[]);
        let client = served.client();
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &[]);
        assert_eq!(knock(&client, "c", &key).await, 200);
        let (_, another) = create_key(&place, "c", &[]);
        assert_eq!(history(&client, "c", &another, r#""callId":"x""#).await["errorCode"], 0);
        served.stop();
    });
}

#[test]
fn a_running_server_feels_that_a_key_is_revoked() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let ((id, revoked), (_, kept)) = (create_key(&place, "c", &[]), create_key(&place, "c", &[]));
        let served = place.serve(&[]);
        let client = served.client();
        let token = gettoken(&client, "c", &revoked).await["authToken"].as_str().unwrap().to_owned();
        assert_eq!(history(&client, "c", &token, r#""callId":"x""#).await["errorCode"], 0);
        place.run(&["key", "revoke", &id]).fine();
        eventually("the revocation is felt", FELT, async || knock(&client, "c", &revoked).await == 401).await;
        assert_eq!(history(&client, "c", &revoked, r#""callId":"x""#).await["errorCode"], 900_002);
        assert_eq!(history(&client, "c", &token, r#""callId":"x""#).await["errorCode"], 900_002, "nor is its token good");
        assert_eq!(knock(&client, "c", &kept).await, 200);
        served.stop();
    });
}

#[test]
fn a_running_server_feels_that_a_tenant_is_suspended_and_resumed() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        create_tenant(&place, "other");
        let ((_, key), (_, other)) = (create_key(&place, "c", &[]), create_key(&place, "other", &[]));
        let served = place.serve(&[]);
        let client = served.client();
        assert_eq!(post(&client, "c", &key, r#"{"callid":"call","callerid":"u"}"#).await.status, 200);
        place.run(&["tenant", "suspend", "c"]).fine();
        eventually("the suspension is felt", FELT, async || knock(&client, "c", &key).await == 401).await;
        assert_eq!(history(&client, "c", &key, r#""callId":"call""#).await["errorCode"], 900_002);
        assert_eq!(gettoken(&client, "c", &key).await["errorCode"], 200_800_002);
        assert_eq!(knock(&client, "other", &other).await, 200);
        place.run(&["tenant", "resume", "c"]).fine();
        // A key that was refused is refused for up to a second more.
        eventually("the resumption is felt", FELT, async || knock(&client, "c", &key).await == 200).await;
        assert_eq!(get(&client, "c", &key, "callid=call&caller=u").await.json()["callid"], "call", "nothing is lost");
        served.stop();
    });
}

#[test]
fn a_running_server_feels_that_a_tenant_is_gone_or_set_otherwise() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &[]);
        let served = place.serve(&[]);
        let client = served.client();
        assert_eq!(knock(&client, "c", &key).await, 200);
        place.run(&["tenant", "update", "c", "--miss-status", "404"]).fine();
        eventually("the setting is felt", FELT, async || knock(&client, "c", &key).await == 404).await;
        place.run(&["tenant", "delete", "c", "--yes", "Tenant c"]).fine();
        eventually("the deletion is felt", FELT, async || knock(&client, "c", &key).await == 401).await;
        served.stop();
    });
}

#[test]
fn what_is_imported_while_it_runs_is_found_at_once() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &[]);
        let served = place.serve(&[]);
        place.write("file", r#"{"callId":"call","caller":"u","content":"hello"}"#);
        place.run(&["import", "--client-id", "c", "--format", "sessions", "file"]).fine();
        assert_eq!(get(&served.client(), "c", &key, "callid=call&caller=u").await.json()["content"], "hello");
        served.stop();
    });
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &[]);
        let served = place.serve(&[]);
        assert_eq!(post(&served.client(), "c", &key, r#"{"callid":"call","callerid":"u"}"#).await.status, 200);
        // Killed, without a chance to write anything.
        drop(served);
        let served = place.serve(&[]);
        assert_eq!(get(&served.client(), "c", &key, "callid=call&caller=u").await.json()["callid"], "call");
        served.stop();
    });
}

#[test]
fn an_address_that_is_taken_is_told_in_one_line() {
    let place = Place::new();
    let served = place.serve(&[]);
    let address = served.address.to_string();
    let failure = place.run(&["serve", "--listen", &address]).failure();
    assert!(failure.contains(&address) && failure.contains("--listen"), "{failure}");
    served.stop();
}

#[test]
fn metrics_are_served_on_a_port_of_their_own_and_name_nobody() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &[]);
        let served = place.serve(&["--admin-listen", "127.0.0.1:0"]);
        let client = served.client();
        assert_eq!(post(&client, "c", &key, r#"{"callid":"call-4711","callerid":"0301234567"}"#).await.status, 200);
        assert_eq!(knock(&client, "c", "wrong-key").await, 401);
        let metrics = Client::new(served.admin_address());
        let text = || async { metrics.request("GET", "/metrics", &[], Vec::new()).await.text().to_owned() };
        eventually("the requests are counted", FELT, async || {
            let text = text().await;
            text.contains(r#"calldata_requests_total{dialect="parloa",route="/api/CallData",method="POST",status="200"} 1"#)
                && text.contains(r#"calldata_requests_total{dialect="parloa",route="/api/CallData",method="GET",status="401"} 1"#)
                && text.contains("calldata_commit_rows_sum 1")
        })
        .await;
        let text = text().await;
        for private in ["4711", "301234567", key.as_str(), "wrong-key"] {
            assert!(!text.contains(private), "{private} in {text}");
        }
        assert_eq!(metrics.request("GET", "/readyz", &[], Vec::new()).await.status, 200);
        assert_eq!(client.request("GET", "/metrics", &[], Vec::new()).await.status, 404, "not where clients are");
        served.stop();
    });
}
