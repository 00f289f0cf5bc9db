//! What webhooks are told: sessions as the tenant itself would see them.

use std::sync::Arc;

use calldata_core::{Access, Directory, Session, SessionId, Sessions, StoreError, Tenant, TenantId};
use calldata_push::Lookup;

/// Finds it.
pub(crate) struct Told {
    pub(crate) directory: Arc<Directory>,
    pub(crate) sessions: Arc<Sessions>,
}

#[async_trait::async_trait]
impl Lookup for Told {
    fn tenant(&self, id: TenantId) -> Option<Arc<Tenant>> {
        self.directory.tenant(id)
    }

    async fn session(&self, tenant: TenantId, id: &SessionId) -> Result<Option<Session>, StoreError> {
        // Each time: a turn lasts for seconds, in which the tenant may be suspended, or mask something.
        let tenant = self.directory.tenant(tenant).ok_or(StoreError::NoSuchTenant)?;
        self.sessions.find(&Access::of_webhook(tenant), id).await
    }
}
