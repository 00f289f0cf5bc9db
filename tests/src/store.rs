//! What a store has to do, one function a behaviour, each on every engine.

use calldata_core::port::{HistoryQuery, Write, Written};
use calldata_core::{DirectoryStore, Scope, Session, SessionStore, Tenant};
use calldata_store::Database;
use calldata_testkit::builders::{a_tenant, call_id, caller_key};

mod audit;
mod bounds;
mod callers;
mod directory;
mod epochs;
mod expiry;
mod group_commit;
mod history;
mod imports;
mod lookup;
mod memory;
mod migrations;
mod purge;
mod replay;
mod round_trip;
mod shared;
mod webhooks;

async fn created_tenant(database: &Database, client_id: &str) -> Tenant {
    let tenant = a_tenant(client_id);
    database.create_tenant(&tenant).await.unwrap();
    tenant
}

/// Stores one session.
async fn stored(database: &Database, write: Write) -> Written {
    database.write(vec![write]).await.pop().unwrap().unwrap()
}

/// Stores sessions in one batch.
async fn all_stored(database: &Database, batch: Vec<Write>) -> Vec<Written> {
    database.write(batch).await.into_iter().map(Result::unwrap).collect()
}

async fn newest(database: &Database, scope: Scope, call: &str, caller: &str) -> Option<Session> {
    database.newest(scope, &call_id(call), &caller_key(caller)).await.unwrap()
}

/// Identifiers of the sessions that match, in order.
async fn history_ids(database: &Database, scope: Scope, query: &HistoryQuery) -> Vec<String> {
    ids(&database.history(scope, query).await.unwrap().sessions)
}

fn ids(sessions: &[Session]) -> Vec<String> {
    sessions.iter().map(|session| session.id.to_string()).collect()
}

fn of_caller(caller: &str) -> HistoryQuery {
    HistoryQuery { caller: Some(caller_key(caller)), limit: 100, ..HistoryQuery::default() }
}

fn of_call(call: &str) -> HistoryQuery {
    HistoryQuery { call_id: Some(call.to_owned()), limit: 100, ..HistoryQuery::default() }
}
