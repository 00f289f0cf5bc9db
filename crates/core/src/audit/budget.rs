//! How many entries each tenant has, so that no key fills the disk by what it does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Entry;
use crate::port::{AuditStore, StoreError};
use crate::{Tenant, TenantId};

/// A trail that is over its budget is cut to this part of it, so that it is not cut again at once.
const CUT_TO_PERCENT: u64 = 95;

/// Counts entries without asking for them each time.
#[derive(Debug, Default)]
pub(super) struct RowCounts(Mutex<HashMap<TenantId, RowCount>>);

#[derive(Debug, Default)]
struct RowCount {
    /// As last counted by the store.
    counted: Option<u64>,
    /// Written here since.
    since: u64,
}

impl RowCounts {
    pub(super) fn add(&self, entry: &Entry) {
        self.lock().entry(entry.tenant).or_default().since += 1;
    }

    /// Drops the oldest entries of tenants that have more than their budget. The store is only asked of a tenant for which something was
    /// written here, the first time and whenever the budget may be exceeded.
    pub(super) async fn enforce(&self, store: &dyn AuditStore, tenants: &[Arc<Tenant>]) -> Result<(), StoreError> {
        for tenant in tenants {
            if !self.is_due(tenant) {
                continue;
            }
            let count = store.count_audit(tenant.id).await?;
            let wanted = if count > tenant.audit_rows { tenant.audit_rows * CUT_TO_PERCENT / 100 } else { count };
            let mut dropped = 0;
            while dropped < count - wanted {
                match store.drop_oldest_audit(tenant.id, count - wanted - dropped).await? {
                    0 => break,
                    some => dropped += some,
                }
                tokio::task::yield_now().await;
            }
            if dropped > 0 {
                metrics::counter!("calldata_audit_dropped_total").increment(dropped);
                tracing::warn!(
                    tenant = tenant.client_id,
                    dropped,
                    budget = tenant.audit_rows,
                    "the oldest entries of a tenant's audit trail were dropped: it has more than its budget"
                );
            }
            // What was written meanwhile may be counted twice until the next time, which is on the safe side.
            self.lock().entry(tenant.id).or_default().counted = Some(count - dropped.min(count));
        }
        Ok(())
    }

    fn is_due(&self, tenant: &Tenant) -> bool {
        let mut counts = self.lock();
        let Some(count) = counts.get_mut(&tenant.id) else { return false };
        let is_due = count.counted.is_none_or(|counted| counted + count.since > tenant.audit_rows);
        if is_due {
            count.since = 0;
        } else if let Some(counted) = &mut count.counted {
            *counted += std::mem::take(&mut count.since);
        }
        is_due
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, RowCount>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
