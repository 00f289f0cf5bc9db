//! Who may call (PAR-A1 to PAR-A5).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use calldata_core::key::AccessKey;
use calldata_core::{DirectoryStore, Scopes, Tenant};
use calldata_testkit::builders::{a_key, a_tenant, start};
use calldata_testkit::client::Answer;
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::Gateway;

use super::parloa_requests::{ANY_AGE, SUCCESS, fetch, records_of, store};

const BODY: &str = r#"{"input":{"callid":"1","callerid":"+4930123456"}}"#;

#[test]
fn par_a1_the_same_pair_writes_and_reads_from_query_or_header() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let in_query = "clientId=c&code=secret-of-c";
        let in_header = [("x-functions-key", "secret-of-c")];
        assert_eq!(post(&gateway, in_query, &[]).await.text(), SUCCESS);
        assert_eq!(get(&gateway, "clientId=c", &in_header).await.json()["callid"], "1");
        assert_eq!(post(&gateway, "clientId=c", &in_header).await.text(), SUCCESS);
        assert_eq!(get(&gateway, in_query, &[]).await.json()["callid"], "1");
        assert_eq!(get(&gateway, "CLIENTID=c&Code=secret-of-c", &[]).await.status, 200, "names in any letter case");
        assert_eq!(get(&gateway, "clientId=c&clientId=d&code=secret-of-c&code=x", &[]).await.status, 200, "the first counts");
        for unnamed in
            ["code=secret-of-c", "clientId=&code=secret-of-c", "clientId=C&code=secret-of-c", "clientId=d&clientId=c&code=secret-of-c"]
        {
            assert_refused(&get(&gateway, unnamed, &[]).await, unnamed);
            assert_refused(&post(&gateway, unnamed, &[]).await, unnamed);
        }
        assert_eq!(records_of(&account, "1").await, 1);
        gateway.stop().await;
    });
}

#[test]
fn par_a2_a_header_decides_over_the_code_and_is_not_rescued_by_it() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        gateway.a_tenant("c").await;
        let right = "clientId=c&code=secret-of-c";
        for wrong in ["", "wrong", "secret-of-c ä", "SECRET-OF-C"] {
            assert_refused(&get(&gateway, right, &[("x-functions-key", wrong)]).await, wrong);
            assert_refused(&post(&gateway, right, &[("x-functions-key", wrong)]).await, wrong);
        }
        let header = [("x-functions-key", "secret-of-c")];
        assert_eq!(post(&gateway, "clientId=c&code=wrong", &header).await.text(), SUCCESS);
        assert_eq!(get(&gateway, "clientId=c&code=wrong", &header).await.json()["callid"], "1");
        gateway.stop().await;
    });
}

