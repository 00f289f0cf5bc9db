//! Who may do what.

use calldata_core::Scopes;
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::Gateway;

use super::{created, of, problem};

#[test]
fn a_key_alone_says_whose_sessions_are_meant() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let (ours, theirs) = (gateway.a_tenant("c").await, gateway.a_tenant("d").await);
        created(&ours, r#"{"id":"s","callId":"c","caller":"110"}"#).await;
        assert_eq!(ours.native("GET", "/sessions/s", "").await.status, 200);
        for path in ["/sessions/s", "/sessions/t"] {
            assert_eq!(problem(&theirs.native("GET", path, "").await), of("not-found", None, 404));
        }
        for query in ["", "?caller=110", "?callId=c", "?count=true"] {
            let page = theirs.native("GET", &format!("/sessions{query}"), "").await.json();
            assert_eq!(page["items"].as_array().map(Vec::len), Some(0), "{query}");
        }
        let calls = theirs.native("GET", "/calls?callId=c", "").await.json();
        assert_eq!(calls["items"].as_array().map(Vec::len), Some(0));
        gateway.stop().await;
    });
}

#[test]
fn without_a_live_key_there_is_one_answer() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let unknown = of("not-authenticated", None, 401);
        for header in [None, Some("Bearer wrong"), Some("Bearer "), Some("Digest x"), Some(account.key.as_str()), Some("Basic !")] {
            let headers: Vec<_> = header.iter().map(|header| ("authorization", *header)).collect();
            for (method, path) in [("GET", "/v1/sessions"), ("POST", "/v1/sessions:batch"), ("GET", "/v1/events")] {
                let answer = gateway.client.request(method, path, &headers, Vec::new()).await;
                assert_eq!(problem(&answer), unknown, "{header:?} {method} {path}");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            }
        }
        gateway.stop().await;
    });
}

#[test]
fn who_brings_no_key_guesses_nothing_and_is_not_locked_out() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        for number in 0..30 {
            let answer = gateway.client.request("GET", "/v1/sessions", &[], Vec::new()).await;
            assert_eq!(problem(&answer), of("not-authenticated", None, 401), "{number}");
            let parloa = gateway.client.request("GET", "/api/CallData?clientId=c&caller=110&callid=1", &[], Vec::new()).await;
            assert_eq!(parloa.status, 401, "{number}");
        }
        gateway.stop().await;
    });
}

#[test]
fn a_key_does_what_its_scopes_allow() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        created(&account, r#"{"id":"s","callId":"c","caller":"110"}"#).await;
        let scopes = |names: &[&str]| names.iter().fold(Scopes::default(), |scopes, name| scopes.with(name).unwrap());
        gateway.a_key(&account.tenant, "only-to-read-keys", scopes(&["read"])).await;
        gateway.a_key(&account.tenant, "only-to-write-keys", scopes(&["write"])).await;
        gateway.a_key(&account.tenant, "only-for-admin-keys", scopes(&["admin"])).await;
        let body = r#"{"callId":"c","caller":"110"}"#;
        let reads = [("GET", "/sessions", ""), ("GET", "/sessions/s", ""), ("GET", "/calls", ""), ("GET", "/events?lastEventId=x", "")];
        let writes = [
            ("POST", "/sessions", body),
            ("POST", "/sessions:batch", body),
            ("PUT", "/sessions/s", body),
            ("POST", "/sessions/s/turns", "{}"),
        ];
        for (secret, may_read, may_write) in
            [("only-to-read-keys", true, false), ("only-to-write-keys", false, true), ("only-for-admin-keys", false, false)]
        {
            let mut with = account.clone();
            with.key = secret.to_owned();
            for ((method, path, body), may) in reads.map(|read| (read, may_read)).into_iter().chain(writes.map(|write| (write, may_write)))
            {
                let answer = with.native(method, path, body).await;
                assert_eq!(answer.status == 403, !may, "{secret} {method} {path}: {}", answer.text());
                if !may {
                    assert_eq!(problem(&answer), of("not-permitted", None, 403));
                }
            }
        }
        gateway.stop().await;
    });
}

