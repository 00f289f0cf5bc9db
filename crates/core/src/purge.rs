//! Deleting what has expired (PAR-G10). It is invisible before; this frees the room, and makes it unreadable.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::directory::Directory;
use crate::port::{SessionStore, StoreError};
use crate::{Tenant, TenantId};

/// How often it is looked for what has expired.
const ROUND_INTERVAL: Duration = Duration::from_secs(10);
/// The pause after a slice, as a multiple of the time for which it kept others from writing.
const PAUSE: u32 = 2;

/// What one tenant has that expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The tenant.
    pub tenant: TenantId,
    /// How many of its sessions have expired and are still stored.
    pub sessions: u64,
}

/// Deletes what has expired, a little at a time.
pub struct Purge {
    store: Arc<dyn SessionStore>,
    clock: Arc<dyn Clock>,
}

impl Purge {
    /// A purge of `store`, by `clock`.
    pub fn new(store: Arc<dyn SessionStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// What has expired and is still stored, by tenant; tenants without any are left out.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn backlog(&self, tenants: &[Arc<Tenant>]) -> Result<Vec<Expired>, StoreError> {
        let mut backlog = Vec::new();
        for tenant in tenants {
            let sessions = self.store.count_received_until(tenant.id, tenant.horizon(self.clock.now())).await?;
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
        for expired in self.backlog(tenants).await? {
            let Some(tenant) = tenants.iter().find(|tenant| tenant.id == expired.tenant) else { continue };
            let until = tenant.horizon(self.clock.now());
            while let Some(slice) = self.store.purge(tenant.id, until).await? {
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

    /// Purges from time to time, until the task is dropped.
    pub async fn keep(&self, directory: &Directory) {
        let mut unwiped = false;
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
            if unwiped {
                match self.store.wipe_deleted().await {
                    Ok(done) => unwiped = !done,
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "what was deleted could not be wiped from the files");
                    }
                }
            }
            if let Ok(backlog) = self.backlog(&tenants).await {
                let sessions = backlog.iter().map(|expired| expired.sessions).sum::<u64>();
                metrics::gauge!("calldata_purge_backlog_sessions").set(f64::from(u32::try_from(sessions).unwrap_or(u32::MAX)));
            }
        }
    }
}
