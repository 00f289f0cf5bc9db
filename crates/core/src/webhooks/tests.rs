use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::access::Scopes;
use crate::clock::ManualClock;
use crate::event::{Event, Position};
use crate::port::{Events, Lease, OutboxEnd, Settled, Standing};
use crate::tenant::tests::tenant;
use crate::webhook::{Disabled, PreviousSecret};
use crate::{Epoch, KeyId, SessionId, Timestamp};

const NOW: Timestamp = Timestamp::EARLIEST;
const END: Position = Position { commit: 7, place: 3 };

/// Webhooks in memory, and a number of dead letters.
#[derive(Default)]
struct Fake {
    webhooks: Mutex<Vec<Webhook>>,
    dead: Mutex<u64>,
}

#[async_trait]
impl Outbox for Fake {
    async fn events(&self, _: TenantId, _: Position, _: u64) -> Result<Events, StoreError> {
        unreachable!("events are for those who deliver")
    }
    async fn end(&self) -> Result<OutboxEnd, StoreError> {
        Ok(OutboxEnd { epoch: Epoch::random(), position: END, unprefixed_until: None })
    }
    async fn dropped_until(&self, _: TenantId) -> Result<Position, StoreError> {
        unreachable!("events are for those who deliver")
    }
    async fn drop_events(&self, _: TenantId, _: Timestamp) -> Result<u64, StoreError> {
        unreachable!("events are for those who deliver")
    }
}

#[async_trait]
impl WebhookStore for Fake {
    async fn create_webhook(&self, webhook: &Webhook) -> Result<(), StoreError> {
        self.webhooks.lock().unwrap().push(webhook.clone());
        Ok(())
    }
    async fn webhooks_of(&self, tenant: TenantId) -> Result<Vec<Webhook>, StoreError> {
        Ok(self.webhooks.lock().unwrap().iter().filter(|webhook| webhook.tenant == tenant).cloned().collect())
    }
    async fn change_webhook(&self, key: &WebhookKey, change: Change) -> Result<Option<Webhook>, StoreError> {
        let mut webhooks = self.webhooks.lock().unwrap();
        let Some(webhook) = webhooks.iter_mut().find(|webhook| webhook.key() == *key) else { return Ok(None) };
        match change {
            Change::Secret { secret, previous_until: until } => {
                let secret = std::mem::replace(&mut webhook.secrets.current, secret);
                webhook.secrets.previous = Some(PreviousSecret { secret, until });
            }
            Change::Enabled => webhook.disabled = None,
        }
        Ok(Some(webhook.clone()))
    }
    async fn delete_webhook(&self, key: &WebhookKey) -> Result<bool, StoreError> {
        let mut webhooks = self.webhooks.lock().unwrap();
        let before = webhooks.len();
        webhooks.retain(|webhook| webhook.key() != *key);
        Ok(webhooks.len() < before)
    }
    async fn replay(&self, _: &WebhookKey, one: Option<DeliveryId>, _: Timestamp, limit: u64) -> Result<u64, StoreError> {
        let mut dead = self.dead.lock().unwrap();
        let some = (*dead).min(limit).min(one.map_or(u64::MAX, |_| 1));
        *dead -= some;
        Ok(some)
    }
    async fn dead_letters(&self, _: &WebhookKey, _: DeliveryNumber, _: u64) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(Vec::new())
    }
    async fn standings(&self) -> Result<Vec<Standing>, StoreError> {
        unreachable!("for those who deliver")
    }
    async fn lease(&self, _: &Lease, _: Timestamp, _: Timestamp) -> Result<Option<Webhook>, StoreError> {
        unreachable!("for those who deliver")
    }
    async fn take_up(&self, _: &WebhookKey, _: Position, _: Position, _: &[Event], _: Timestamp) -> Result<bool, StoreError> {
        unreachable!("for those who deliver")
    }
    async fn due(&self, _: &WebhookKey, _: Timestamp, _: u64) -> Result<Vec<crate::webhook::Delivery>, StoreError> {
        unreachable!("for those who deliver")
    }
    async fn settle(&self, _: &Lease, _: &[Settled], _: Timestamp) -> Result<bool, StoreError> {
        unreachable!("for those who deliver")
    }
    async fn forget_deliveries(&self, _: TenantId, _: &[SessionId], _: Timestamp) -> Result<u64, StoreError> {
        unreachable!("for those who erase")
    }
    async fn drop_dead_letters(&self, _: &WebhookKey, _: Timestamp) -> Result<u64, StoreError> {
        unreachable!("for those who deliver")
    }
    async fn backlog(&self) -> Result<u64, StoreError> {
        unreachable!("for those who deliver")
    }
}

fn webhooks() -> (Arc<Fake>, Arc<Webhooks>) {
    let fake = Arc::new(Fake::default());
    let clock = Arc::new(ManualClock::at(NOW));
    (
        Arc::clone(&fake),
        Webhooks::new(fake.clone(), fake, clock, |host| !matches!(host, UrlHost::Address(address) if address.is_loopback())),
    )
}

