//! Names under which something personal can be recognised and not be read: keyed hashes, whose key is in no database.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::{CallerKey, TenantId};

/// What every pseudonym begins with.
const MARK: &str = "hmac:";
/// The bytes of a pseudonym; nobody finds two callers that share one.
const BYTES: usize = 16;

/// What all hashes begin with, so that they are those of nothing else that the secret is for.
const DOMAIN: &[u8] = b"calldata-gateway pseudonym\0";

/// Makes pseudonyms with the first of its secrets, and knows those that any of them made. Keys are taken in once: that is half of what a hash
/// costs.
#[derive(Clone)]
pub struct Pseudonyms(Arc<Vec<Hmac<Sha256>>>);

impl Pseudonyms {
    /// By these secrets, of which there should be one at least.
    pub fn new(secrets: &[SecretString]) -> Self {
        let keyed = |secret: &SecretString| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
            mac.update(DOMAIN);
            Some(mac)
        };
        Self(Arc::new(secrets.iter().filter_map(keyed).collect()))
    }

    /// The pseudonym of a caller within a tenant, such as `hmac:q83vEjRWeJCrze8SNFZ4kA`.
    pub fn of_caller(&self, tenant: TenantId, caller: &CallerKey) -> String {
        self.all_of_caller(tenant, caller).next().unwrap_or_else(|| MARK.to_owned())
    }

    /// All that it may be known by while secrets are rotated, the present one first.
    pub fn all_of_caller(&self, tenant: TenantId, caller: &CallerKey) -> impl Iterator<Item = String> {
        self.all("caller", tenant, caller.as_str().as_bytes()).map(|hash| {
            let short = hash.get(..BYTES).unwrap_or(&hash);
            format!("{MARK}{}", URL_SAFE_NO_PAD.encode(short))
        })
    }

    /// What is kept in place of something that must be recognised when it comes again.
    pub fn seal(&self, tenant: TenantId, what: &[u8]) -> Vec<u8> {
        self.seals(tenant, what).next().unwrap_or_default()
    }

    /// All that it may have been sealed as while secrets are rotated, the present one first.
    pub fn seals(&self, tenant: TenantId, what: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        self.all("seal", tenant, what)
    }

    fn all(&self, purpose: &'static str, tenant: TenantId, what: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let what = what.to_vec();
        let keyed = Arc::clone(&self.0);
        (0..keyed.len()).filter_map(move |number| {
            let mut mac = keyed.get(number)?.clone();
            for part in [purpose.as_bytes(), b"\0", &tenant.number().to_be_bytes(), &what] {
                mac.update(part);
            }
            Some(mac.finalize().into_bytes().to_vec())
        })
    }
}

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pseudonyms({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Country;

    #[test]
    fn a_pseudonym_depends_on_secret_tenant_and_caller_and_is_known_while_secrets_are_rotated() {
        let of = |secrets: &[&str]| Pseudonyms::new(&secrets.iter().map(|secret| SecretString::from(*secret)).collect::<Vec<_>>());
        let (one, two) = (TenantId::from_number(1), TenantId::from_number(2));
        let caller = |spelling| CallerKey::of(spelling, Country::GERMANY);
        let name = of(&["a"]).of_caller(one, &caller("030 123456"));
        assert!(name.starts_with("hmac:") && name.len() == 27 && !name.contains("30"), "{name}");
        assert_eq!(name, of(&["a", "b"]).of_caller(one, &caller("+4930123456")));
        assert_ne!(name, of(&["b"]).of_caller(one, &caller("030123456")));
        assert_ne!(name, of(&["a"]).of_caller(two, &caller("030123456")));
        assert_ne!(name, of(&["a"]).of_caller(one, &caller("030123457")));
        assert!(of(&["b", "a"]).all_of_caller(one, &caller("030123456")).any(|known| known == name));
        let seal = of(&["a"]).seal(one, b"digest");
        assert!(of(&["b", "a"]).seals(one, b"digest").any(|known| known == seal));
        assert_ne!(of(&["a"]).seal(two, b"digest"), seal);
    }
}
