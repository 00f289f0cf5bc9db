//! Sessions one by one and as lists.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Sessions;
use crate::access::Access;
use crate::audit::Action;
use crate::catalog::{Call, Filter, Listed, Listing, Order, Page, Place};
use crate::masking::{hide, hide_all};
use crate::port::{Amend, Amended, Creation, HistoryPage, HistoryQuery, Once, Same, StoreError, Write, Written};
use crate::uncancelled::uncancelled;
use crate::{NewSession, Session, SessionId};

/// How many sessions are looked at in one question to the store.
const LOOK: u64 = 200;
/// For how long a page is filled from what does not match; then it is given as it is, with the place to go on.
const SEARCH_TIME: Duration = Duration::from_millis(1_000);
/// The most sessions of one call that are shown together.
const MAX_OF_CALL: u64 = 1_000;
/// How many bytes of sessions are read at a time, and given on a page; the last session may go beyond.
pub const PAGE_BYTES: usize = 512 << 10;

impl Sessions {
    /// The session with that identifier.
    ///
    /// # Errors
    /// When the store could not be asked.
    pub async fn find(&self, access: &Access, id: &SessionId) -> Result<Option<Session>, StoreError> {
        let now = self.clock.latest();
        let mut found = self.store.find(self.scope(&access.tenant), id).await?;
        self.note_read(access, &found);
        hide_all(access, &mut found, now);
        Ok(found)
    }

    /// Stores a session that must be new; once, where the request has a name. Durable once it returns, and nobody who stops waiting for
    /// the result cancels the write. Returns what became of it, and the session as it is stored if it is.
    ///
    /// # Errors
    /// When the store could not, or could not confirm it.
    pub async fn create(self: &Arc<Self>, access: &Access, new: NewSession, once: Option<Once>) -> Result<(Creation, Session), StoreError> {
        let this = Arc::clone(self);
        let tenant = Arc::clone(&access.tenant);
        let access = access.clone();
        self.note(&access, Action::Wrote, new.details.caller.key());
        let create = uncancelled(async move {
            let write = this.prepare(&tenant, new, Same::None);
            let mut session = Session {
                id: write.id.clone(),
                received_first: write.received_first,
                received_last: write.received_last,
                details: write.details.clone(),
            };
            let mut creation = match once {
                Some(_) => this.store.create(write, once).await?,
                None => this.create_together(write).await?,
            };
            match &mut creation {
                Creation::Created => {
                    this.announce(tenant.id, &session.details.call_id, session.details.caller.key());
                    hide(&access, &mut session, this.clock.latest());
                }
                Creation::Repeated(Some(known)) => hide(&access, known, this.clock.latest()),
                Creation::Repeated(None) | Creation::NameTaken | Creation::IdTaken => {}
            }
            Ok((creation, session))
        });
        create.await
    }

    /// Together with whatever else is stored at the moment.
    async fn create_together(&self, write: Write) -> Result<Creation, StoreError> {
        match self.store.write(vec![write]).await.pop() {
            Some(Ok(_)) => Ok(Creation::Created),
            Some(Err(StoreError::Taken(_))) => Ok(Creation::IdTaken),
            Some(Err(error)) => Err(error),
            None => Err(StoreError::Failed("the store gave no result for a write".into())),
        }
    }

    /// Stores sessions that must be new, each on its own; the results are in their order. One with an identifier that is known is
    /// [`StoreError::Taken`]. Nobody who stops waiting for the results cancels the writes.
    pub async fn create_all(self: &Arc<Self>, access: &Access, new: Vec<NewSession>) -> Vec<Result<Written, StoreError>> {
        let this = Arc::clone(self);
        let tenant = Arc::clone(&access.tenant);
        for new in &new {
            self.note(access, Action::Wrote, new.details.caller.key());
        }
        uncancelled(async move {
            let writes = new.into_iter().map(|new| this.prepare(&tenant, new, Same::None)).collect();
            this.write(writes).await
        })
        .await
    }

