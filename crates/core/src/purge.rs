//! Deleting what has expired (PAR-G10). It is invisible before; this frees the room, and makes it unreadable.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::directory::Directory;
use crate::port::{SessionStore, StoreError};
use crate::{Tenant, TenantId};

/// How often it is looked for what has expired.
const ROUND_INTERVAL: Duration = Duration::from_secs(10);
/// The pause after a slice, as a multiple of the time for which it kept others from writing.
const PAUSE: u32 = 2;

/// For how long it is kept what happened.
const EVENT_RETENTION: Duration = Duration::from_hours(7 * 24);
/// For how long a request that has a name is not done twice.
pub const NAME_RETENTION: Duration = Duration::from_hours(24);

/// What one tenant has that expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The tenant.
    pub tenant: TenantId,
    /// How many of its sessions have expired and are still stored.
    pub sessions: u64,
}

/// Deletes what has expired, a little at a time. What is deleted does not come back, so that only proven time counts here
/// ([`Clock::proven`]): what has expired since is hidden, and stays for now.
pub struct Purge {
    store: Arc<dyn SessionStore>,
    clock: Arc<dyn Clock>,
}

impl Purge {
    /// A purge of `store`, by `clock`.
    pub fn new(store: Arc<dyn SessionStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// What has expired for certain and is still stored, by tenant; tenants without any are left out.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn backlog(&self, tenants: &[Arc<Tenant>]) -> Result<Vec<Expired>, StoreError> {
        let mut backlog = Vec::new();
        for tenant in tenants {
            let sessions = self.store.count_received_until(tenant.id, tenant.horizon(self.clock.proven())).await?;
            if sessions > 0 {
                backlog.push(Expired { tenant: tenant.id, sessions });
            }
        }
        Ok(backlog)
    }

    /// Deletes what has expired, and returns how many sessions that were. Ends early where another instance is doing the same.
    ///
    /// # Errors
    /// When the store could not; what was deleted until then is gone, and doing it again is safe.
    pub async fn run(&self, tenants: &[Arc<Tenant>]) -> Result<u64, StoreError> {
        let mut deleted = 0;
        self.forget(tenants).await?;
        for expired in self.backlog(tenants).await? {
            let now = self.clock.proven();
            while let Some(slice) = self.store.purge(expired.tenant, now).await? {
                if slice.deleted == 0 {
                    break;
                }
                deleted += slice.deleted;
                metrics::counter!("calldata_purged_sessions_total").increment(slice.deleted);
                tokio::time::sleep(slice.held * PAUSE).await;
            }
        }
        Ok(deleted)
    }

    /// Drops what was told long ago, and at the latest with what it was about; and the names of requests that nobody repeats any more.
    async fn forget(&self, tenants: &[Arc<Tenant>]) -> Result<(), StoreError> {
        let now = self.clock.proven();
        for tenant in tenants {
            let until = tenant.horizon(now).max(now.minus(EVENT_RETENTION));
            while self.store.drop_events(tenant.id, until).await? > 0 {
                tokio::task::yield_now().await;
            }
        }
        for tenant in tenants {
            while self.store.drop_audit(tenant.id, now.minus(tenant.audit_retention.span())).await? > 0 {
                tokio::task::yield_now().await;
            }
        }
        while self.store.forget_names(now.minus(NAME_RETENTION)).await? > 0 {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Purges from time to time, until the task is dropped.
    pub async fn keep(&self, directory: &Directory) {
        // An earlier process may have been stopped between a deletion and the wipe.
        let mut unwiped = true;
        let mut wiping: Option<JoinHandle<Result<bool, StoreError>>> = None;
        loop {
            tokio::time::sleep(ROUND_INTERVAL).await;
            let tenants = directory.tenants();
            match self.run(&tenants).await {
                Ok(0) => {}
                Ok(deleted) => {
                    unwiped = true;
                    tracing::info!(deleted, "expired sessions deleted");
                }
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "expired sessions could not be deleted"),
            }
            // Beside the rounds, for a server takes its time for it.
            if let Some(wiped) = wiping.take_if(|wiping| wiping.is_finished()) {
                match wiped.await {
                    Ok(Ok(done)) => unwiped |= !done,
                    Ok(Err(error)) => {
                        unwiped = true;
                        tracing::warn!(error = &error as &dyn std::error::Error, "what was deleted could not be wiped from the files");
                    }
                    Err(_) => unwiped = true,
                }
            }
            if unwiped && wiping.is_none() {
                unwiped = false;
                let store = Arc::clone(&self.store);
                wiping = Some(tokio::spawn(async move { store.wipe_deleted().await }));
            }
            if let Ok(backlog) = self.backlog(&tenants).await {
                let sessions = backlog.iter().map(|expired| expired.sessions).sum::<u64>();
                metrics::gauge!("calldata_purge_backlog_sessions").set(f64::from(u32::try_from(sessions).unwrap_or(u32::MAX)));
            }
        }
    }
}
