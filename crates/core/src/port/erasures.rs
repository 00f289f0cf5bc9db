//! Erasing what is known of a caller.

use async_trait::async_trait;

use super::StoreError;
use crate::erasure::{Erasure, Receipt};
use crate::pseudonym::Pseudonyms;
use crate::{TenantId, Timestamp};

/// Erasures: what is known of a caller is deleted, and a receipt stays.
#[async_trait]
pub trait Erasures: Send + Sync + 'static {
    /// Says by what erased requests are recognised when they come again, here and from now on.
    fn recognise_by(&self, pseudonyms: Pseudonyms);

    /// Notes that a caller is to be erased, so that it is finished whatever happens.
    async fn begin_erasure(&self, erasure: &Erasure) -> Result<(), StoreError>;

    /// Deletes some of the sessions of an erasure: all of its caller, or those that were received up to a moment. They are gone for
    /// everybody when this returns; their requests, when they come again, are answered as before and store nothing. Returns how many, and 0
    /// when none is left.
    async fn erase_some(&self, erasure: &Erasure, received_until: Option<Timestamp>, now: Timestamp) -> Result<u64, StoreError>;

    /// Deletes what was told of the sessions of these erasures of one tenant, that they were erased apart; returns how many events that
    /// were, which the first one is credited with.
    async fn erase_events(&self, erasures: &[Erasure]) -> Result<u64, StoreError>;

    /// Notes that all sessions of these erasures were gone at that moment, where that is not known yet.
    async fn note_invisible(&self, erasures: &[Erasure], at: Timestamp) -> Result<(), StoreError>;

    /// Makes what was deleted unreadable in the store's files, now; false where readers are in the way.
    async fn wipe_now(&self) -> Result<bool, StoreError>;

    /// The same of erasures that found no session: only the callers that they named have to go. Costs as much as was written since the
    /// last time, and not as much as is stored.
    async fn wipe_receipts(&self) -> Result<bool, StoreError>;

    /// Forgets whose erasures they were.
    async fn forget_callers(&self, erasures: &[Erasure]) -> Result<(), StoreError>;

    /// Notes that erasures are finished.
    async fn end_erasures(&self, erasures: &[Erasure], at: Timestamp) -> Result<(), StoreError>;

    /// Open erasures of whose callers a session is stored that was received until the erasure was asked for; `limit` at most. Tenants
    /// take turns, each with its oldest first.
    async fn straggling_erasures(&self, limit: u64) -> Result<Vec<Erasure>, StoreError>;

    /// Open erasures that were asked for at this moment or before and have nothing left to erase, each with how many sessions it erased;
    /// `limit` at most. Tenants take turns, each with its oldest first.
    async fn ready_erasures(&self, requested_until: Timestamp, limit: u64) -> Result<Vec<(Erasure, u64)>, StoreError>;

    /// A receipt.
    async fn receipt(&self, tenant: TenantId, id: &str) -> Result<Option<Receipt>, StoreError>;

    /// Forgets requests of erased sessions that are not recognised any more at this moment; returns how many.
    async fn forget_erased(&self, now: Timestamp) -> Result<u64, StoreError>;
}
