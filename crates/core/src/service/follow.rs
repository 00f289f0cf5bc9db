//! Following along: what happens to a tenant's sessions, as it happens, and from where one left off.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Sessions;
use crate::access::Access;
use crate::event::{Event, EventKind, Position};
use crate::port::{Events, OutboxEnd, StoreError};
use crate::{Epoch, EventId, Session, SessionId};

/// Events that are handed over together.
const TOGETHER: u64 = 100;
/// How often it is looked for what other instances stored.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// And for what is stored here, at most.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// What was stored here may not be certain yet: somebody else may be storing something that comes before it.
const SETTLING: Duration = Duration::from_millis(50);
const SETTLING_LOOKS: u32 = 4;

/// What happened, with the session as it is now.
#[derive(Clone, Debug)]
pub struct Told {
    /// The id of the event.
    pub id: EventId,
    /// What happened.
    pub event: Event,
    /// The session; `None` where it was erased.
    pub session: Option<Session>,
}

/// Why nobody can follow from there.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// No such event was ever told of.
    #[error("no event has this id")]
    Unknown,
    /// The id is of another history of the database: of one before a restore, or of another database.
    #[error("this id is of another database, or of a time before this one was restored")]
    OtherEpoch,
    /// Later events have been dropped since.
    #[error("events after this one have been dropped")]
    TooOld,
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Somebody who follows along.
pub struct Follower {
    sessions: Arc<Sessions>,
    access: Access,
    may_see_nothing: bool,
    epoch: Epoch,
    at: Position,
    stored: watch::Receiver<()>,
    closed: watch::Receiver<bool>,
}

impl Sessions {
    /// Begins to follow a tenant's sessions: after this event, or from now on.
    ///
    /// # Errors
    /// When there is no such event any more, or the store could not be asked.
    pub async fn follow(self: &Arc<Self>, access: Access, after: Option<EventId>) -> Result<Follower, FollowError> {
        // Before the first look, so that nothing slips in between.
        let (stored, closed) = (self.stored.subscribe(), self.arrivals.closed());
        let end = self.store.end().await?;
        let at = match after {
            None => end.position,
            Some(after) => {
                let after = position_in(&end, after)?;
                if after > end.position {
                    return Err(FollowError::Unknown);
                }
                if after < self.store.dropped_until(access.tenant.id).await? {
                    return Err(FollowError::TooOld);
                }
                after
            }
        };
        Ok(Follower { sessions: Arc::clone(self), access, may_see_nothing: false, epoch: end.epoch, at, stored, closed })
    }
}

/// The position that an id names in the present epoch.
fn position_in(end: &OutboxEnd, EventId { epoch, position }: EventId) -> Result<Position, FollowError> {
    let is_known = match epoch {
        Some(epoch) => epoch == end.epoch,
        // The beginning is the beginning in every epoch. Other ids without an epoch are older than epochs: later ones than those that this
        // database had handed out by then are of a history that it does not have.
        None => position == Position::default() || end.unprefixed_until.is_some_and(|until| position <= until),
    };
    if is_known { Ok(position) } else { Err(FollowError::OtherEpoch) }
}

impl Follower {
    /// What happened next, in order; `None` after `patience` without anything, or where nothing more is told. Each time before something is
    /// told, it is asked what may `still` be seen, which is nothing any more where it is `None`.
    ///
    /// # Errors
    /// When the store could not be asked; asking again goes on where this left off.
    pub async fn next(&mut self, patience: Duration, still: impl Fn(&Access) -> Option<Access>) -> Result<Option<Vec<Told>>, StoreError> {
        let until = Instant::now() + patience;
        let mut settling = 0;
        loop {
            let told = self.look(&still).await?;
            if !told.is_empty() {
                return Ok(Some(told));
            }
            if self.is_over() || Instant::now() >= until {
                return Ok(None);
            }
            let pause = if settling > 0 { SETTLING } else { LOOK_INTERVAL };
            let stored = tokio::select! {
                _ = self.closed.wait_for(|closed| *closed) => return Ok(None),
                () = sleep(pause) => false,
                _ = self.stored.changed() => true,
            };
            settling = if stored { SETTLING_LOOKS } else { settling.saturating_sub(1) };
            if stored {
                sleep(LOOK_PAUSE).await;
            }
        }
    }

    /// Whether nothing more is told: the gateway is about to stop, or nothing may be seen any more.
    pub fn is_over(&self) -> bool {
        self.may_see_nothing || *self.closed.borrow()
    }

    async fn look(&mut self, still: &impl Fn(&Access) -> Option<Access>) -> Result<Vec<Told>, StoreError> {
        loop {
            match still(&self.access) {
                Some(access) => self.access = access,
                None => {
                    self.may_see_nothing = true;
                    return Ok(Vec::new());
                }
            }
            self.stored.mark_unchanged();
            let Events { epoch, events } = self.sessions.store.events(self.access.tenant.id, self.at, TOGETHER).await?;
            if epoch != self.epoch {
                // The database was replaced: the position means nothing in it, and the client has to be told so when it comes again.
                self.may_see_nothing = true;
                return Ok(Vec::new());
            }
            let Some(last) = events.last().map(|event| event.position) else { return Ok(Vec::new()) };
            let told = self.with_sessions(events).await?;
            // Only now: whoever asks again after an error must not miss them.
            self.at = last;
            if !told.is_empty() {
                return Ok(told);
            }
        }
    }

    fn id(&self, event: &Event) -> EventId {
        EventId { epoch: Some(self.epoch), position: event.position }
    }

    /// Of sessions that are gone, nothing is told but that they were erased.
    async fn with_sessions(&self, events: Vec<Event>) -> Result<Vec<Told>, StoreError> {
        let mut known: HashMap<SessionId, Option<Session>> = HashMap::new();
        let mut told = Vec::with_capacity(events.len());
        for event in events {
            if event.kind == EventKind::Erased {
                told.push(Told { id: self.id(&event), event, session: None });
                continue;
            }
            if !known.contains_key(&event.session) {
                let found = self.sessions.find(&self.access, &event.session).await?;
                known.insert(event.session.clone(), found);
            }
            if let Some(session) = known.get(&event.session).cloned().flatten() {
                told.push(Told { id: self.id(&event), event, session: Some(session) });
            }
        }
        Ok(told)
    }
}
