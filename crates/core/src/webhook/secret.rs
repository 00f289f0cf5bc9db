//! What messages are signed with.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroize as _;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use subtle::ConstantTimeEq;

use crate::Timestamp;

/// What every secret begins with.
const PREFIX: &str = "whsec_";
/// How many bytes a secret of ours has.
const BYTES: usize = 32;
/// The fewest and the most bytes that the Standard Webhooks specification allows.
const ALLOWED_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// For how long messages are signed with the previous secret too.
const ROTATION: Duration = Duration::from_hours(24);

/// A secret that an endpoint shares with the gateway: `whsec_` and the base64 of random bytes.
#[derive(Clone)]
pub struct WebhookSecret(SecretString);

impl WebhookSecret {
    /// A new one.
    pub fn random() -> Self {
        let mut bytes = rand::random::<[u8; BYTES]>();
        let secret = Self(format!("{PREFIX}{}", STANDARD.encode(bytes)).into());
        bytes.zeroize();
        secret
    }

    /// Reads one; `None` where the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let secret = Self(text.into());
        let allowed = ALLOWED_BYTES.contains(&secret.decode()?.expose_secret().len());
        allowed.then_some(secret)
    }

    /// The secret as its owner writes it.
    pub fn text(&self) -> &SecretString {
        &self.0
    }

    /// The bytes that sign.
    pub fn bytes(&self) -> SecretSlice<u8> {
        // What was parsed or made can be decoded.
        self.decode().unwrap_or_default()
    }

    fn decode(&self) -> Option<SecretSlice<u8>> {
        STANDARD.decode(self.0.expose_secret().strip_prefix(PREFIX)?).ok().map(SecretSlice::from)
    }
}

/// Takes the same time whether the secrets differ early or late.
impl PartialEq for WebhookSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret().as_bytes().ct_eq(other.0.expose_secret().as_bytes()).into()
    }
}

impl Eq for WebhookSecret {}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

/// The secret of an endpoint, and the one of before while it is being changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSecrets {
    /// The one of now.
    pub current: WebhookSecret,
    /// The one of before.
    pub previous: Option<PreviousSecret>,
}

/// A secret that was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousSecret {
    /// The secret.
    pub secret: WebhookSecret,
    /// Until when messages are signed with it too.
    pub until: Timestamp,
}

impl WebhookSecrets {
    /// A secret that replaces no other.
    pub fn new(current: WebhookSecret) -> Self {
        Self { current, previous: None }
    }

    /// Until when a secret that is replaced at `now` still signs.
    pub fn previous_until(now: Timestamp) -> Timestamp {
        now.plus(ROTATION)
    }

    /// Those that messages are signed with at `now`, the newest first.
    pub fn at(&self, now: Timestamp) -> impl Iterator<Item = &WebhookSecret> {
        let previous = self.previous.as_ref().filter(|previous| now < previous.until);
        std::iter::once(&self.current).chain(previous.map(|previous| &previous.secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_random_readable_again_and_shown_nowhere() {
        let (one, two) = (WebhookSecret::random(), WebhookSecret::random());
        assert_ne!(one, two);
        assert_eq!(WebhookSecret::parse(one.text().expose_secret()), Some(one.clone()));
        assert_eq!(one.bytes().expose_secret().len(), BYTES);
        assert!(!format!("{one:?} {:?}", WebhookSecrets::new(one.clone())).contains(&one.text().expose_secret()[6..]));
    }

    #[test]
    fn only_24_to_64_bytes_in_base64_are_a_secret() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        assert!(WebhookSecret::parse(&of(24)).is_some() && WebhookSecret::parse(&of(64)).is_some());
        for none in [of(23), of(65), of(24).replace("whsec_", ""), format!("{}!", of(24)), "whsec_".into(), String::new()] {
            assert_eq!(WebhookSecret::parse(&none), None, "{none}");
        }
    }

    #[test]
    fn a_replaced_secret_signs_for_another_day() {
        let now = Timestamp::clamped(1_700_000_000_000);
        let (old, new) = (WebhookSecret::random(), WebhookSecret::random());
        let until = WebhookSecrets::previous_until(now);
        let secrets = WebhookSecrets { current: new.clone(), previous: Some(PreviousSecret { secret: old.clone(), until }) };
        assert_eq!(secrets.at(now).collect::<Vec<_>>(), [&new, &old]);
        assert_eq!(secrets.at(now.plus(ROTATION)).collect::<Vec<_>>(), [&new]);
    }
}
