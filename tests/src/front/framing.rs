//! Requests that two readers could take for different ones, or that are larger than any of ours, are refused (PAR-G12 holds for those
//! answers too).

use calldata_testkit::gateway::Options;
use calldata_testkit::program::Place;

use super::{GONE, LAST_PING, PING, gateway, head, rest, sent, status, status_of};

/// Everything that may stand before the end of a head, and the status it gets.
fn odd_heads() -> Vec<(&'static str, String, u16)> {
    let post = |headers: &str| format!("POST /api/CallData HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    vec![
        ("two lengths", post("Content-Length: 5\r\nContent-Length: 6\r\n"), 400),
        ("one length twice", post("Content-Length: 5\r\nContent-Length: 5\r\n"), 400),
        ("a list of lengths", post("Content-Length: 5, 5\r\n"), 400),
        ("a length with a sign", post("Content-Length: +5\r\n"), 400),
        ("a length and chunks", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400),
        ("chunks and a length", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400),
        ("chunks twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400),
        ("an unknown coding", post("Transfer-Encoding: gzip, chunked\r\n"), 400),
        ("a space before a colon", post("Transfer-Encoding : chunked\r\n"), 400),
        ("bare LF", "GET /livez HTTP/1.1\nHost: a\n\n".into(), 400),
        ("bare LF at the end", "GET /livez HTTP/1.1\r\nHost: a\r\n\n".into(), 400),
        ("bare CR", post("X: a\rY: b\r\n"), 400),
        ("no Host", "GET /livez HTTP/1.1\r\n\r\n".into(), 400),
        ("two Hosts", "GET /livez HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".into(), 400),
        ("an empty Host", "GET /livez HTTP/1.1\r\nHost:\r\n\r\n".into(), 400),
        ("no Host beside a whole URI", "GET http://a/livez HTTP/1.1\r\n\r\n".into(), 400),
        ("a folded line", post("X: a\r\n b\r\n"), 400),
        ("NUL in a header", post("X: a\0b\r\n"), 400),
        ("NUL in a name", post("X\0: a\r\n"), 400),
        ("450 KB in a header", post(&format!("X: {}\r\n", "x".repeat(450_000))), 431),
        ("17 KB in headers", post(&"X: 123456\r\n".repeat(17 * 1024 / 11)), 431),
        ("101 headers", post(&"X: 1\r\n".repeat(100)), 431),
        ("a long URI", format!("GET /livez?{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(8 * 1024)), 414),
        ("a URI without an end", format!("GET /livez?{}", "x".repeat(100_000)), 414),
        ("HTTP/0.9", "GET /livez\r\n".into(), 400),
        ("an unknown version", "GET /livez HTTP/1.2\r\nHost: a\r\n\r\n".into(), 400),
        ("HTTP/2 in a line", "GET /livez HTTP/2\r\nHost: a\r\n\r\n".into(), 400),
        ("garbage", "garbage\r\n\r\n".into(), 400),
        ("TLS where there is none", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0".into(), 400),
        ("a tunnel", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".into(), 405),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn par_g12_what_cannot_have_one_meaning_is_refused_with_the_headers_of_every_answer() {
    let (gateway, _database) = gateway(Options::default()).await;
    for (what, request, expected) in odd_heads() {
        let mut connection = sent(gateway.address, &request).await;
        let answer = rest(&mut connection, GONE).await;
        assert_eq!(status(&answer), Some(expected), "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: {answer}");
        for header in ["cache-control: no-store", "referrer-policy: no-referrer", "x-content-type-options: nosniff", "connection: close"] {
            assert!(answer.contains(&format!("\r\n{header}\r\n")), "{what}, {header}: {answer}");
        }
        assert!(!answer.to_lowercase().contains("\r\nserver:"), "{what}: {answer}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_refused_request_is_not_read() {
    let (gateway, _database) = gateway(Options::default()).await;
    for (what, request, expected) in odd_heads() {
        let answer = rest(&mut sent(gateway.address, format!("{PING}{request}{LAST_PING}")).await, GONE).await;
        let statuses: Vec<u16> = answer.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().unwrap()).collect();
        assert_eq!(statuses, [200, expected], "{what}: {answer}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_on_and_on_sees_why_it_is_refused() {
    let (gateway, _database) = gateway(Options::default()).await;
    let much = "x".repeat(8 << 20);
    let length = much.len();
    for (request, expected) in [
        (format!("GET /livez HTTP/1.1\r\nHost: a\r\nX: {much}\r\n\r\n"), 431),
        (format!("GET /{much} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (format!("POST /api/CallData HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{much}"), 401),
    ] {
        // Such a client reads when it has sent everything, and sees nothing where it was cut off before.
        assert_eq!(status_of(gateway.address, &request).await, Some(expected));
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_chunks_store_nothing_and_end_the_connection() {
    let (gateway, _database) = gateway(Options::default()).await;
    let account = gateway.a_tenant("c").await;
    let body = r#"{"input":{"callid":"1","callerid":"a"}}"#;
    let length = body.len();
    for chunks in [
        format!("{length:x}\n{body}\r\n0\r\n\r\n"),
        format!("{length:x}\r\n{body}0\r\n\r\n"),
        format!("{length:x} \r\n{body}\r\n0\r\n\r\n"),
        format!("0x{length:x}\r\n{body}\r\n0\r\n\r\n"),
        format!("{length:x}\r\n{body}\r\n0\r\n x\r\n\r\n"),
        format!("fffffffffffffff{length:x}\r\n{body}\r\n0\r\n\r\n"),
    ] {
        let head = "POST /api/CallData?clientId=c&code=secret-of-c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = rest(&mut sent(gateway.address, format!("{head}{chunks}{LAST_PING}")).await, GONE).await;
        assert!(!answer.contains("success") && answer.matches("HTTP/1.1 ").count() <= 1, "{chunks}: {answer}");
    }
    assert_eq!(account.history(r#""callId":"1""#).await.json()["total"], 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_may_follow_each_other_closely_however_their_bodies_are_framed() {
    let (gateway, _database) = gateway(Options::default()).await;
    let account = gateway.a_tenant("c").await;
    let mut all = String::new();
    for (number, end) in ["Connection: keep-alive", "Connection: keep-alive", "Connection: close"].iter().enumerate() {
        let body = format!(r#"{{"input":{{"callid":"{number}","callerid":"a"}}}}"#);
        let head = format!("POST /api/CallData?clientId=c&code=secret-of-c HTTP/1.1\r\nHost: a\r\n{end}\r\n");
        let length = body.len();
        let framed = match number {
            0 => format!("Content-Length: {length}\r\n\r\n{body}\r\n"),
            _ => format!("Transfer-Encoding: chunked\r\n\r\n{length:X};x=y\r\n{body}\r\n0\r\nA: b\r\n\r\n"),
        };
        all.extend([head, framed]);
    }
    let answer = rest(&mut sent(gateway.address, &all).await, GONE).await;
    assert_eq!(answer.matches(r#"{"choice":"success","output":{}}"#).count(), 3, "{answer}");
    // The same, one byte at a time.
    let mut connection = sent(gateway.address, "").await;
    connection.set_nodelay(true).unwrap();
    for byte in all.replace("\"callerid\":\"a\"", "\"callerid\":\"b\"").as_bytes() {
        tokio::io::AsyncWriteExt::write_all(&mut connection, &[*byte]).await.unwrap();
    }
    let answer = rest(&mut connection, GONE).await;
    assert_eq!(answer.matches(r#"{"choice":"success","output":{}}"#).count(), 3, "{answer}");
    for number in 0..3 {
        assert_eq!(account.history(&format!(r#""callId":"{number}""#)).await.json()["total"], 2);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_within_the_limits_is_served() {
    let (gateway, _database) = gateway(Options::default()).await;
    let uri = format!("/livez?{}", "x".repeat(8 * 1024 - 7));
    assert_eq!(status_of(gateway.address, format!("GET {uri} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await, Some(200));
    let many = "X: 1\r\n".repeat(98);
    assert_eq!(status_of(gateway.address, format!("GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{many}\r\n")).await, Some(200));
    let large = format!("X: {}\r\n", "x".repeat(15_000));
    assert_eq!(status_of(gateway.address, format!("GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{large}\r\n")).await, Some(200));
    assert_eq!(status_of(gateway.address, "GET /livez HTTP/1.0\r\n\r\n").await, Some(200), "HTTP/1.0 names no host");
    let mut connection = sent(gateway.address, PING).await;
    let answer = head(&mut connection).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 200 ") && !answer.contains("\r\nserver:") && !answer.contains("\r\nconnection:"), "{answer}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_not_written_down() {
    let place = Place::new();
    let served = place.serve(&["--log", "trace"]);
    let secret = "code=hush-hush";
    for request in [
        format!("GET /?{secret} HTTP/1.1\r\n\r\n"),
        format!("GET /?{secret}\r\n"),
        format!("GET /?{secret}{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9_000)),
        format!("GET /?{secret} HTTP/1.1\r\nHost: {secret}\r\nX: a\0{secret}\r\n\r\n"),
        format!("POST /?{secret} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{secret}\r\n"),
    ] {
        rest(&mut sent(served.address, request).await, GONE).await;
    }
    // HTTP/2, with a space in the path.
    let path = format!("/ ?{secret}");
    let head = [&[0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()], path.as_bytes(), &[0x41, 1, b'a']].concat();
    let frame = [&[0, 0, u8::try_from(head.len()).unwrap(), 1, 5, 0, 0, 0, 1], &head[..]].concat();
    let mut connection = sent(served.address, [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..], &frame].concat()).await;
    // Its settings, their acknowledgement, and the refusal.
    let mut answer = Vec::new();
    while !answer.windows(5).any(|bytes| bytes == [0, 0, 4, 3, 0]) {
        assert!(tokio::io::AsyncReadExt::read_buf(&mut connection, &mut answer).await.unwrap() > 0, "the stream is reset: {answer:?}");
    }
    let log = served.stop();
    assert!(log.contains("status=414"), "it was logged at all: {log}");
    assert!(!log.contains("hush-hush"), "{log}");
}
