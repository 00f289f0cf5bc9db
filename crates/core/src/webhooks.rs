//! What tenants do with their webhooks.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::access::Access;
use crate::clock::Clock;
use crate::event::EventKind;
use crate::port::{Change, Outbox, StoreError, WebhookStore};
use crate::uncancelled::uncancelled;
use crate::webhook::{
    DeadLetter, DeliveryId, DeliveryNumber, InvalidUrl, UrlHost, Webhook, WebhookKey, WebhookSecret, WebhookSecrets, WebhookUrl,
};
use crate::{TenantId, WebhookId};

/// How many webhooks a tenant may have; two that are created at the same moment may both be the last.
pub const MAX_WEBHOOKS: usize = 20;
/// How many dead letters are replayed in a transaction.
const REPLAY_BATCH: u64 = 200;

/// Why a webhook was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Nothing can be sent there.
    #[error("the url {0}")]
    Url(#[from] InvalidUrl),
    /// It would be told of nothing.
    #[error("there is no kind of event to be told of")]
    NoKinds,
    /// The tenant has as many as it may have.
    #[error("a tenant has {MAX_WEBHOOKS} webhooks at most")]
    TooMany,
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Creates and changes webhooks, each of the tenant whose access it is given. Nobody who stops waiting for the result cancels a change.
pub struct Webhooks {
    store: Arc<dyn WebhookStore>,
    outbox: Arc<dyn Outbox>,
    clock: Arc<dyn Clock>,
    may_send_to: Box<dyn Fn(UrlHost<'_>) -> bool + Send + Sync>,
}

impl Webhooks {
    /// Webhooks in `store` for the events in `outbox`. A URL is refused unless one `may_send_to` its host; the addresses of a name
    /// are only looked up when something is sent.
    pub fn new(
        store: Arc<dyn WebhookStore>,
        outbox: Arc<dyn Outbox>,
        clock: Arc<dyn Clock>,
        may_send_to: impl Fn(UrlHost<'_>) -> bool + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { store, outbox, clock, may_send_to: Box::new(may_send_to) })
    }

    /// Creates a webhook with a secret of its own, which is told of what happens from now on.
    ///
    /// # Errors
    /// When nothing can be sent to the URL, there is no kind, the tenant has enough of them, or the store could not.
    pub async fn create(self: &Arc<Self>, access: &Access, url: &str, kinds: BTreeSet<EventKind>) -> Result<Webhook, CreateError> {
        let url = WebhookUrl::parse(url)?;
        if !(self.may_send_to)(url.host()) {
            let is_address = matches!(url.host(), UrlHost::Address(_));
            return Err(if is_address { InvalidUrl::RefusedAddress } else { InvalidUrl::RefusedHost }.into());
        }
        if kinds.is_empty() {
            return Err(CreateError::NoKinds);
        }
        let (this, tenant) = (Arc::clone(self), access.tenant.id);
        uncancelled(async move {
            if this.store.webhooks_of(tenant).await?.len() >= MAX_WEBHOOKS {
                return Err(CreateError::TooMany);
            }
            let webhook = Webhook {
                id: WebhookId::random(),
                tenant,
                url,
                secrets: WebhookSecrets::new(WebhookSecret::random()),
                kinds,
                created_at: this.clock.now(),
                disabled: None,
                taken_up: this.outbox.end().await?.position,
            };
            this.store.create_webhook(&webhook).await?;
            Ok(webhook)
        })
        .await
    }

    /// All webhooks of the tenant, oldest first.
    ///
    /// # Errors
    /// When the store could not be asked.
    pub async fn list(&self, access: &Access) -> Result<Vec<Webhook>, StoreError> {
        self.store.webhooks_of(access.tenant.id).await
    }

    /// One webhook of the tenant.
    ///
    /// # Errors
    /// When the store could not be asked.
    pub async fn find(&self, access: &Access, id: &WebhookId) -> Result<Option<Webhook>, StoreError> {
        self.find_of(access.tenant.id, id).await
    }

    /// Deletes a webhook and all that waits for it; false when there is none.
    ///
    /// # Errors
    /// When the store could not; doing it again is safe.
    pub async fn delete(self: &Arc<Self>, access: &Access, id: &WebhookId) -> Result<bool, StoreError> {
        let (this, key) = self.for_key(access, id);
        uncancelled(async move { this.store.delete_webhook(&key).await }).await
    }

    /// Gives a webhook another secret. For a day, messages are signed with the one of before too.
    ///
    /// # Errors
    /// When the store could not.
    pub async fn rotate_secret(self: &Arc<Self>, access: &Access, id: &WebhookId) -> Result<Option<Webhook>, StoreError> {
        let (this, key) = self.for_key(access, id);
        let previous_until = WebhookSecrets::previous_until(self.clock.now());
        uncancelled(async move {
            let change = Change::Secret { secret: WebhookSecret::random(), previous_until };
            this.store.change_webhook(&key, change).await
        })
        .await
    }

    /// Lets a webhook be sent to again that was disabled. It goes on where it stopped.
    ///
    /// # Errors
    /// When the store could not.
    pub async fn enable(self: &Arc<Self>, access: &Access, id: &WebhookId) -> Result<Option<Webhook>, StoreError> {
        let (this, key) = self.for_key(access, id);
        uncancelled(async move { this.store.change_webhook(&key, Change::Enabled).await }).await
    }

    /// Some of what could not be delivered, oldest first, after the one with that number; `None` when there is no such webhook.
    ///
    /// # Errors
    /// When the store could not be asked.
    pub async fn dead_letters(
        &self,
        access: &Access,
        id: &WebhookId,
        after: Option<DeliveryNumber>,
        limit: u64,
    ) -> Result<Option<Vec<DeadLetter>>, StoreError> {
        let Some(webhook) = self.find(access, id).await? else { return Ok(None) };
        self.store.dead_letters(&webhook.key(), after.unwrap_or(DeliveryNumber::NONE), limit).await.map(Some)
    }

    /// Delivers once more what could not be delivered, or that one of it; returns how many there are, `None` when there is no such
    /// webhook.
    ///
    /// # Errors
    /// When the store could not; what was done until then stays so, and doing it again is safe.
    pub async fn replay(self: &Arc<Self>, access: &Access, id: &WebhookId, one: Option<DeliveryId>) -> Result<Option<u64>, StoreError> {
        let (this, key) = self.for_key(access, id);
        uncancelled(async move {
            if this.find_of(key.tenant, &key.id).await?.is_none() {
                return Ok(None);
            }
            // What is given up from now on is not replayed for ever.
            let now = this.clock.now();
            let mut replayed = 0;
            loop {
                let some = this.store.replay(&key, one, now, REPLAY_BATCH).await?;
                replayed += some;
                if some < REPLAY_BATCH {
                    return Ok(Some(replayed));
                }
            }
        })
        .await
    }

    async fn find_of(&self, tenant: TenantId, id: &WebhookId) -> Result<Option<Webhook>, StoreError> {
        Ok(self.store.webhooks_of(tenant).await?.into_iter().find(|webhook| webhook.id == *id))
    }

    fn for_key(self: &Arc<Self>, access: &Access, id: &WebhookId) -> (Arc<Self>, WebhookKey) {
        (Arc::clone(self), WebhookKey { tenant: access.tenant.id, id: id.clone() })
    }
}

#[cfg(test)]
mod tests;
