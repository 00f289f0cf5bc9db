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

    /// Deletes what was told of the sessions of an erasure, that they were erased apart; returns how many events that were.
    async fn erase_events(&self, erasure: &Erasure) -> Result<u64, StoreError>;

    /// Notes that all sessions of an erasure were gone at that moment.
    async fn note_invisible(&self, erasure: &Erasure, at: Timestamp) -> Result<(), StoreError>;

    /// Makes what was deleted unreadable in the store's files, now; false where readers are in the way.
    async fn wipe_now(&self) -> Result<bool, StoreError>;

    /// Forgets whose erasure it was.
    async fn forget_caller(&self, erasure: &Erasure) -> Result<(), StoreError>;

    /// Notes that an erasure is finished.
    async fn end_erasure(&self, erasure: &Erasure, at: Timestamp) -> Result<(), StoreError>;

    /// Erasures that are not finished, oldest first.
    async fn open_erasures(&self) -> Result<Vec<Erasure>, StoreError>;

    /// A receipt.
    async fn receipt(&self, tenant: TenantId, id: &str) -> Result<Option<Receipt>, StoreError>;

    /// Forgets requests of erased sessions that are not recognised any more at this moment; returns how many.
    async fn forget_erased(&self, now: Timestamp) -> Result<u64, StoreError>;
}
