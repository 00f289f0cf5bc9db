//! The OIFDE dialect: `queryRecordHistory`, `queryHistory` and `gettoken`, JSON over POST, business errors as HTTP 200 with a code.
//!
//! Rooms: [`gettoken`], [`query_record_history`] and [`query_history`] are the operations, [`token`] signs and reads tokens, [`body`] reads
//! requests, [`asked`] lets in who queries, [`codes`] holds the dialect's words for errors, [`record`] translates between a session and a
//! record, and [`import`] reads records that another system wrote. Arrows: http, interchange, core. The ids in comments (OIF-…) are those of
//! `docs/contract.md`. The vendor's misspellings `recordDetials` and `requsetTime` are the wire names.
//!
//! To add an operation: a file with its handler, a route here, a line in the description.

mod asked;
mod body;
mod codes;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod gettoken;
pub mod import;
mod query_history;
mod query_record_history;
mod record;
mod record_stream;
mod token;

use axum::extract::{FromRef, Request};
use axum::response::Response;
use axum::{Router, routing};
use calldata_http::{Shared, Source};
use utoipa::OpenApi;

pub use token::{TokenSecrets, WeakSecret};

/// Where records are queried.
pub const HISTORY_PATH: &str = "/oifde/rest/api/queryRecordHistory";

/// What stands behind the operations.
#[derive(Clone)]
pub struct Oifde {
    shared: Shared,
    secrets: TokenSecrets,
}

impl Oifde {
    /// The dialect over what is shared; `secrets` sign its tokens.
    pub fn new(shared: Shared, secrets: TokenSecrets) -> Self {
        Self { shared, secrets }
    }

    /// Answers a query for records that comes from `source`.
    pub async fn history(&self, source: Source, request: Request) -> Response {
        query_record_history::history(self, source, request).await
    }
}

impl FromRef<Oifde> for Shared {
    fn from_ref(oifde: &Oifde) -> Self {
        oifde.shared.clone()
    }
}

/// The routes of the dialect.
pub fn router(oifde: Oifde) -> Router {
    // Every method is answered in the dialect's words (OIF-Q7).
    Router::new()
        .route("/oifde/rest/api/gettoken", routing::any(gettoken::gettoken))
        .route(HISTORY_PATH, routing::any(query_record_history::query_record_history))
        .route("/oifde/rest/api/queryHistory", routing::any(query_history::query_history))
        .with_state(oifde)
}

/// The description of the dialect.
pub fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Session records (OIFDE dialect)",
        description = "Session records with their turns, questions and answers, as OIFDE systems query them. Business errors are status 200 \
            with an `errorCode` (of `queryHistory`: `rtnCode`) other than 0. Statements marked *ours* are decisions of this gateway where \
            the vendor is silent.",
    ),
    paths(gettoken::gettoken, query_record_history::query_record_history, query_history::query_history),
    components(schemas(
        gettoken::TokenRequest, gettoken::TokenResponse, query_record_history::HistoryRequest, query_record_history::HistoryResponse,
        record::Record, record::RecordDetail, record::QaRecord, query_history::LatestCallRequest, query_history::LatestCallParameters,
        query_history::LatestCallResponse, query_history::Interaction,
    )),
    tags((name = "records", description = "Query session records (OIFDE dialect)")),
)]
struct Description;
