//! `gettoken`, and what tokens are worth (OIF-A1 to OIF-A4).

use std::time::Duration;

use calldata_core::{Clock, DirectoryStore, KeyId, Scopes, Tenant};
use calldata_http::Limits;
use calldata_testkit::builders::a_key;
use calldata_testkit::client::Answer;
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::{Account, Gateway};
use calldata_testkit::program::eventually;
use serde_json::Value;

pub(super) const ANYONE: &str = r#""userMobile":"+49301""#;
const TOKEN_LIFE: Duration = Duration::from_secs(3_600);
pub(super) const A_MOMENT: Duration = Duration::from_millis(1);
/// A revocation has to be felt within this time.
const FELT: Duration = Duration::from_secs(10);

const TOKEN_MISSING: i64 = 900_001;
const TOKEN_WRONG: i64 = 900_002;
const PARAMETER: i64 = 10_000_002;
const SECRET_MISSING: i64 = 200_800_001;
pub(super) const SECRET_WRONG: i64 = 200_800_002;

pub(super) fn code(answer: &Answer) -> i64 {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json;charset=UTF-8")));
    answer.json()["errorCode"].as_i64().unwrap()
}

fn message(answer: &Answer) -> String {
    answer.json()["errorMsg"].as_str().unwrap().to_owned()
}

pub(super) async fn token(account: &Account) -> String {
    token_for(account, &account.key).await
}

async fn token_for(account: &Account, secret: &str) -> String {
    let answer = account.gettoken(secret).await;
    answer.json()["authToken"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

async fn query(gateway: &Gateway, body: &str) -> Answer {
    gateway.client.request("POST", "/oifde/rest/api/queryRecordHistory", &[], body.into()).await
}

/// The same query at any instance.
async fn query_with(gateway: &Gateway, tenant: &Tenant, token: &str) -> i64 {
    code(&query(gateway, &format!(r#"{{"tenantId":"{}","authToken":"{token}",{ANYONE}}}"#, tenant.oifde_id)).await)
}

async fn gettoken_with(gateway: &Gateway, body: &str) -> Answer {
    gateway.client.request("POST", "/oifde/rest/api/gettoken", &[], body.into()).await
}

#[test]
fn oif_a1_every_query_names_tenant_and_token_in_its_body() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let (tenant, key) = (&account.tenant.oifde_id, &account.key);
        let both = query(&gateway, &format!(r#"{{"tenantId":"{tenant}","authToken":"{key}",{ANYONE}}}"#)).await;
        assert_eq!(code(&both), 0);
        let no_tenant = query(&gateway, &format!(r#"{{"authToken":"{key}",{ANYONE}}}"#)).await;
        assert_eq!((code(&no_tenant), message(&no_tenant).contains("tenantId")), (PARAMETER, true));
        let elsewhere = [("authorization", format!("Bearer {key}")), ("x-functions-key", key.clone()), ("authtoken", key.clone())];
        let elsewhere: Vec<_> = elsewhere.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let body = format!(r#"{{"tenantId":"{tenant}",{ANYONE}}}"#);
        let path = format!("/oifde/rest/api/queryRecordHistory?authToken={key}");
        let not_in_body = gateway.client.request("POST", &path, &elsewhere, body.into()).await;
        assert_eq!(code(&not_in_body), TOKEN_MISSING, "neither a header nor the URL counts");
        gateway.stop().await;
    });
}

#[test]
fn oif_a2_gettoken_gives_a_token_that_is_good_for_an_hour() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let answer = account.gettoken(&account.key).await;
        assert_eq!(code(&answer), 0);
        let token = answer.json()["authToken"].as_str().unwrap().to_owned();
        assert_eq!(answer.text(), format!(r#"{{"errorCode":0,"errorMsg":"Success","authToken":"{token}","expireTime":3600}}"#));
        assert!(!token.contains(&account.key));
        assert_eq!(code(&account.history_with(&token, ANYONE).await), 0);
        gateway.clock.advance(TOKEN_LIFE.saturating_sub(A_MOMENT));
        assert_eq!(code(&account.history_with(&token, ANYONE).await), 0);
        gateway.clock.advance(A_MOMENT);
        assert_eq!(code(&account.history_with(&token, ANYONE).await), TOKEN_MISSING, "expired");
        let fresh = self::token(&account).await;
        assert_eq!(code(&account.history_with(&fresh, ANYONE).await), 0);
        gateway.stop().await;
    });
}

#[test]
fn oif_a2_a_token_is_good_on_every_instance_and_across_restarts() {
    on_every_engine(async |database| {
        let one = Gateway::start(database).await;
        let account = one.a_tenant("c").await;
        let token = token(&account).await;
        let other = Gateway::start_with(database.open_again().await, one.clock.clone(), Limits::default()).await;
        assert_eq!(query_with(&other, &account.tenant, &token).await, 0);
        one.stop().await;
        other.clock.advance(TOKEN_LIFE / 2);
        let clock = other.clock.clone();
        other.stop().await;
        let restarted = Gateway::start_with(database.open_again().await, clock, Limits::default()).await;
        assert_eq!(query_with(&restarted, &account.tenant, &token).await, 0);
        restarted.clock.advance(TOKEN_LIFE / 2);
        assert_eq!(query_with(&restarted, &account.tenant, &token).await, TOKEN_MISSING, "its hour began at its first instance");
        restarted.stop().await;
    });
}

#[test]
fn oif_a2_a_token_dies_with_its_key_and_no_other_does() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        gateway.a_key(&account.tenant, "another-secret", Scopes::READ_WRITE).await;
        let (dying, living) = (token(&account).await, token_for(&account, "another-secret").await);
        assert_eq!(code(&account.history_with(&dying, ANYONE).await), 0);
        let key = KeyId::new(&format!("k-{}", account.key)).unwrap();
        assert!(database.database().revoke_key(&key, gateway.clock.now()).await.unwrap());
        let refused = async || code(&account.history_with(&dying, ANYONE).await) == TOKEN_WRONG;
        eventually("the revocation is felt", FELT, refused).await;
        assert_eq!(code(&account.history_with(&living, ANYONE).await), 0);
        assert_eq!(code(&account.gettoken(&account.key).await), SECRET_WRONG);
        gateway.stop().await;
    });
}

#[test]
fn oif_a2_a_token_is_good_no_longer_than_its_key() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let minutes = Duration::from_secs(600);
        let key = a_key(&account.tenant, "short-lived-secret");
        let key = calldata_core::key::AccessKey { expires_at: Some(gateway.clock.now().plus(minutes)), ..key };
        database.database().create_key(&key).await.unwrap();
        let token = token_for(&account, "short-lived-secret").await;
        gateway.clock.advance(minutes.saturating_sub(A_MOMENT));
        assert_eq!(code(&account.history_with(&token, ANYONE).await), 0);
        gateway.clock.advance(A_MOMENT);
        assert_eq!(code(&account.history_with(&token, ANYONE).await), TOKEN_WRONG);
        gateway.stop().await;
    });
}

