//! Sessions on their way out, a few at a time: nothing is kept open in the store between two pieces.

use std::sync::Arc;
use std::time::Duration;

use calldata_core::catalog::{Filter, Page, Place};
use calldata_core::{Access, Grant, GrantError, Session, StoreError, Tenant};
use calldata_http::{Seat, log_ended, log_failure};

use crate::Native;
use crate::problem::Problem;

/// How often the store is asked that has no time, and how long it is waited before.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);

/// Somebody who takes all sessions that match, the oldest start first.
pub(crate) struct Reading {
    native: Native,
    grant: Grant,
    /// The tenant as it was when sessions were last read.
    pub(crate) tenant: Arc<Tenant>,
    _seat: Seat,
    filter: Filter,
    at: At,
}

/// Where to go on.
enum At {
    Begin,
    Behind(Place),
    End,
}

/// Why the rest cannot be read. A client that has part of an answer sees it break off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Grant(#[from] GrantError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sessions of a caller are being filed under another number, so some would be left out.
    #[error("the tenant's default country changed, by which the caller was looked for")]
    CountryChanged,
}

impl ReadError {
    /// Says in the log why an answer breaks off. The end of a right is no failure of the gateway.
    pub(crate) fn log(&self, operation: &'static str) {
        match self {
            Self::Grant(error) if error.is_final() => log_ended(operation, error),
            Self::CountryChanged => log_ended(operation, self),
            Self::Grant(error) => log_failure(operation, error),
            Self::Store(error) => log_failure(operation, error),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Grant(error) => error.into(),
            ReadError::Store(error) => error.into(),
            ReadError::CountryChanged => Self::busy(),
        }
    }
}

impl Reading {
    /// # Errors
    /// When the right has ended since the request was let in.
    pub(crate) fn new(native: Native, grant: Grant, seat: Seat, filter: Filter) -> Result<Self, GrantError> {
        let tenant = grant.revalidate()?.tenant;
        Ok(Self { native, grant, tenant, _seat: seat, filter, at: At::Begin })
    }

    /// The next sessions, which may be none that match; `None` at the end, and after an error. The grant is checked each time.
    pub(crate) async fn read_on(&mut self) -> Result<Option<Vec<Session>>, ReadError> {
        let after = match std::mem::replace(&mut self.at, At::End) {
            At::Begin => None,
            At::Behind(place) => Some(place),
            At::End => return Ok(None),
        };
        let page = self.next_page(after.as_ref()).await?;
        self.at = page.next.map_or(At::End, At::Behind);
        Ok(Some(page.items))
    }

    /// What the store has no time for is asked again: an answer that has begun cannot say so.
    async fn next_page(&mut self, after: Option<&Place>) -> Result<Page<Session>, ReadError> {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            match self.try_page(after).await {
                Err(ReadError::Store(StoreError::Busy(_)) | ReadError::Grant(GrantError::Unavailable)) if tries > 0 => {
                    tokio::time::sleep(PAUSE).await;
                }
                page => return page,
            }
        }
    }

    async fn try_page(&mut self, after: Option<&Place>) -> Result<Page<Session>, ReadError> {
        let access = self.access()?;
        Ok(self.native.shared.sessions.read_on(&access, &self.filter, after).await?)
    }

    fn access(&mut self) -> Result<Access, ReadError> {
        let access = self.grant.revalidate()?;
        if self.filter.caller.is_some() && access.tenant.default_country != self.tenant.default_country {
            return Err(ReadError::CountryChanged);
        }
        self.tenant = Arc::clone(&access.tenant);
        Ok(access)
    }
}
