//! What the gateway does with sessions, with its clock and its rules.

mod catalog;
mod follow;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::access::{Access, Scope};
use crate::arrivals::{Arrivals, WaitLimits};
use crate::audit::{Action, Audit};
use crate::catalog::{Filter, Listed, Listing, Order, Place};
use crate::clock::Clock;
use crate::grant::{Grant, GrantError};
use crate::id::SessionIds;
use crate::masking::{hide, hide_all};
use crate::port::{HistoryPage, HistoryQuery, Same, SessionStore, StoreError, Write, Written};
use crate::replay::ReplayDigest;
use crate::uncancelled::uncancelled;
use crate::{CallId, CallerKey, Country, JsonText, NewSession, Session, Tenant, TenantId, Timestamp};

pub use catalog::PAGE_BYTES;
pub use follow::{FollowError, Follower, Told};

/// How many sessions are rewritten at a time.
const REWRITE_BATCH: u64 = 100;
/// How often it is looked elsewhere for what somebody waits for, at most.
const WATCH_INTERVAL: Duration = Duration::from_millis(20);
/// How many of them share a query.
const AWAITED_BATCH: usize = 100;

/// The answer to "what is the newest session of this call and caller?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Latest {
    /// This one.
    Found(Box<Session>),
    /// The tenant has no live session of that call.
    NoSuchCall,
    /// There are sessions of that call, none of that caller.
    OtherCaller,
    /// The newest one is older than asked for, by now this many whole seconds.
    TooOld {
        /// Its age in whole seconds.
        age_s: u64,
    },
}

/// Why a wait gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum AwaitError {
    /// The right to the answer has ended, or cannot be checked.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Stores and finds sessions.
pub struct Sessions {
    store: Arc<dyn SessionStore>,
    clock: Arc<dyn Clock>,
    ids: SessionIds,
    arrivals: Arc<Arrivals>,
    /// Something was stored here.
    stored: watch::Sender<()>,
    /// Notes who did what; a command at the machine has none and notes itself once, as a whole.
    audit: Option<Arc<Audit>>,
}

impl Sessions {
    /// Sessions in `store`, by `clock`.
    pub fn new(store: Arc<dyn SessionStore>, clock: Arc<dyn Clock>, limits: WaitLimits) -> Arc<Self> {
        Arc::new(Self::with(store, clock, limits, None))
    }

    /// The same, where it is noted who did what.
    pub fn audited(store: Arc<dyn SessionStore>, clock: Arc<dyn Clock>, limits: WaitLimits, audit: Arc<Audit>) -> Arc<Self> {
        Arc::new(Self::with(store, clock, limits, Some(audit)))
    }

