//! Access as a type: who proved what, and the only handle to a tenant's sessions.

use std::sync::Arc;

use crate::{KeyId, Tenant, TenantId, Timestamp};

/// A client that proved who it is.
#[derive(Clone, Debug)]
pub struct Access {
    /// Whose data it may reach.
    pub tenant: Arc<Tenant>,
    /// The key it proved itself with.
    pub key: KeyId,
    /// What it may do.
    pub scopes: Scopes,
}

impl Access {
    /// Of what is sent to a tenant's own endpoints.
    pub fn of_webhook(tenant: Arc<Tenant>) -> Self {
        Self { tenant, key: KeyId::webhook(), scopes: Scopes::READ }
    }

    /// Whether nothing is masked for this client, however old.
    pub fn sees_all(&self) -> bool {
        self.scopes.unmasked || self.tenant.masking.is_none()
    }

    /// Of the operator at the machine, who needs no key.
    pub fn of_operator(tenant: Tenant) -> Self {
        Self { tenant: Arc::new(tenant), key: KeyId::operator(), scopes: Scopes { read: true, write: true, admin: true, unmasked: true } }
    }
}

/// What a key may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// Fetch sessions.
    pub read: bool,
    /// Store sessions.
    pub write: bool,
    /// Everything else: export, erase, follow events.
    pub admin: bool,
    /// See what the tenant has masked ([`crate::Masking`]).
    pub unmasked: bool,
}

impl Scopes {
    /// Reading alone.
    pub const READ: Self = Self { read: true, write: false, admin: false, unmasked: false };
    /// Reading and writing, which is what both dialects need.
    pub const READ_WRITE: Self = Self { read: true, write: true, admin: false, unmasked: false };

    /// The names of what is allowed.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [("read", self.read), ("write", self.write), ("admin", self.admin), ("unmasked", self.unmasked)]
            .into_iter()
            .filter_map(|(name, granted)| granted.then_some(name))
    }

    /// Adds what `name` names; `None` when it names nothing.
    pub fn with(self, name: &str) -> Option<Self> {
        match name {
            "read" => Some(Self { read: true, ..self }),
            "write" => Some(Self { write: true, ..self }),
            "admin" => Some(Self { admin: true, ..self }),
            "unmasked" => Some(Self { unmasked: true, ..self }),
            _ => None,
        }
    }
}

/// The scope that an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequiredScope {
    /// `read`.
    Read,
    /// `write`.
    Write,
    /// `admin`.
    Admin,
}

impl RequiredScope {
    /// Whether a key with these scopes has it.
    pub fn is_met(self, scopes: Scopes) -> bool {
        match self {
            Self::Read => scopes.read,
            Self::Write => scopes.write,
            Self::Admin => scopes.admin,
        }
    }

    /// Its name, as [`Scopes::names`] has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// The handle to one tenant's live sessions. There is no other way to ask the store for a session, so that a query cannot forget the
/// tenant or the retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    tenant: TenantId,
    expired_until: Timestamp,
}

impl Scope {
    pub(crate) fn new(tenant: TenantId, expired_until: Timestamp) -> Self {
        Self { tenant, expired_until }
    }

    /// The tenant.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Sessions first received at this moment or before have expired.
    pub fn expired_until(&self) -> Timestamp {
        self.expired_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_have_names() {
        let names = ["read", "write", "admin", "unmasked"];
        let all = names.iter().try_fold(Scopes::default(), |scopes, name| scopes.with(name)).unwrap();
        assert_eq!(all.names().collect::<Vec<_>>(), names);
        assert_eq!(Scopes::default().with("read").unwrap().with("write"), Some(Scopes::READ_WRITE));
        assert_eq!(Scopes::READ.with("owner"), None);
    }

    #[test]
    fn a_required_scope_is_met_by_the_scope_of_its_name_and_by_no_other() {
        let required = [RequiredScope::Read, RequiredScope::Write, RequiredScope::Admin];
        for granted in ["read", "write", "admin", "unmasked"] {
            let scopes = Scopes::default().with(granted).unwrap();
            let met: Vec<_> = required.iter().filter(|scope| scope.is_met(scopes)).map(|scope| scope.name()).collect();
            assert_eq!(met, if granted == "unmasked" { vec![] } else { vec![granted] });
        }
    }
}
