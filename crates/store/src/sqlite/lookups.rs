//! Finding single sessions in a file. Each question is one range of an index, which is named: no statistics lead it astray.

use std::sync::Arc;

use calldata_core::{CallId, CallerKey, Scope, Session, StoreError};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::readers::Readers;
use crate::entity::session::Model;
use crate::memory::Memory;
use crate::row;

/// What [`model`] reads.
macro_rules! columns {
    () => {
        "tenant_id, id, call_id, caller, caller_key, country_code, received_first, received_last, started_at, source, content,
        conversation, fields, turns, answers, details"
    };
}

/// The range ends at the horizon, so that expired sessions that are not purged yet cost nothing; a last receipt may be earlier than the first
/// one by as much as a clock was set back.
const NEWEST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM session INDEXED BY session_by_call WHERE tenant_id = ?1 AND call_id = ?2 AND caller_key = ?3
    AND received_last > ?4 - 600000 AND received_first > ?4 ORDER BY received_last DESC, id DESC LIMIT 1"
);
const HAS_CALL: &str =
    "SELECT 1 FROM session INDEXED BY session_by_call WHERE tenant_id = ?1 AND call_id = ?2 AND received_first > ?3 LIMIT 1";

/// Who finds single sessions in a file, or in memory.
pub(crate) struct Lookups {
    readers: Readers,
    memory: Arc<Memory>,
}

impl Lookups {
    pub(crate) fn new(readers: Readers, memory: Arc<Memory>) -> Self {
        Self { readers, memory }
    }

    /// See [`calldata_core::SessionStore::newest`].
    pub(crate) async fn newest(&self, scope: Scope, call: &CallId, caller: &CallerKey) -> Result<Option<Session>, StoreError> {
        if let Some(row) = self.memory.newest(scope, call, caller) {
            metrics::counter!("calldata_lookups_total", "from" => "memory").increment(1);
            return row::to_session(row).map(Some);
        }
        metrics::counter!("calldata_lookups_total", "from" => "database").increment(1);
        let (call, caller) = (call.clone(), caller.clone());
        let question = move |connection: &Connection| {
            let wanted = params![scope.tenant().number(), call.as_str(), caller.as_str(), scope.expired_until().epoch_ms()];
            connection.prepare_cached(NEWEST)?.query_row(wanted, model).optional()
        };
        self.readers.ask(scope.tenant(), question).await?.map(row::to_session).transpose()
    }

    /// See [`calldata_core::SessionStore::has_call`].
    pub(crate) async fn has_call(&self, scope: Scope, call: &CallId) -> Result<bool, StoreError> {
        let call = call.clone();
        let question = move |connection: &Connection| {
            let wanted = params![scope.tenant().number(), call.as_str(), scope.expired_until().epoch_ms()];
            connection.prepare_cached(HAS_CALL)?.exists(wanted)
        };
        self.readers.ask(scope.tenant(), question).await
    }
}

pub(super) use columns;

pub(super) fn model(row: &Row<'_>) -> rusqlite::Result<Model> {
    Ok(Model {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        call_id: row.get(2)?,
        caller: row.get(3)?,
        caller_key: row.get(4)?,
        country_code: row.get(5)?,
        cti_call_key: None,
        conversation_key: None,
        intent_key: None,
        received_first: row.get(6)?,
        received_last: row.get(7)?,
        started_at: row.get(8)?,
        source: row.get(9)?,
        replay_digest: None,
        content: row.get(10)?,
        conversation: row.get(11)?,
        fields: row.get(12)?,
        turns: row.get(13)?,
        answers: row.get(14)?,
        details: row.get(15)?,
    })
}
