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

    async fn session(&self, tenant: &Tenant, id: &SessionId) -> Result<Option<Session>, StoreError> {
        self.sessions.find(&Access::of_webhook(tenant.clone()), id).await
    }
}