    /// Changes a session as `amend` decides; once, where the request has a name. Nobody who stops waiting cancels the change.
    ///
    /// # Errors
    /// When the store could not, or could not confirm it.
    pub async fn amend(self: &Arc<Self>, access: &Access, id: SessionId, once: Option<Once>, amend: Amend) -> Result<Amended, StoreError> {
        let this = Arc::clone(self);
        let access = access.clone();
        let change = uncancelled(async move {
            let (tenant, now) = (&access.tenant, this.clock.latest());
            let mut amended = this.store.amend(this.scope(tenant), &id, now, once, amend).await?;
            if let Amended::Changed(session) = &amended {
                this.note(&access, Action::Wrote, session.details.caller.key());
                this.announce(tenant.id, &session.details.call_id, session.details.caller.key());
            }
            match &mut amended {
                Amended::Changed(session) | Amended::Repeated(session) | Amended::Left(session) => hide(&access, session, now),
                Amended::NameTaken | Amended::NoSuchSession | Amended::Erased => {}
            }
            Ok(amended)
        });
        change.await
    }

    /// Sessions that match, the newest start first. Stable while others arrive: what was given is not given again, and nothing between two
    /// pages is passed over.
    ///
    /// # Errors
    /// When the store could not be asked.
    pub async fn list(&self, access: &Access, filter: &Filter, after: Option<Place>, limit: u64) -> Result<Page<Session>, StoreError> {
        let mut search = Search::new(self, access, filter, after, limit);
        let (mut items, mut bytes) = (Vec::new(), 0);
        while items.len() < search.limit && bytes < PAGE_BYTES && search.has_time() {
            let Some(session) = search.next().await? else { break };
            if filter.matches(&session) {
                bytes += session.bytes();
                items.push(session);
            }
        }
        self.note_read(access, &items);
        Ok(Page { items, next: search.rest().await? })
    }

    /// Calls of which a session matches, each with all its sessions; ordered by the first that matches, the newest call first. So a call that
    /// goes on while somebody turns pages stays where it is.
    ///
    /// # Errors
    /// When the store could not be asked.
    pub async fn list_calls(&self, access: &Access, filter: &Filter, after: Option<Place>, limit: u64) -> Result<Page<Call>, StoreError> {
        let mut search = Search::new(self, access, filter, after, limit);
        let (mut items, mut bytes) = (Vec::new(), 0);
        while items.len() < search.limit && bytes < PAGE_BYTES && search.has_time() {
            let Some(session) = search.next().await? else { break };
            if !filter.matches(&session) {
                continue;
            }
            let call = self.call_of(access, &session).await?;
            // A call stands where the first that matches does, and nowhere else.
            let first = call.sessions.iter().filter(|other| filter.matches(other)).map(Place::of).min();
            if first.is_some_and(|first| first == Place::of(&session)) {
                bytes += call.sessions.iter().map(Session::bytes).sum::<usize>();
                items.push(call);
            }
        }
        self.note_read(access, items.iter().flat_map(|call| &call.sessions));
        Ok(Page { items, next: search.rest().await? })
    }

    async fn call_of(&self, access: &Access, session: &Session) -> Result<Call, StoreError> {
        let details = &session.details;
        let query = HistoryQuery {
            call_id: Some(details.call_id.as_str().to_owned()),
            caller: Some(details.caller.key().clone()),
            limit: MAX_OF_CALL,
            max_bytes: Some(PAGE_BYTES),
            ..HistoryQuery::default()
        };
        let now = self.clock.latest();
        let HistoryPage { total, mut sessions, .. } = self.store.history(self.scope(&access.tenant), &query).await?;
        let is_cut = u64::try_from(sessions.len()).unwrap_or(u64::MAX) < total;
        sessions.reverse();
        hide_all(access, &mut sessions, now);
        Ok(Call { sessions, is_cut })
    }