    fn with(store: Arc<dyn SessionStore>, clock: Arc<dyn Clock>, limits: WaitLimits, audit: Option<Arc<Audit>>) -> Self {
        let arrivals = Arc::new(Arrivals::new(limits));
        Self { store, clock, ids: SessionIds::default(), arrivals, stored: watch::Sender::new(()), audit }
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Stores what a bot posted; the same post again within ten minutes is the same session (PAR-P7). Durable once it returns.
    /// Nobody who stops waiting for the result cancels the write.
    ///
    /// # Errors
    /// When the store could not, or could not confirm it.
    pub async fn record(self: &Arc<Self>, access: &Access, new: NewSession, digest: ReplayDigest) -> Result<Written, StoreError> {
        let this = Arc::clone(self);
        let tenant = Arc::clone(&access.tenant);
        // Also of what fails: it may have been stored all the same.
        self.note(access, Action::Wrote, new.details.caller.key());
        let write = uncancelled(async move {
            let write = this.prepare(&tenant, new, Same::Digest(digest));
            this.write(vec![write]).await.pop()
        });
        write.await.unwrap_or_else(|| Err(StoreError::Failed("the store gave no result for a write".into())))
    }

    /// Stores sessions that bring their history along; one with a known identifier replaces the earlier one (OIF-R2). Nobody is told of
    /// them: what is loaded has happened long ago. The results are in the order of the sessions.
    pub async fn import(&self, tenant: &Tenant, sessions: Vec<NewSession>) -> Vec<Result<Written, StoreError>> {
        let quietly = |new| Write { told_at: None, ..self.prepare(tenant, new, Same::Id) };
        self.write(sessions.into_iter().map(quietly).collect()).await
    }

    /// What a tenant has that has not expired, by a clock that is believed to be ahead only once that is proven.
    fn scope(&self, tenant: &Tenant) -> Scope {
        tenant.scope(self.clock.earliest())
    }

    fn prepare(&self, tenant: &Tenant, new: NewSession, same: Same) -> Write {
        let now = self.clock.latest();
        let NewSession { id, received, details } = new;
        let (received_first, received_last) = received.map_or((now, now), |(first, last)| (first.min(now), last.min(now)));
        let id = id.unwrap_or_else(|| self.ids.next(now));
        Write { scope: self.scope(tenant), id, received_first, received_last, details, same, told_at: Some(now) }
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Written, StoreError>> {
        let about: Vec<_> = writes.iter().map(|w| (w.scope.tenant(), w.details.call_id.clone(), w.details.caller.key().clone())).collect();
        let results = self.store.write(writes).await;
        for ((tenant, call, caller), result) in about.iter().zip(&results) {
            if result.is_ok() {
                self.announce(*tenant, call, caller);
            }
        }
        results
    }

    /// A moment until which all was received that a tenant has: now, or later where a clock is or was ahead.
    ///
    /// # Errors
    /// When the store could not be asked.
    pub async fn as_of(&self, tenant: TenantId) -> Result<Timestamp, StoreError> {
        let newest = self.store.last_arrival(tenant).await?;
        Ok(newest.map_or(self.now(), |newest| newest.max(self.now())))
    }

    /// Changes whenever something was stored here. Every write pays for whoever holds one: it is for as long as somebody waits.
    pub fn stored(&self) -> watch::Receiver<()> {
        self.stored.subscribe()
    }

    /// How many requests wait for a session at present.
    pub fn waiting(&self) -> usize {
        self.arrivals.waiting()
    }

    fn note(&self, access: &Access, action: Action, caller: &CallerKey) {
        if let Some(audit) = &self.audit {
            audit.note(access, action, caller);
        }
    }

    /// Notes that somebody read these sessions.
    fn note_read<'s>(&self, access: &Access, sessions: impl IntoIterator<Item = &'s Session>) {
        for session in sessions {
            self.note(access, Action::Read, session.details.caller.key());
        }
    }

    fn announce(&self, tenant: TenantId, call: &CallId, caller: &CallerKey) {
        self.arrivals.announce(tenant, call, caller);
        // It takes a lock and wakes threads, which needs a reason: somebody who listens.
        if self.stored.receiver_count() > 0 {
            self.stored.send_replace(());
        }
    }

    /// The same as [`Sessions::latest`]; where there is none, waits for one for up to `wait` (PAR-G11). The grant is checked before each
    /// look, so a session that arrives after the right has ended is not handed out.
    ///
    /// # Errors
    /// When the right has ended, or the store could not be asked.
    pub async fn await_latest(
        &self,
        grant: &Grant,
        call: &CallId,
        caller: &CallerKey,
        max_age_s: u64,
        wait: Duration,
    ) -> Result<Latest, AwaitError> {
        let until = tokio::time::Instant::now() + wait;
        // Registered before the first look, so that nothing slips in between.
        let mut waiter = self.arrivals.wait_for(grant.tenant(), call, caller);
        loop {
            let latest = self.latest(&grant.revalidate()?, call, caller, max_age_s).await?;
            let (Some(waiting), false) = (&mut waiter, matches!(latest, Latest::Found(_))) else { return Ok(latest) };
            let arrived = tokio::time::timeout_at(until, waiting.arrival()).await;
            if !matches!(arrived, Ok(true)) {
                waiter = None;
            }
        }
    }

    /// The newest session of that call and caller, when it was last received at most `max_age_s` whole seconds ago (PAR-G1, PAR-G2).
    ///
    /// # Errors
    /// When the store could not be asked.
    pub async fn latest(&self, access: &Access, call: &CallId, caller: &CallerKey, max_age_s: u64) -> Result<Latest, StoreError> {
        let scope = self.scope(&access.tenant);
        if let Some(session) = self.store.newest(scope, call, caller).await? {
            // Asked again: the session may have arrived after the scope was taken.
            let now = self.clock.latest();
            let age_s = session.age(now).as_secs();
            if age_s > max_age_s {
                return Ok(Latest::TooOld { age_s });
            }
            self.note(access, Action::Read, caller);
            let mut session = Box::new(session);
            hide(access, &mut session, now);
            return Ok(Latest::Found(session));
        }
        Ok(if self.store.has_call(scope, call).await? { Latest::OtherCaller } else { Latest::NoSuchCall })
    }

    /// The sessions that match, newest start first (OIF-Q5).
    ///
    /// # Errors
    /// When the store could not be asked.
    pub async fn history(&self, access: &Access, query: &HistoryQuery) -> Result<HistoryPage, StoreError> {
        let now = self.clock.latest();
        let mut page = self.store.history(self.scope(&access.tenant), query).await?;
        self.note_read(access, &page.sessions);
        hide_all(access, &mut page.sessions, now);
        Ok(page)
    }

    /// The sessions that follow this one on a page of a history that was cut, up to `limit` and about `max_bytes` of them. What arrives in
    /// front of it meanwhile moves none of them.
    ///
    /// # Errors
    /// When the store could not be asked.
    pub async fn history_after(
        &self,
        access: &Access,
        query: &HistoryQuery,
        after: &Place,
        limit: u64,
        max_bytes: usize,
    ) -> Result<Listed, StoreError> {
        let HistoryQuery { call_id, caller, cti_call_id, from, until, offset: _, limit: _, max_bytes: _ } = query;
        let call_id = call_id.as_deref().map(CallId::new).transpose().map_err(|error| StoreError::Failed(error.into()))?;
        let (caller, cti_call_id) = (caller.clone(), cti_call_id.clone());
        let filter = Filter { call_id, caller, cti_call_id, from: *from, until: *until, ..Filter::default() };
        let listing = Listing { filter: &filter, order: Order::NewestFirst, after: Some(after), limit, max_bytes };
        let now = self.clock.latest();
        let mut listed = self.store.list(self.scope(&access.tenant), &listing).await?;
        self.note_read(access, &listed.sessions);
        hide_all(access, &mut listed.sessions, now);
        Ok(listed)
    }

    /// Finds the comparison form of a tenant's callers again, after its default country changed (PAR-N3). Returns how many changed.
    ///
    /// # Errors
    /// When the store could not; what was rewritten until then stays so, and doing it again is safe.
    pub async fn rewrite_callers(&self, tenant: &Tenant) -> Result<u64, StoreError> {
        let (mut after, mut changed) = (None, 0);
        loop {
            let batch = self.store.callers(tenant.id, after.as_ref(), REWRITE_BATCH).await?;
            let Some(last) = batch.last() else { return Ok(changed) };
            after = Some(last.id.clone());
            let keys: Vec<_> = batch
                .into_iter()
                .filter_map(|stored| {
                    let posted = stored.country_code.map(JsonText::trusted);
                    let country =
                        posted.and_then(|posted| Country::parse(&posted.as_scalar_text()?).ok()).unwrap_or(tenant.default_country);
                    let key = CallerKey::of(&stored.spelling, country);
                    (key != stored.key).then_some((stored.id, key))
                })
                .collect();
            changed += u64::try_from(keys.len()).unwrap_or(u64::MAX);
            if !keys.is_empty() {
                self.store.set_caller_keys(tenant.id, keys).await?;
            }
        }
    }

    /// Deletes a tenant's sessions that have expired once for all (PAR-G10). Returns how many there were.
    ///
    /// # Errors
    /// When the store could not; what was deleted until then is gone, and doing it again is safe.
    pub async fn delete_expired_once(&self, tenant: &Tenant) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            match self.store.delete_received_until(tenant.id, tenant.expired_until).await? {
                0 => return Ok(deleted),
                some => deleted += some,
            }
        }
    }

    /// Looks for what other instances stored while somebody waits for it here, until the task is dropped (PAR-G11). All who wait
    /// share a look; while nobody waits there is none.
    pub async fn watch_elsewhere(&self) {
        loop {
            let awaited = self.arrivals.awaited().await;
            for some in awaited.chunks(AWAITED_BATCH) {
                match self.store.last_receipts(some).await {
                    Ok(receipts) => self.arrivals.announce_newer(receipts),
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "what arrives elsewhere could not be looked for");
                    }
                }
            }
            tokio::join!(self.store.elsewhere(), tokio::time::sleep(WATCH_INTERVAL));
        }
    }

    /// Answers everybody who waits; from now on nobody waits.
    pub fn close(&self) {
        self.arrivals.close();
    }
}
