//! Erasing what is known of a caller, in all that tells of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::access::Access;
use crate::audit::{Action, Audit};
use crate::clock::Clock;
use crate::port::{Erasures, StoreError};
use crate::pseudonym::Pseudonyms;
use crate::uncancelled::uncancelled;
use crate::{CallerKey, TenantId, Timestamp};

/// What was under way when an erasure began is stored within this time, or never: it is looked for until then.
const STRAGGLERS: Duration = Duration::from_secs(4);
/// How often it is looked for what was under way, which is seen for so long.
const STRAGGLER_INTERVAL: Duration = Duration::from_millis(500);
/// How often it is looked for erasures that are to be finished.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Erasures that are finished together, and whose stragglers are erased in one pass. Tenants take turns, so that each of them is among
/// these.
const MAX_BATCH: u64 = 1_000;
/// How long after erasures that found nothing the free space of the files is overwritten at the latest.
const FREE_SPACE_INTERVAL: Duration = Duration::from_mins(1);

/// A caller that is to be erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Identifies it within the tenant.
    pub id: String,
    /// Whose caller it is.
    pub tenant: TenantId,
    /// The caller; `None` once all but the bytes in the files is gone, for then it is forgotten whose they were.
    pub caller: Option<CallerKey>,
    /// What stands for the caller afterwards.
    pub pseudonym: String,
    /// When it was asked for.
    pub requested_at: Timestamp,
}

/// What became of an erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Identifies it within the tenant.
    pub id: String,
    /// What stands for the caller.
    pub pseudonym: String,
    /// How many sessions were erased.
    pub sessions: u64,
    /// How many events about them.
    pub events: u64,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When nobody could see any of it any more.
    pub invisible_at: Option<Timestamp>,
    /// When it was gone from the files of the store.
    pub purged_at: Option<Timestamp>,
}

/// Erases callers.
pub struct Eraser {
    store: Arc<dyn Erasures>,
    clock: Arc<dyn Clock>,
    pseudonyms: Pseudonyms,
    audit: Arc<Audit>,
}

impl Eraser {
    /// Erases in `store`, by `clock`; what is left are names by `pseudonyms`.
    pub fn new(store: Arc<dyn Erasures>, clock: Arc<dyn Clock>, pseudonyms: Pseudonyms, audit: Arc<Audit>) -> Arc<Self> {
        store.recognise_by(pseudonyms.clone());
        Arc::new(Self { store, clock, pseudonyms, audit })
    }

    /// Erases a caller. Nobody sees anything of it any more when this returns; it is gone from the files within a minute. Nobody who stops
    /// waiting cancels it.
    ///
    /// # Errors
    /// When the store could not; what was begun is finished later by itself, and asking again is safe.
    pub async fn erase(self: &Arc<Self>, access: &Access, caller: CallerKey) -> Result<Receipt, StoreError> {
        let (this, access) = (Arc::clone(self), access.clone());
        uncancelled(async move { this.erase_now(&access, caller).await.map(|(_, receipt)| receipt) }).await
    }

