//! No secret and nothing of a call is in a log, an error answer or a message, however much is logged (`--log trace`).

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use calldata_testkit::client::{Answer, Client};
use calldata_testkit::engine::{Engine, TestDatabase, on_every_engine};
use calldata_testkit::program::Place;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cli::{create_key, create_tenant, get, gettoken, history, post};

/// What clients and operators bring along. No part of it may turn up.
const KEY: &str = "canary-key-4711-abcdef";
const WRONG_KEY: &str = "canary-wrong-key-0815";
const TOKEN_SECRET: &str = "canary-token-secret-of-32-bytes-or-more";
const PASSWORD: &str = "canary-database-password";
const NUMBER: &str = "+49305550199";
/// The number as it is spelled, compared, or cut up; `canary` is part of everything else.
const SPELLINGS: [&str; 6] = ["49305550199", "0305550199", "030 555 01 99", "030-555", "30 5550199", "5550199"];

/// What was said, and must not be told to anybody.
struct Ears {
    heard: Vec<(String, String)>,
    secrets: Vec<String>,
}

impl Ears {
    fn new(made: &str) -> Self {
        let given = ["canary".to_owned(), "cdt1.".to_owned(), made.to_owned()];
        let encoded = [KEY, WRONG_KEY, made].map(|key| STANDARD.encode(format!("c:{key}")));
        let secrets = given.into_iter().chain(encoded).chain(SPELLINGS.map(str::to_owned)).collect();
        Self { heard: Vec::new(), secrets }
    }

    fn hear(&mut self, from: impl Into<String>, text: impl Into<String>) {
        self.heard.push((from.into(), text.into()));
    }

    /// Answers that are not what was asked for; an answer that gives a client its own data is none of them.
    fn hear_error(&mut self, from: &str, answer: &Answer) {
        self.hear(from, format!("{} {:?} {}", answer.status, answer.headers, String::from_utf8_lossy(&answer.body)));
    }

    #[track_caller]
    fn assert_nothing_told(&self) {
        for (from, text) in &self.heard {
            for secret in &self.secrets {
                let line = text.lines().find(|line| line.contains(secret.as_str()));
                assert_eq!(line, None, "{from} tells {secret}");
            }
        }
    }
}

#[test]
fn nothing_is_told_by_logs_errors_or_messages() {
    on_every_engine(async |database| {
        let url = database.url().replace("postgres@", &format!("postgres:{PASSWORD}@"));
        let place = Place::with_database(database).with("CALLDATA_DATABASE_URL", &url).with("CALLDATA_TOKEN_SECRET", TOKEN_SECRET);
        create_tenant(&place, "c");
        create_tenant(&place, "suspended");
        let (made_id, made) = create_key(&place, "c", &["--scope", "read"]);
        let is_server = database.engine() == Engine::Postgres;
        // On a server there is something to be said while it connects, when the password is at hand.
        let place = if is_server { place.with("CALLDATA_DATABASE_URL", format!("{url}?no-such-option=1")) } else { place };
        let mut ears = Ears::new(&made);
        by_commands(&place, &made_id, &mut ears);

        let served = place.serve(&["--log", "trace"]);
        let client = served.client();
        for key in [KEY, &made, WRONG_KEY] {
            by_posts(&client, key, &mut ears).await;
            by_fetches(&client, key, &mut ears).await;
            by_queries(&client, key, &mut ears).await;
            by_odd_requests(served.address, &client, key, &mut ears).await;
        }
        by_failures_of_the_database(database, &place, &client, &mut ears).await;

        let log = served.stop();
        assert!(log.contains("answered") && log.contains("/api/CallData"), "it was logged at all: {log}");
        assert!(log.contains("TRACE") && log.contains("request failed"), "failures and traces are among it: {log}");
        assert_eq!(log.contains("no-such-option"), is_server, "and what is said while it connects: {log}");
        ears.hear("the log", log);
        ears.assert_nothing_told();
    });
}

