//! The native interface `/v1` (docs/sessions.md).

use calldata_testkit::client::Answer;
use calldata_testkit::gateway::Account;
use serde_json::Value;

mod access;
mod amending;
mod audit;
mod batch;
mod callers;
mod events;
mod exports;
mod lists;
mod sessions;
mod webhooks;

/// Stores a session and returns it.
async fn created(account: &Account, session: &str) -> Value {
    let answer = account.native("POST", "/sessions", session).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

fn id(session: &Value) -> String {
    session["id"].as_str().expect("a session has an id").to_owned()
}

/// Code, field and status of a problem.
fn problem(answer: &Answer) -> (String, Option<String>, u16) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", answer.text());
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status);
    assert_eq!(problem["requestId"].as_str(), answer.header("x-request-id"));
    let text = |name: &str| problem[name].as_str().map(str::to_owned);
    (text("code").unwrap(), text("field"), answer.status)
}

/// The problem that is expected.
fn of(code: &str, field: Option<&str>, status: u16) -> (String, Option<String>, u16) {
    (code.to_owned(), field.map(str::to_owned), status)
}

/// Identifiers of the items of a page, in order.
fn ids(page: &Value) -> Vec<String> {
    page["items"].as_array().expect("a page has items").iter().map(id).collect()
}
