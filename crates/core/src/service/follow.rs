//! Following along: what happens to a tenant's sessions, as it happens, and from where one left off.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Sessions;
use crate::Session;
use crate::event::{Event, EventKind, Position};
use crate::grant::Grant;
use crate::port::StoreError;

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
    is_revoked: bool,
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
    pub async fn follow(self: &Arc<Self>, grant: Grant, after: Option<Position>) -> Result<Follower, FollowError> {
        // Before the first look, so that nothing slips in between.
        let (stored, closed) = (self.stored.subscribe(), self.arrivals.closed());
        let end = self.store.end().await?;
        let at = match after {
            None => end,
            Some(after) if after > end => return Err(FollowError::Unknown),
            Some(after) if after < self.store.dropped_until(grant.tenant()).await? => return Err(FollowError::TooOld),
            Some(after) => after,
        };
        Ok(Follower { sessions: Arc::clone(self), grant, is_revoked: false, at, unread: VecDeque::new(), stored, closed })
    }
}

impl Follower {
    /// What happened next, in order; `None` after `patience` without anything, or where nothing more is told. The grant is checked before
    /// each event, and its session is read then: a slow reader is told nothing of before a revocation, an erasure or a change of masking.
    ///
    /// # Errors
    /// When the store could not be asked; asking again goes on where this left off.
    pub async fn next(&mut self, patience: Duration) -> Result<Option<Told>, StoreError> {
        let until = Instant::now() + patience;
        let mut settling = 0;
        loop {
            if let Some(told) = self.look().await? {
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

    /// Whether nothing more is told: the gateway is about to stop, or the right has ended.
    pub fn is_over(&self) -> bool {
        self.is_revoked || *self.closed.borrow()
    }

    async fn look(&mut self) -> Result<Option<Told>, StoreError> {
        loop {
            let Ok(access) = self.grant.revalidate() else {
                self.is_revoked = true;
                return Ok(None);
            };
            if let Some(event) = self.unread.front() {
                let session = match event.kind {
                    EventKind::Erased => None,
                    EventKind::Created | EventKind::Updated => self.sessions.find(&access, &event.session).await?,
                };
                // Only now: a caller that asks again after an error must not miss it.
                let Some(event) = self.unread.pop_front() else { continue };
                // Of a session that is gone, nothing is told but that it was erased.
                if session.is_some() || event.kind == EventKind::Erased {
                    return Ok(Some(Told { event, session }));
                }
                continue;
            }
            self.stored.mark_unchanged();
            let events = self.sessions.store.events(access.tenant.id, self.at, TOGETHER).await?;
            let Some(last) = events.last().map(|event| event.position) else { return Ok(None) };
            self.at = last;
            self.unread = events.into();
        }
    }
}
