//! A page of records whose sessions do not fit into memory at a time: it is written as it is read.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use calldata_core::catalog::Place;
use calldata_core::port::{HistoryPage, HistoryQuery};
use calldata_core::service::PAGE_BYTES;
use calldata_core::{Grant, GrantError, Session, StoreError, Tenant};
use calldata_http::{Seat, Streamed, log_ended, log_failure};
use futures_util::stream;

use crate::Oifde;
use crate::codes::{CONTENT_TYPE, Failure};
use crate::query_record_history::HistoryResponse;
use crate::record::Record;

const OPERATION: &str = "queryRecordHistory";

/// Answers with a page that was cut, and reads the rest of it while the client takes it. Where the right ends meanwhile, or the store cannot
/// read the rest, the answer breaks off.
///
/// # Errors
/// When the right has ended by now.
pub(crate) async fn stream_page(
    oifde: &Oifde,
    grant: Grant,
    seat: Seat,
    query: HistoryQuery,
    page: HistoryPage,
) -> Result<Response, Failure> {
    let HistoryPage { total, sessions, is_cut: _ } = page;
    let left = query.limit.saturating_sub(sessions.len().try_into().unwrap_or(u64::MAX));
    let last = sessions.last().map(Place::of);
    let access = grant.revalidate().map_err(|error| if error.is_final() { Failure::TokenWrong } else { Failure::Busy })?;
    let mut rest = Rest { oifde: oifde.clone(), grant, _seat: seat, query, last, left, has_begun: false };
    let first = rest.begin(total, sessions, &access.tenant)?;
    let rest = stream::unfold(Some(rest), |rest| async {
        let mut rest = rest?;
        match rest.next().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(rest))),
            Ok(None) => Some((Ok(Bytes::from_static(b"]}")), None)),
            Err(error) => {
                error.log();
                Some((Err(error), None))
            }
        }
    });
    let body = Body::from_stream(futures_util::StreamExt::chain(stream::iter([Ok(first)]), rest));
    let mut response = ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
    response.extensions_mut().insert(Streamed);
    Ok(response)
}

/// Why the rest of a page cannot be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Grant(#[from] GrantError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReadError {
    /// The end of a right is no failure of the gateway.
    fn log(&self) {
        match self {
            Self::Grant(error) if error.is_final() => log_ended(OPERATION, error),
            Self::Grant(error) => log_failure(OPERATION, error),
            Self::Store(error) => log_failure(OPERATION, error),
        }
    }
}

/// The part of a page that is not read yet.
struct Rest {
    oifde: Oifde,
    grant: Grant,
    _seat: Seat,
    query: HistoryQuery,
    last: Option<Place>,
    left: u64,
    has_begun: bool,
}

impl Rest {
    /// The answer up to and with these records, and without its end.
    fn begin(&mut self, total: u64, sessions: Vec<Session>, tenant: &Tenant) -> Result<Bytes, Failure> {
        let mut text = serde_json::to_string(&HistoryResponse::records(total, Vec::new())).map_err(|_| Failure::Internal)?;
        text.truncate(text.trim_end_matches("]}").len());
        self.push(&mut text, sessions, tenant)?;
        Ok(text.into())
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        let Some(last) = self.last.take().filter(|_| self.left > 0) else { return Ok(None) };
        let access = self.grant.revalidate()?;
        let sessions = &self.oifde.shared.sessions;
        let listed = sessions.history_after(&access, &self.query, &last, self.left, PAGE_BYTES).await?;
        self.left -= u64::try_from(listed.sessions.len()).unwrap_or(u64::MAX).min(self.left);
        self.last = listed.sessions.last().map(Place::of).filter(|_| listed.is_cut);
        let mut text = String::new();
        self.push(&mut text, listed.sessions, &access.tenant).map_err(|error| StoreError::Failed(error.into()))?;
        Ok(Some(text.into()))
    }

    fn push(&mut self, text: &mut String, sessions: Vec<Session>, tenant: &Tenant) -> Result<(), Failure> {
        for session in sessions {
            if std::mem::replace(&mut self.has_begun, true) {
                text.push(',');
            }
            let record = serde_json::to_string(&Record::of(session, tenant)).map_err(|_| Failure::Internal)?;
            text.push_str(&record);
        }
        Ok(())
    }
}
