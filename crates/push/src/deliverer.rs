//! Looks for what endpoints are to be told, and gives each of them a turn.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use calldata_core::event::{Event, Position};
use calldata_core::port::{Outbox, Standing, WebhookStore};
use calldata_core::webhook::{Webhook, WebhookKey};
use calldata_core::{Clock, Session, SessionId, StoreError, Tenant, TenantId, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::patience::Patience;
use crate::sender::Sender;
use crate::slots::SlotPool;
use crate::turn::{OUTCOMES, Turn};

/// How many endpoints are sent to at a time, and how many of one tenant.
const SLOTS: usize = 16;
const SLOTS_PER_TENANT: usize = 4;
/// How many besides that kept a delivery waiting lately: they delay each other, and no one else.
const SLOW_SLOTS: usize = 8;
const SLOW_SLOTS_PER_TENANT: usize = 2;
/// How many events are read at a time.
pub(crate) const EVENTS: u64 = 256;
/// How often it is looked for something to do where nobody tells.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Events that come together are taken up together.
pub(crate) const GATHER: Duration = Duration::from_millis(20);
/// How old an event may be that was not taken up. The outbox drops what is old, so this has to be well below its limit.
const WAITS_IN_OUTBOX: Duration = Duration::from_hours(1);
const BACKLOG_INTERVAL: Duration = Duration::from_secs(10);
const DROP_INTERVAL: Duration = Duration::from_hours(1);
/// How long a dead letter is kept.
const DEAD_LETTERS_KEPT: Duration = Duration::from_hours(30 * 24);

/// Finds what is told.
#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// A tenant that may use the gateway at present.
    fn tenant(&self, id: TenantId) -> Option<Arc<Tenant>>;

    /// One of a tenant's live sessions, as the tenant itself may see it now.
    ///
    /// # Errors
    /// [`StoreError::NoSuchTenant`] for a tenant that may not use the gateway any more; others where the store could not be asked.
    async fn session(&self, tenant: TenantId, id: &SessionId) -> Result<Option<Session>, StoreError>;
}

/// What a deliverer needs.
#[derive(Clone)]
pub struct Ports {
    /// Where webhooks are kept.
    pub webhooks: Arc<dyn WebhookStore>,
    /// Where events are from.
    pub outbox: Arc<dyn Outbox>,
    /// Where sessions are.
    pub lookup: Arc<dyn Lookup>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// Delivers events to endpoints, at least once each: what was taken up is stored, and sent again until it is known to have arrived. Several
/// instances may do so over one store; each endpoint is told by one of them at a time.
pub struct Deliverer {
    pub(crate) ports: Ports,
    pub(crate) sender: Arc<Sender>,
    /// The name of this instance.
    pub(crate) holder: String,
    pub(crate) slots: Arc<SlotPool>,
    pub(crate) slow_slots: Arc<SlotPool>,
    /// How long a turn stays when there is nothing left to do.
    pub(crate) linger: Duration,
    rung: watch::Sender<()>,
    serving: Mutex<HashSet<WebhookKey>>,
    patience: Mutex<HashMap<WebhookKey, Patience>>,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// There is no webhook.
    Nobody,
    /// There are some.
    Somebody,
    /// There are some, and more events than were looked at.
    More,
}

impl Deliverer {
    /// A deliverer that sends by `sender`.
    pub fn new(ports: Ports, sender: Arc<Sender>) -> Arc<Self> {
        Self::lingering(ports, sender, LOOK_INTERVAL)
    }

    pub(crate) fn lingering(ports: Ports, sender: Arc<Sender>, linger: Duration) -> Arc<Self> {
        Arc::new(Self {
            ports,
            sender,
            holder: format!("{:016x}", rand::random::<u64>()),
            slots: SlotPool::new(SLOTS, SLOTS_PER_TENANT),
            slow_slots: SlotPool::new(SLOW_SLOTS, SLOW_SLOTS_PER_TENANT),
            linger,
            rung: watch::Sender::new(()),
            serving: Mutex::default(),
            patience: Mutex::default(),
        })
    }