#[test]
fn oif_a2_a_token_that_was_tampered_with_is_none() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let token = token(&account).await;
        for at in [0, 5, 8, token.len() / 2, token.len() - 20] {
            let mut tampered = token.clone().into_bytes();
            tampered[at] = if tampered[at] == b'B' { b'C' } else { b'B' };
            let tampered = String::from_utf8(tampered).unwrap();
            assert_eq!(code(&account.history_with(&tampered, ANYONE).await), TOKEN_WRONG, "character {at}");
        }
        gateway.stop().await;
    });
}

#[test]
fn oif_a3_a_long_lived_key_is_accepted_as_token() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let documented = include_str!("../../golden/oifde-request.json");
        let said: Value = serde_json::from_str(documented).unwrap();
        let tenant = calldata_testkit::builders::a_tenant("c");
        let tenant = Tenant { oifde_id: said["tenantId"].as_str().unwrap().into(), ..tenant };
        let account = gateway.add(tenant).await;
        assert_eq!(code(&query(&gateway, documented).await), TOKEN_WRONG);
        gateway.a_key(&account.tenant, said["authToken"].as_str().unwrap(), Scopes::READ_WRITE).await;
        // A secret that was refused is known from the next look on, which comes each second.
        gateway.look().await;
        assert_eq!(code(&query(&gateway, documented).await), 0);
        gateway.clock.advance(TOKEN_LIFE * 24 * 365);
        assert_eq!(code(&query(&gateway, documented).await), 0, "a key does not expire as a token does");
        gateway.stop().await;
    });
}

