//! Sessions on their way out, a few at a time: nothing is kept open in the store between two pieces.

use std::time::Duration;

use calldata_core::catalog::{Filter, Page, Place};
use calldata_core::{Access, Session, StoreError};
use calldata_http::Seat;

use crate::Native;

/// How often the store is asked that has no time, and how long it is waited before.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);

/// Somebody who takes all sessions that match, the oldest start first.
pub(crate) struct Reading {
    native: Native,
    pub(crate) access: Access,
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

impl Reading {
    pub(crate) fn new(native: Native, access: Access, seat: Seat, filter: Filter) -> Self {
        Self { native, access, _seat: seat, filter, at: At::Begin }
    }

    /// The next sessions, which may be none that match; `None` at the end, and after an error.
    pub(crate) async fn read_on(&mut self) -> Result<Option<Vec<Session>>, StoreError> {
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
    async fn next_page(&self, after: Option<&Place>) -> Result<Page<Session>, StoreError> {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            match self.native.shared.sessions.read_on(&self.access, &self.filter, after).await {
                Err(StoreError::Busy(_)) if tries > 0 => tokio::time::sleep(PAUSE).await,
                page => return page,
            }
        }
    }
}
