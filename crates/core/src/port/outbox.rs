//! What happened, for those who follow along.

use async_trait::async_trait;

use super::StoreError;
use crate::event::{Event, Position};
use crate::{Epoch, TenantId, Timestamp};

/// Some of a tenant's events, and the epoch of their positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    /// The epoch of the database when they were read.
    pub epoch: Epoch,
    /// The events, oldest first.
    pub events: Vec<Event>,
}

/// The end of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxEnd {
    /// The epoch of the database.
    pub epoch: Epoch,
    /// Where a reader begins that wants all events committed from now on, and none that was committed earlier.
    pub position: Position,
    /// Up to where ids without an epoch, handed out before there were epochs, name events of this database; absent where none does.
    pub unprefixed_until: Option<Position>,
}

/// Events, written in the transactions of what they tell, and kept for a while.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// A tenant's events after `after`, oldest first, `limit` at most. None is handed out before which another one may still be
    /// committed, so that whoever goes on from the last one misses nothing.
    async fn events(&self, tenant: TenantId, after: Position, limit: u64) -> Result<Events, StoreError>;

    /// The end of all events, and the epoch.
    async fn end(&self) -> Result<OutboxEnd, StoreError>;

    /// Up to where a tenant's events are gone because they were too old: who was told of less has missed some.
    async fn dropped_until(&self, tenant: TenantId) -> Result<Position, StoreError>;

    /// Drops some of a tenant's events of this moment or before; returns how many, and 0 when none is left.
    async fn drop_events(&self, tenant: TenantId, until: Timestamp) -> Result<u64, StoreError>;
}
