//! A header that may stand once and stands twice is refused, in each interface's words: a proxy may judge by the one that does not count here.

use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::Gateway;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SINGLE: [&str; 7] =
    ["Authorization", "x-functions-key", "Content-Type", "Content-Encoding", "Idempotency-Key", "If-Match", "Last-Event-ID"];

/// A value that the gateway takes where the header is there once.
fn value(header: &str) -> &'static str {
    match header {
        "Authorization" => "Bearer secret-of-c",
        "x-functions-key" => "secret-of-c",
        "Content-Type" => "application/json",
        "Content-Encoding" => "identity",
        "If-Match" => "*",
        "Last-Event-ID" => "0-0",
        _ => "once",
    }
}

#[test]
fn a_header_that_may_stand_once_and_stands_twice_is_refused() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let bearer = ("authorization", "Bearer secret-of-c");
        for header in SINGLE {
            for second in [value(header), "another"] {
                let twice = [(header, value(header)), (header, second)];
                let with_key = || if header == "Authorization" { twice.to_vec() } else { [&[bearer][..], &twice].concat() };

                let body = br#"{"id":"s","callId":"c","caller":"110"}"#.to_vec();
                let native = gateway.client.request("POST", "/v1/sessions", &with_key(), body).await;
                assert_eq!((native.status, native.json()["field"].as_str()), (400, Some(header)), "{}", native.text());
                assert_eq!(native.json()["code"], "invalid-request");

                let post = br#"{"input":{"callid":"c","callerid":"110"}}"#.to_vec();
                let parloa = gateway.client.request("POST", "/api/CallData?clientId=c", &with_key(), post).await;
                if matches!(header, "Authorization" | "x-functions-key") {
                    assert_eq!((parloa.status, parloa.text()), (401, ""), "{header}");
                } else {
                    let expected = json!({ "choice": "fail", "output": { "error": format!("the header {header} is given twice") } });
                    assert_eq!((parloa.status, parloa.json()), (200, expected));
                }

                let query = br#"{"tenantId":"oifde-c","authToken":"secret-of-c","callId":"c"}"#.to_vec();
                let oifde = gateway.client.request("POST", "/oifde/rest/api/queryRecordHistory", &twice, query).await;
                let expected = (10_000_002.into(), format!("Parameter error: {header} must be there once").into());
                assert_eq!((oifde.status, (oifde.json()["errorCode"].clone(), oifde.json()["errorMsg"].clone())), (200, expected));
            }
        }
        assert_eq!(account.native("GET", "/sessions", "").await.json()["items"], json!([]), "nothing was stored");
        let once: Vec<_> = SINGLE.iter().map(|header| (*header, value(header))).collect();
        let stored = gateway.client.request("POST", "/v1/sessions", &once, br#"{"callId":"c","caller":"110"}"#.to_vec()).await;
        assert_eq!(stored.status, 201, "each of them once: {}", stored.text());
        let listed = account.native_with("GET", "/sessions", &[("accept", "a/b"), ("accept", "application/json")], "").await;
        assert_eq!(listed.status, 200, "a list may come in parts");
        let ids = [("x-request-id", "one"), ("x-request-id", "two")];
        let answer = account.native_with("GET", "/sessions", &ids, "").await;
        assert_eq!(answer.status, 200);
        assert!(!["one", "two"].contains(&answer.header("x-request-id").unwrap()), "of two ids none is kept");
        gateway.stop().await;
    });
}

#[test]
fn a_target_with_a_user_before_its_host_is_refused() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        for (target, status) in [("http://u:p@a/livez", 400), ("http://u@a/livez", 400), ("http://a/livez", 200), ("/livez", 200)] {
            let mut connection = TcpStream::connect(gateway.address).await.unwrap();
            let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            connection.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            connection.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {answer}");
        }
        gateway.stop().await;
    });
}