    /// Delivers until the task is dropped. It looks for something to do every second, and where there is a webhook, whenever something was
    /// stored: `listen` gives what changes then.
    pub async fn keep(self: Arc<Self>, listen: impl Fn() -> watch::Receiver<()>) {
        for outcome in OUTCOMES {
            // What never happened is 0, so that the first time is seen.
            metrics::counter!("calldata_webhook_deliveries_total", "outcome" => outcome).increment(0);
        }
        let mut turns = JoinSet::new();
        let (mut counted, mut dropped) = (None, None);
        let mut heard = None;
        loop {
            let found = self.look(&mut turns).await.unwrap_or_else(|error| {
                tracing::warn!(error = &error as &dyn std::error::Error, "it could not be looked for what webhooks are to be told");
                Found::Nobody
            });
            while let Some(ended) = turns.try_join_next() {
                if ended.is_err_and(|error| error.is_panic()) {
                    tracing::error!("a webhook's turn panicked");
                }
            }
            if is_due(&mut counted, BACKLOG_INTERVAL) {
                self.count().await;
            }
            if found != Found::Nobody && is_due(&mut dropped, DROP_INTERVAL) {
                self.drop_dead_letters().await;
            }
            match found {
                // Where nobody wants to be told, nobody listens: it would wake a thread for every post.
                Found::Nobody => {
                    heard = None;
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
                Found::Somebody => {
                    let heard = heard.get_or_insert_with(&listen);
                    tokio::select! {
                        Ok(()) = heard.changed() => {}
                        () = tokio::time::sleep(LOOK_INTERVAL) => {}
                    }
                    tokio::time::sleep(GATHER).await;
                }
                Found::More => tokio::time::sleep(GATHER).await,
            }
            self.rung.send_replace(());
        }
    }

    /// Is told whenever there may be something new.
    pub(crate) fn rings(&self) -> watch::Receiver<()> {
        self.rung.subscribe()
    }

    /// Looks once, and begins the turns of those for whom there is something to do.
    pub(crate) async fn look(self: &Arc<Self>, turns: &mut JoinSet<()>) -> Result<Found, StoreError> {
        let standings = self.ports.webhooks.standings().await?;
        let now = self.ports.clock.now();
        let mut events = Unread { outbox: &*self.ports.outbox, read: HashMap::new() };
        let mut found = if standings.is_empty() { Found::Nobody } else { Found::Somebody };
        self.patience().retain(|key, _| standings.iter().any(|standing| standing.webhook.key() == *key));
        for Standing { webhook, due, held_until } in standings {
            let key = webhook.key();
            let is_served = self.serving().contains(&key) || held_until > now;
            let may_be_told = self.ports.lookup.tenant(webhook.tenant).is_some();
            if !may_be_told || webhook.disabled.is_some() || is_served {
                continue;
            }
            let unread = events.of(&webhook).await?;
            if self.pass_over(&webhook, &unread, now).await? {
                found = Found::More;
                continue;
            }
            let begins = unread.iter().any(|event| webhook.kinds.contains(&event.kind)) || due.is_some_and(|due| due <= now);
            if begins && !self.patience_with(&key).rests(now) {
                let serving = Serving::begin(self, key);
                turns.spawn(Turn::take(serving));
            }
        }
        Ok(found)
    }

    /// Takes events up that would not wait for a turn: old ones, before the outbox drops them, and many of which none is wanted.
    async fn pass_over(&self, webhook: &Webhook, events: &[Event], now: Timestamp) -> Result<bool, StoreError> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(false) };
        let wanted: Vec<_> = events.iter().filter(|event| webhook.kinds.contains(&event.kind)).cloned().collect();
        let are_old = first.at.plus(WAITS_IN_OUTBOX) <= now;
        let are_many_unwanted = wanted.is_empty() && events.len() as u64 >= EVENTS;
        if !are_old && !are_many_unwanted {
            return Ok(false);
        }
        self.note_missed(webhook).await?;
        self.ports.webhooks.take_up(&webhook.key(), webhook.taken_up, last.position, &wanted, now).await
    }

