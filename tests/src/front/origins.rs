//! Web pages of strangers: they read nothing, and change nothing.

use calldata_http::Origins;
use calldata_testkit::client::Answer;
use calldata_testkit::gateway::{Gateway, Options};

use super::{SOON, gateway, rest, sent, status};

const DESK: &str = "https://desk.example";
const EVIL: &str = "https://evil.example";
const PATHS: [&str; 4] = [
    "/api/CallData?clientId=c&code=secret-of-c",
    "/oifde/rest/api/gettoken",
    "/oifde/rest/api/queryRecordHistory",
    "/oifde/rest/api/queryHistory",
];

async fn from(gateway: &Gateway, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let body = if method == "POST" { r#"{"input":{"callid":"1","callerid":"a"}}"# } else { "" };
    gateway.client.request(method, path, headers, body.into()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn par_g12_a_stranger_s_page_may_not_post_anywhere() {
    let (gateway, _database) = gateway(Options::default()).await;
    let account = gateway.a_tenant("c").await;
    for path in PATHS.iter().chain(&["/livez", "/nowhere", "/docs/"]) {
        for headers in [&[("origin", EVIL)][..], &[("origin", "null")], &[("origin", DESK)], &[("sec-fetch-site", "cross-site")]] {
            let answer = from(&gateway, "POST", path, headers).await;
            assert_eq!((answer.status, answer.text()), (403, ""), "{path} {headers:?}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        }
        assert_eq!(from(&gateway, "DELETE", path, &[("origin", EVIL)]).await.status, 403, "{path}");
    }
    // Before anything is read: the body never comes.
    let begun = format!("POST {} HTTP/1.1\r\nHost: a\r\nOrigin: {EVIL}\r\nContent-Length: 100\r\n\r\n", PATHS[0]);
    assert_eq!(status(&rest(&mut sent(gateway.address, begun).await, SOON).await), Some(403));
    assert_eq!(account.history(r#""callId":"1""#).await.json()["total"], 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_setting_no_page_may_read_anything() {
    let (gateway, _database) = gateway(Options::default()).await;
    gateway.a_tenant("c").await;
    for method in ["GET", "OPTIONS"] {
        let headers = [("origin", EVIL), ("access-control-request-method", "POST")];
        let answer = from(&gateway, method, PATHS[0], &headers).await;
        assert!(!answer.headers.iter().any(|(name, _)| name.starts_with("access-control-")), "{:?}", answer.headers);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_s_own_page_and_whoever_is_no_browser_may_post() {
    let (gateway, _database) = gateway(Options::default()).await;
    gateway.a_tenant("c").await;
    let own = format!("http://{}", gateway.address);
    for headers in [&[("origin", own.as_str()), ("sec-fetch-site", "same-origin")][..], &[]] {
        assert_eq!(from(&gateway, "POST", PATHS[0], headers).await.status, 200, "{headers:?}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_named_may_read_and_post_and_no_other_one() {
    let origins = Origins::new(vec![DESK.parse().unwrap(), "http://127.0.0.1:3000".parse().unwrap()]);
    let (gateway, _database) = gateway(Options { origins, ..Options::default() }).await;
    gateway.a_tenant("c").await;
    let asks =
        [("origin", DESK), ("access-control-request-method", "POST"), ("access-control-request-headers", "content-type,x-functions-key")];
    let preflight = from(&gateway, "OPTIONS", PATHS[0], &asks).await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (200, Some(DESK)));
    let allowed = preflight.header("access-control-allow-headers").unwrap();
    assert!(allowed.contains("content-type") && allowed.contains("x-functions-key"), "{allowed}");
    assert_eq!(preflight.header("access-control-allow-credentials"), None);
    for method in ["GET", "POST"] {
        let answer = from(&gateway, method, PATHS[0], &[("origin", DESK), ("sec-fetch-site", "cross-site")]).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(DESK)), "{method}");
    }
    let evil = from(&gateway, "POST", PATHS[0], &[("origin", EVIL)]).await;
    assert_eq!((evil.status, evil.header("access-control-allow-origin")), (403, None));
    let evil = from(&gateway, "GET", PATHS[0], &[("origin", EVIL)]).await;
    assert_eq!((evil.status, evil.header("access-control-allow-origin")), (200, None), "the browser keeps it from the page");
    gateway.stop().await;
}
