//! Access keys: what a client proves itself with.

use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::access::Scopes;
use crate::{KeyId, TenantId, Timestamp};

/// The fewest characters of a secret that a tenant brings along.
pub const MIN_SECRET_CHARS: usize = 16;

/// An access key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    /// Its identifier.
    pub id: KeyId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What its secret is recognised by.
    pub hash: SecretHash,
    /// What it may do.
    pub scopes: Scopes,
    /// When it was created.
    pub created_at: Timestamp,
    /// From when on it is no longer accepted.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last accepted, give or take a few seconds.
    pub last_used_at: Option<Timestamp>,
}

impl AccessKey {
    /// Whether it is accepted at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// A secret's SHA-256. Secrets are random and long, so that no slower hash is needed to keep them from being guessed.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of a secret.
    pub fn of(secret: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"calldata-gateway access key\0");
        hasher.update(secret);
        Self(hasher.finalize().into())
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The hash as 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }
}

/// Takes the same time whether the hashes differ early or late.
impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

impl Hash for SecretHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// A new secret: 160 random bits that need no encoding in a URL.
pub fn new_secret() -> SecretString {
    format!("cdg_{}", hex(&rand::random::<[u8; 20]>())).into()
}

/// Whether a secret that a tenant brings along is long enough.
pub fn is_long_enough(secret: &SecretString) -> bool {
    secret.expose_secret().chars().count() >= MIN_SECRET_CHARS
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_random_and_shown_nowhere() {
        let (one, two) = (new_secret(), new_secret());
        assert_ne!(one.expose_secret(), two.expose_secret());
        assert_eq!(one.expose_secret().len(), 44);
        assert!(!format!("{one:?}").contains(one.expose_secret()));
        assert!(is_long_enough(&one) && !is_long_enough(&"fifteen-letters".into()) && is_long_enough(&"sixteen--letters".into()));
    }

    #[test]
    fn a_hash_survives_being_written_down() {
        let hash = SecretHash::of("secret");
        assert_eq!(SecretHash::from_hex(&hash.to_hex()), Some(hash));
        assert_ne!(hash, SecretHash::of("Secret"));
        assert_eq!(SecretHash::from_hex("00"), None);
        assert_eq!(SecretHash::from_hex(&"zz".repeat(32)), None);
        assert_eq!(format!("{hash:?}"), "SecretHash(…)");
    }

    #[test]
    fn a_key_is_live_until_it_expires_or_is_revoked() {
        let at = Timestamp::clamped;
        let key = AccessKey {
            id: KeyId::random(),
            tenant: TenantId::random(),
            hash: SecretHash::of("s"),
            scopes: Scopes::READ,
            created_at: at(0),
            expires_at: Some(at(10)),
            revoked_at: None,
            last_used_at: None,
        };
        assert!(key.is_live(at(9)) && !key.is_live(at(10)));
        assert!(AccessKey { expires_at: None, ..key.clone() }.is_live(at(i64::MAX)));
        assert!(!AccessKey { revoked_at: Some(at(5)), ..key }.is_live(at(1)));
    }
}