#[test]
fn par_a3_authorization_works_as_well_and_stands_between_header_and_code() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        gateway.a_tenant("c").await;
        gateway.a_tenant("d").await;
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        let (bearer, both, wrong) = ("Bearer secret-of-c", basic("c:secret-of-c"), basic("c:wrong"));
        let let_in: [(&str, Vec<(&str, &str)>); 9] = [
            ("clientId=c", vec![("authorization", bearer)]),
            ("clientId=c", vec![("authorization", "bearer secret-of-c")]),
            ("clientId=c", vec![("authorization", &both)]),
            ("", vec![("authorization", &both)]),
            ("clientId=", vec![("authorization", &both)]),
            ("clientId=c&code=wrong", vec![("authorization", bearer)]),
            ("clientId=c&code=wrong", vec![("authorization", &both)]),
            ("clientId=c", vec![("x-functions-key", "secret-of-c"), ("authorization", &wrong)]),
            ("clientId=c", vec![("x-functions-key", "secret-of-c"), ("authorization", "Bearer wrong")]),
        ];
        for (query, headers) in let_in {
            assert_eq!(post(&gateway, query, &headers).await.text(), SUCCESS, "{query} {headers:?}");
            assert_eq!(get(&gateway, query, &headers).await.json()["callid"], "1", "{query} {headers:?}");
        }
        let (key_of_d, named_d) = (basic("c:secret-of-d"), basic("d:secret-of-d"));
        let refused: [(&str, Vec<(&str, &str)>); 11] = [
            ("", vec![("authorization", bearer)]),
            ("", vec![("x-functions-key", "secret-of-c"), ("authorization", &both)]),
            ("clientId=d", vec![("authorization", &both)]),
            ("clientId=c", vec![("authorization", &named_d)]),
            ("clientId=c", vec![("authorization", &key_of_d)]),
            ("clientId=c&code=secret-of-c", vec![("authorization", "Bearer wrong")]),
            ("clientId=c&code=secret-of-c", vec![("authorization", &wrong)]),
            ("clientId=c&code=secret-of-c", vec![("authorization", "")]),
            ("clientId=c&code=secret-of-c", vec![("authorization", "Digest x")]),
            ("clientId=c&code=secret-of-c", vec![("authorization", "Basic !")]),
            ("clientId=c", vec![("x-functions-key", "wrong"), ("authorization", bearer)]),
        ];
        for (query, headers) in refused {
            let about = format!("{query} {headers:?}");
            assert_refused(&post(&gateway, query, &headers).await, &about);
            assert_refused(&get(&gateway, query, &headers).await, &about);
        }
        gateway.stop().await;
    });
}

#[test]
fn par_a4_every_kind_of_wrong_key_gets_the_same_empty_401() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        gateway.a_tenant("d").await;
        add_key(&gateway, AccessKey { revoked_at: Some(start()), ..a_key(&account.tenant, "revoked") }).await;
        add_key(&gateway, AccessKey { expires_at: Some(start()), ..a_key(&account.tenant, "expired") }).await;
        gateway.add(Tenant { suspended: true, ..a_tenant("s") }).await;
        let wrong = [
            ("", None),
            ("clientId=c", None),
            ("clientId=c", Some("wrong")),
            ("clientId=c", Some("revoked")),
            ("clientId=c", Some("expired")),
            ("clientId=c", Some("secret-of-d")),
            ("clientId=nobody", Some("secret-of-c")),
            ("clientId=s", Some("secret-of-s")),
        ];
        for (query, key) in wrong {
            let headers: Vec<_> = key.iter().map(|key| ("x-functions-key", *key)).collect();
            let about = format!("{query} {key:?}");
            let in_url = key.map_or(query.to_owned(), |key| format!("{query}&code={key}"));
            for answer in [get(&gateway, query, &headers).await, post(&gateway, query, &headers).await, get(&gateway, &in_url, &[]).await] {
                assert_refused(&answer, &about);
            }
        }
        assert_eq!(records_of(&account, "1").await, 0);
        gateway.stop().await;
    });
}

#[test]
fn par_a4_a_key_works_until_it_expires_and_not_after_it_was_revoked() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let expires_at = Some(start().plus(Duration::from_secs(3_600)));
        add_key(&gateway, AccessKey { expires_at, ..a_key(&account.tenant, "an-hour") }).await;
        gateway.clock.advance(Duration::from_millis(3_599_999));
        assert_eq!(post(&gateway, "clientId=c&code=an-hour", &[]).await.text(), SUCCESS);
        gateway.clock.advance(Duration::from_millis(1));
        assert_refused(&get(&gateway, "clientId=c&code=an-hour", &[]).await, "expired");
        assert_eq!(get(&gateway, "clientId=c&code=secret-of-c", &[]).await.status, 200);
        let key = a_key(&account.tenant, &account.key).id;
        assert!(gateway.database().revoke_key(&key, start()).await.unwrap());
        let second = Gateway::start_with(database.open_again().await, gateway.clock.clone(), calldata_http::Limits::default()).await;
        assert_refused(&get(&second, "clientId=c&code=secret-of-c", &[]).await, "revoked");
        second.stop().await;
        gateway.stop().await;
    });
}

