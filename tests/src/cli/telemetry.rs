//! What operators see: lines of JSON, traces, and what systemd is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use calldata_testkit::program::{Place, eventually};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixDatagram};

use super::{create_key, create_tenant, get, post};

const PRIVATE: [&str; 3] = ["call-4711", "301234567", "said-in-confidence"];

#[tokio::test]
async fn a_log_of_json_is_one_object_a_line_and_names_nobody() {
    let place = Place::new();
    create_tenant(&place, "c");
    let (_, key) = create_key(&place, "c", &[]);
    let served = place.serve(&["--log-format", "json", "--log", "debug"]);
    let client = served.client();
    let input = r#"{"callid":"call-4711","callerid":"0301234567","content":"said-in-confidence"}"#;
    let answer = post(&client, "c", &key, input).await;
    let id = answer.header("x-request-id").unwrap().to_owned();
    get(&client, "c", "wrong-key", "caller=0301234567&callid=call-4711").await;
    let log = served.stop();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no object: {line}"))).collect();
    let answered: Vec<_> = lines.iter().filter(|line| line["message"] == "answered").collect();
    assert_eq!(answered.len(), 2, "{log}");
    assert_eq!(answered[0]["request_id"], id);
    assert_eq!((&answered[0]["method"], &answered[0]["status"], &answered[0]["level"]), (&"POST".into(), &200.into(), &"INFO".into()));
    for private in PRIVATE.into_iter().chain([key.as_str(), "wrong-key"]) {
        assert!(!log.contains(private), "{private} in {log}");
    }
}

const TAKEN: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";

/// Takes what is sent to it, as a collector does, and gives this answer.
async fn collect(listener: TcpListener, received: Arc<Mutex<Vec<Vec<u8>>>>, answer: &'static str) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let received = Arc::clone(&received);
        tokio::spawn(async move {
            while let Some(request) = read_request(&mut stream).await {
                received.lock().unwrap().push(request);
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// A request with its body; `None` at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&part[..read]);
        let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
        let length: usize = text.split("content-length: ").nth(1)?.lines().next()?.trim().parse().ok()?;
        if bytes.len() >= head + 4 + length {
            return Some(bytes);
        }
    }
}

#[tokio::test]
async fn traces_reach_a_collector_within_the_trace_that_a_trusted_proxy_names_and_name_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let received = Arc::default();
    tokio::spawn(collect(listener, Arc::clone(&received), TAKEN));
    let place = Place::new();
    create_tenant(&place, "c");
    let (_, key) = create_key(&place, "c", &[]);
    // Of what begins here, nothing is wanted; of what is part of a wanted trace, all.
    let served = place.serve(&["--otlp-endpoint", &endpoint, "--otlp-share", "0", "--trusted-proxy", "127.0.0.1"]);
    let client = served.client();
    let input = r#"{"input":{"callid":"call-4711","callerid":"0301234567","content":"said-in-confidence"}}"#;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let headers = [("x-functions-key", key.as_str()), ("traceparent", parent.as_str())];
    assert_eq!(client.request("POST", "/api/CallData?clientId=c", &headers, input.into()).await.status, 200);
    assert_eq!(get(&client, "c", &key, "caller=0301234567&callid=call-4711").await.status, 200);
    tokio::task::spawn_blocking(move || served.stop()).await.unwrap();
    let holds = |bytes: &[u8]| received.lock().unwrap().iter().any(|request| request.windows(bytes.len()).any(|window| window == bytes));
    eventually("the request is traced", Duration::from_secs(10), async || holds(b"POST /api/CallData")).await;
    assert!(holds(b"POST /v1/traces") && holds(b"store write") && holds(b"calldata-gateway"));
    let id: Vec<u8> = (0..16).map(|at| u8::from_str_radix(&trace[2 * at..2 * at + 2], 16).unwrap()).collect();
    assert!(holds(&id), "within the trace that was named");
    assert!(!holds(b"GET /api/CallData"), "nobody wanted that one");
    for private in PRIVATE.into_iter().chain([key.as_str()]) {
        assert!(!holds(private.as_bytes()), "{private} is told");
    }
}

#[tokio::test]
async fn a_stranger_does_not_decide_what_is_traced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let received = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    tokio::spawn(collect(listener, Arc::clone(&received), TAKEN));
    let place = Place::new();
    let ask = async |share: &str, wanted: &str| {
        let served = place.serve(&["--otlp-endpoint", &endpoint, "--otlp-share", share]);
        let parent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{wanted}");
        for _ in 0..100 {
            let headers = [("traceparent", parent.as_str())];
            assert_eq!(served.client().request("GET", "/livez", &headers, Vec::new()).await.status, 200);
        }
        // What is not sent yet is sent at the end.
        tokio::task::spawn_blocking(move || served.stop()).await.unwrap();
    };
    let holds = |bytes: &[u8]| received.lock().unwrap().iter().any(|request| request.windows(bytes.len()).any(|window| window == bytes));
    ask("0", "01").await;
    assert!(!holds(b"GET /livez"), "the operator wants none");
    ask("1", "00").await;
    assert!(holds(b"GET /livez"), "the operator wants all");
    assert!(!holds(&[0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd]), "in traces of their own");
}

