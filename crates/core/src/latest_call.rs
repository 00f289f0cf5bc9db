//! A caller's latest call, with all that was said in it.

use crate::access::Access;
use crate::port::{HistoryQuery, StoreError};
use crate::service::{PAGE_BYTES, Sessions};
use crate::{CallId, CallerKey, SessionId, Timestamp, Turn};

/// Sessions that are read at a time.
const PAGE: u64 = 100;
/// Of a call with more sessions than any call has, the newest count.
const MAX_SESSIONS: usize = 1_000;

/// A call and what was said in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatestCall {
    /// The call.
    pub call_id: CallId,
    /// The turns of its sessions with that caller, oldest start first, ties by identifier.
    pub turns: Vec<Turn>,
}

/// What counts of a session; the rest of it need not be held.
struct Part {
    started: Timestamp,
    id: SessionId,
    turns: Vec<Turn>,
}

impl Sessions {
    /// The call of a caller's newest session, by start, then by identifier (OIF-H2); `None` where there is none.
    ///
    /// # Errors
    /// When the store could not be asked.
    pub async fn latest_call(&self, access: &Access, caller: &CallerKey) -> Result<Option<LatestCall>, StoreError> {
        let of_caller = HistoryQuery { caller: Some(caller.clone()), limit: 1, ..HistoryQuery::default() };
        let newest = self.history(access, &of_caller).await?;
        let (total, Some(newest)) = (newest.total, newest.sessions.into_iter().next()) else { return Ok(None) };
        let until = newest.started();
        let call_id = newest.details.call_id;
        if total == 1 {
            return Ok(Some(LatestCall { call_id, turns: newest.details.turns }));
        }
        let mut parts: Vec<Part> = Vec::new();
        loop {
            let offset = u64::try_from(parts.len()).unwrap_or(u64::MAX);
            let query = HistoryQuery {
                call_id: Some(call_id.as_str().to_owned()),
                caller: Some(caller.clone()),
                // What begins while this is read moves no page.
                until: Some(until),
                offset,
                limit: PAGE,
                max_bytes: Some(PAGE_BYTES),
                ..HistoryQuery::default()
            };
            let page = self.history(access, &query).await?;
            let (total, read) = (page.total, page.sessions.len());
            parts.extend(page.sessions.into_iter().map(|session| Part {
                started: session.started(),
                id: session.id,
                turns: session.details.turns,
            }));
            let known = u64::try_from(parts.len()).unwrap_or(u64::MAX);
            if read == 0 || known >= total || parts.len() >= MAX_SESSIONS {
                break;
            }
        }
        parts.sort_by(|a, b| (a.started, &a.id).cmp(&(b.started, &b.id)));
        // One that was imported with an older start meanwhile moves a page after all.
        parts.dedup_by(|later, earlier| later.id == earlier.id);
        Ok(Some(LatestCall { call_id, turns: parts.into_iter().flat_map(|part| part.turns).collect() }))
    }
}
