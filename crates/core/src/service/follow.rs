//! Following along: what happens to a tenant's sessions, as it happens, and from where one left off.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Sessions;
use crate::Session;
use crate::access::Access;
use crate::event::{Event, EventKind, Position};
use crate::grant::Grant;
use crate::port::{Events, OutboxEnd, StoreError};
use crate::{Epoch, EventId};

/// Events that are read together.
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
    grant: Grant,
    has_ended: bool,
    epoch: Epoch,
    /// The last event that was read.
    at: Position,
    /// Events that were read and are not told yet; their sessions are read when they are told.
    unread: VecDeque<Event>,
    stored: watch::Receiver<()>,
    closed: watch::Receiver<bool>,
}

impl Sessions {
    /// Begins to follow a tenant's sessions: after this event, or from now on.
    ///
    /// # Errors
    /// When there is no such event any more, or the store could not be asked.
    pub async fn follow(self: &Arc<Self>, grant: Grant, after: Option<EventId>) -> Result<Follower, FollowError> {
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
                if after < self.store.dropped_until(grant.tenant()).await? {
                    return Err(FollowError::TooOld);
                }
                after
            }
        };
        let (sessions, unread) = (Arc::clone(self), VecDeque::new());
        Ok(Follower { sessions, grant, has_ended: false, epoch: end.epoch, at, unread, stored, closed })
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
    /// Waits for an event to tell, for as long as `patience`, and reads no session yet; whether there is one. The grant is checked each time,
    /// and a session is read when it is told: a slow reader is told nothing of before a revocation, an erasure or a change of masking.
    ///
    /// # Errors
    /// When the store could not be asked.
    pub async fn is_ready(&mut self, patience: Duration) -> Result<bool, StoreError> {
        let until = Instant::now() + patience;
        let mut settling = 0;
        loop {
            if self.read_events().await? {
                return Ok(true);
            }
            if self.is_over() || Instant::now() >= until {
                return Ok(false);
            }
            let pause = if settling > 0 { SETTLING } else { LOOK_INTERVAL };
            let stored = tokio::select! {
                _ = self.closed.wait_for(|closed| *closed) => return Ok(false),
                () = sleep(pause) => false,
                _ = self.stored.changed() => true,
            };
            settling = if stored { SETTLING_LOOKS } else { settling.saturating_sub(1) };
            if stored {
                sleep(LOOK_PAUSE).await;
            }
        }
    }

    /// Whether nothing more is told: the gateway is about to stop, or the right has ended.
    pub fn is_over(&self) -> bool {
        self.has_ended || *self.closed.borrow()
    }

    /// Tells the event that waits; `None` where its session is gone since, or the right has ended.
    ///
    /// # Errors
    /// When the store could not be asked; asking again tells the same event.
    pub async fn tell(&mut self) -> Result<Option<Told>, StoreError> {
        let Some(access) = self.access() else { return Ok(None) };
        let Some(event) = self.unread.front() else { return Ok(None) };
        let session = match event.kind {
            EventKind::Erased => None,
            EventKind::Created | EventKind::Updated => self.sessions.find(&access, &event.session).await?,
        };
        // Only now: a caller that asks again after an error must not miss it.
        let Some(event) = self.unread.pop_front() else { return Ok(None) };
        // Of a session that is gone, nothing is told but that it was erased.
        let id = EventId { epoch: Some(self.epoch), position: event.position };
        Ok((session.is_some() || event.kind == EventKind::Erased).then_some(Told { id, event, session }))
    }

    fn access(&mut self) -> Option<Access> {
        let access = self.grant.revalidate().ok();
        self.has_ended |= access.is_none();
        access
    }

    /// Whether an event waits to be told.
    async fn read_events(&mut self) -> Result<bool, StoreError> {
        let Some(access) = self.access() else { return Ok(false) };
        if !self.unread.is_empty() {
            return Ok(true);
        }
        self.stored.mark_unchanged();
        let Events { epoch, events } = self.sessions.store.events(access.tenant.id, self.at, TOGETHER).await?;
        if epoch != self.epoch {
            // The database was replaced: the position means nothing in it, and the client has to be told so when it comes again.
            self.has_ended = true;
            return Ok(false);
        }
        let Some(last) = events.last().map(|event| event.position) else { return Ok(false) };
        self.at = last;
        self.unread = events.into();
        Ok(true)
    }
}
