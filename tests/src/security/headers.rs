//! What every answer says, whatever was asked (PAR-G12): nothing of it is kept, passed on, or taken for something else, and the server
//! does not say what it is.

use calldata_core::Scopes;
use calldata_testkit::client::Answer;
use calldata_testkit::engine::{Engine, on_every_engine};
use calldata_testkit::gateway::Gateway;

const RECORDS: &str = "/oifde/rest/api/queryRecordHistory";
const LATEST: &str = "/oifde/rest/api/queryHistory";
const TOKENS: &str = "/oifde/rest/api/gettoken";
/// What a page would run, and an answer must not give back as it came.
const MARKUP: &str = "<script>alert(1)</script>";

fn assert_headers(about: &str, answer: &Answer) {
    let expected = [("cache-control", "no-store"), ("referrer-policy", "no-referrer"), ("x-content-type-options", "nosniff")];
    for (name, value) in expected {
        let given: Vec<_> = answer.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect();
        assert_eq!(given, [value], "{about}: {name}");
    }
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{about}: x-request-id");
    for unwanted in ["server", "x-powered-by", "via", "www-authenticate", "set-cookie", "access-control-allow-origin", "location"] {
        assert_eq!(answer.header(unwanted), None, "{about}: {unwanted}");
    }
    let said = format!("{:?}", answer.headers).to_lowercase();
    for name in ["axum", "hyper", "rust", "calldata-gateway"] {
        assert!(!said.contains(name), "{about}: {said}");
    }
    if !answer.body.is_empty() {
        let kind = answer.header("content-type").unwrap_or_else(|| panic!("{about}: a body without a type"));
        assert!(kind.starts_with("application/json") || kind.contains("charset=utf-8"), "{about}: {kind}");
    }
}

#[test]
fn par_g12_every_answer_of_every_route_is_kept_and_passed_on_by_nobody() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        gateway.a_key(&account.tenant, "only-reads", Scopes { write: false, ..Scopes::READ_WRITE }).await;
        let post = r#"{"input":{"callid":"1","callerid":"a","content":"x"}}"#;
        let large = "x".repeat(1 << 21);
        let key = "secret-of-c";
        let found = format!("/api/CallData?clientId=c&code={key}&callid=1&caller=a");
        let posts = format!("/api/CallData?clientId=c&code={key}");
        let wrong = "/api/CallData?clientId=c&code=wrong".to_owned();
        let health = "/api/CallData?parloa-health-check".to_owned();
        let forbidden = "/api/CallData?clientId=c&code=only-reads".to_owned();
        let history = format!(r#"{{"tenantId":"oifde-c","authToken":"{key}","callId":"1"}}"#);
        let latest = format!(r#"{{"tenantId":"oifde-c","authToken":"{key}","params":{{"userMobile":"a"}}}}"#);
        let token = format!(r#"{{"appKey":"oifde-c","appSecret":"{key}"}}"#);
        let mut asked: Vec<(&str, String, &str, u16)> = vec![
            ("POST", posts.clone(), post, 200),
            ("POST", posts.clone(), "nonsense", 200),
            ("POST", posts.clone(), &large, 413),
            ("POST", wrong.clone(), post, 401),
            ("POST", forbidden, post, 403),
            ("POST", health.clone(), "", 200),
            ("HEAD", found.clone(), "", 200),
            ("GET", health, "", 200),
            ("GET", wrong, "", 401),
            ("GET", "/api/calldata/".into(), "", 401),
            ("GET", "/".into(), "", 404),
            ("GET", "/api".into(), "", 404),
            ("GET", "/api/CallData/elsewhere".into(), "", 404),
            ("GET", "/.git/config".into(), "", 404),
            ("GET", "/docs/../../etc/passwd".into(), "", 404),
            ("GET", "/openapi/elsewhere.json".into(), "", 404),
            ("GET", "/livez".into(), "", 200),
            // The clock of a test is not the server's.
            ("GET", "/readyz".into(), "", if database.engine() == Engine::Postgres { 503 } else { 200 }),
            ("POST", "/livez".into(), "", 405),
            ("GET", "/openapi.json".into(), "", 200),
            ("GET", "/openapi/parloa.json".into(), "", 200),
            ("POST", RECORDS.into(), &history, 200),
            ("POST", RECORDS.into(), "nonsense", 200),
            ("POST", RECORDS.into(), &large, 200),
            ("GET", RECORDS.into(), "", 200),
            ("POST", LATEST.into(), &latest, 200),
            ("POST", LATEST.into(), "nonsense", 200),
            ("GET", LATEST.into(), "", 200),
            ("POST", TOKENS.into(), &token, 200),
            ("POST", TOKENS.into(), "{}", 200),
            ("GET", TOKENS.into(), "", 200),
        ];
        for format in ["json", "xml", "html", "text", "nonsense"] {
            asked.push(("GET", format!("{found}&format={format}"), "", 200));
            asked.push(("GET", format!("{found}-none&format={format}"), "", 200));
        }
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY"] {
            asked.push((method, found.clone(), "", 405));
        }
        for (method, path, body, status) in asked {
            let answer = gateway.client.request(method, &path, &[], body.as_bytes().to_vec()).await;
            assert_eq!(answer.status, status, "{method} {path}");
            assert_headers(&format!("{method} {path}"), &answer);
        }
        database.execute("ALTER TABLE session RENAME TO gone").await;
        for (method, path, body) in
            [("GET", found.as_str(), ""), ("POST", posts.as_str(), post), ("POST", RECORDS, &history), ("POST", LATEST, &latest)]
        {
            let answer = gateway.client.request(method, path, &[], body.as_bytes().to_vec()).await;
            assert!(answer.status == 500 || answer.text().contains("10000001"), "{method} {path}: {answer:?}");
            assert_headers(&format!("{method} {path} without a table"), &answer);
        }
        gateway.stop().await;
    });
}