    /// Says where events are gone that were never taken up.
    pub(crate) async fn note_missed(&self, webhook: &Webhook) -> Result<(), StoreError> {
        if self.ports.outbox.dropped_until(webhook.tenant).await? > webhook.taken_up {
            metrics::counter!("calldata_webhook_gaps_total").increment(1);
            tracing::warn!(webhook = %webhook.id, "events were dropped before a webhook was told of them");
        }
        Ok(())
    }

    async fn count(&self) {
        match self.ports.webhooks.backlog().await {
            Ok(waiting) => {
                metrics::gauge!("calldata_webhook_backlog").set(f64::from(u32::try_from(waiting).unwrap_or(u32::MAX)));
            }
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "deliveries could not be counted"),
        }
    }

    pub(crate) async fn drop_dead_letters(&self) {
        let until = self.ports.clock.proven().minus(DEAD_LETTERS_KEPT);
        let dropped = async {
            for standing in self.ports.webhooks.standings().await? {
                let key = standing.webhook.key();
                while self.ports.webhooks.drop_dead_letters(&key, until).await? > 0 {
                    tokio::time::sleep(GATHER).await;
                }
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = dropped.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "old dead letters could not be dropped");
        }
    }

    fn serving(&self) -> MutexGuard<'_, HashSet<WebhookKey>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn patience(&self) -> MutexGuard<'_, HashMap<WebhookKey, Patience>> {
        self.patience.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an endpoint was like of late.
    pub(crate) fn patience_with(&self, key: &WebhookKey) -> Patience {
        self.patience().get(key).copied().unwrap_or_default()
    }

    /// Notes what an endpoint was like.
    pub(crate) fn note(&self, key: &WebhookKey, took: bool) {
        let now = self.ports.clock.now();
        let mut all = self.patience();
        let patience = all.entry(key.clone()).or_default();
        if took { patience.took_one() } else { patience.failed(now) }
    }

    /// Notes that an endpoint keeps a delivery waiting.
    pub(crate) fn note_slow(&self, key: &WebhookKey) {
        self.patience().entry(key.clone()).or_default().was_slow();
    }
}

/// An endpoint that is being told, until this is dropped.
pub(crate) struct Serving {
    pub(crate) deliverer: Arc<Deliverer>,
    pub(crate) key: WebhookKey,
}

impl Serving {
    fn begin(deliverer: &Arc<Deliverer>, key: WebhookKey) -> Self {
        deliverer.serving().insert(key.clone());
        Self { deliverer: Arc::clone(deliverer), key }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.deliverer.serving().remove(&self.key);
    }
}

/// The events that a webhook has not taken up, read once for all that have taken up as much.
struct Unread<'a> {
    outbox: &'a dyn Outbox,
    read: HashMap<(TenantId, Position), Arc<[Event]>>,
}

impl Unread<'_> {
    async fn of(&mut self, webhook: &Webhook) -> Result<Arc<[Event]>, StoreError> {
        let after = (webhook.tenant, webhook.taken_up);
        if let Some(events) = self.read.get(&after) {
            return Ok(Arc::clone(events));
        }
        let events: Arc<[Event]> = self.outbox.events(webhook.tenant, webhook.taken_up, EVENTS).await?.events.into();
        self.read.insert(after, Arc::clone(&events));
        Ok(events)
    }
}

/// Whether something was last done so long ago; if so, it counts as done now.
fn is_due(last: &mut Option<Instant>, interval: Duration) -> bool {
    let is_due = last.is_none_or(|last| last.elapsed() >= interval);
    if is_due {
        *last = Some(Instant::now());
    }
    is_due
}

#[cfg(test)]
mod tests;
