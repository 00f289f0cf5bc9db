//! Seals the secrets of webhooks at rest: ChaCha20-Poly1305 under keys that are derived from the token secrets (HKDF-SHA256). A backup or a
//! dump by itself signs nothing.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use calldata_core::StoreError;
use calldata_core::webhook::WebhookKey;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use sea_orm::sea_query::Query;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use crate::Database;
use crate::entity::webhook::{Column, Entity};
use crate::error::of_statement;
use crate::transact::Work;
use crate::webhook_row::key_of;
use crate::webhook_store::this;

/// What a sealed secret begins with; a plain one begins with `whsec_`.
const SEALED: &str = "sealed1_";
const SALT: &[u8] = b"calldata-gateway";
const PURPOSE: &[u8] = b"webhook secrets 1";

/// Seals and opens secrets; known from when a gateway serves.
pub(crate) type SealerCell = Arc<OnceLock<Sealer>>;

/// Seals with the first key, and opens with any.
pub(crate) struct Sealer(Vec<LessSafeKey>);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(…)")
    }
}

/// A stored secret.
pub(crate) enum Opened {
    /// It is sealed with the first key.
    Sealed(Zeroizing<String>),
    /// It is plain, or sealed with another key: it has to be sealed again.
    Outdated(Zeroizing<String>),
    /// No key opens it.
    Lost,
}

struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        CHACHA20_POLY1305.key_len()
    }
}

impl Sealer {
    /// Derives a key of each secret.
    pub(crate) fn new(secrets: &[SecretString]) -> Self {
        let keys = secrets.iter().filter_map(|secret| {
            let pseudorandom = Salt::new(HKDF_SHA256, SALT).extract(secret.expose_secret().as_bytes());
            let mut key = Zeroizing::new(vec![0; CHACHA20_POLY1305.key_len()]);
            pseudorandom.expand(&[PURPOSE], KeyLength).ok()?.fill(&mut key).ok()?;
            UnboundKey::new(&CHACHA20_POLY1305, &key).ok().map(LessSafeKey::new)
        });
        Self(keys.collect())
    }

    /// Seals the secret of a webhook, for no other one.
    pub(crate) fn seal(&self, key: &WebhookKey, secret: &str) -> Result<String, StoreError> {
        let sealed = || {
            let nonce = rand::random::<[u8; NONCE_LEN]>();
            let mut text = secret.as_bytes().to_vec();
            self.0.first()?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), context(key), &mut text).ok()?;
            Some(format!("{SEALED}{}", STANDARD_NO_PAD.encode([nonce.as_slice(), &text].concat())))
        };
        sealed().ok_or_else(|| StoreError::Failed("the secret of a webhook cannot be sealed".into()))
    }

    fn open(&self, webhook: &WebhookKey, stored: &str) -> Opened {
        let Some(encoded) = stored.strip_prefix(SEALED) else { return Opened::Outdated(stored.to_owned().into()) };
        let Ok(bytes) = STANDARD_NO_PAD.decode(encoded) else { return Opened::Lost };
        let Some((nonce, sealed)) = bytes.split_first_chunk::<NONCE_LEN>() else { return Opened::Lost };
        for (place, key) in self.0.iter().enumerate() {
            let mut text = Zeroizing::new(sealed.to_vec());
            let opened = key.open_in_place(Nonce::assume_unique_for_key(*nonce), context(webhook), &mut text);
            if let Some(text) = opened.ok().and_then(|text| std::str::from_utf8(text).ok()) {
                let text = Zeroizing::new(text.to_owned());
                return if place == 0 { Opened::Sealed(text) } else { Opened::Outdated(text) };
            }
        }
        Opened::Lost
    }
}

/// Binds what is sealed to its webhook.
fn context(WebhookKey { tenant, id }: &WebhookKey) -> Aad<String> {
    Aad::from(format!("{}/{id}", tenant.number()))
}

