//! Where webhooks are kept, and what is on its way to them.

use async_trait::async_trait;

use super::StoreError;
use crate::event::{Event, Position};
use crate::webhook::{DeadLetter, Delivery, DeliveryId, DeliveryNumber, Failure, Webhook, WebhookKey, WebhookSecret};
use crate::{SessionId, TenantId, Timestamp};

/// A webhook, and whether there is something to do for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The webhook.
    pub webhook: Webhook,
    /// When the first of its deliveries is due.
    pub due: Option<Timestamp>,
    /// Until when an instance has taken it for itself.
    pub held_until: Timestamp,
}

/// A webhook, taken by an instance so that no other one sends to it meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The webhook.
    pub key: WebhookKey,
    /// The instance.
    pub holder: String,
}

/// What is changed of a webhook.
#[derive(Clone, Debug)]
pub enum Change {
    /// It gets another secret; the one of now signs until then too.
    Secret {
        /// The new one.
        secret: WebhookSecret,
        /// Until when the one of now signs.
        previous_until: Timestamp,
    },
    /// It is no longer disabled.
    Enabled,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is nothing left to be delivered.
    Done,
    /// It is attempted again.
    PutOff {
        /// When.
        until: Timestamp,
        /// Why it failed this time.
        failure: Failure,
    },
    /// It is given up.
    Dead(Failure),
    /// The endpoint is gone: nothing more is sent to it, and this waits until it is enabled again.
    Gone(Failure),
}

/// A delivery that was attempted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Which one.
    pub number: DeliveryNumber,
    /// The session that it is about.
    pub session: SessionId,
    /// How often it was attempted by now.
    pub attempts: u32,
    /// What became of it.
    pub outcome: Outcome,
}

/// Where webhooks are kept. Of all deliveries of a webhook that are about one session, only the first is ever due, so that none
/// overtakes an earlier one.
#[async_trait]
pub trait WebhookStore: Send + Sync + 'static {
    /// Adds a webhook.
    async fn create_webhook(&self, webhook: &Webhook) -> Result<(), StoreError>;

    /// All webhooks of a tenant, oldest first.
    async fn webhooks_of(&self, tenant: TenantId) -> Result<Vec<Webhook>, StoreError>;

    /// Changes a webhook; `None` when there is none, otherwise what it is then.
    async fn change_webhook(&self, key: &WebhookKey, change: Change) -> Result<Option<Webhook>, StoreError>;

    /// Deletes a webhook with all its deliveries; false when there is none.
    async fn delete_webhook(&self, key: &WebhookKey) -> Result<bool, StoreError>;

    /// All webhooks of all tenants.
    async fn standings(&self) -> Result<Vec<Standing>, StoreError>;

    /// Takes a webhook for an instance until then, or for longer where that instance has it already; `until` in the past lets it
    /// go. `None` where another instance has it, it is disabled, or there is none.
    async fn lease(&self, lease: &Lease, now: Timestamp, until: Timestamp) -> Result<Option<Webhook>, StoreError>;

    /// Makes deliveries of events, in their order, and notes that all events after `from` and up to `to` were taken up; false where
    /// somebody else did so meanwhile, or the webhook is disabled or gone. Who does it needs no lease.
    async fn take_up(&self, key: &WebhookKey, from: Position, to: Position, events: &[Event], now: Timestamp) -> Result<bool, StoreError>;

    /// What is due, that which has been due for longest first.
    async fn due(&self, key: &WebhookKey, now: Timestamp, limit: u64) -> Result<Vec<Delivery>, StoreError>;

    /// Notes what became of attempts; false where another instance has the webhook, and nothing is noted. Noting the same again
    /// changes nothing.
    async fn settle(&self, lease: &Lease, settled: &[Settled], now: Timestamp) -> Result<bool, StoreError>;

    /// Some of what was given up, oldest first, after the one with that number.
    async fn dead_letters(&self, key: &WebhookKey, after: DeliveryNumber, limit: u64) -> Result<Vec<DeadLetter>, StoreError>;

    /// Makes deliveries of what was given up until now, `limit` at most, or of that one; returns how many. They are due as if the
    /// event had just happened, and have the same numbers.
    async fn replay(&self, key: &WebhookKey, one: Option<DeliveryId>, now: Timestamp, limit: u64) -> Result<u64, StoreError>;

    /// Drops all that is to be delivered about these sessions, and what was given up, but not that they were erased; returns how many.
    async fn forget_deliveries(&self, tenant: TenantId, sessions: &[SessionId], now: Timestamp) -> Result<u64, StoreError>;

    /// Drops some of what was given up at this moment or before; returns how many, and 0 when none is left.
    async fn drop_dead_letters(&self, key: &WebhookKey, until: Timestamp) -> Result<u64, StoreError>;

    /// How many deliveries wait in all.
    async fn backlog(&self) -> Result<u64, StoreError>;
}