    /// The same, and waits until it is gone from the files, too.
    ///
    /// # Errors
    /// When the store could not; what was begun is finished later by a server, or by asking again.
    pub async fn erase_for_good(self: &Arc<Self>, access: &Access, caller: CallerKey) -> Result<Receipt, StoreError> {
        let (erasure, _) = self.erase_now(access, caller).await?;
        tokio::time::sleep(STRAGGLERS).await;
        loop {
            self.erase_stragglers(&erasure).await?;
            let sessions = self.receipt_of(&erasure).await?.sessions;
            if self.finish(vec![(erasure.clone(), sessions)]).await? != Wipe::Refused {
                break;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        self.receipt_of(&erasure).await
    }

    async fn erase_now(&self, access: &Access, caller: CallerKey) -> Result<(Erasure, Receipt), StoreError> {
        // Nobody erases unnoticed, not even who stops the process half way.
        self.audit.write_down(access, Action::Erased, Some(&caller), 0).await?;
        let erasure = self.begin(access.tenant.id, caller.clone()).await?;
        // All that is there, whenever it says that it was received: another instance's clock may be ahead, or this one was set back.
        self.erase_sessions(&erasure, None).await?;
        self.store.note_invisible(std::slice::from_ref(&erasure), self.clock.now()).await?;
        let receipt = self.receipt_of(&erasure).await?;
        self.audit.write_down_how_many(access, Action::Erased, Some(&caller), receipt.sessions).await;
        Ok((erasure, receipt))
    }

    async fn receipt_of(&self, erasure: &Erasure) -> Result<Receipt, StoreError> {
        let receipt = self.receipt(erasure.tenant, &erasure.id).await?;
        receipt.ok_or_else(|| StoreError::Failed("an erasure left no receipt".into()))
    }

    /// A receipt of a tenant.
    ///
    /// # Errors
    /// When the store could not be asked.
    pub async fn receipt(&self, tenant: TenantId, id: &str) -> Result<Option<Receipt>, StoreError> {
        self.store.receipt(tenant, id).await
    }

    async fn begin(&self, tenant: TenantId, caller: CallerKey) -> Result<Erasure, StoreError> {
        let pseudonym = self.pseudonyms.of_caller(tenant, &caller);
        let id = Uuid::from_u128(rand::random()).to_string();
        let erasure = Erasure { id, tenant, caller: Some(caller), pseudonym, requested_at: self.clock.latest() };
        self.store.begin_erasure(&erasure).await?;
        Ok(erasure)
    }

    async fn erase_sessions(&self, erasure: &Erasure, received_until: Option<Timestamp>) -> Result<(), StoreError> {
        while self.store.erase_some(erasure, received_until, self.clock.earliest()).await? > 0 {}
        Ok(())
    }

    /// Erases what came late; what was received since is what the caller did afterwards.
    async fn erase_stragglers(&self, erasure: &Erasure) -> Result<(), StoreError> {
        self.erase_sessions(erasure, Some(erasure.requested_at)).await
    }

    /// Erases what was told of erasures that have no session left, whose they were, and the bytes of all of it. One wipe serves all of
    /// them: what they deleted was deleted before it begins.
    async fn finish(&self, erasures: Vec<(Erasure, u64)>) -> Result<Wipe, StoreError> {
        let named: Vec<_> = erasures.iter().map(|(erasure, _)| erasure).filter(|erasure| erasure.caller.is_some()).cloned().collect();
        self.store.note_invisible(&named, self.clock.now()).await?;
        let mut by_tenant: BTreeMap<TenantId, Vec<Erasure>> = BTreeMap::new();
        for (erasure, _) in erasures.iter().filter(|(erasure, sessions)| *sessions > 0 && erasure.caller.is_some()) {
            by_tenant.entry(erasure.tenant).or_default().push(erasure.clone());
        }
        for of_tenant in by_tenant.values() {
            self.store.erase_events(of_tenant).await?;
        }
        self.store.forget_callers(&named).await?;
        let (wipe, wiped) = if erasures.iter().any(|(_, sessions)| *sessions > 0) {
            (Wipe::Full, self.store.wipe_now().await?)
        } else {
            (Wipe::Receipts, self.store.wipe_receipts().await?)
        };
        if !wiped {
            return Ok(Wipe::Refused);
        }
        let erasures: Vec<_> = erasures.into_iter().map(|(erasure, _)| erasure).collect();
        self.store.end_erasures(&erasures, self.clock.now()).await?;
        Ok(wipe)
    }

    /// Finishes erasures, those too that another process began, until the task is dropped.
    pub async fn keep(&self) {
        tokio::join!(self.keep_erasing_stragglers(), self.keep_finishing());
    }

    /// Apart from finishing, which may take its time.
    async fn keep_erasing_stragglers(&self) {
        loop {
            tokio::time::sleep(STRAGGLER_INTERVAL).await;
            said(self.erase_all_stragglers().await);
        }
    }

    async fn keep_finishing(&self) {
        let mut last_full = Instant::now();
        let mut is_free_space_due = false;
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            match self.finish_ready().await {
                Ok(Some(Wipe::Full)) => (last_full, is_free_space_due) = (Instant::now(), false),
                Ok(Some(Wipe::Receipts)) => is_free_space_due = true,
                Ok(Some(Wipe::Refused) | None) => {}
                Err(error) => said(Err(error)),
            }
            if is_free_space_due && last_full.elapsed() >= FREE_SPACE_INTERVAL {
                match self.store.wipe_now().await {
                    Ok(wiped) => is_free_space_due = !wiped,
                    Err(error) => said(Err(error)),
                }
                last_full = Instant::now();
            }
        }
    }

    /// Erases a few sessions of each erasure in turn, so that none waits for another one's many.
    async fn erase_all_stragglers(&self) -> Result<(), StoreError> {
        loop {
            let mut erased = 0;
            for erasure in self.store.straggling_erasures(MAX_BATCH).await? {
                erased += self.store.erase_some(&erasure, Some(erasure.requested_at), self.clock.earliest()).await?;
            }
            if erased == 0 {
                return Ok(());
            }
        }
    }

    async fn finish_ready(&self) -> Result<Option<Wipe>, StoreError> {
        let ready = self.store.ready_erasures(self.clock.latest().minus(STRAGGLERS), MAX_BATCH).await?;
        let wipe = if ready.is_empty() { None } else { Some(self.finish(ready).await?) };
        self.store.forget_erased(self.clock.proven()).await?;
        Ok(wipe)
    }
}

/// What became of the bytes of some erasures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wipe {
    /// All that was deleted is gone from the files.
    Full,
    /// No session was deleted; the callers that were named are gone.
    Receipts,
    /// Readers are in the way; it has to be tried again.
    Refused,
}

fn said(outcome: Result<(), StoreError>) {
    if let Err(error) = outcome {
        tracing::warn!(error = &error as &dyn std::error::Error, "an erasure could not be finished yet");
    }
}
