//! What happened, for those who follow along.

use async_trait::async_trait;

use super::StoreError;
use crate::event::{Event, Position};
use crate::{TenantId, Timestamp};

/// Events, written in the transactions of what they tell, and kept for a while.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// A tenant's events after `after`, oldest first, `limit` at most. None is handed out before which another one may still be
    /// committed, so that whoever goes on from the last one misses nothing.
    async fn events(&self, tenant: TenantId, after: Position, limit: u64) -> Result<Vec<Event>, StoreError>;

    /// Where somebody begins who wants to hear of what is committed from now on, and of nothing earlier.
    async fn end(&self) -> Result<Position, StoreError>;

    /// Up to where a tenant's events are gone because they were too old: who was told of less has missed some.
    async fn dropped_until(&self, tenant: TenantId) -> Result<Position, StoreError>;

    /// Drops some of a tenant's events of this moment or before; returns how many, and 0 when none is left.
    async fn drop_events(&self, tenant: TenantId, until: Timestamp) -> Result<u64, StoreError>;
}
