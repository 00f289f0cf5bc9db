//! An index of all tenants and keys, built anew when one of them changes.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Credential, TenantName};
use crate::key::{AccessKey, SecretHash};
use crate::port::DirectoryContents;
use crate::{KeyId, Tenant, TenantId, Timestamp};

/// All tenants and keys of one version. A lookup costs the same whatever their number.
///
/// Keys are found by the hash of their secret in a table whose own hash is keyed by chance. How long a lookup takes tells a guesser
/// nothing of a stored hash that would help: it is the SHA-256 of a secret, which the guesser would still have to find a preimage of.
#[derive(Default)]
pub(super) struct Known {
    pub(super) version: i64,
    pub(super) tenants: HashMap<TenantId, Arc<Tenant>>,
    by_client_id: HashMap<String, TenantId>,
    by_oifde_id: HashMap<String, TenantId>,
    by_id: HashMap<KeyId, Arc<AccessKey>>,
    /// Several tenants may have brought the same secret along.
    by_hash: HashMap<SecretHash, Vec<Arc<AccessKey>>>,
}

impl Known {
    pub(super) fn new(contents: DirectoryContents) -> Self {
        let mut known = Self { version: contents.version, ..Self::default() };
        for tenant in contents.tenants {
            known.by_client_id.insert(tenant.client_id.clone(), tenant.id);
            known.by_oifde_id.insert(tenant.oifde_id.clone(), tenant.id);
            known.tenants.insert(tenant.id, Arc::new(tenant));
        }
        for key in contents.keys {
            let key = Arc::new(key);
            known.by_hash.entry(key.hash).or_default().push(Arc::clone(&key));
            known.by_id.insert(key.id.clone(), key);
        }
        known
    }

    /// The live key that a credential proves, and the tenant that it belongs to.
    pub(super) fn recognise(
        &self,
        name: TenantName<'_>,
        credential: Credential<'_>,
        now: Timestamp,
    ) -> Option<(&Arc<Tenant>, &Arc<AccessKey>)> {
        let candidates = match credential {
            Credential::Secret(hash) => self.by_hash.get(hash).map(Vec::as_slice).unwrap_or_default(),
            Credential::Key(id) => self.by_id.get(id).map(std::slice::from_ref).unwrap_or_default(),
        };
        let named = match name {
            TenantName::Client(name) => Some(*self.by_client_id.get(name)?),
            TenantName::Oifde(name) => Some(*self.by_oifde_id.get(name)?),
            TenantName::OfKey => None,
        };
        let mut owned =
            candidates.iter().filter(|key| named.is_none_or(|tenant| tenant == key.tenant)).filter_map(|key| self.owner(key, now));
        let found = owned.next()?;
        // A secret that several tenants brought along says nothing about which of them is meant.
        owned.all(|(tenant, _)| tenant.id == found.0.id).then_some(found)
    }

    /// The tenant's key of this id, if it is live.
    pub(super) fn live_key(&self, tenant: &Tenant, id: &KeyId, now: Timestamp) -> Option<&Arc<AccessKey>> {
        let key = self.by_id.get(id).filter(|key| key.tenant == tenant.id)?;
        self.owner(key, now).map(|(_, key)| key)
    }

    /// The tenant of a key, if both may be used.
    fn owner<'k>(&'k self, key: &'k Arc<AccessKey>, now: Timestamp) -> Option<(&'k Arc<Tenant>, &'k Arc<AccessKey>)> {
        let tenant = self.tenants.get(&key.tenant).filter(|tenant| !tenant.suspended)?;
        key.is_live(now).then_some((tenant, key))
    }
}