#[test]
fn a_key_that_two_tenants_brought_along_needs_the_clients_name() {
    use base64::Engine as _;
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let (one, two) = (gateway.a_tenant("one").await, gateway.a_tenant("two").await);
        for account in [&one, &two] {
            gateway.a_key(&account.tenant, &format!("shared-by-{}", account.tenant.client_id), Scopes::READ_WRITE).await;
        }
        created(&one, r#"{"id":"s","callId":"c","caller":"110"}"#).await;
        // The same secret under two identifiers.
        for account in [&one, &two] {
            let key = calldata_core::key::AccessKey {
                id: calldata_core::KeyId::random(),
                ..calldata_testkit::builders::a_key(&account.tenant, "one secret of two tenants")
            };
            calldata_core::DirectoryStore::create_key(gateway.database(), &key).await.unwrap();
        }
        let get = async |header: &str| gateway.client.request("GET", "/v1/sessions/s", &[("authorization", header)], Vec::new()).await;
        assert_eq!(problem(&get("Bearer one secret of two tenants").await), of("not-authenticated", None, 401));
        let basic =
            |name: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:one secret of two tenants")));
        assert_eq!(get(&basic("one")).await.status, 200);
        assert_eq!(problem(&get(&basic("two")).await), of("not-found", None, 404));
        gateway.stop().await;
    });
}

#[test]
fn who_guesses_keys_is_locked_out_and_a_right_one_is_not() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        assert_eq!(account.native("GET", "/sessions", "").await.status, 200);
        let guess = async |number: u32| {
            let header = format!("Bearer guess-number-{number}");
            gateway.client.request("GET", "/v1/sessions", &[("authorization", &header)], Vec::new()).await
        };
        for number in 0..20 {
            assert_eq!(problem(&guess(number).await), of("not-authenticated", None, 401));
        }
        assert_eq!(problem(&guess(20).await), of("too-many-requests", None, 429));
        assert_eq!(account.native("GET", "/sessions", "").await.status, 200, "it was right from here before");
        gateway.stop().await;
    });
}

#[test]
fn what_is_not_there_and_methods_that_are_not_are_told_in_the_same_words() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for path in ["/nothing", "/sessions:nothing", "/sessions/s/nothing", "/"] {
            assert_eq!(problem(&account.native("GET", path, "").await), of("not-found", None, 404), "{path}");
        }
        for (method, path) in
            [("DELETE", "/sessions"), ("PUT", "/sessions"), ("GET", "/sessions:batch"), ("POST", "/events"), ("POST", "/calls")]
        {
            assert_eq!(problem(&account.native(method, path, "").await), of("invalid-request", None, 405), "{method} {path}");
        }
        gateway.stop().await;
    });
}

#[test]
fn who_may_only_write_is_not_told_what_others_stored() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        created(&account, r#"{"id":"s","callId":"c","caller":"110","content":"of others"}"#).await;
        gateway.a_key(&account.tenant, "only-to-write-keys", Scopes { write: true, ..Scopes::default() }).await;
        let mut writes = account.clone();
        writes.key = "only-to-write-keys".into();
        let added = writes.native("POST", "/sessions/s/turns", r#"{"turns":[{"no":"1"}]}"#).await;
        assert_eq!((added.status, added.text()), (204, ""));
        let empty = writes.native("POST", "/sessions/s/turns", r#"{"turns":[]}"#).await;
        assert_eq!(problem(&empty), of("invalid-field", Some("turns"), 400));
        assert_eq!(account.native("GET", "/sessions/s", "").await.json()["turns"].as_array().map(Vec::len), Some(1));
        gateway.stop().await;
    });
}

#[test]
fn an_identifier_that_cannot_be_read_is_one_of_nothing_and_a_parameter_that_is_not_known_is_refused() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.as_admin(&gateway.a_tenant("c").await).await;
        for path in ["/sessions/%ff", "/webhooks/%ff", "/erasures/%ff", "/sessions/%00"] {
            assert_eq!(problem(&account.native("GET", path, "").await), of("not-found", None, 404), "{path}");
            let nobody = gateway.client.request("GET", &format!("/v1{path}"), &[], Vec::new()).await;
            assert_eq!(problem(&nobody), of("not-authenticated", None, 401), "{path}");
        }
        let session = r#"{"callId":"c","caller":"110"}"#;
        for (path, body) in [("/sessions", session), ("/sessions:batch", session), ("/callers:export", r#"{"caller":"110"}"#)] {
            let answer = account.native("POST", &format!("{path}?x=1"), body).await;
            assert_eq!(problem(&answer), of("unknown-member", Some("x"), 400), "{path}");
        }
        gateway.stop().await;
    });
}
