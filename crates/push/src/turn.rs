//! An endpoint's turn: it is told what is due, in order by session, several sessions at a time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use calldata_core::port::{Lease, Outcome, Settled};
use calldata_core::webhook::{Delivery, Failure, MessageId, Webhook};
use calldata_core::{SessionId, StoreError};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::answer::Answer;
use crate::backoff;
use crate::deliverer::{Deliverer, EVENTS, Serving};
use crate::payload::payload;
use crate::sender::{Endpoint, Message};
use crate::signature::sign;
use crate::slots::Slot;

/// How many sessions an endpoint is told of at a time.
const SESSIONS: usize = 4;
/// How many deliveries are fetched at a time; more than are under way, so that there are others among them.
const FETCH: u64 = 32;
/// After this time nothing more is begun: others want their turn.
const LONGEST: Duration = Duration::from_secs(10);
/// After this time the same, where others wait for the slot.
const WANTED: Duration = Duration::from_secs(1);
/// An endpoint that keeps a delivery waiting for so long is slow, and leaves its slot to those that answer.
const SLOW: Duration = Duration::from_secs(1);
/// For how long an instance takes an endpoint for itself, and how often it does so again.
const LEASE: Duration = Duration::from_secs(10);
const RENEWAL: Duration = Duration::from_secs(3);
/// When it stops if it could not: before another one may begin, whose clock may be a little ahead.
const SAFE: Duration = Duration::from_secs(8);
/// How often it is looked whether something is to be done again: to take the endpoint for longer, or to note what failed to be noted.
const TICK: Duration = Duration::from_millis(500);

/// What may become of an attempt, as it is counted.
pub(crate) const OUTCOMES: [&str; 5] = ["delivered", "failed", "dead", "gone", "moot"];

/// What came of a delivery.
enum Attempt {
    /// There is nothing to be told any more.
    Moot,
    Answered(Answer),
    /// It was not made: the session could not be looked up.
    NotMade(StoreError),
    /// It was not made: the tenant may not use the gateway at present.
    Suspended,
}

pub(crate) struct Turn {
    serving: Serving,
    webhook: Webhook,
    lease: Lease,
    leased: Instant,
    endpoint: Arc<Endpoint>,
    rings: watch::Receiver<()>,
    queue: VecDeque<Delivery>,
    sends: FuturesUnordered<BoxFuture<'static, (Delivery, Attempt)>>,
    /// The sessions of what is under way, with when that began, and of what is not noted yet.
    busy: HashMap<SessionId, Option<Instant>>,
    /// Without one, nothing more is begun.
    slot: Option<Slot>,
    is_slow: bool,
    unsettled: Vec<Settled>,
    /// Nothing more is begun.
    is_over: bool,
}

