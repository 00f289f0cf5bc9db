//! The port of sessions.

use async_trait::async_trait;
use calldata_core::port::{Awaited, HistoryPage, HistoryQuery, StoredCaller, Write, Written};
use calldata_core::{CallId, CallerKey, Scope, Session, SessionId, SessionStore, StoreError, TenantId, Timestamp};

use crate::{Database, session_deletes, session_reads, session_writes};

#[async_trait]
impl SessionStore for Database {
    async fn write(&self, batch: Vec<Write>) -> Vec<Result<Written, StoreError>> {
        self.group_commit().write(batch).await
    }

    async fn newest(&self, scope: Scope, call: &CallId, caller: &CallerKey) -> Result<Option<Session>, StoreError> {
        self.read(session_reads::newest(self, scope, call, caller)).await
    }

    async fn has_call(&self, scope: Scope, call: &CallId) -> Result<bool, StoreError> {
        self.read(session_reads::has_call(self, scope, call)).await
    }

    async fn last_receipts(&self, awaited: &[Awaited]) -> Result<Vec<(Awaited, Timestamp)>, StoreError> {
        self.read(session_reads::last_receipts(self, awaited)).await
    }

    async fn history(&self, scope: Scope, query: &HistoryQuery) -> Result<HistoryPage, StoreError> {
        self.read(session_reads::history(self, scope, query)).await
    }

    async fn delete_received_until(&self, tenant: TenantId, until: Timestamp, limit: u64) -> Result<u64, StoreError> {
        session_deletes::delete(&self.writer(), tenant, session_deletes::received_until(until), limit).await
    }

    async fn callers(&self, tenant: TenantId, after: Option<&SessionId>, limit: u64) -> Result<Vec<StoredCaller>, StoreError> {
        self.read(session_reads::callers(self, tenant, after, limit)).await
    }

    async fn set_caller_keys(&self, tenant: TenantId, keys: Vec<(SessionId, CallerKey)>) -> Result<(), StoreError> {
        session_writes::set_caller_keys(&self.writer(), tenant, keys).await
    }
}