/// A foreign page's request is answered without leave to read the answer, and no cookie could prove who asks.
#[test]
fn no_foreign_page_is_given_leave_to_read() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        gateway.a_tenant("c").await;
        let foreign = [("origin", "https://elsewhere.example"), ("access-control-request-method", "POST"), ("cookie", "code=secret-of-c")];
        for method in ["GET", "OPTIONS"] {
            let answer = gateway.client.request(method, "/api/CallData?clientId=c&callid=1&caller=a", &foreign, Vec::new()).await;
            assert!(matches!(answer.status, 401 | 405), "{method}: {}", answer.status);
            assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("access-control-")), "{method}: {:?}", answer.headers);
        }
        gateway.stop().await;
    });
}

#[test]
fn nothing_of_a_request_comes_back_unasked_or_as_markup() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let encoded: String = form_urlencoded::byte_serialize(MARKUP.as_bytes()).collect();
        let asks = ["callid", "caller", "format", "lang", "timeLimit", "countryCode", "wait"].map(|name| format!("{name}={encoded}"));
        for ask in asks {
            for format in ["json", "xml", "html", "text"] {
                let rest = if ask.starts_with("format") { String::new() } else { format!("&format={format}") };
                let answer = account.get(&format!("{ask}{rest}&callid=1&caller=a")).await;
                assert!(!answer.text().contains("script"), "{ask}: {}", answer.text());
                assert!(answer.headers.iter().all(|(_, value)| !value.contains("script")), "{ask}: {:?}", answer.headers);
            }
        }
        let odd = [("x-request-id", MARKUP), ("referer", MARKUP), ("user-agent", MARKUP), ("x-forwarded-for", MARKUP)];
        for path in [format!("/{encoded}"), format!("/api/{encoded}"), format!("/docs/{encoded}"), format!("/livez?{encoded}")] {
            let answer = gateway.client.request("GET", &path, &odd, Vec::new()).await;
            let said = format!("{:?}{}", answer.headers, answer.text());
            assert!(!said.contains("alert(1)"), "{path}: {said}");
        }
        for body in [
            MARKUP.to_owned(),
            format!(r#"{{"input":"{MARKUP}"}}"#),
            format!(r#"{{"tenantId":"{MARKUP}","authToken":"{MARKUP}","callId":"{MARKUP}","params":{{"userMobile":"{MARKUP}"}}}}"#),
        ] {
            for path in ["/api/CallData?clientId=c&code=secret-of-c", RECORDS, LATEST, TOKENS] {
                let answer = gateway.client.request("POST", path, &[], body.clone().into_bytes()).await;
                assert!(!answer.text().contains("alert"), "{path}: {}", answer.text());
            }
        }
        gateway.stop().await;
    });
}
