//! A machine whose clock is far ahead while the program runs or starts.

use std::time::Duration;

use calldata_testkit::client::Client;
use calldata_testkit::engine::{Engine, TestDatabase, on, on_every_engine};
use calldata_testkit::load::Credentials;
use calldata_testkit::program::{Place, Served, eventually};
use calldata_testkit::shifted_clock::ShiftedClock;

use super::{PATIENCE, is_ready, turn};

const FORTY_DAYS: Duration = Duration::from_hours(40 * 24);
const METRICS: [&str; 2] = ["--admin-listen", "127.0.0.1:0"];

/// A place with a tenant `c`, whose programs go by a clock of the test's, and what its key is shown as.
fn place(database: &TestDatabase, clock: &ShiftedClock) -> (Place, Credentials, String) {
    let place = clock.in_place(Place::with_database(database));
    let credentials = Credentials::make(&place, "c");
    let bearer = format!("Bearer {}", credentials.key);
    (place, credentials, bearer)
}

async fn post(client: &Client, credentials: &Credentials, call: &str) {
    let path = format!("/api/CallData?clientId={}", credentials.client_id);
    let body = format!(r#"{{"input":{{"callid":"{call}","callerid":"110"}}}}"#);
    let answer = client.request("POST", &path, &[("x-functions-key", &credentials.key)], body.into_bytes()).await;
    assert!(answer.text().contains("success"), "{}", answer.text());
}

/// How many sessions the tenant sees.
async fn visible(client: &Client, bearer: &str) -> usize {
    let answer = client.request("GET", "/v1/sessions?limit=100", &[("authorization", bearer)], Vec::new()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["items"].as_array().unwrap().len()
}

/// What readiness says.
async fn readiness(client: &Client) -> (u16, String) {
    let answer = client.request("GET", "/readyz", &[], Vec::new()).await;
    (answer.status, answer.text().to_owned())
}

/// Waits until it was looked for what has expired, which is at least once since the process began.
async fn has_purged(served: &Served) {
    let admin = Client::new(served.admin_address());
    eventually("it was looked for what has expired", PATIENCE, async || {
        let metrics = admin.request("GET", "/metrics", &[], Vec::new()).await;
        metrics.text().contains("calldata_purge_backlog_sessions ")
    })
    .await;
}

#[test]
fn a_clock_that_leaps_forty_days_ahead_for_a_moment_hides_and_deletes_nothing() {
    let _turn = turn();
    on_every_engine(async |database| {
        let clock = ShiftedClock::new();
        let (place, credentials, bearer) = place(database, &clock);
        let served = place.serve(&METRICS);
        is_ready(&served).await;
        let client = served.client();
        post(&client, &credentials, "before").await;
        clock.ahead(FORTY_DAYS);
        eventually("readiness says that the clock leapt", PATIENCE, async || {
            let (status, said) = readiness(&client).await;
            status == 503 && said.contains("this machine's clock is 3456000 s ahead")
        })
        .await;
        assert_eq!(visible(&client, &bearer).await, 1);
        post(&client, &credentials, "meanwhile").await;
        eventually("the log says so", PATIENCE, async || served.log().contains("the machine's clock leapt")).await;
        assert_eq!(visible(&client, &bearer).await, 2);
        clock.right();
        eventually("the log says that it is right again", PATIENCE, async || served.log().contains("shows the time again that has passed"))
            .await;
        eventually("the gateway is ready", PATIENCE, async || readiness(&client).await.0 == 200).await;
        has_purged(&served).await;
        assert_eq!(visible(&client, &bearer).await, 2);
        served.stop();
        // Of what was received while the clock was wrong nothing lies ahead, or has expired.
        let again = place.serve(&[]);
        assert_eq!(visible(&again.client(), &bearer).await, 2);
        again.stop();
    });
}

#[test]
fn a_start_with_a_clock_that_is_forty_days_ahead_hides_and_deletes_nothing() {
    let _turn = turn();
    on_every_engine(async |database| {
        let clock = ShiftedClock::new();
        let (place, credentials, bearer) = place(database, &clock);
        let first = place.serve(&[]);
        post(&first.client(), &credentials, "before").await;
        first.stop();
        clock.ahead(FORTY_DAYS);
        for posted in 2..4 {
            let wrong = place.serve(&METRICS);
            let client = wrong.client();
            assert_eq!(visible(&client, &bearer).await, posted - 1);
            post(&client, &credentials, &format!("wrong {posted}")).await;
            has_purged(&wrong).await;
            assert_eq!(visible(&client, &bearer).await, posted);
            wrong.stop();
        }
        let refused = place.run(&["purge"]).failure();
        assert!(refused.contains("time is proven up to") && refused.contains("--trust-clock"), "{refused}");
        let refused = place.run(&["tenant", "update", "c", "--retention-days", "7"]).failure();
        assert!(refused.contains("--trust-clock"), "{refused}");
        clock.right();
        let right = place.serve(&METRICS);
        is_ready(&right).await;
        has_purged(&right).await;
        assert_eq!(visible(&right.client(), &bearer).await, 3);
        right.stop();
    });
}

#[test]
fn a_start_with_a_clock_that_is_forty_days_behind_makes_no_session_older_than_it_is() {
    let _turn = turn();
    on_every_engine(async |database| {
        let clock = ShiftedClock::new();
        let (place, credentials, bearer) = place(database, &clock);
        let first = place.serve(&[]);
        post(&first.client(), &credentials, "before").await;
        first.stop();
        clock.behind(FORTY_DAYS);
        let wrong = place.serve(&[]);
        post(&wrong.client(), &credentials, "behind").await;
        let (status, said) = readiness(&wrong.client()).await;
        assert!(status == 503 && said.contains("s behind the time that has passed"), "{said}");
        wrong.stop();
        clock.right();
        let right = place.serve(&METRICS);
        is_ready(&right).await;
        has_purged(&right).await;
        assert_eq!(visible(&right.client(), &bearer).await, 2);
        right.stop();
    });
}

#[test]
fn an_operator_who_vouches_for_the_clock_purges_by_it() {
    on(&[Engine::Sqlite], TestDatabase::new, async |database| {
        let clock = ShiftedClock::new();
        let (place, credentials, _) = place(database, &clock);
        let first = place.serve(&[]);
        post(&first.client(), &credentials, "before").await;
        first.stop();
        clock.ahead(FORTY_DAYS);
        place.run(&["purge"]).failure();
        assert_eq!(place.run(&["purge", "--dry-run", "--json"]).json()["expired"][0]["sessions"], 1);
        assert_eq!(place.run(&["purge", "--trust-clock", "--json"]).json()["deleted"], 1);
        // Time is proven by that, and a command that follows has nothing to ask.
        place.run(&["tenant", "update", "c", "--retention-days", "7"]).fine();
    });
}
