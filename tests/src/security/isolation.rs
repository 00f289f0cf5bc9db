//! A tenant cannot read another's data, nor find out that there is any, nor come in under another's name.

use std::sync::Arc;
use std::time::Duration;

use calldata_core::{DirectoryStore, Tenant};
use calldata_http::Limits;
use calldata_testkit::builders::{DAY, a_clock, a_tenant};
use calldata_testkit::client::Answer;
use calldata_testkit::engine::{Engine, TestDatabase, on_every_engine};
use calldata_testkit::gateway::{Account, Gateway};
use proptest::collection::vec;
use tokio::task::JoinSet;

use super::strangers::{Claim, NAMES, Operation, Place, Proof, Request, a_request, move_in, perform, token_of};
use crate::examples::examples;

/// Rounds on each engine, and the requests of each.
const ROUNDS: usize = 200;
const REQUESTS: std::ops::Range<usize> = 24..40;
/// Attempts under another's name that are made at the same time: unknown keys are looked up at most ten times a second.
const TOGETHER: usize = 25;
/// From one request to the next, so that no two receipts are the same moment.
const A_MOMENT: Duration = Duration::from_millis(7);
/// From one round to the next, so that the earlier one has expired.
const A_MONTH: Duration = DAY.saturating_mul(31);

/// All three share a gateway; the first of them also has one, and a database, for itself. Whatever the others do, its answers are the
/// same in both places, and nobody's answer holds anything of somebody else. The one for itself runs on SQLite in any case: the engine
/// makes no difference either.
#[test]
fn no_answer_depends_on_what_other_tenants_have() {
    let rounds = examples(&vec(a_request(), REQUESTS), ROUNDS);
    on_every_engine(async |database| {
        let alone = TestDatabase::new(Engine::Sqlite).await;
        let clock = Arc::new(a_clock());
        let shared = Gateway::start_with(database.database().clone(), clock.clone(), Limits::default()).await;
        let alone = Gateway::start_with(alone.database().clone(), clock.clone(), Limits::default()).await;
        let mut accounts = Vec::new();
        for name in NAMES {
            accounts.push(move_in(&shared, name).await);
        }
        let twin = move_in(&alone, NAMES[0]).await;
        let (mut answers, mut told) = (0, 0);
        for (round, requests) in rounds.iter().enumerate() {
            clock.advance(A_MONTH);
            for request in requests {
                clock.advance(A_MOMENT);
                let account = &accounts[request.tenant];
                let answer = perform(&shared, &Claim::honest(account, request.proof).await, round, request).await;
                if let Some(answer) = &answer {
                    assert_only_own(account, answer);
                    answers += 1;
                    told += usize::from(holds(answer, NAMES[request.tenant]));
                }
                if request.tenant == 0 {
                    let expected = perform(&alone, &Claim::honest(&twin, request.proof).await, round, request).await;
                    assert_eq!(answer.as_ref().map(comparable), expected.as_ref().map(comparable), "round {round}: {request:?}");
                }
            }
        }
        assert!(told > answers / 10, "tenants see their own: {told} of {answers} answers");
        one_tenant_is_deleted(&shared, &accounts).await;
        alone.stop().await;
        shared.stop().await;
    });
}

