//! A page of records whose sessions do not fit into memory at a time: it is written as it is read.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use calldata_core::catalog::Place;
use calldata_core::port::{HistoryPage, HistoryQuery};
use calldata_core::service::PAGE_BYTES;
use calldata_core::{Access, Session, StoreError};
use calldata_http::{Seat, Streamed, log_failure};
use futures_util::stream;

use crate::Oifde;
use crate::codes::{CONTENT_TYPE, Failure};
use crate::query_record_history::HistoryResponse;
use crate::record::Record;

/// Answers with a page that was cut, and reads the rest of it while the client takes it. A client of which the store cannot read the rest sees
/// the answer end before its end.
///
/// # Errors
/// When there is no memory for it.
pub(crate) async fn stream_page(
    oifde: &Oifde,
    access: Access,
    seat: Seat,
    query: HistoryQuery,
    page: HistoryPage,
) -> Result<Response, Failure> {
    let HistoryPage { total, sessions, is_cut: _ } = page;
    let left = query.limit.saturating_sub(sessions.len().try_into().unwrap_or(u64::MAX));
    let last = sessions.last().map(Place::of);
    let mut rest = Rest { oifde: oifde.clone(), access, _seat: seat, query, last, left, has_begun: false };
    let first = rest.begin(total, sessions)?;
    let rest = stream::unfold(Some(rest), |rest| async {
        let mut rest = rest?;
        match rest.next().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(rest))),
            Ok(None) => Some((Ok(Bytes::from_static(b"]}")), None)),
            Err(error) => {
                log_failure("queryRecordHistory", &error);
                Some((Err(error), None))
            }
        }
    });
    let body = Body::from_stream(futures_util::StreamExt::chain(stream::iter([Ok(first)]), rest));
    let mut response = ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
    response.extensions_mut().insert(Streamed);
    Ok(response)
}

/// The part of a page that is not read yet.
struct Rest {
    oifde: Oifde,
    access: Access,
    _seat: Seat,
    query: HistoryQuery,
    last: Option<Place>,
    left: u64,
    has_begun: bool,
}

impl Rest {
    /// The answer up to and with these records, and without its end.
    fn begin(&mut self, total: u64, sessions: Vec<Session>) -> Result<Bytes, Failure> {
        let mut text = serde_json::to_string(&HistoryResponse::records(total, Vec::new())).map_err(|_| Failure::Internal)?;
        text.truncate(text.trim_end_matches("]}").len());
        self.push(&mut text, sessions)?;
        Ok(text.into())
    }

    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let Some(last) = self.last.take().filter(|_| self.left > 0) else { return Ok(None) };
        let sessions = &self.oifde.shared.sessions;
        let listed = sessions.history_after(&self.access, &self.query, &last, self.left, PAGE_BYTES).await?;
        self.left -= u64::try_from(listed.sessions.len()).unwrap_or(u64::MAX).min(self.left);
        self.last = listed.sessions.last().map(Place::of).filter(|_| listed.is_cut);
        let mut text = String::new();
        self.push(&mut text, listed.sessions).map_err(|error| StoreError::Failed(error.into()))?;
        Ok(Some(text.into()))
    }

    fn push(&mut self, text: &mut String, sessions: Vec<Session>) -> Result<(), Failure> {
        for session in sessions {
            if std::mem::replace(&mut self.has_begun, true) {
                text.push(',');
            }
            let record = serde_json::to_string(&Record::of(session, &self.access.tenant)).map_err(|_| Failure::Internal)?;
            text.push_str(&record);
        }
        Ok(())
    }
}