#[test]
fn par_a4_a_live_key_without_the_scope_gets_an_empty_403() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        gateway.a_key(&account.tenant, "reader", Scopes::READ).await;
        gateway.a_key(&account.tenant, "writer", Scopes { write: true, ..Scopes::default() }).await;
        gateway.a_key(&account.tenant, "admin", Scopes { admin: true, ..Scopes::default() }).await;
        for key in ["reader", "admin"] {
            assert_forbidden(&post(&gateway, &format!("clientId=c&code={key}"), &[]).await);
        }
        assert_eq!(records_of(&account, "1").await, 0, "a refusal stores nothing");
        assert_eq!(post(&gateway, "clientId=c&code=writer", &[]).await.text(), SUCCESS);
        for key in ["writer", "admin"] {
            assert_forbidden(&get(&gateway, &format!("clientId=c&code={key}"), &[]).await);
        }
        assert_eq!(get(&gateway, "clientId=c&code=reader", &[]).await.json()["callid"], "1");
        gateway.stop().await;
    });
}

#[test]
fn a_tenant_can_refuse_keys_in_the_url() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.add(Tenant { accepts_key_in_url: false, ..a_tenant("c") }).await;
        assert_refused(&get(&gateway, "clientId=c&code=secret-of-c", &[]).await, "in the URL");
        assert_refused(&post(&gateway, "clientId=c&code=secret-of-c", &[]).await, "in the URL");
        store(&account, r#"{"callid":"1","callerid":"2"}"#).await;
        assert_eq!(get(&gateway, "clientId=c", &[("authorization", "Bearer secret-of-c")]).await.status, 200);
        gateway.stop().await;
    });
}

#[test]
fn par_a5_the_health_check_is_an_empty_200_on_either_method() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for query in
            ["parloa-health-check", "parloa-health-check=", "Parloa-Health-Check=true", "clientId=c&parloa-health-check&code=wrong"]
        {
            for method in ["GET", "POST"] {
                let answer = gateway.client.request(method, &format!("/api/CallData?{query}"), &[], Vec::new()).await;
                assert_eq!((answer.status, answer.text()), (200, ""), "{method} {query}");
            }
        }
        let with_all = format!("/api/CallData?clientId=c&code={}&parloa-health-check", account.key);
        let answer = gateway.client.request("POST", &with_all, &[], BODY.into()).await;
        assert_eq!((answer.status, answer.text()), (200, ""));
        assert_eq!(fetch(&account, "1", "+4930123456").await.header("x-calldata-reason"), Some("no-such-call"), "nothing is stored");
        gateway.stop().await;
    });
}

async fn post(gateway: &Gateway, query: &str, headers: &[(&str, &str)]) -> Answer {
    gateway.client.request("POST", &format!("/api/CallData?{query}"), headers, BODY.into()).await
}

/// Fetches what [`post`] stores.
async fn get(gateway: &Gateway, query: &str, headers: &[(&str, &str)]) -> Answer {
    let path = format!("/api/CallData?callid=1&caller=%2B4930123456&{ANY_AGE}&{query}");
    gateway.client.request("GET", &path, headers, Vec::new()).await
}

async fn add_key(gateway: &Gateway, key: AccessKey) {
    gateway.database().create_key(&key).await.unwrap();
}

/// Nothing but the date and the request's id differs from one refusal to another.
fn assert_refused(answer: &Answer, about: &str) {
    assert_eq!((answer.status, answer.text()), (401, ""), "{about}");
    let mut names: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let expected = ["cache-control", "content-length", "date", "referrer-policy", "x-content-type-options", "x-request-id"];
    assert_eq!(names, expected, "{about}");
}

fn assert_forbidden(answer: &Answer) {
    assert_eq!((answer.status, answer.text(), answer.header("www-authenticate")), (403, "", None));
}
