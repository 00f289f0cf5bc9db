//! Whose word counts on where a request comes from: seen by whom `gettoken` locks out.

use calldata_http::TrustedProxies;
use calldata_testkit::gateway::{Account, Gateway, Options};

use super::gateway;

const LOCKED: i64 = 200_800_003;

/// The code that a wrong secret gets, from wherever these headers say.
async fn guess(gateway: &Gateway, account: &Account, headers: &[(&str, &str)]) -> i64 {
    let body = format!(r#"{{"appKey":"{}","appSecret":"wrong"}}"#, account.tenant.oifde_id);
    let answer = gateway.client.request("POST", "/oifde/rest/api/gettoken", headers, body.into()).await;
    answer.json()["errorCode"].as_i64().unwrap()
}

/// Whether twenty guesses with these headers lock out those with the others.
async fn locks(gateway: &Gateway, account: &Account, these: impl Fn(u8) -> Vec<(&'static str, String)>, others: &[(&str, &str)]) -> bool {
    for number in 0..20 {
        let headers = these(number);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        guess(gateway, account, &headers).await;
    }
    guess(gateway, account, others).await == LOCKED
}

#[tokio::test(flavor = "multi_thread")]
async fn oif_a4_a_forged_header_of_a_stranger_changes_nothing() {
    let elsewhere = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
    for proxies in [TrustedProxies::default(), elsewhere] {
        let (gateway, _database) = gateway(Options { proxies, ..Options::default() }).await;
        let account = gateway.a_tenant("c").await;
        let forged = |number| vec![("x-forwarded-for", format!("203.0.113.{number}")), ("forwarded", format!("for=203.0.113.{number}"))];
        assert!(locks(&gateway, &account, forged, &[]).await, "all of them come from one address");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oif_a4_behind_a_trusted_proxy_clients_are_told_apart() {
    let proxies = TrustedProxies::new(vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]);
    let (gateway, _database) = gateway(Options { proxies, ..Options::default() }).await;
    let (first, second) = (gateway.a_tenant("first").await, gateway.a_tenant("second").await);
    // What stands on the left was sent by the client, and may be another thing each time.
    let guesses = |number| vec![("x-forwarded-for", format!("198.51.100.{number}, 203.0.113.9, 10.1.1.1"))];
    assert!(locks(&gateway, &first, guesses, &[("x-forwarded-for", "203.0.113.9")]).await);
    assert_ne!(guess(&gateway, &first, &[("x-forwarded-for", "203.0.113.10")]).await, LOCKED, "another client");
    // Of IPv6 whoever has one address has its whole network.
    let guesses = |_| vec![("forwarded", "for=\"[2001:db8::1]:4711\"".to_owned())];
    assert!(locks(&gateway, &second, guesses, &[("forwarded", "for=\"[2001:db8::1]\"")]).await);
    assert_ne!(guess(&gateway, &second, &[("forwarded", "for=\"[2001:db8:0:1::1]\"")]).await, LOCKED, "another client");
    gateway.stop().await;
}
