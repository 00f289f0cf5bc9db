//! Requests that no bot makes: odd parameters, paths, methods, and what is hardly HTTP.

use calldata_testkit::client::Answer;
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::Gateway;

use super::parloa_requests::{SUCCESS, assert_miss, chunked, post_head, raw, records_of, store};

#[test]
fn par_g8_no_parameter_breaks_a_fetch() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        store(&account, r#"{"callid":"1","callerid":"a"}"#).await;
        let values = [
            "%00",
            "a%00",
            "%FF",
            "%C3",
            "%",
            "%zz",
            "%0D%0Ax:y",
            "'%20OR%201=1--",
            "%25",
            "_",
            "*",
            "%F0%9F%98%80",
            "%ED%A0%80",
            "%22",
            "\\",
        ];
        for value in values {
            assert_miss(&account.get(&format!("callid={value}&caller=a")).await, "no-such-call");
            assert_miss(&account.get(&format!("callid=1&caller={value}")).await, "caller-mismatch");
            for name in ["timeLimit", "format", "countryCode", "wait"] {
                assert_miss(&account.get(&format!("callid=1&caller=a&{name}={value}")).await, &format!("invalid-parameter; name={name}"));
            }
            assert_eq!(account.get(&format!("callid=1&caller=a&lang={value}&{value}={value}")).await.json()["callid"], "1", "{value}");
            for query in [format!("clientId={value}&code={value}"), format!("clientId=c&code={value}")] {
                let answer = gateway.client.request("GET", &format!("/api/CallData?{query}"), &[], Vec::new()).await;
                assert_eq!((answer.status, answer.text()), (401, ""), "{query}");
            }
        }
        gateway.stop().await;
    });
}

#[test]
fn the_path_matches_in_any_letter_case_and_nothing_like_it_does() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for (number, path) in ["/api/calldata", "/API/CALLDATA", "/Api/callData", "/api/CallData/"].iter().enumerate() {
            let body = format!(r#"{{"input":{{"callid":"{number}","callerid":"a"}}}}"#);
            let posted = send(&gateway, "POST", &format!("{path}?clientId=c&code=secret-of-c"), body.into()).await;
            assert_eq!((posted.status, posted.text()), (200, SUCCESS), "{path}");
            let fetched = send(&gateway, "GET", &format!("{path}?clientId=c&code=secret-of-c&callid={number}&caller=a"), Vec::new()).await;
            assert_eq!(fetched.json()["callid"], number.to_string(), "{path}");
        }
        for path in [
            "/api",
            "/api/",
            "/api/CallDat",
            "/api/CallDatas",
            "/api/CallData/1",
            "/CallData",
            "/api//CallData",
            "/api/Call%44ata/x",
            "/x/../api/CallData/y",
        ] {
            for method in ["GET", "POST"] {
                assert_eq!(send(&gateway, method, path, Vec::new()).await.status, 404, "{method} {path}");
            }
        }
        assert_eq!(records_of(&account, "0").await, 1);
        gateway.stop().await;
    });
}

#[test]
fn odd_methods_are_refused_and_store_nothing() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let path = "/api/CallData?clientId=c&code=secret-of-c&callid=1&caller=a";
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "POSTS", "X"] {
            let answer = send(&gateway, method, path, br#"{"input":{"callid":"1","callerid":"a"}}"#.to_vec()).await;
            assert_eq!(answer.status, 405, "{method}");
            assert_eq!(records_of(&account, "1").await, 0, "{method}");
        }
        let lower_case = post_head(&account, "content-length: 0\r\n").replace("POST", "post");
        assert!(raw(gateway.address, lower_case.as_bytes()).await.starts_with("HTTP/1.1 405 "), "a method has one spelling");
        store(&account, r#"{"callid":"1","callerid":"a"}"#).await;
        let head = send(&gateway, "HEAD", path, Vec::new()).await;
        assert_eq!((head.status, head.text(), head.header("content-type")), (200, "", Some("application/json; charset=utf-8")));
        gateway.stop().await;
    });
}

#[test]
fn broken_requests_store_nothing_and_break_nothing() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let body = br#"{"input":{"callid":"1","callerid":"a"}}"#;
        let mut bad_chunk = post_head(&account, "transfer-encoding: chunked\r\n").into_bytes();
        bad_chunk.extend_from_slice(b"zz\r\n{}\r\n0\r\n\r\n");
        assert!(!raw(gateway.address, &bad_chunk).await.contains("success"));
        let short = [post_head(&account, "content-length: 10\r\n").as_bytes(), body].concat();
        assert!(raw(gateway.address, &short).await.contains(r#""choice":"fail""#), "ten bytes are no JSON");
        let both = [post_head(&account, "content-length: 5\r\ntransfer-encoding: chunked\r\n").into_bytes(), chunked(b"{\"input\":1}", 3)]
            .concat();
        assert!(!raw(gateway.address, &both).await.contains("success"));
        assert!(raw(gateway.address, b"nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
        let long = format!("GET /api/CallData?x={} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "x".repeat(60_000));
        assert!(raw(gateway.address, long.as_bytes()).await.starts_with("HTTP/1.1 414 "));
        assert_eq!(records_of(&account, "1").await, 0);
        let whole = [post_head(&account, "transfer-encoding: chunked\r\n").into_bytes(), chunked(body, 1)].concat();
        assert!(raw(gateway.address, &whole).await.ends_with(SUCCESS), "byte by byte");
        assert_eq!(records_of(&account, "1").await, 1);
        gateway.stop().await;
    });
}

async fn send(gateway: &Gateway, method: &str, path: &str, body: Vec<u8>) -> Answer {
    gateway.client.request(method, path, &[], body).await
}
