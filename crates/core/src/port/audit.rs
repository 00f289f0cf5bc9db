//! Who did what.

use async_trait::async_trait;

use super::StoreError;
use crate::audit::{Entry, EntryFilter, EntryPlace, GatheredEntry, Unwritten};
use crate::{TenantId, Timestamp};

/// Where it is kept who did what.
#[async_trait]
pub trait AuditStore: Send + Sync + 'static {
    /// Adds entries. One that is refused may take others of them along, and nothing else that is written at the same time. Where it had no
    /// time or room, the same can be asked for again: what is there already stays as it is.
    async fn append_audit(&self, entries: &[Entry]) -> Result<(), StoreError>;

    /// Adds entries, or their sessions to those that are there already. No two of them are of the same key, action, caller and hour. What
    /// could not be written is returned, and nothing of it is there; one that is refused may take a few others along.
    async fn gather_audit(&self, entries: Vec<GatheredEntry>) -> Vec<Unwritten>;

    /// How many entries a tenant has.
    async fn count_audit(&self, tenant: TenantId) -> Result<u64, StoreError>;

    /// Drops some of a tenant's oldest entries, `most` at most; returns how many.
    async fn drop_oldest_audit(&self, tenant: TenantId, most: u64) -> Result<u64, StoreError>;

    /// A tenant's entries that match, newest first, after a place; `limit` at most.
    async fn audit(&self, tenant: TenantId, filter: &EntryFilter, after: Option<EntryPlace>, limit: u64) -> Result<Vec<Entry>, StoreError>;

    /// Drops some of a tenant's entries of this moment or before; returns how many, and 0 when none is left.
    async fn drop_audit(&self, tenant: TenantId, until: Timestamp) -> Result<u64, StoreError>;
}