/// What is deleted of one tenant is deleted of no other, though their records have the same identifiers.
async fn one_tenant_is_deleted(gateway: &Gateway, accounts: &[Account]) {
    let operation = Operation::ImportRecord { log: 0, call: 0, caller: 0, own: false };
    for (tenant, account) in accounts.iter().enumerate() {
        let import = Request { tenant, place: Place::Header, proof: Proof::OwnKey, operation: operation.clone() };
        perform(gateway, &Claim::honest(account, import.proof).await, ROUNDS, &import).await;
    }
    assert!(gateway.database().delete_tenant(accounts[2].tenant.id).await.unwrap() > 0);
    for account in &accounts[..2] {
        assert_eq!(account.history(&format!(r#""callId":"call-{ROUNDS}-0""#)).await.json()["total"], 1);
    }
}

/// The secret or token of one tenant under the name of another is refused word for word as nonsense is.
#[test]
fn anothers_name_is_refused_like_a_wrong_key() {
    let requests = examples(&a_request(), ROUNDS);
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let mut accounts = Vec::new();
        for name in NAMES {
            accounts.push(move_in(&gateway, name).await);
        }
        let over_http: Vec<_> = requests.iter().filter(|request| !is_import(request)).collect();
        let gateway = Arc::new(gateway);
        for together in over_http.chunks(TOGETHER) {
            // Failed attempts at one tenant add up within five minutes (OIF-A4).
            gateway.clock.advance(A_MONTH);
            let mut attempts = JoinSet::new();
            for (at, request) in together.iter().enumerate() {
                let (gateway, request) = (Arc::clone(&gateway), (*request).clone());
                let impostor = accounts[request.tenant].clone();
                let victim = accounts[(request.tenant + 1 + at % 2) % NAMES.len()].tenant.clone();
                attempts.spawn(async move { an_attempt(&gateway, &impostor, victim, &request).await });
            }
            attempts.join_all().await;
        }
        for account in &accounts {
            let found = account.history(r#""userMobile":"+49301234567""#).await;
            assert_eq!(found.json()["total"], 0, "an impostor stored something: {}", found.text());
        }
        Arc::into_inner(gateway).expect("all attempts have ended").stop().await;
    });
}

async fn an_attempt(gateway: &Gateway, impostor: &Account, victim: Tenant, request: &Request) {
    let claim = Claim { tenant: victim, secret: impostor.key.clone(), token: token_of(impostor).await };
    let answer = perform(gateway, &claim, 0, request).await.unwrap();
    let nonsense = Claim { secret: "nonsense".into(), token: "nonsense".into(), ..claim };
    let refused = perform(gateway, &nonsense, 0, request).await.unwrap();
    assert_eq!(comparable(&answer), comparable(&refused), "{request:?}");
    let code = |answer: &Answer| ["errorCode", "rtnCode"].into_iter().find_map(|name| answer.json()[name].as_i64());
    assert!(answer.status == 401 || matches!(code(&answer), Some(900_002 | 200_800_002)), "{answer:?}");
    // Nor does it tell whether there is a tenant of that name.
    let unknown = perform(gateway, &Claim { tenant: a_tenant("nobody"), ..nonsense }, 0, request).await.unwrap();
    assert_eq!(comparable(&unknown), comparable(&refused), "{request:?}");
    assert_only_own(impostor, &answer);
}

fn is_import(request: &Request) -> bool {
    matches!(request.operation, Operation::ImportRecord { .. } | Operation::ImportSession { .. })
}

#[track_caller]
fn assert_only_own(account: &Account, answer: &Answer) {
    for other in NAMES.iter().filter(|name| **name != account.tenant.client_id) {
        assert!(!holds(answer, other), "an answer to {} holds something of {other}: {answer:?}", account.tenant.client_id);
    }
}

fn holds(answer: &Answer, name: &str) -> bool {
    let headers = answer.headers.iter().any(|(header, value)| header.contains(name) || value.to_lowercase().contains(name));
    headers || String::from_utf8_lossy(&answer.body).to_lowercase().contains(name)
}

/// All of an answer but what differs between any two: its date, its request id, and the identifiers that the gateway makes up.
fn comparable(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| !matches!(name.as_str(), "date" | "x-request-id")).cloned().collect();
    let text = String::from_utf8_lossy(&answer.body);
    let mut parts = text.split("\"logId\":\"");
    let mut body = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let made_up = part.get(..36).is_some_and(|id| id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'));
        body.push_str("\"logId\":\"");
        body.push_str(if made_up { &part[36..] } else { part });
    }
    (answer.status, headers, body)
}
