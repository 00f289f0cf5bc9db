//! The store, with what is asked of it on the way of a request told.

use std::sync::Arc;

use calldata_core::port::{Awaited, HistoryPage, HistoryQuery, Slice, StoredCaller, Write, Written};
use calldata_core::{CallId, CallerKey, Scope, Session, SessionId, SessionStore, StoreError, TenantId, Timestamp};
use calldata_http::trace::within;

/// A store whose work is told.
pub(crate) struct Traced<S>(pub(crate) Arc<S>);

#[async_trait::async_trait]
impl<S: SessionStore> SessionStore for Traced<S> {
    async fn write(&self, batch: Vec<Write>) -> Vec<Result<Written, StoreError>> {
        let written = within("store write", async {
            let results = self.0.write(batch).await;
            if results.iter().any(Result::is_err) { Err(results) } else { Ok(results) }
        });
        match written.await {
            Ok(results) | Err(results) => results,
        }
    }

    async fn newest(&self, scope: Scope, call: &CallId, caller: &CallerKey) -> Result<Option<Session>, StoreError> {
        within("store newest", self.0.newest(scope, call, caller)).await
    }

    async fn has_call(&self, scope: Scope, call: &CallId) -> Result<bool, StoreError> {
        within("store has_call", self.0.has_call(scope, call)).await
    }

    async fn history(&self, scope: Scope, query: &HistoryQuery) -> Result<HistoryPage, StoreError> {
        within("store history", self.0.history(scope, query)).await
    }

    // What no request waits for.

    async fn last_receipts(&self, awaited: &[Awaited]) -> Result<Vec<(Awaited, Timestamp)>, StoreError> {
        self.0.last_receipts(awaited).await
    }

    async fn delete_received_until(&self, tenant: TenantId, until: Timestamp) -> Result<u64, StoreError> {
        self.0.delete_received_until(tenant, until).await
    }

    async fn purge(&self, tenant: TenantId, until: Timestamp) -> Result<Option<Slice>, StoreError> {
        self.0.purge(tenant, until).await
    }

    async fn count_received_until(&self, tenant: TenantId, until: Timestamp) -> Result<u64, StoreError> {
        self.0.count_received_until(tenant, until).await
    }

    async fn last_arrival(&self, tenant: TenantId) -> Result<Option<Timestamp>, StoreError> {
        self.0.last_arrival(tenant).await
    }

    async fn wipe_deleted(&self) -> Result<bool, StoreError> {
        self.0.wipe_deleted().await
    }

    async fn elsewhere(&self) {
        self.0.elsewhere().await;
    }

    async fn callers(&self, tenant: TenantId, after: Option<&SessionId>, limit: u64) -> Result<Vec<StoredCaller>, StoreError> {
        self.0.callers(tenant, after, limit).await
    }

    async fn set_caller_keys(&self, tenant: TenantId, keys: Vec<(SessionId, CallerKey)>) -> Result<(), StoreError> {
        self.0.set_caller_keys(tenant, keys).await
    }
}
