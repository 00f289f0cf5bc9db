//! `POST /oifde/rest/api/queryRecordHistory`: the records of a call or a user.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use calldata_core::port::{HistoryPage, HistoryQuery};
use calldata_core::zone::Reading;
use calldata_core::{CallerKey, Grant, JsonKind, RequiredScope, Session, Tenant, Timestamp, Zone};
use calldata_http::{Source, holding};
use serde::Serialize;
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use utoipa::ToSchema;

use crate::Oifde;
use crate::asked::{Asked, note_miss};
use crate::body::Parameters;
use crate::codes::{Failure, answer};
use crate::record::Record;
use crate::record_stream::stream_page;

const LOCAL_TIME: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
const LOCAL_TIME_CHARS: usize = 19;
const PAGE_SIZES: [u64; 5] = [5, 10, 20, 50, 100];
const DEFAULT_PAGE_SIZE: u64 = 100;
/// How many bytes of sessions are read before a page is written piece by piece. Pages of usual records are smaller.
const FIRST_BYTES: usize = 128 << 10;
/// The charge of a page of larger ones, of which one session may be as large as a body.
const LARGE_BYTES: usize = 4 << 20;
/// How many times they are in memory: as rows, as records, and as the text of the answer.
const COPIES: usize = 3;

/// Queries session records.
#[utoipa::path(
    post, path = "/oifde/rest/api/queryRecordHistory", operation_id = "queryRecordHistory", tag = "records", summary = "Query session records",
    description = "Gives the records of a call or a user, newest start first, a page at a time, with the total of all pages. One of `callId`, \
        `userMobile` and `ctiCallId` must be given; of several, all must match (ours). Users are compared as phone numbers (ours). Errors have \
        `total` 0 and an empty list.",
    request_body(content = HistoryRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The records, or an `errorCode` other than 0: 900001 token missing or expired, 900002 token check failed, 200800003 locked, 10000002 a \
            parameter is missing or wrong, 10000001 internal error.", body = HistoryResponse, content_type = "application/json"),
        (status = 400, description = "The request cannot be read as HTTP, or does not name its host."),
        (status = 403, description = "A web page of an origin that is not allowed sent this (ours)."),
        (status = 414, description = "The URI is longer than 8 KiB (ours)."),
        (status = 431, description = "There are more than 100 headers, or more than 16 KiB of them (ours)."),
        (status = 500, description = "The gateway failed."),
        (status = 429, description = "This tenant sends too many requests (ours); repeat later.", body = HistoryResponse, content_type = "application/json",
            headers(("Retry-After" = i32, description = "Seconds after which to repeat."))),
        (status = 503, description = "Too busy; repeat the request.", body = HistoryResponse, content_type = "application/json",
            headers(("Retry-After" = i32, description = "Seconds after which to repeat."))),
    ),
)]
pub(crate) async fn query_record_history(State(oifde): State<Oifde>, Extension(source): Extension<Source>, request: Request) -> Response {
    history(&oifde, source, request).await
}

/// The same without a router.
pub(crate) async fn history(oifde: &Oifde, source: Source, request: Request) -> Response {
    let found = tokio::time::timeout(oifde.shared.limits.deadline, async {
        let Asked { parameters, access, seat } = Asked::read(oifde, source, request).await?;
        let query = query(&parameters, &access.tenant)?;
        seat.reserve(COPIES * FIRST_BYTES).await?;
        let mut page = oifde.shared.sessions.history(&access, &query).await?;
        let is_large = page.sessions.iter().map(Session::bytes).sum::<usize>() > FIRST_BYTES;
        if is_large {
            // Nothing of it is kept while the request waits for the memory that it takes.
            drop(page);
            seat.reserve(LARGE_BYTES).await?;
            page = oifde.shared.sessions.history(&access, &query).await?;
        }
        if page.total == 0 {
            note_miss();
        }
        if page.is_cut {
            let grant = Grant::new(Arc::clone(&oifde.shared.directory), access, RequiredScope::Read);
            return stream_page(oifde, grant, seat, query, page).await;
        }
        Ok(holding(answer(&HistoryResponse::page(page, &access.tenant)), seat).await?)
    });
    match found.await.unwrap_or(Err(Failure::Busy)) {
        Ok(response) => response,
        Err(failure) => failure.answer(&HistoryResponse::failure(&failure)),
    }
}

