//! The right of a client to one kind of operation, for work that outlives the check at its beginning.

use std::fmt;
use std::sync::Arc;

use crate::access::{Access, RequiredScope};
use crate::directory::Directory;
use crate::{KeyId, TenantId};

/// Why a grant gives no access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The key was revoked, has expired or is deleted, or its tenant is suspended or deleted.
    #[error("the key is no longer accepted")]
    Revoked,
    /// The key is live, but no longer has this scope.
    #[error("the key no longer has the scope {}", .0.name())]
    ScopeRemoved(RequiredScope),
    /// The directory was not confirmed for too long. The next check may succeed.
    #[error("keys cannot be checked at present")]
    Unavailable,
}

impl GrantError {
    /// Whether later checks fail as well, unless an operator restores the right.
    pub fn is_final(self) -> bool {
        match self {
            Self::Revoked | Self::ScopeRemoved(_) => true,
            Self::Unavailable => false,
        }
    }
}

/// A right that is checked at each use. Batches, exports, followers and waiting requests hold a grant in place of an [`Access`], which
/// states what was permitted when it was obtained. The only way from a grant to an access is [`Grant::revalidate`].
#[derive(Clone)]
pub struct Grant {
    directory: Arc<Directory>,
    tenant: TenantId,
    key: KeyId,
    scope: RequiredScope,
}

impl Grant {
    /// The right that an access gives to operations that need `scope`.
    pub fn new(directory: Arc<Directory>, access: Access, scope: RequiredScope) -> Self {
        Self { directory, tenant: access.tenant.id, key: access.key, scope }
    }

    /// The tenant.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The access as it is now, with the tenant's present masking, retention and default country. To be used at once: a caller that
    /// awaits something of its own asks again.
    ///
    /// # Errors
    /// When the right has ended, or cannot be checked.
    pub fn revalidate(&self) -> Result<Access, GrantError> {
        self.directory.check(self.tenant, &self.key, self.scope)
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { directory: _, tenant, key, scope } = self;
        f.debug_struct("Grant").field("tenant", tenant).field("key", key).field("scope", scope).finish_non_exhaustive()
    }
}