fn access(client_id: &str) -> Access {
    let scopes = Scopes { admin: true, ..Scopes::default() };
    Access { tenant: Arc::new(tenant(client_id)), key: KeyId::random(), scopes }
}

fn all() -> BTreeSet<EventKind> {
    EventKind::ALL.into()
}

#[tokio::test]
async fn a_webhook_is_told_of_what_happens_after_it_was_created() {
    let (_, webhooks) = webhooks();
    let mine = access("mine");
    let created = webhooks.create(&mine, "https://example.com/in", [EventKind::Erased].into()).await.unwrap();
    assert_eq!((created.taken_up, created.created_at, created.disabled), (END, NOW, None));
    assert_eq!(created.kinds, [EventKind::Erased].into());
    assert_eq!(webhooks.list(&mine).await.unwrap(), [created]);
}

#[tokio::test]
async fn nothing_is_created_that_could_not_be_sent_to() {
    let (fake, webhooks) = webhooks();
    let mine = access("mine");
    let create = async |url: &str, kinds| webhooks.create(&mine, url, kinds).await.unwrap_err();
    assert!(matches!(create("ftp://example.com/", all()).await, CreateError::Url(InvalidUrl::Scheme)));
    assert!(matches!(create("http://0x7f.1:8080/", all()).await, CreateError::Url(InvalidUrl::RefusedAddress)));
    assert!(matches!(create("https://example.com/", BTreeSet::new()).await, CreateError::NoKinds));
    assert_eq!(*fake.webhooks.lock().unwrap(), []);
    for _ in 0..MAX_WEBHOOKS {
        webhooks.create(&mine, "http://10.0.0.1/", all()).await.unwrap();
    }
    assert!(matches!(create("https://example.com/", all()).await, CreateError::TooMany));
    webhooks.create(&access("other"), "https://example.com/", all()).await.unwrap();
}

#[tokio::test]
async fn another_tenant_s_webhook_is_none() {
    let (_, webhooks) = webhooks();
    let (mine, other) = (access("mine"), access("other"));
    let Webhook { id, .. } = webhooks.create(&mine, "https://example.com/", all()).await.unwrap();
    assert_eq!(webhooks.list(&other).await.unwrap(), []);
    assert_eq!(webhooks.find(&other, &id).await.unwrap(), None);
    assert_eq!(webhooks.rotate_secret(&other, &id).await.unwrap(), None);
    assert_eq!(webhooks.enable(&other, &id).await.unwrap(), None);
    assert_eq!(webhooks.dead_letters(&other, &id, None, 10).await.unwrap(), None);
    assert_eq!(webhooks.replay(&other, &id, None).await.unwrap(), None);
    assert!(!webhooks.delete(&other, &id).await.unwrap());
    assert!(webhooks.delete(&mine, &id).await.unwrap());
    assert!(!webhooks.delete(&mine, &id).await.unwrap());
}

#[tokio::test]
async fn the_secret_of_before_signs_for_a_day_after_it_was_replaced() {
    let (_, webhooks) = webhooks();
    let mine = access("mine");
    let Webhook { id, secrets: before, .. } = webhooks.create(&mine, "https://example.com/", all()).await.unwrap();
    let Webhook { secrets: after, .. } = webhooks.rotate_secret(&mine, &id).await.unwrap().unwrap();
    assert_ne!(after.current, before.current);
    assert_eq!(after.previous, Some(PreviousSecret { secret: before.current, until: WebhookSecrets::previous_until(NOW) }));
}

#[tokio::test]
async fn a_disabled_webhook_is_enabled_again() {
    let (fake, webhooks) = webhooks();
    let mine = access("mine");
    let Webhook { id, .. } = webhooks.create(&mine, "https://example.com/", all()).await.unwrap();
    fake.webhooks.lock().unwrap()[0].disabled = Some(Disabled::Gone);
    assert_eq!(webhooks.enable(&mine, &id).await.unwrap().unwrap().disabled, None);
}

#[tokio::test]
async fn all_dead_letters_are_replayed_or_one() {
    let (fake, webhooks) = webhooks();
    let mine = access("mine");
    let Webhook { id, .. } = webhooks.create(&mine, "https://example.com/", all()).await.unwrap();
    *fake.dead.lock().unwrap() = 2 * REPLAY_BATCH + 7;
    assert_eq!(
        webhooks.replay(&mine, &id, Some(DeliveryId { epoch: None, number: DeliveryNumber::from_stored(7) })).await.unwrap(),
        Some(1)
    );
    assert_eq!(webhooks.replay(&mine, &id, None).await.unwrap(), Some(2 * REPLAY_BATCH + 6));
    assert_eq!(webhooks.replay(&mine, &id, None).await.unwrap(), Some(0));
    assert_eq!(webhooks.dead_letters(&mine, &id, None, 10).await.unwrap(), Some(Vec::new()));
}
