//! Sessions one by one and as lists, for the native interface.

use std::sync::Arc;

use async_trait::async_trait;

use super::{StoreError, Write};
use crate::catalog::{Filter, Listed, Listing};
use crate::{Details, Scope, Session, SessionId, Timestamp};

/// A request that must not be done twice: a hash of the name that its client gave it, and one of what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once {
    /// Of the name.
    pub name: [u8; 32],
    /// Of what is asked for.
    pub request: [u8; 32],
}

impl Once {
    /// Both, which only the same request has.
    pub fn both(&self) -> [u8; 64] {
        let mut both = [0; 64];
        both.iter_mut().zip(self.name.iter().chain(&self.request)).for_each(|(to, from)| *to = *from);
        both
    }
}

/// What became of a creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It is stored.
    Created,
    /// This request was done before, and this session came of it; `None` where that is gone since.
    Repeated(Option<Box<Session>>),
    /// Another request has this name.
    NameTaken,
    /// There is a session with that identifier.
    IdTaken,
}

/// Decides what a session is to become; `None` to leave it as it is. May be asked more than once.
pub type Amend = Arc<dyn Fn(&Session) -> Option<Details> + Send + Sync>;

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Amended {
    /// It is made; the session as it is now.
    Changed(Box<Session>),
    /// This request was done before; the session as it is now.
    Repeated(Box<Session>),
    /// It was decided against; the session as it is.
    Left(Box<Session>),
    /// Another request has this name.
    NameTaken,
    /// There is no such session.
    NoSuchSession,
    /// This request was done before, and the session was erased since.
    Erased,
}

/// Sessions one by one and as lists.
#[async_trait]
pub trait Catalog: Send + Sync + 'static {
    /// The session with that identifier.
    async fn find(&self, scope: Scope, id: &SessionId) -> Result<Option<Session>, StoreError>;

    /// Sessions in the order of their starts, at least one where there is any. The filter's text is not looked at.
    async fn list(&self, scope: Scope, listing: &Listing<'_>) -> Result<Listed, StoreError>;

    /// How many sessions match. The filter's text is not looked at.
    async fn count(&self, scope: Scope, filter: &Filter) -> Result<u64, StoreError>;

    /// Stores a session that must be new, once for each name.
    async fn create(&self, write: Write, once: Option<Once>) -> Result<Creation, StoreError>;

    /// Changes a session as `amend` decides, which sees it as it is in the same transaction; received `now`.
    async fn amend(&self, scope: Scope, id: &SessionId, now: Timestamp, once: Option<Once>, amend: Amend) -> Result<Amended, StoreError>;

    /// Forgets some of the names of requests that were done at this moment or before; returns how many, and 0 when none is left.
    async fn forget_names(&self, until: Timestamp) -> Result<u64, StoreError>;
}