    /// How many sessions match; the filter's text is not looked at.
    ///
    /// # Errors
    /// When the store could not be asked.
    pub async fn count(&self, access: &Access, filter: &Filter) -> Result<u64, StoreError> {
        self.store.count(self.scope(&access.tenant), filter).await
    }

    /// Some of the sessions that match, the oldest start first, for whoever takes all of them: each time in a transaction of its own.
    /// Begins after a place; the place to go on at is that of the last one looked at, and `None` at the end.
    ///
    /// # Errors
    /// When the store could not be asked.
    pub async fn read_on(&self, access: &Access, filter: &Filter, after: Option<&Place>) -> Result<Page<Session>, StoreError> {
        let stored = what_may_be_asked(access, filter);
        let listing = Listing { filter: &stored, order: Order::OldestFirst, after, limit: LOOK, max_bytes: PAGE_BYTES };
        let now = self.clock.latest();
        let Listed { sessions: mut items, is_cut } = self.store.list(self.scope(&access.tenant), &listing).await?;
        let is_last = !is_cut && u64::try_from(items.len()).unwrap_or(u64::MAX) < LOOK;
        let next = items.last().map(Place::of).filter(|_| !is_last);
        // What is hidden cannot be looked for.
        hide_all(access, &mut items, now);
        items.retain(|session| filter.matches(session));
        Ok(Page { items, next })
    }
}

/// What may be masked is not asked of the store, which would tell by how much it finds.
fn what_may_be_asked(access: &Access, filter: &Filter) -> Filter {
    let intent = filter.intent.clone().filter(|_| access.sees_all());
    Filter { intent, ..filter.clone() }
}

/// Goes through what may match, one by one.
struct Search<'s> {
    sessions: &'s Sessions,
    access: &'s Access,
    /// What the store is asked for; the rest is looked at in what it gives.
    stored: Filter,
    /// The last one that was looked at.
    at: Option<Place>,
    found: std::vec::IntoIter<Session>,
    is_last: bool,
    limit: usize,
    look: u64,
    until: Instant,
}

impl<'s> Search<'s> {
    fn new(sessions: &'s Sessions, access: &'s Access, filter: &'s Filter, after: Option<Place>, limit: u64) -> Self {
        // One more, to know whether there is another page; where most do not match, more at a time.
        let look = if filter.text.is_some() || (filter.intent.is_some() && !access.sees_all()) { LOOK.max(limit + 1) } else { limit + 1 };
        Self {
            sessions,
            access,
            stored: what_may_be_asked(access, filter),
            at: after,
            found: Vec::new().into_iter(),
            is_last: false,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            look,
            until: Instant::now() + SEARCH_TIME,
        }
    }

    fn has_time(&self) -> bool {
        !self.found.as_slice().is_empty() || Instant::now() < self.until
    }

    async fn next(&mut self) -> Result<Option<Session>, StoreError> {
        self.fill().await?;
        let next = self.found.next();
        if let Some(session) = &next {
            self.at = Some(Place::of(session));
        }
        Ok(next)
    }

    async fn fill(&mut self) -> Result<(), StoreError> {
        if !self.found.as_slice().is_empty() || self.is_last {
            return Ok(());
        }
        let now = self.sessions.clock.latest();
        let scope = self.sessions.scope(&self.access.tenant);
        let after = self.at.as_ref();
        let listing = Listing { filter: &self.stored, order: Order::NewestFirst, after, limit: self.look, max_bytes: PAGE_BYTES };
        let Listed { sessions: mut found, is_cut } = self.sessions.store.list(scope, &listing).await?;
        // What is hidden cannot be looked for.
        hide_all(self.access, &mut found, now);
        self.is_last = !is_cut && u64::try_from(found.len()).unwrap_or(u64::MAX) < self.look;
        self.found = found.into_iter();
        Ok(())
    }

    /// Where to go on, if there is anything left to look at.
    async fn rest(mut self) -> Result<Option<Place>, StoreError> {
        self.fill().await?;
        Ok(if self.found.as_slice().is_empty() { None } else { self.at })
    }
}
