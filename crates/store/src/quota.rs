//! How many bytes of sessions tenants store, and may store.
//!
//! Nothing is asked of the database for a write: the bytes are counted from time to time, and what is written here since is added. What
//! was deleted is noticed with the next count, and so is what other instances wrote.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use calldata_core::{StoreError, Tenant, TenantId};
use sea_orm::sea_query::ExprTrait;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use tokio::time::Instant;

use crate::Database;
use crate::entity::session::{Column, Entity};
use crate::error::of_statement;
use crate::session_deletes::text_bytes;

/// How often it is looked whether a tenant's bytes are to be counted.
const INTERVAL: Duration = Duration::from_secs(1);
/// How old a count becomes at least, and as a multiple of the time that it took.
const MIN_AGE: Duration = Duration::from_mins(1);
const AGE_BY_COST: u32 = 20;

/// What tenants with a quota store.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    /// Whether there is any, so that writes of all others pay for one look at this.
    any: AtomicBool,
    tenants: RwLock<HashMap<TenantId, Arc<Usage>>>,
}

#[derive(Debug)]
struct Usage {
    quota: u64,
    /// As last counted.
    counted: u64,
    /// Written here since the count began.
    since: AtomicU64,
    count_again_at: Instant,
}

impl Usage {
    fn bytes(&self) -> u64 {
        self.counted.saturating_add(self.since.load(Ordering::Relaxed))
    }
}

impl Quotas {
    /// Counts bytes as written, if there is room for them.
    ///
    /// # Errors
    /// When the tenant has used its quota up.
    pub(crate) fn charge(&self, tenant: TenantId, bytes: usize) -> Result<(), StoreError> {
        if !self.any.load(Ordering::Relaxed) {
            return Ok(());
        }
        let usage = self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).map(Arc::clone);
        let Some(usage) = usage else { return Ok(()) };
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if usage.bytes().saturating_add(bytes) > usage.quota {
            metrics::counter!("calldata_quota_refusals_total").increment(1);
            return Err(StoreError::OverQuota);
        }
        usage.since.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn get(&self, tenant: TenantId) -> Option<Arc<Usage>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).map(Arc::clone)
    }

    fn set(&self, tenant: TenantId, usage: Usage) {
        self.tenants.write().unwrap_or_else(PoisonError::into_inner).insert(tenant, Arc::new(usage));
        self.any.store(true, Ordering::Relaxed);
    }

    /// Forgets tenants that have none any more.
    fn retain(&self, with_quota: &[&Arc<Tenant>]) {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        tenants.retain(|id, _| with_quota.iter().any(|tenant| tenant.id == *id));
        self.any.store(!tenants.is_empty(), Ordering::Relaxed);
    }
}

impl Database {
    /// Keeps it known how much tenants with a quota store, until the task is dropped.
    pub async fn keep_quotas(&self, tenants: impl Fn() -> Vec<Arc<Tenant>>) {
        loop {
            if let Err(error) = self.count_stored_bytes(&tenants()).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "what tenants with a quota store could not be counted");
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Counts what tenants with a quota store, of which that was not done a short while ago.
    ///
    /// # Errors
    /// When the database could not be asked.
    pub async fn count_stored_bytes(&self, tenants: &[Arc<Tenant>]) -> Result<(), StoreError> {
        let with_quota: Vec<_> = tenants.iter().filter(|tenant| tenant.quota_bytes.is_some()).collect();
        self.quotas().retain(&with_quota);
        for tenant in with_quota {
            let Some(quota) = tenant.quota_bytes else { continue };
            let known = self.quotas().get(tenant.id);
            if known.as_ref().is_none_or(|known| known.quota != quota || known.count_again_at <= Instant::now()) {
                let (began, before) = (Instant::now(), known.as_ref().map_or(0, |known| known.since.load(Ordering::Relaxed)));
                let counted = self.stored_bytes(tenant.id).await?;
                // What was written while it was counted may be counted twice, until the next time.
                let since = known.map_or(0, |known| known.since.load(Ordering::Relaxed)).saturating_sub(before);
                let count_again_at = Instant::now() + MIN_AGE.max(began.elapsed() * AGE_BY_COST);
                if counted >= quota {
                    tracing::warn!(
                        tenant = tenant.client_id,
                        stored = counted,
                        quota,
                        "a tenant has used its quota up; it stores nothing more"
                    );
                }
                self.quotas().set(tenant.id, Usage { quota, counted, since: AtomicU64::new(since), count_again_at });
            }
            let Some(usage) = self.quotas().get(tenant.id) else { continue };
            for (name, bytes) in [("calldata_stored_bytes", usage.bytes()), ("calldata_quota_bytes", quota)] {
                #[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and exact up to nine petabytes")]
                metrics::gauge!(name, "tenant" => tenant.client_id.clone()).set(bytes as f64);
            }
        }
        Ok(())
    }

    async fn stored_bytes(&self, tenant: TenantId) -> Result<u64, StoreError> {
        let sum: Option<Option<i64>> = Entity::find()
            .select_only()
            .expr_as(ExprTrait::sum(text_bytes()).cast_as("bigint"), "bytes")
            .filter(Column::TenantId.eq(tenant.number()))
            .into_tuple()
            .one(self.keeper())
            .await
            .map_err(of_statement)?;
        Ok(sum.flatten().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default())
    }
}
