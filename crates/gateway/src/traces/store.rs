//! The store, with what is asked of it on the way of a request told.

use std::sync::Arc;

use calldata_core::audit::{Entry, EntryFilter, EntryPlace, GatheredEntry, Unwritten};
use calldata_core::catalog::{Filter, Listed, Listing};
use calldata_core::port::{
    Amend, Amended, AuditStore, Awaited, Catalog, Creation, Events, HistoryPage, HistoryQuery, Once, Outbox, OutboxEnd, Slice,
    StoredCaller, Write, Written,
};
use calldata_core::{CallId, CallerKey, Position, Scope, Session, SessionId, SessionStore, StoreError, TenantId, Timestamp};
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

#[async_trait::async_trait]
impl<S: SessionStore> AuditStore for Traced<S> {
    async fn append_audit(&self, entries: &[Entry]) -> Result<(), StoreError> {
        self.0.append_audit(entries).await
    }

    async fn audit(&self, tenant: TenantId, filter: &EntryFilter, after: Option<EntryPlace>, limit: u64) -> Result<Vec<Entry>, StoreError> {
        within("store audit", self.0.audit(tenant, filter, after, limit)).await
    }

    async fn gather_audit(&self, entries: Vec<GatheredEntry>) -> Vec<Unwritten> {
        self.0.gather_audit(entries).await
    }

    async fn count_audit(&self, tenant: TenantId) -> Result<u64, StoreError> {
        self.0.count_audit(tenant).await
    }

    async fn drop_oldest_audit(&self, tenant: TenantId, most: u64) -> Result<u64, StoreError> {
        self.0.drop_oldest_audit(tenant, most).await
    }

    async fn drop_audit(&self, tenant: TenantId, until: Timestamp) -> Result<u64, StoreError> {
        self.0.drop_audit(tenant, until).await
    }
}

#[async_trait::async_trait]
impl<S: SessionStore> Catalog for Traced<S> {
    async fn find(&self, scope: Scope, id: &SessionId) -> Result<Option<Session>, StoreError> {
        within("store find", self.0.find(scope, id)).await
    }

    async fn list(&self, scope: Scope, listing: &Listing<'_>) -> Result<Listed, StoreError> {
        within("store list", self.0.list(scope, listing)).await
    }

    async fn count(&self, scope: Scope, filter: &Filter) -> Result<u64, StoreError> {
        within("store count", self.0.count(scope, filter)).await
    }

    async fn create(&self, write: Write, once: Option<Once>) -> Result<Creation, StoreError> {
        within("store create", self.0.create(write, once)).await
    }

    async fn amend(&self, scope: Scope, id: &SessionId, now: Timestamp, once: Option<Once>, amend: Amend) -> Result<Amended, StoreError> {
        within("store amend", self.0.amend(scope, id, now, once, amend)).await
    }

    async fn forget_names(&self, until: Timestamp) -> Result<u64, StoreError> {
        self.0.forget_names(until).await
    }
}

#[async_trait::async_trait]
impl<S: SessionStore> Outbox for Traced<S> {
    async fn events(&self, tenant: TenantId, after: Position, limit: u64) -> Result<Events, StoreError> {
        self.0.events(tenant, after, limit).await
    }

    async fn end(&self) -> Result<OutboxEnd, StoreError> {
        self.0.end().await
    }

    async fn dropped_until(&self, tenant: TenantId) -> Result<Position, StoreError> {
        self.0.dropped_until(tenant).await
    }

    async fn drop_events(&self, tenant: TenantId, until: Timestamp) -> Result<u64, StoreError> {
        self.0.drop_events(tenant, until).await
    }
}
