//! Tokens (OIF-A2): signed, so that every instance can read them, also after a restart, and none has to remember them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use calldata_core::{KeyId, TenantId, Timestamp};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// How long a token is good for.
pub(crate) const LIFETIME: Duration = Duration::from_secs(3_600);
const MIN_SECRET_BYTES: usize = 32;
/// What every token begins with.
const MARK: &str = "cdt1.";

type Signature = Hmac<Sha256>;

/// The secrets that tokens are signed with: the first one signs, every one of them is accepted, so that one can be rotated.
#[derive(Clone)]
pub struct TokenSecrets(Arc<Vec<SecretString>>);

/// A token secret that is too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token secret needs at least {MIN_SECRET_BYTES} bytes")]
pub struct WeakSecret;

impl TokenSecrets {
    /// Signs with `current`; accepts what `previous` signed as well.
    ///
    /// # Errors
    /// When one of them is too short.
    pub fn new(current: SecretString, previous: Option<SecretString>) -> Result<Self, WeakSecret> {
        let secrets: Vec<_> = std::iter::once(current).chain(previous).collect();
        if secrets.iter().any(|secret| secret.expose_secret().len() < MIN_SECRET_BYTES) {
            return Err(WeakSecret);
        }
        Ok(Self(Arc::new(secrets)))
    }

    /// All of them, the one that signs first; for what else is signed.
    pub fn all(&self) -> Vec<SecretString> {
        self.0.to_vec()
    }

    /// A token for the holder of a key, good from `now` on for [`LIFETIME`].
    pub(crate) fn issue(&self, tenant: TenantId, key: &KeyId, now: Timestamp) -> Option<String> {
        let expires = now.plus(LIFETIME).epoch_ms();
        let claim = URL_SAFE_NO_PAD.encode(format!("{}.{}.{expires}", tenant.number(), key.as_str()));
        let signature = signature(self.0.first()?, &claim)?.finalize().into_bytes();
        Some(format!("{MARK}{claim}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// What a token says.
    pub(crate) fn read(&self, token: &str, now: Timestamp) -> TokenState {
        let Some(claim) = self.signed_claim(token) else { return TokenState::NotOurs };
        let Some(claim) = Claim::parse(&claim) else { return TokenState::NotOurs };
        if now.epoch_ms() >= claim.expires_ms {
            return TokenState::Expired;
        }
        TokenState::Good { tenant: claim.tenant, key: claim.key }
    }

    fn signed_claim(&self, token: &str) -> Option<String> {
        let (claim, signed) = token.strip_prefix(MARK)?.split_once('.')?;
        let signed = URL_SAFE_NO_PAD.decode(signed).ok()?;
        let genuine = self.0.iter().filter_map(|secret| signature(secret, claim)).any(|mac| mac.verify_slice(&signed).is_ok());
        if !genuine {
            return None;
        }
        String::from_utf8(URL_SAFE_NO_PAD.decode(claim).ok()?).ok()
    }
}

impl fmt::Debug for TokenSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenSecrets({})", self.0.len())
    }
}

fn signature(secret: &SecretString, claim: &str) -> Option<Signature> {
    let mut mac = Signature::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
    mac.update(MARK.as_bytes());
    mac.update(claim.as_bytes());
    Some(mac)
}

/// What a token turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TokenState {
    /// Signed by us and still good; the key may be gone meanwhile.
    Good { tenant: TenantId, key: KeyId },
    /// Signed by us, too long ago.
    Expired,
    /// Not signed by us.
    NotOurs,
}

struct Claim {
    tenant: TenantId,
    key: KeyId,
    expires_ms: i64,
}

impl Claim {
    fn parse(text: &str) -> Option<Self> {
        let (tenant, rest) = text.split_once('.')?;
        let (key, expires) = rest.rsplit_once('.')?;
        Some(Self { tenant: TenantId::from_number(tenant.parse().ok()?), key: KeyId::new(key).ok()?, expires_ms: expires.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(letter: &str) -> SecretString {
        letter.repeat(32).into()
    }

    fn secrets(current: &str, previous: Option<&str>) -> TokenSecrets {
        TokenSecrets::new(secret(current), previous.map(secret)).unwrap()
    }

    #[test]
    fn oif_a2_a_token_is_good_for_an_hour_wherever_the_secret_is_known() {
        let (tenant, key, now) = (TenantId::random(), KeyId::random(), Timestamp::clamped(1_700_000_000_000));
        let token = secrets("a", None).issue(tenant, &key, now).unwrap();
        let elsewhere = secrets("a", None);
        assert_eq!(elsewhere.read(&token, now.plus(Duration::from_millis(3_599_999))), TokenState::Good { tenant, key });
        assert_eq!(elsewhere.read(&token, now.plus(LIFETIME)), TokenState::Expired);
    }

    #[test]
    fn oif_a2_a_secret_can_be_rotated() {
        let (tenant, key, now) = (TenantId::random(), KeyId::random(), Timestamp::clamped(1_700_000_000_000));
        let token = secrets("a", None).issue(tenant, &key, now).unwrap();
        assert_eq!(secrets("b", Some("a")).read(&token, now), TokenState::Good { tenant, key: key.clone() });
        assert_eq!(secrets("b", None).read(&token, now), TokenState::NotOurs);
        let new = secrets("b", Some("a")).issue(tenant, &key, now).unwrap();
        assert_eq!(secrets("b", None).read(&new, now), TokenState::Good { tenant, key });
    }

    #[test]
    fn what_we_did_not_sign_is_not_ours() {
        let (tenant, now) = (TenantId::from_number(1), Timestamp::clamped(0));
        let secrets = secrets("a", None);
        let token = secrets.issue(tenant, &KeyId::new("k").unwrap(), now).unwrap();
        let (claim, signed) = token.strip_prefix(MARK).unwrap().split_once('.').unwrap();
        let other = URL_SAFE_NO_PAD.encode(format!("2.k.{}", 3_600_000));
        for forged in [
            String::new(),
            "cdt1.".into(),
            format!("cdt1.{other}.{signed}"),
            format!("cdt1.{claim}."),
            format!("cdt2.{claim}.{signed}"),
            token[1..].into(),
            format!("{token}A"),
        ] {
            assert_eq!(secrets.read(&forged, now), TokenState::NotOurs, "{forged}");
        }
    }

    #[test]
    fn short_secrets_are_refused_and_none_is_shown() {
        assert_eq!(TokenSecrets::new("short".into(), None).unwrap_err(), WeakSecret);
        assert_eq!(TokenSecrets::new(secret("a"), Some("short".into())).unwrap_err(), WeakSecret);
        assert_eq!(format!("{:?}", secrets("a", Some("b"))), "TokenSecrets(2)");
    }
}
