//! The port of sessions.

use async_trait::async_trait;
use calldata_core::port::{Awaited, HistoryPage, HistoryQuery, Slice, StoredCaller, Write, Written};
use calldata_core::{CallId, CallerKey, Scope, Session, SessionId, SessionStore, StoreError, TenantId, Timestamp};

use crate::engine::Engine;
use crate::{Database, postgres, session_deletes, session_reads, session_writes};

#[async_trait]
impl SessionStore for Database {
    async fn write(&self, batch: Vec<Write>) -> Vec<Result<Written, StoreError>> {
        let results = self.group_commit().write(batch, |tenant, bytes| self.admit(tenant, bytes)).await;
        if results.iter().any(Result::is_ok) {
            self.elsewhere().tell();
        }
        results
    }

    async fn newest(&self, scope: Scope, call: &CallId, caller: &CallerKey) -> Result<Option<Session>, StoreError> {
        match self.hot() {
            Engine::File(file) => file.lookups.newest(scope, call, caller).await,
            Engine::Server(server) => server.shared.newest(scope, call, caller).await,
        }
    }

    async fn has_call(&self, scope: Scope, call: &CallId) -> Result<bool, StoreError> {
        match self.hot() {
            Engine::File(file) => file.lookups.has_call(scope, call).await,
            Engine::Server(server) => server.shared.has_call(scope, call).await,
        }
    }

    async fn last_receipts(&self, awaited: &[Awaited]) -> Result<Vec<(Awaited, Timestamp)>, StoreError> {
        self.read(session_reads::last_receipts(self, awaited)).await
    }

    async fn history(&self, scope: Scope, query: &HistoryQuery) -> Result<HistoryPage, StoreError> {
        match self.hot() {
            Engine::File(file) => file.histories.page(scope, query).await,
            Engine::Server(_) => self.read_for(scope.tenant(), postgres::history::history(self.readers(), scope, query)).await,
        }
    }

    async fn delete_received_until(&self, tenant: TenantId, until: Timestamp) -> Result<u64, StoreError> {
        session_deletes::delete_some(&self.writer(), tenant, Some(until)).await
    }

    async fn purge(&self, tenant: TenantId, until: Timestamp) -> Result<Option<Slice>, StoreError> {
        session_deletes::purge(&self.writer(), tenant, until).await
    }

    async fn count_received_until(&self, tenant: TenantId, until: Timestamp) -> Result<u64, StoreError> {
        self.read(session_deletes::count(self, tenant, until)).await
    }

    async fn last_arrival(&self, tenant: TenantId) -> Result<Option<Timestamp>, StoreError> {
        self.read(session_deletes::last_arrival(self, tenant)).await
    }

    async fn wipe_deleted(&self) -> Result<bool, StoreError> {
        Database::wipe_deleted(self).await
    }

    async fn elsewhere(&self) {
        Database::elsewhere(self).hear().await;
    }

    async fn callers(&self, tenant: TenantId, after: Option<&SessionId>, limit: u64) -> Result<Vec<StoredCaller>, StoreError> {
        self.read(session_reads::callers(self, tenant, after, limit)).await
    }

    async fn set_caller_keys(&self, tenant: TenantId, keys: Vec<(SessionId, CallerKey)>) -> Result<(), StoreError> {
        session_writes::set_caller_keys(&self.writer(), tenant, keys).await
    }
}
