//! Identifiers, each a type of its own.

use std::fmt;
use std::sync::Mutex;

use uuid::{ContextV7, Timestamp as UuidTime, Uuid};

use crate::Timestamp;

/// The longest identifier in bytes; every one of them is part of an index entry, and those are bounded in every database.
pub const MAX_ID_BYTES: usize = 512;

/// Why a text cannot be an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// There is nothing in it.
    #[error("is empty")]
    Empty,
    /// It holds NUL (U+0000).
    #[error("holds NUL (U+0000)")]
    Nul,
    /// It is longer than [`MAX_ID_BYTES`].
    #[error("is longer than {MAX_ID_BYTES} bytes")]
    TooLong,
}

/// `text` as it can be stored and found again.
pub(crate) fn storable(text: &str) -> Result<String, InvalidText> {
    match text {
        "" => Err(InvalidText::Empty),
        _ if text.contains('\0') => Err(InvalidText::Nul),
        _ if text.len() > MAX_ID_BYTES => Err(InvalidText::TooLong),
        _ => Ok(text.to_owned()),
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes a text as it is.
            ///
            /// # Errors
            /// When it is empty, too long, or holds NUL.
            pub fn new(text: &str) -> Result<Self, InvalidText> {
                storable(text).map(Self)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The same, for good.
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// Identifies a session within its tenant: a time-ordered UUID, or what an import brought along.
    SessionId
}
text_id! {
    /// Identifies a call within its tenant, as the telephony side names it. Several sessions may share one.
    CallId
}
text_id! {
    /// Identifies an access key; no secret.
    KeyId
}
text_id! {
    /// Identifies a webhook.
    WebhookId
}

impl WebhookId {
    /// A new identifier.
    pub fn random() -> Self {
        Self(format!("wh_{:016x}", rand::random::<u64>()))
    }
}

impl KeyId {
    /// What stands where it was no key, but the operator at the machine.
    pub fn operator() -> Self {
        Self("operator".to_owned())
    }

    /// What stands where it was no key, but a webhook.
    pub fn webhook() -> Self {
        Self("webhook".to_owned())
    }

    /// A new identifier.
    pub fn random() -> Self {
        Self(format!("k{:015x}", rand::random::<u64>() >> 4))
    }
}

/// Identifies a tenant inside the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(i64);

impl TenantId {
    /// A new identifier; random, so that no sequence has to be shared between instances.
    pub fn random() -> Self {
        Self(i64::from_ne_bytes(rand::random::<[u8; 8]>()) & i64::MAX)
    }

    /// The identifier with that number.
    pub fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// Its number.
    pub fn number(self) -> i64 {
        self.0
    }
}

/// Makes time-ordered session identifiers: of two made by one source the later is greater, within a millisecond too.
#[derive(Debug, Default)]
pub struct SessionIds {
    context: Mutex<Option<ContextV7>>,
}

impl SessionIds {
    /// A new identifier for a session received at `now`.
    pub fn next(&self, now: Timestamp) -> SessionId {
        let ms = u64::try_from(now.epoch_ms()).unwrap_or(0);
        let nanos = u32::try_from(ms % 1_000).unwrap_or(0) * 1_000_000;
        let mut context = self.context.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let context = context.get_or_insert_with(ContextV7::new);
        let uuid = Uuid::new_v7(UuidTime::from_unix(&*context, ms / 1_000, nanos));
        SessionId(uuid.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_bounded_and_free_of_nul() {
        assert_eq!(CallId::new(""), Err(InvalidText::Empty));
        assert_eq!(CallId::new("a\0"), Err(InvalidText::Nul));
        assert!(CallId::new(&"x".repeat(MAX_ID_BYTES)).is_ok());
        assert_eq!(CallId::new(&"x".repeat(MAX_ID_BYTES + 1)), Err(InvalidText::TooLong));
        assert_eq!(CallId::new(" a ").unwrap().to_string(), " a ", "kept as it is");
    }

    #[test]
    fn session_ids_grow_also_within_a_millisecond() {
        let ids = SessionIds::default();
        let now = Timestamp::clamped(1_709_036_183_926);
        let made: Vec<_> = (0..10_000).map(|_| ids.next(now)).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
        assert!(made.last() < Some(&ids.next(Timestamp::clamped(1_709_036_183_930))));
        assert!(made[0].as_str().starts_with("018dea7e-a176-7"), "begins with the moment: {}", made[0]);
    }

    #[test]
    fn tenant_key_and_webhook_ids_are_random() {
        assert_ne!(TenantId::random(), TenantId::random());
        assert!(TenantId::random().number() >= 0);
        assert_eq!(TenantId::from_number(7).number(), 7);
        assert_ne!(KeyId::random(), KeyId::random());
        assert_eq!(KeyId::random().as_str().len(), 16);
        assert_ne!(WebhookId::random(), WebhookId::random());
        assert_eq!(WebhookId::random().as_str().len(), 19);
    }
}
