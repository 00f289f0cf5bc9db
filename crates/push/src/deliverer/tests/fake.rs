//! Webhooks, events and sessions in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use calldata_core::port::{Change, Events, Lease, OutboxEnd, Outcome, Settled};
use calldata_core::webhook::{DeadLetter, Delivery, DeliveryId, DeliveryNumber, Disabled, Failure, PreviousSecret};
use calldata_core::{CallId, Caller, Country, Details, Epoch, EventKind, Source};

use super::*;

/// A delivery as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) delivery: Delivery,
    next_at: Option<Timestamp>,
    pub(super) died_at: Option<Timestamp>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) webhook: Option<Webhook>,
    pub(super) lease: Option<(String, Timestamp)>,
    last_number: i64,
    pub(super) rows: BTreeMap<DeliveryNumber, Row>,
    pub(super) events: Vec<Event>,
    pub(super) dropped_until: Position,
    pub(super) sessions: Vec<Session>,
}

/// One webhook of one tenant.
pub(super) struct Fake {
    pub(super) tenant: Arc<Tenant>,
    pub(super) state: Mutex<State>,
    pub(super) suspended: AtomicBool,
    pub(super) settles_not: AtomicBool,
    pub(super) leases: AtomicUsize,
}

impl Fake {
    pub(super) fn new() -> Arc<Self> {
        let tenant = Arc::new(Tenant::new("T", "t", "T", Timestamp::EARLIEST));
        Arc::new(Self {
            tenant,
            state: Mutex::default(),
            suspended: AtomicBool::default(),
            settles_not: AtomicBool::default(),
            leases: AtomicUsize::default(),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Something happens to a session, which is there unless it is erased.
    pub(super) fn happens(&self, kind: EventKind, session: &str, at: Timestamp) {
        let mut state = self.state();
        let id = SessionId::new(session).unwrap();
        state.sessions.retain(|session| session.id != id);
        if kind != EventKind::Erased {
            let caller = Caller::new("+49 30 123456", Country::GERMANY).unwrap();
            let details = Details::new(CallId::new("c1").unwrap(), caller, Source::Parloa);
            state.sessions.push(Session { id: id.clone(), received_first: at, received_last: at, details });
        }
        let commit = state.events.last().map_or(1, |event| event.position.commit + 1);
        state.events.push(Event { position: Position { commit, place: 1 }, kind, session: id, at });
    }

    /// Numbers of what waits, and of what was given up.
    pub(super) fn numbers(&self) -> (Vec<i64>, Vec<i64>) {
        let state = self.state();
        let (waiting, dead): (Vec<_>, Vec<_>) = state.rows.values().partition(|row| row.died_at.is_none());
        let numbers = |rows: Vec<&Row>| rows.iter().map(|row| row.delivery.id.number.number()).collect();
        (numbers(waiting), numbers(dead))
    }
}

impl State {
    fn let_first_go(&mut self, session: &SessionId, now: Timestamp) {
        let mut waiting = self.rows.values_mut().filter(|row| row.delivery.session == *session && row.died_at.is_none());
        if let Some(first) = waiting.next()
            && first.next_at.is_none()
            && waiting.all(|row| row.next_at.is_none())
        {
            first.next_at = Some(now);
        }
    }
}

#[async_trait]
impl Lookup for Fake {
    fn tenant(&self, id: TenantId) -> Option<Arc<Tenant>> {
        (id == self.tenant.id && !self.suspended.load(Ordering::Relaxed)).then(|| Arc::clone(&self.tenant))
    }
    async fn session(&self, tenant: TenantId, id: &SessionId) -> Result<Option<Session>, StoreError> {
        self.tenant(tenant).ok_or(StoreError::NoSuchTenant)?;
        Ok(self.state().sessions.iter().find(|session| session.id == *id).cloned())
    }
}

#[async_trait]
impl Outbox for Fake {
    async fn events(&self, _: TenantId, after: Position, limit: u64) -> Result<Events, StoreError> {
        let limit = usize::try_from(limit).unwrap();
        let events = self.state().events.iter().filter(|event| event.position > after).take(limit).cloned().collect();
        Ok(Events { epoch: Epoch::random(), events })
    }
    async fn end(&self) -> Result<OutboxEnd, StoreError> {
        unreachable!("for those who create webhooks")
    }
    async fn dropped_until(&self, _: TenantId) -> Result<Position, StoreError> {
        Ok(self.state().dropped_until)
    }
    async fn drop_events(&self, _: TenantId, _: Timestamp) -> Result<u64, StoreError> {
        unreachable!("for upkeep")
    }
}

#[async_trait]
impl WebhookStore for Fake {
    async fn standings(&self) -> Result<Vec<Standing>, StoreError> {
        let state = self.state();
        let due = state.rows.values().filter_map(|row| row.next_at).min();
        let held_until = state.lease.as_ref().map_or(Timestamp::EARLIEST, |(_, until)| *until);
        Ok(state.webhook.iter().cloned().map(|webhook| Standing { webhook, due, held_until }).collect())
    }
    async fn lease(&self, lease: &Lease, now: Timestamp, until: Timestamp) -> Result<Option<Webhook>, StoreError> {
        self.leases.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        let is_free = state.lease.as_ref().is_none_or(|(holder, held_until)| *holder == lease.holder || *held_until <= now);
        let Some(webhook) = state.webhook.clone().filter(|webhook| is_free && webhook.disabled.is_none()) else { return Ok(None) };
        state.lease = Some((lease.holder.clone(), until));
        Ok(Some(webhook))
    }
    async fn take_up(&self, _: &WebhookKey, from: Position, to: Position, events: &[Event], now: Timestamp) -> Result<bool, StoreError> {
        let mut state = self.state();
        let Some(webhook) = state.webhook.as_mut().filter(|webhook| webhook.taken_up == from && webhook.disabled.is_none()) else {
            return Ok(false);
        };
        webhook.taken_up = to;
        for Event { kind, session, at, .. } in events {
            state.last_number += 1;
            let number = DeliveryNumber::from_stored(state.last_number);
            let id = DeliveryId { epoch: None, number };
            let delivery = Delivery { id, kind: *kind, session: session.clone(), at: *at, attempts: 0, since: now, last_failure: None };
            state.rows.insert(number, Row { delivery, next_at: None, died_at: None });
            state.let_first_go(session, now);
        }
        Ok(true)
    }
    async fn due(&self, _: &WebhookKey, now: Timestamp, limit: u64) -> Result<Vec<Delivery>, StoreError> {
        let state = self.state();
        let mut due: Vec<_> = state.rows.values().filter(|row| row.next_at.is_some_and(|next| next <= now)).collect();
        due.sort_by_key(|row| row.next_at);
        Ok(due.into_iter().take(usize::try_from(limit).unwrap()).map(|row| row.delivery.clone()).collect())
    }
    async fn settle(&self, lease: &Lease, settled: &[Settled], now: Timestamp) -> Result<bool, StoreError> {
        if self.settles_not.swap(false, Ordering::Relaxed) {
            return Err(StoreError::Busy("busy".into()));
        }
        let mut state = self.state();
        if state.lease.as_ref().is_none_or(|(holder, _)| *holder != lease.holder) {
            return Ok(false);
        }
        for Settled { number, session, attempts, outcome } in settled {
            let (next_at, died_at, failure) = match *outcome {
                Outcome::Done => {
                    state.rows.remove(number);
                    state.let_first_go(session, now);
                    continue;
                }
                Outcome::PutOff { until, failure } => (Some(until), None, failure),
                Outcome::Dead(failure) => (None, Some(now), failure),
                Outcome::Gone(failure) => {
                    state.webhook.as_mut().unwrap().disabled = Some(Disabled::Gone);
                    (Some(now), None, failure)
                }
            };
            let Some(row) = state.rows.get_mut(number) else { continue };
            (row.next_at, row.died_at) = (next_at, died_at);
            (row.delivery.attempts, row.delivery.last_failure) = (*attempts, Some(failure));
            state.let_first_go(session, now);
        }
        Ok(true)
    }
    async fn replay(&self, _: &WebhookKey, _: Option<DeliveryId>, now: Timestamp, _: u64) -> Result<u64, StoreError> {
        let mut state = self.state();
        let mut replayed = 0;
        for row in state.rows.values_mut().filter(|row| row.died_at.is_some()) {
            (row.next_at, row.died_at) = (Some(now), None);
            (row.delivery.attempts, row.delivery.since) = (0, now);
            replayed += 1;
        }
        Ok(replayed)
    }
    async fn change_webhook(&self, _: &WebhookKey, change: Change) -> Result<Option<Webhook>, StoreError> {
        let mut state = self.state();
        let Some(webhook) = &mut state.webhook else { return Ok(None) };
        match change {
            Change::Secret { secret, previous_until: until } => {
                let secret = std::mem::replace(&mut webhook.secrets.current, secret);
                webhook.secrets.previous = Some(PreviousSecret { secret, until });
            }
            Change::Enabled => webhook.disabled = None,
        }
        Ok(Some(webhook.clone()))
    }
    async fn drop_dead_letters(&self, _: &WebhookKey, until: Timestamp) -> Result<u64, StoreError> {
        let mut state = self.state();
        let before = state.rows.len();
        state.rows.retain(|_, row| row.died_at.is_none_or(|died_at| died_at > until));
        Ok((before - state.rows.len()) as u64)
    }
    async fn backlog(&self) -> Result<u64, StoreError> {
        Ok(self.state().rows.values().filter(|row| row.next_at.is_some()).count() as u64)
    }
    async fn create_webhook(&self, webhook: &Webhook) -> Result<(), StoreError> {
        self.state().webhook = Some(webhook.clone());
        Ok(())
    }
    async fn webhooks_of(&self, _: TenantId) -> Result<Vec<Webhook>, StoreError> {
        unreachable!("for tenants")
    }
    async fn delete_webhook(&self, _: &WebhookKey) -> Result<bool, StoreError> {
        self.state().webhook = None;
        Ok(true)
    }
    async fn dead_letters(&self, _: &WebhookKey, _: DeliveryNumber, _: u64) -> Result<Vec<DeadLetter>, StoreError> {
        unreachable!("for tenants")
    }
    async fn forget_deliveries(&self, _: TenantId, _: &[SessionId], _: Timestamp) -> Result<u64, StoreError> {
        unreachable!("for those who erase")
    }
}

/// Why the first of what waits failed last.
pub(super) fn last_failure(fake: &Fake) -> Option<Failure> {
    fake.state().rows.values().next().and_then(|row| row.delivery.last_failure)
}