/// Opens a stored secret; without keys, one that is plain.
pub(crate) fn open(sealer: Option<&Sealer>, webhook: &WebhookKey, stored: &str) -> Opened {
    match sealer {
        Some(sealer) => sealer.open(webhook, stored),
        None if stored.starts_with(SEALED) => Opened::Lost,
        None => Opened::Outdated(stored.to_owned().into()),
    }
}

impl Database {
    /// Seals the secrets of webhooks with a key of the first of these secrets from now on, and all that are plain or sealed with another
    /// one now; returns how many none of them opens.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn seal_webhook_secrets(&self, secrets: &[SecretString]) -> Result<usize, StoreError> {
        let sealer = self.sealer_cell().get_or_init(|| Sealer::new(secrets));
        let mut lost = 0;
        for row in Entity::find().all(self.keeper()).await.map_err(of_statement)? {
            let key = key_of(&row)?;
            let stored = [(Column::Secret, Some(row.secret)), (Column::PreviousSecret, row.previous_secret)];
            for (column, stored) in stored.into_iter().filter_map(|(column, stored)| Some((column, stored?))) {
                match sealer.open(&key, &stored) {
                    Opened::Sealed(_) => {}
                    Opened::Lost => lost += usize::from(matches!(column, Column::Secret)),
                    Opened::Outdated(text) => self.replace(&key, column, &stored, sealer.seal(&key, &text)?).await?,
                }
            }
        }
        Ok(lost)
    }

    /// Replaces a stored secret, unless somebody changed it meanwhile.
    async fn replace(&self, key: &WebhookKey, column: Column, old: &str, new: String) -> Result<(), StoreError> {
        type Given<'a> = (&'a WebhookKey, Column, &'a str, String);
        let replace: Work<Given<'_>, ()> = |transaction, (key, column, old, new)| {
            Box::pin(async move {
                let update = Query::update().table(Entity).value(*column, new.as_str()).cond_where(this(key).add(column.eq(*old))).take();
                transaction.execute(&update).await.map(drop).map_err(of_statement)
            })
        };
        self.writer().transact(&(key, column, old, new), replace).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use calldata_core::{TenantId, WebhookId};

    fn webhook(id: &str) -> WebhookKey {
        WebhookKey { tenant: TenantId::from_number(7), id: WebhookId::new(id).unwrap() }
    }

    fn sealer(secrets: &[&str]) -> Sealer {
        Sealer::new(&secrets.iter().map(|secret| SecretString::from(*secret)).collect::<Vec<_>>())
    }

    #[test]
    fn a_sealed_secret_is_opened_by_its_key_for_its_webhook_alone() {
        let (mine, one) = (webhook("wh_1"), sealer(&["one"]));
        let sealed = one.seal(&mine, "whsec_x").unwrap();
        assert!(!sealed.contains("whsec_x"));
        assert_ne!(one.seal(&mine, "whsec_x").unwrap(), sealed, "under another nonce each time");
        assert!(matches!(one.open(&mine, &sealed), Opened::Sealed(text) if *text == "whsec_x"));
        assert!(matches!(one.open(&webhook("wh_2"), &sealed), Opened::Lost));
        assert!(matches!(sealer(&["two"]).open(&mine, &sealed), Opened::Lost));
        assert!(matches!(sealer(&["two", "one"]).open(&mine, &sealed), Opened::Outdated(text) if *text == "whsec_x"));
        assert!(matches!(open(None, &mine, &sealed), Opened::Lost));
        assert!(matches!(one.open(&mine, "whsec_y"), Opened::Outdated(text) if *text == "whsec_y"), "from before they were sealed");
        for broken in ["sealed1_", "sealed1_AAAA", "sealed1_!", &format!("{}A", &sealed[..sealed.len() - 1]), &sealed.replace("sealed1_", "sealed1_A")] {
            assert!(broken == sealed || matches!(one.open(&mine, broken), Opened::Lost), "{broken}");
        }
    }
}