impl Turn {
    /// Waits for a slot and takes a turn.
    pub(crate) async fn take(serving: Serving) {
        let deliverer = Arc::clone(&serving.deliverer);
        let is_slow = deliverer.patience_with(&serving.key).is_slow();
        let slots = if is_slow { &deliverer.slow_slots } else { &deliverer.slots };
        let slot = slots.acquire(serving.key.tenant).await;
        let taken = async {
            let Some(turn) = Self::begin(serving, slot, is_slow).await? else { return Ok(()) };
            turn.run().await
        };
        if let Err(error) = taken.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "a webhook's turn ended early");
        }
    }

    async fn begin(serving: Serving, slot: Slot, is_slow: bool) -> Result<Option<Self>, StoreError> {
        let deliverer = &serving.deliverer;
        let lease = Lease { key: serving.key.clone(), holder: deliverer.holder.clone() };
        let leased = Instant::now();
        let Some(webhook) = take_for_itself(deliverer, &lease).await? else { return Ok(None) };
        deliverer.note_missed(&webhook).await?;
        Ok(Some(Self {
            lease,
            leased,
            endpoint: Arc::new(deliverer.sender.to(webhook.url.clone())),
            rings: deliverer.rings(),
            webhook,
            queue: VecDeque::new(),
            sends: FuturesUnordered::new(),
            busy: HashMap::new(),
            slot: Some(slot),
            is_slow,
            unsettled: Vec::new(),
            is_over: false,
            serving,
        }))
    }

    async fn run(mut self) -> Result<(), StoreError> {
        let began = Instant::now();
        let mut last_work = began;
        let mut failed = Ok(());
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.make_way();
            let elapsed = began.elapsed();
            self.is_over |= elapsed >= LONGEST || (elapsed >= WANTED && self.slot.as_ref().is_some_and(Slot::is_wanted));
            if !self.is_over
                && let Err(error) = self.fill().await
            {
                // What is under way is still noted.
                failed = Err(error);
                self.is_over = true;
            }
            let is_idle = self.sends.is_empty() && self.unsettled.is_empty();
            if !is_idle {
                last_work = Instant::now();
            } else if self.is_over || last_work.elapsed() >= self.linger() {
                self.let_go().await?;
                return failed;
            }
            tokio::select! {
                Some((delivery, attempt)) = self.sends.next() => {
                    self.judge(delivery, attempt);
                    while let Some(Some((delivery, attempt))) = self.sends.next().now_or_never() {
                        self.judge(delivery, attempt);
                    }
                }
                _ = self.rings.changed(), if !self.is_over => {}
                _ = tick.tick() => {}
            }
            if !self.keep_hold().await || !self.settle().await {
                // Another instance has the endpoint, or will soon; it sends again what was not noted.
                return failed;
            }
        }
    }

    /// A turn without work does not hold a slot that others wait for.
    fn linger(&self) -> Duration {
        let is_wanted = self.slot.as_ref().is_none_or(Slot::is_wanted);
        if is_wanted { Duration::ZERO } else { self.serving.deliverer.linger }
    }

    /// Moves an endpoint that keeps deliveries waiting to the slots of slow ones, so that it delays those at most. Where none of them is
    /// free, what is under way is waited for without a slot, and nothing more is begun.
    fn make_way(&mut self) {
        let is_late = |since: &Option<Instant>| since.is_some_and(|since| since.elapsed() >= SLOW);
        if self.is_slow || !self.busy.values().any(is_late) {
            return;
        }
        self.is_slow = true;
        let deliverer = &self.serving.deliverer;
        deliverer.note_slow(&self.lease.key);
        self.slot = deliverer.slow_slots.try_acquire(self.webhook.tenant);
        self.is_over |= self.slot.is_none();
    }

    /// Begins as many deliveries as there may be at a time.
    async fn fill(&mut self) -> Result<(), StoreError> {
        loop {
            let now = self.ports().clock.now();
            let patience = self.serving.deliverer.patience_with(&self.lease.key);
            if patience.rests(now) {
                self.is_over = true;
                return Ok(());
            }
            if self.busy.len() >= patience.at_a_time(SESSIONS) {
                return Ok(());
            }
            match self.queue.pop_front() {
                Some(delivery) => self.start(delivery),
                None if self.fetch().await? => {}
                None => return Ok(()),
            }
        }
    }

    /// Fetches what is due; where that is little, takes up events first. False where there is nothing.
    async fn fetch(&mut self) -> Result<bool, StoreError> {
        loop {
            let now = self.ports().clock.now();
            let due = self.ports().webhooks.due(&self.lease.key, now, FETCH).await?;
            let is_all = (due.len() as u64) < FETCH;
            self.queue = due.into_iter().filter(|delivery| !self.busy.contains_key(&delivery.session)).collect();
            if !is_all || !self.take_up().await? {
                return Ok(!self.queue.is_empty());
            }
        }
    }

    /// Makes deliveries of events that have happened since; false where there are none for this endpoint.
    async fn take_up(&mut self) -> Result<bool, StoreError> {
        let ports = self.ports();
        let from = self.webhook.taken_up;
        let events = ports.outbox.events(self.webhook.tenant, from, EVENTS).await?.events;
        let Some(last) = events.last().map(|event| event.position) else { return Ok(false) };
        let is_all = (events.len() as u64) < EVENTS;
        let wanted: Vec<_> = events.into_iter().filter(|event| self.webhook.kinds.contains(&event.kind)).collect();
        if wanted.is_empty() && is_all {
            // Few that are of no interest are looked at again: that costs less than to note that they were.
            return Ok(false);
        }
        if !ports.webhooks.take_up(&self.lease.key, from, last, &wanted, ports.clock.now()).await? {
            // Somebody changed something; the next turn sees what.
            self.is_over = true;
            return Ok(false);
        }
        self.webhook.taken_up = last;
        Ok(true)
    }

    fn start(&mut self, delivery: Delivery) {
        self.busy.insert(delivery.session.clone(), Some(Instant::now()));
        let (ports, endpoint, tenant) = (self.ports().clone(), Arc::clone(&self.endpoint), self.webhook.tenant);
        let (id, secrets) = (MessageId::of(&self.webhook.id, delivery.id), self.webhook.secrets.clone());
        let send = async move {
            let session = match ports.lookup.session(tenant, &delivery.session).await {
                Ok(session) => session,
                Err(StoreError::NoSuchTenant) => return (delivery, Attempt::Suspended),
                Err(error) => return (delivery, Attempt::NotMade(error)),
            };
            let Some(body) = payload(&delivery, session.as_ref()) else { return (delivery, Attempt::Moot) };
            let now = ports.clock.now();
            let timestamp_s = now.epoch_ms().div_euclid(1_000);
            let signature = sign(secrets.at(now), id.as_str(), timestamp_s, &body);
            let answer = endpoint.send(Message { id, timestamp_s, signature, body: body.into() }, now).await;
            (delivery, Attempt::Answered(answer))
        };
        self.sends.push(send.boxed());
    }

    /// Decides what becomes of a delivery.
    fn judge(&mut self, delivery: Delivery, attempt: Attempt) {
        let began = self.busy.get_mut(&delivery.session).and_then(Option::take);
        let was_slow = began.is_some_and(|began| began.elapsed() >= SLOW);
        let outcome = match attempt {
            Attempt::NotMade(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a session that a webhook is to be told of could not be looked up"
                );
                self.busy.remove(&delivery.session);
                self.is_over = true;
                return;
            }
            // It stays due, and is made when the tenant is resumed.
            Attempt::Suspended => {
                self.busy.remove(&delivery.session);
                self.is_over = true;
                return;
            }
            Attempt::Moot => {
                count("moot");
                Outcome::Done
            }
            Attempt::Answered(answer) => {
                let outcome = self.outcome(&delivery, answer);
                if was_slow {
                    self.serving.deliverer.note_slow(&self.lease.key);
                }
                outcome
            }
        };
        let Delivery { id, session, attempts, .. } = delivery;
        self.unsettled.push(Settled { number: id.number, session, attempts: attempts.saturating_add(1), outcome });
    }

    fn outcome(&mut self, delivery: &Delivery, answer: Answer) -> Outcome {
        let (webhook, host) = (self.webhook.id.as_str(), self.webhook.url.host_text());
        self.serving.deliverer.note(&self.lease.key, answer == Answer::Took);
        match answer {
            Answer::Took => {
                count("delivered");
                Outcome::Done
            }
            Answer::Gone => {
                count("gone");
                tracing::warn!(webhook, host, "an endpoint is gone, and is told of nothing any more");
                self.is_over = true;
                Outcome::Gone(Failure::Status(410))
            }
            Answer::Failed(failure, asked) => {
                let attempts = delivery.attempts.saturating_add(1);
                match backoff::next(attempts, delivery.since, self.ports().clock.now(), asked, rand::random()) {
                    Some(until) => {
                        count("failed");
                        tracing::debug!(webhook, host, %failure, attempts, "an endpoint was not told, and is told later");
                        Outcome::PutOff { until, failure }
                    }
                    None => {
                        count("dead");
                        tracing::warn!(webhook, host, %failure, attempts, "an endpoint could not be told for a day");
                        Outcome::Dead(failure)
                    }
                }
            }
        }
    }

    /// Notes what became of deliveries; false where another instance has the endpoint. What could not be noted is noted later.
    async fn settle(&mut self) -> bool {
        if self.unsettled.is_empty() {
            return true;
        }
        let ports = self.ports();
        match ports.webhooks.settle(&self.lease, &self.unsettled, ports.clock.now()).await {
            Ok(true) => {
                for settled in std::mem::take(&mut self.unsettled) {
                    self.busy.remove(&settled.session);
                }
                true
            }
            Ok(false) => false,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "what webhooks were told could not be noted yet");
                self.is_over = true;
                true
            }
        }
    }

    /// Takes the endpoint for longer where it is time to; false where another instance may have it.
    async fn keep_hold(&mut self) -> bool {
        if self.leased.elapsed() < RENEWAL {
            return true;
        }
        let began = Instant::now();
        match take_for_itself(&self.serving.deliverer, &self.lease).await {
            Ok(Some(webhook)) => {
                self.leased = began;
                self.webhook = webhook;
            }
            // Disabled by what it answered, perhaps: what is under way is still noted.
            Ok(None) => self.is_over = true,
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "a webhook could not be taken for longer"),
        }
        self.leased.elapsed() < SAFE
    }

    /// Lets other instances have the endpoint.
    async fn let_go(&mut self) -> Result<(), StoreError> {
        let now = self.ports().clock.now();
        self.ports().webhooks.lease(&self.lease, now, now).await.map(drop)
    }

    fn ports(&self) -> &crate::Ports {
        &self.serving.deliverer.ports
    }
}

async fn take_for_itself(deliverer: &Deliverer, lease: &Lease) -> Result<Option<Webhook>, StoreError> {
    let now = deliverer.ports.clock.now();
    deliverer.ports.webhooks.lease(lease, now, now.plus(LEASE)).await
}

fn count(outcome: &'static str) {
    metrics::counter!("calldata_webhook_deliveries_total", "outcome" => outcome).increment(1);
}