#[tokio::test]
async fn that_somebody_is_not_believed_is_told_once_and_not_what_was_said() {
    let place = Place::new();
    let served = place.serve(&[]);
    let client = served.client();
    for header in ["x-forwarded-for", "forwarded", "x-forwarded-for"] {
        assert_eq!(client.request("GET", "/livez", &[(header, "203.0.113.77")], Vec::new()).await.status, 200);
    }
    let log = tokio::task::spawn_blocking(move || served.stop()).await.unwrap();
    assert_eq!(log.matches("--trusted-proxy").count(), 1, "{log}");
    assert!(!log.contains("203.0.113.77"), "{log}");
    let served = place.serve(&["--trusted-proxy", "127.0.0.1"]);
    served.client().request("GET", "/livez", &[("x-forwarded-for", "203.0.113.77")], Vec::new()).await;
    let log = tokio::task::spawn_blocking(move || served.stop()).await.unwrap();
    assert!(!log.contains("--trusted-proxy"), "{log}");
}

#[tokio::test]
async fn that_a_collector_refuses_is_logged_and_what_it_says_is_not() {
    const REFUSED: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 17\r\n\r\nuse the token t0k";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let received = Arc::default();
    tokio::spawn(collect(listener, Arc::clone(&received), REFUSED));
    let place = Place::new();
    create_tenant(&place, "c");
    let (_, key) = create_key(&place, "c", &[]);
    let served = place.serve(&["--otlp-endpoint", &endpoint, "--log", "trace"]);
    assert_eq!(get(&served.client(), "c", &key, "caller=110&callid=1").await.status, 200);
    let log = tokio::task::spawn_blocking(move || served.stop()).await.unwrap();
    assert!(!received.lock().unwrap().is_empty());
    assert!(log.contains("ExportError"), "{log}");
    assert!(!log.contains("t0k"), "{log}");
}

#[tokio::test]
async fn a_supervisor_is_told_when_it_serves_that_it_lives_and_when_it_stops() {
    let place = Place::new();
    let told = UnixDatagram::bind(place.path("supervisor")).unwrap();
    let place = place.with("WATCHDOG_USEC", "300000");
    let socket = place.path("supervisor").display().to_string();
    let place = place.with("NOTIFY_SOCKET", socket);
    let served = place.serve(&[]);
    let hear = async || {
        let mut words = [0; 64];
        let length = tokio::time::timeout(Duration::from_secs(10), told.recv(&mut words)).await.expect("somebody is told").unwrap();
        String::from_utf8_lossy(&words[..length]).trim().to_owned()
    };
    assert_eq!(hear().await, "READY=1");
    for _ in 0..3 {
        assert_eq!(hear().await, "WATCHDOG=1");
    }
    served.signal("HUP");
    for _ in 0..2 {
        assert_eq!(hear().await, "WATCHDOG=1", "a reload without a certificate ends nothing");
    }
    served.signal("TERM");
    let mut word = hear().await;
    while word == "WATCHDOG=1" {
        word = hear().await;
    }
    assert_eq!(word, "STOPPING=1");
    served.stop();
}