/// Commands, as much as they have to say.
fn by_commands(place: &Place, made_id: &str, ears: &mut Ears) {
    let mut run = |arguments: &[&str], input: &str| {
        let ended = place.run_with_input(&[arguments, &["--log", "trace"]].concat(), input);
        let about = arguments.join(" ");
        assert!(ended.status.is_some(), "{about}");
        ears.hear(format!("{about}: standard error"), ended.err);
        ears.hear(format!("{about}: standard output"), ended.out);
    };
    run(&["key", "create", "--client-id", "c", "--secret-stdin", "--json"], KEY);
    run(&["key", "create", "--client-id", "suspended", "--secret-stdin"], KEY);
    run(&["key", "create", "--client-id", "c", "--secret-stdin"], KEY);
    run(&["key", "create", "--client-id", "c", "--secret-stdin"], "canary-short");
    run(&["key", "list", "--client-id", "c"], "");
    run(&["key", "list", "--client-id", "c", "--json"], "");
    run(&["tenant", "suspend", "suspended"], "");
    run(&["tenant", "list"], "");
    run(&["key", "revoke", "no-such-key"], "");
    run(&["tenant", "update", "c", "--default-country", "+41"], "");
    run(&["tenant", "update", "c", "--default-country", "+49"], "");
    assert!(!made_id.is_empty());

    let record = |more: Value| {
        let mut record = json!({ "logId": "canary-log", "callId": "canary-call", "callSorId": NUMBER, "callData": "canary-content" });
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        record.to_string()
    };
    place.write("good.json", format!("[{}]", record(json!({}))));
    let bad = [
        json!({ "startTime": "canary" }),
        json!({ "recordDetials": [{ "userSaying": 5, "x": "canary" }] }),
        json!({ "callSorId": format!("{NUMBER}\0") }),
        json!({ "logId": {} }),
        json!({ "locationId": NUMBER.repeat(9) }),
    ];
    place.write("bad.json", format!("[{}] canary {NUMBER}", bad.map(record).join(",")));
    place.write("canary.json", "{\"canary\":1}");
    run(&["import", "--client-id", "c", "--format", "oifde", "good.json"], "");
    run(&["import", "--client-id", "c", "--format", "oifde", "bad.json"], "");
    run(&["import", "--client-id", "c", "--format", "oifde", "-"], &format!("{{\"recordList\":\"canary {NUMBER}\"}}"));

    let session =
        |member: &str, value: &str| format!(r#"{{"callId":"canary-call","caller":"{NUMBER}","content":"canary","{member}":{value}}}"#);
    place.write("good.ndjson", session("intent", "\"canary\""));
    let lines = [
        session("startedAt", "\"canary\""),
        session("caller", "7"),
        session("turns", r#"[{"by":"canary"}]"#),
        session("countryCode", "\"canary\""),
        session("id", &format!("\"{}\"", "canary".repeat(200))),
        session("fields", "[\"canary\"]"),
        session("dialogType", "\"canary\""),
        session("receivedAt", &format!("[\"{NUMBER}\",\"canary\"]")),
        format!("canary {NUMBER}"),
        "{\"callId\":\"canary".to_owned(),
    ];
    place.write("bad.ndjson", lines.join("\n"));
    run(&["import", "--client-id", "c", "--format", "sessions", "good.ndjson"], "");
    run(&["import", "--client-id", "c", "--format", "sessions", "bad.ndjson"], "");
    run(&["tenant", "list", "--database-url", &format!("postgres://u:{PASSWORD}@127.0.0.1:1/x")], "");
    run(&["tenant", "list", "--database-url", &format!("mysql://u:{PASSWORD}@127.0.0.1:1/x")], "");
    run(&["serve", "--listen", "127.0.0.1:0", "--token-secret", "canary-short"], "");
}

async fn by_posts(client: &Client, key: &str, ears: &mut Ears) {
    let answers = [
        post(client, "c", key, &format!(r#"{{"callid":"canary-call","callerid":"{NUMBER}","content":"canary","canary":"{NUMBER}"}}"#))
            .await,
        post(client, "c", key, r#"{"callid":"canary-call","callerid":"030 555 01 99","cticallid":"canary-cti"}"#).await,
        post(client, "c", key, r#"{"callid":"canary-call","callerid":"canary-user","turns":[{"userText":"canary"}]}"#).await,
        post(client, "c", key, r#"{"callid":"canary-call","callerid":"canary-user","timestamp":"canary-content"}"#).await,
        post(client, "c", key, r#"{"callid":"canary-call","callerid":"canary-user","countrycode":"canary"}"#).await,
        post(client, "c", key, r#"{"callid":"canary-call","callerid":"canary-user\u0000"}"#).await,
        post(client, "c", key, &format!(r#"{{"callid":"{}","callerid":"canary-user"}}"#, "canary".repeat(100))).await,
        post(client, "c", key, r#"{"callid":"canary-call","callerid":"canary-user\ud800"}"#).await,
        post(client, "c", key, r#"{"callid":"canary-call"}"#).await,
        post(client, "c", key, r#""canary-user canary-content""#).await,
        post(client, "c", key, r#"{"canary-user": canary-content +49305550199"#).await,
        post(client, "canary-client", key, r#"{"callid":"canary-call","callerid":"canary-user"}"#).await,
        post(client, "suspended", key, r#"{"callid":"canary-call","callerid":"canary-user"}"#).await,
    ];
    for answer in &answers {
        ears.hear_error("a post", answer);
    }
}

async fn by_fetches(client: &Client, key: &str, ears: &mut Ears) {
    for format in ["json", "xml", "html", "text"] {
        // Found: the client's own data, which only the log may not hold.
        get(client, "c", key, &format!("callid=canary-call&caller=%2B49305550199&format={format}")).await;
        get(client, "c", key, &format!("callid=canary-call&caller=030%20555%2001%2099&format={format}")).await;
        for missed in [
            "callid=canary-no-call&caller=49305550199",
            "callid=canary-call&caller=canary-nobody",
            "callid=canary-call",
            "callid=canary-call&caller=49305550199&timeLimit=canary",
            "callid=canary-call&caller=49305550199&countryCode=canary",
        ] {
            ears.hear_error("a miss", &get(client, "c", key, &format!("{missed}&format={format}")).await);
        }
    }
    for missed in ["callid=canary-call&caller=030-555&format=canary", "callid=canary-no-call&caller=49305550199&wait=1"] {
        ears.hear_error("a miss", &get(client, "c", key, missed).await);
    }
    // The key where many clients put it: in the URL, or in a header of another kind.
    let bearer = format!("Bearer {key}");
    let basic = format!("Basic {}", STANDARD.encode(format!("c:{key}")));
    let wrong_basic = format!("Basic {key}");
    let found = "/api/CallData?clientId=c&callid=canary-call&caller=%2B49305550199";
    client.request("GET", &format!("{found}&code={key}"), &[], Vec::new()).await;
    client.request("GET", found, &[("authorization", &bearer)], Vec::new()).await;
    client.request("GET", found, &[("authorization", &basic)], Vec::new()).await;
    for headers in [[("authorization", wrong_basic.as_str())], [("x-functions-key", "canary-ä")], [("authorization", "canary canary")]] {
        ears.hear_error("a refusal", &client.request("GET", found, &headers, Vec::new()).await);
    }
}

async fn by_queries(client: &Client, key: &str, ears: &mut Ears) {
    let token = gettoken(client, "c", key).await;
    if let Some(token) = token["authToken"].as_str() {
        assert!(token.starts_with("cdt1."), "the mark that is looked for: {token}");
        history(client, "c", token, &format!(r#""userMobile":"{NUMBER}","callId":"canary-call""#)).await;
        ears.hear("another's token", history(client, "suspended", token, r#""callId":"canary-call""#).await.to_string());
        ears.hear("a broken token", history(client, "c", &format!("{token}x"), r#""callId":"canary-call""#).await.to_string());
    }
    ears.hear("gettoken", gettoken(client, "canary-tenant", key).await.to_string());
    history(client, "c", key, &format!(r#""userMobile":"{NUMBER}""#)).await;
    history(client, "c", key, r#""ctiCallId":"canary-cti","pageSize":5"#).await;
    for parameters in [
        r#""userMobile":"canary-user\u0000","beginTime":"canary-content""#,
        r#""callId":7,"userMobile":"canary-user""#,
        r#""callId":"canary-call","pageNum":"canary""#,
        r#""callId":"canary-none","pageSize":"5550199""#,
        r#""canary":"canary""#,
    ] {
        ears.hear("a bad query", history(client, "c", key, parameters).await.to_string());
    }
    for params in ["7", r#"{"userMobile":5550199}"#, r#"["canary"]"#, &format!(r#"{{"userMobile":"{NUMBER}"}}"#)] {
        let body = format!(r#"{{"tenantId":"t-c","authToken":"{key}","params":{params}}}"#);
        let answer = client.request("POST", "/oifde/rest/api/queryHistory", &[], body.into_bytes()).await;
        if answer.json()["rtnCode"] != 0 {
            ears.hear_error("a latest call", &answer);
        }
    }
    for path in ["/oifde/rest/api/gettoken", "/oifde/rest/api/queryRecordHistory", "/oifde/rest/api/queryHistory"] {
        let broken = format!("{{\"tenantId\":\"t-c\",\"authToken\":\"{key}\",\"appSecret\":\"{key}\" canary-user {NUMBER}");
        ears.hear_error(path, &client.request("POST", path, &[], broken.into_bytes()).await);
        ears.hear_error(path, &client.request("GET", &format!("{path}?authToken={key}"), &[], Vec::new()).await);
        ears.hear_error(path, &client.request("POST", path, &[], "canary".repeat(200_000).into_bytes()).await);
    }
}

/// What is no request of any dialect, and what is hardly HTTP.
async fn by_odd_requests(address: SocketAddr, client: &Client, key: &str, ears: &mut Ears) {
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let elsewhere = client.request(method, &format!("/api/canary-user/{key}?caller=49305550199"), &[], Vec::new()).await;
        ears.hear_error("another path", &elsewhere);
    }
    ears.hear_error("another method", &client.request("DELETE", &format!("/api/CallData?clientId=c&code={key}"), &[], Vec::new()).await);
    for path in ["/livez", "/readyz", "/docs/canary", "/openapi/canary.json"] {
        let answer = client.request("GET", path, &[("x-request-id", &format!("{key} {NUMBER}")), ("cookie", "canary=1")], Vec::new()).await;
        ears.hear_error(path, &answer);
    }
    for request in [
        format!("GET /api/CallData?code={key}&caller={} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "canary".repeat(20_000)),
        format!("GET /api/CallData?code={key} HTTP/1.1\r\nhost: x\r\nx-canary: {}\r\nconnection: close\r\n\r\n", "canary".repeat(100_000)),
        format!("GET /api/{key} {NUMBER} HTTP/1.1\r\n\r\n"),
        format!("{key} / HTTP/1.1\r\nhost: x\r\n\r\n"),
        format!("POST /api/CallData?code={key} HTTP/1.1\r\nhost: x\r\ncontent-length: canary\r\n\r\n{NUMBER}"),
        format!("POST /api/CallData?code={key} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\ncanary\r\n{NUMBER}"),
        format!("GET http://canary/api/CallData?code={key} HTTP/1.1\r\nhost: canary\r\nconnection: close\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: canary\r\nx-functions-key {key}\r\n\r\n"),
    ] {
        ears.hear("what is hardly HTTP", say(address, request.as_bytes()).await);
    }
    // On a connection of its own: it is closed where the client is refused before its body is read.
    ears.hear_error("a large post", &post(&Client::new(address), "c", key, &format!("\"{}\"", "canary".repeat(200_000))).await);
    let http2 = client.over_http2();
    let found = format!("/api/CallData?clientId=c&code={key}&callid=canary-call&caller=%2B49305550199");
    http2.request("GET", &found, &[("x-canary", "canary-header"), ("authorization", &format!("Bearer {key}"))], Vec::new()).await;
    let wrong = http2.request("GET", &found, &[("x-functions-key", "canary-http2")], Vec::new()).await;
    // By now there may have been so many wrong keys that this source is told to come later.
    assert!([401, 429].contains(&wrong.status), "{}", wrong.status);
    ears.hear_error("HTTP/2", &wrong);
}

/// What comes back for these bytes, after which nothing more is sent. A gateway that has heard enough may close at any point.
async fn say(address: SocketAddr, bytes: &[u8]) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    if connection.write_all(bytes).await.is_ok() && connection.shutdown().await.is_ok() {
        // What was read until then counts.
        let _ = connection.read_to_end(&mut answer).await;
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The database's own words may hold values of the row that it refuses.
async fn by_failures_of_the_database(database: &TestDatabase, place: &Place, client: &Client, ears: &mut Ears) {
    database
        .execute(match database.engine() {
            Engine::Sqlite => "CREATE TRIGGER refuse BEFORE INSERT ON session BEGIN SELECT RAISE(ABORT, 'refused'); END",
            Engine::Postgres => "ALTER TABLE session ADD CONSTRAINT refused CHECK (call_id = 'nothing') NOT VALID",
        })
        .await;
    let refused = post(client, "c", KEY, &format!(r#"{{"callid":"canary-refused","callerid":"{NUMBER}","content":"canary"}}"#)).await;
    assert_eq!(refused.status, 500);
    ears.hear_error("a refused row", &refused);
    let imported = place.run(&["import", "--log", "trace", "--client-id", "c", "--format", "sessions", "good.ndjson"]);
    assert_eq!(imported.status, Some(1));
    ears.hear("a refused row of an import", format!("{} {}", imported.out, imported.err));

    if database.engine() == Engine::Postgres {
        // As when the server is stopped.
        database
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await;
        ears.hear_error("a lost connection", &post(client, "c", KEY, r#"{"callid":"canary-lost","callerid":"5550199"}"#).await);
        ears.hear_error("a lost connection", &get(client, "c", KEY, "callid=canary-lost&caller=5550199").await);
    }
    database.execute("ALTER TABLE session RENAME TO gone").await;
    ears.hear_error("no table", &post(client, "c", KEY, r#"{"callid":"canary-gone","callerid":"5550199"}"#).await);
    ears.hear_error("no table", &get(client, "c", KEY, "callid=canary-gone&caller=5550199").await);
    ears.hear("no table", history(client, "c", KEY, r#""callId":"canary-gone""#).await.to_string());
    ears.hear_error("no table", &client.request("GET", "/readyz", &[], Vec::new()).await);
}