fn query(parameters: &Parameters, tenant: &Tenant) -> Result<HistoryQuery, Failure> {
    let call_id = parameters.string("callId")?;
    let caller = parameters.string("userMobile")?.map(|user| CallerKey::of(&user, tenant.default_country));
    let cti_call_id = parameters.string("ctiCallId")?;
    if call_id.is_none() && caller.is_none() && cti_call_id.is_none() {
        return Err(Failure::parameter("callId, userMobile or ctiCallId", "must be given"));
    }
    let from = local_time(parameters, "beginTime", &tenant.oifde_zone, Reading::Earlier)?;
    // Its whole second counts (OIF-Q3).
    let until = local_time(parameters, "endTime", &tenant.oifde_zone, Reading::Later)?.map(|end| Timestamp::clamped(end.epoch_ms() + 999));
    if from.zip(until).is_some_and(|(from, until)| from > until) {
        return Err(Failure::parameter("beginTime", "must not be after endTime"));
    }
    let page = whole_number(parameters, "pageNum")?.unwrap_or(1);
    if page == 0 {
        return Err(Failure::parameter("pageNum", "must be 1 or greater"));
    }
    let limit = whole_number(parameters, "pageSize")?.unwrap_or(DEFAULT_PAGE_SIZE);
    if !PAGE_SIZES.contains(&limit) {
        return Err(Failure::parameter("pageSize", "must be 5, 10, 20, 50 or 100"));
    }
    let offset = (page - 1).saturating_mul(limit);
    Ok(HistoryQuery { call_id, caller, cti_call_id, from, until, offset, limit, max_bytes: Some(FIRST_BYTES) })
}

fn local_time(parameters: &Parameters, name: &str, zone: &Zone, reading: Reading) -> Result<Option<Timestamp>, Failure> {
    let Some(text) = parameters.string(name)? else { return Ok(None) };
    let local = Some(text).filter(|text| text.len() == LOCAL_TIME_CHARS).and_then(|text| PrimitiveDateTime::parse(&text, LOCAL_TIME).ok());
    let moment = local.and_then(|local| zone.moment(local, reading));
    moment.map(Some).ok_or_else(|| Failure::parameter(name, "must be yyyy-MM-dd HH:mm:ss"))
}

/// A string of digits or a number (OIF-Q1); one that is too large to count is as good as the largest.
fn whole_number(parameters: &Parameters, name: &str) -> Result<Option<u64>, Failure> {
    let Some(value) = parameters.get(name) else { return Ok(None) };
    let digits = match value.kind() {
        JsonKind::String | JsonKind::Number => value.as_scalar_text(),
        JsonKind::Null | JsonKind::Bool | JsonKind::Array | JsonKind::Object => None,
    };
    let digits = digits.filter(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    digits.map(|digits| Some(digits.parse().unwrap_or(u64::MAX))).ok_or_else(|| Failure::parameter(name, "must be a whole number"))
}

/// Which records are asked for. Every parameter is a string; null and "" count as not given.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({ "tenantId": "tenant001", "authToken": "0dbe11892be840cf983453ea70b505de", "userMobile": "180****9999" }))]
#[expect(dead_code, reason = "describes a body that is read member by member")]
pub(crate) struct HistoryRequest {
    /// The tenant.
    tenant_id: String,
    /// A token, or a key of the tenant (ours).
    auth_token: String,
    /// Begun then or later: `yyyy-MM-dd HH:mm:ss`, UTC unless the tenant is set otherwise.
    #[schema(nullable, example = "2021-04-16 00:00:00")]
    begin_time: Option<String>,
    /// Begun then or earlier, its whole second included.
    #[schema(nullable, example = "2021-04-16 23:59:59")]
    end_time: Option<String>,
    /// The page, from 1. Default 1. A number is accepted as well.
    #[schema(example = "1")]
    page_num: Option<String>,
    /// Records a page: 5, 10, 20, 50 or 100. Default 100. A number is accepted as well.
    #[schema(example = "20")]
    page_size: Option<String>,
    /// Of this call.
    #[schema(example = "16185589414826353c2c0036c0292e43ca7a4")]
    call_id: Option<String>,
    /// Of this user.
    #[schema(example = "180****9999")]
    user_mobile: Option<String>,
    /// Of this call, as the telephony platform names it.
    #[schema(example = "1618558941-22")]
    cti_call_id: Option<String>,
}

/// Records, or why there are none. All members are in every answer (OIF-Q6).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HistoryResponse {
    /// 0 for success.
    #[schema(example = 0)]
    error_code: i32,
    /// `Success`, or what is wrong.
    #[schema(example = "Success")]
    error_msg: String,
    /// How many records match, on all pages.
    #[schema(example = 1)]
    total: u64,
    /// The records of the page.
    record_list: Vec<Record>,
}

impl HistoryResponse {
    fn page(page: HistoryPage, tenant: &Tenant) -> Self {
        let HistoryPage { total, sessions, is_cut: _ } = page;
        Self::records(total, sessions.into_iter().map(|session| Record::of(session, tenant)).collect())
    }

    pub(crate) fn records(total: u64, record_list: Vec<Record>) -> Self {
        Self { error_code: 0, error_msg: "Success".into(), total, record_list }
    }

    fn failure(failure: &Failure) -> Self {
        Self { error_code: failure.code(), error_msg: failure.to_string(), total: 0, record_list: Vec::new() }
    }
}