#[test]
fn oif_a4_every_wrong_token_gets_one_answer() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let (account, other) = (gateway.a_tenant("c").await, gateway.a_tenant("other").await);
        gateway.a_key(&account.tenant, "a-writing-secret", Scopes { write: true, ..Scopes::default() }).await;
        let (own, foreign) = (token(&account).await, token(&other).await);
        let without_read = token_for(&account, "a-writing-secret").await;
        let expected = r#"{"errorCode":900002,"errorMsg":"Token check failed","total":0,"recordList":[]}"#;
        let wrong = ["nonsense", "cdt1.", "cdt1.a.b", " ", &foreign, &other.key, "a-writing-secret", &without_read];
        for token in wrong {
            let answer = account.history_with(token, ANYONE).await;
            assert_eq!((code(&answer), answer.text()), (TOKEN_WRONG, expected), "{token}");
        }
        let unknown = query(&gateway, &format!(r#"{{"tenantId":"nobody","authToken":"{own}",{ANYONE}}}"#)).await;
        assert_eq!(unknown.text(), expected);
        let by_client_id = query(&gateway, &format!(r#"{{"tenantId":"c","authToken":"{own}",{ANYONE}}}"#)).await;
        assert_eq!(by_client_id.text(), expected, "the other dialect's name of the tenant");
        gateway.stop().await;
    });
}

#[test]
fn oif_a4_the_token_is_checked_before_the_parameters_and_a_missing_one_is_told() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        assert_eq!(code(&account.history_with("nonsense", r#""pageNum":"x""#).await), TOKEN_WRONG);
        let parameter = account.history(&format!(r#"{ANYONE},"pageNum":"x""#)).await;
        assert_eq!((code(&parameter), message(&parameter).contains("pageNum")), (PARAMETER, true));
        for missing in ["", r#""authToken":null,"#, r#""authToken":"","#] {
            let body = format!(r#"{{"tenantId":"{}",{missing}"pageNum":"x"}}"#, account.tenant.oifde_id);
            assert_eq!(code(&query(&gateway, &body).await), TOKEN_MISSING, "{missing}");
        }
        gateway.stop().await;
    });
}

#[test]
fn oif_a4_gettoken_has_codes_of_its_own() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let tenant = &account.tenant.oifde_id;
        let cases = [
            (format!(r#"{{"appKey":"{tenant}"}}"#), SECRET_MISSING),
            (format!(r#"{{"appKey":"{tenant}","appSecret":null}}"#), SECRET_MISSING),
            (format!(r#"{{"appKey":"{tenant}","appSecret":""}}"#), SECRET_MISSING),
            (format!(r#"{{"appKey":"{tenant}","appSecret":"wrong"}}"#), SECRET_WRONG),
            (format!(r#"{{"appKey":"nobody","appSecret":"{}"}}"#, account.key), SECRET_WRONG),
            (format!(r#"{{"appSecret":"{}"}}"#, account.key), PARAMETER),
            (format!(r#"{{"appKey":7,"appSecret":"{}"}}"#, account.key), PARAMETER),
            ("nonsense".to_owned(), PARAMETER),
        ];
        for (body, expected) in cases {
            let answer = gettoken_with(&gateway, &body).await;
            assert_eq!(code(&answer), expected, "{body}");
            assert!(answer.json().get("authToken").is_none(), "{body}");
            assert!(expected != PARAMETER || message(&answer).contains(if body == "nonsense" { "body" } else { "appKey" }), "{body}");
        }
        let wrong = [account.gettoken("wrong").await, gettoken_with(&gateway, r#"{"appKey":"nobody","appSecret":"wrong"}"#).await];
        assert_eq!(wrong[0].text(), wrong[1].text(), "an unknown tenant is not told from a wrong secret");
        let got = gateway.client.request("GET", "/oifde/rest/api/gettoken", &[], Vec::new()).await;
        assert_eq!(code(&got), PARAMETER);
        gateway.stop().await;
    });
}

#[test]
fn oif_a4_what_fails_inside_is_told_without_a_reason() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        assert_eq!(code(&account.history(ANYONE).await), 0);
        database.execute("ALTER TABLE session RENAME TO elsewhere").await;
        let failed = account.history(ANYONE).await;
        assert_eq!(
            (failed.status, failed.text()),
            (200, r#"{"errorCode":10000001,"errorMsg":"Internal error","total":0,"recordList":[]}"#)
        );
        gateway.stop().await;
    });
}
