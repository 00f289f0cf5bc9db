//! `GET /v1/audit`: who read, wrote, exported and erased what.

use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use calldata_core::audit::{Action, Entry, EntryFilter, EntryPlace};
use calldata_core::{KeyId, TenantId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Native;
use crate::client::Need;
use crate::cursor::Parts;
use crate::problem::{Code, Problem, ProblemDocument};
use crate::query::Parameters;
use crate::refusals::ToAdmins;
use crate::resource::JSON;
use crate::visit::Visit;

const PARAMETERS: [&str; 8] = ["from", "to", "keyId", "action", "caller", "countryCode", "limit", "cursor"];

/// What somebody did.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditEntry)]
pub(crate) struct AuditEntry {
    /// When (RFC 3339), to the second or so; of what is read and written, the first time within its hour.
    #[schema(example = "2024-02-27T12:16:23.926Z")]
    at: String,
    /// By which key; `operator` for the command line.
    #[schema(example = "k0123456789abcde")]
    key_id: String,
    /// `read`, `wrote`, `exported` or `erased`.
    #[schema(example = "read")]
    action: &'static str,
    /// A keyed hash of the caller, never the number; absent for what is of many.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "hmac:q83vEjRWeJCrze8SNFZ4kA")]
    caller: Option<String>,
    /// How many sessions.
    #[schema(example = 1)]
    sessions: u64,
}

/// A part of the audit trail, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditPage {
    items: Vec<AuditEntry>,
    /// Where to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Lists who did what.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "listAudit", tag = "callers", summary = "List who read, wrote, exported and erased what",
    description = "Lists what was done with this tenant's sessions, in every dialect, newest first. What is read and written is there within a \
        second or so, what is exported and erased before it is answered. What one key read or wrote of one caller's sessions within an \
        hour (UTC) is one entry, with the time of the first and the number of all; several instances may have one each.",
    params(
        ("from" = Option<String>, Query, description = "Then or later (RFC 3339); what was read and written, in that hour or later.", example = "2024-02-27T00:00:00Z"),
        ("to" = Option<String>, Query, description = "Then or earlier (RFC 3339).", example = "2034-02-28T00:00:00Z"),
        ("keyId" = Option<String>, Query, description = "By this key.", example = "k0123456789abcde"),
        ("action" = Option<String>, Query, description = "`read`, `wrote`, `exported` or `erased`.", example = "read"),
        ("caller" = Option<String>, Query, description = "About this caller: the keyed hash, or a phone number or user id, which is better kept out of URLs.", example = "hmac:q83vEjRWeJCrze8SNFZ4kA"),
        ("countryCode" = Option<String>, Query, description = "The country of a local number in `caller`.", example = "+49"),
        ("limit" = Option<u32>, Query, description = "How many at most, 1 to 100. Default 50.", minimum = 1, maximum = 100, example = 10),
        ("cursor" = Option<String>, Query, description = "Where to go on: the `next` of the page before."),
    ),
    responses(
        ToAdmins,
        (status = 200, description = "A page.", body = AuditPage, content_type = "application/json"),
        (status = 400, description = "A parameter is unknown or breaks a rule.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn audit(State(native): State<Native>, request: Request) -> Response {
    native.answer(Need::Admin, request, list).await
}

async fn list(native: &Native, visit: Visit) -> Result<Response, Problem> {
    let parameters = Parameters::read(visit.parts.uri.query(), &PARAMETERS)?;
    let tenant = &visit.access.tenant;
    let callers = match parameters.get("caller") {
        Some(name) if name.starts_with("hmac:") => vec![name.to_owned()],
        _ => parameters.filter(tenant.default_country)?.caller.map(|caller| native.audit.names_of(tenant.id, &caller)).unwrap_or_default(),
    };
    let action = parameters.get("action").map(|name| Action::parse(name).ok_or("must be read, wrote, exported or erased")).transpose();
    let filter = EntryFilter {
        from: parameters.time("from")?,
        until: parameters.time("to")?,
        key: parameters.get("keyId").map(KeyId::new).transpose().map_err(|error| Problem::invalid("keyId", &error.to_string()))?,
        action: action.map_err(|rule| Problem::invalid("action", rule))?,
        callers,
    };
    let parts = parts_of(tenant.id, &filter);
    let after = parameters.get("cursor").map(|cursor| {
        place(native, &parts, cursor).ok_or_else(|| Problem::about(Code::InvalidCursor, "cursor", "is not one of this list"))
    });
    let limit = parameters.limit()?;
    let mut found = native.audit.entries(tenant.id, &filter, after.transpose()?, limit + 1).await?;
    let is_last = u64::try_from(found.len()).unwrap_or(u64::MAX) <= limit;
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next =
        found.last().filter(|_| !is_last).and_then(|last| native.cursors.sign(&parts, &format!("{}.{}", last.at.epoch_ms(), last.id)));
    let page = AuditPage { items: found.into_iter().map(AuditEntry::from).collect(), next };
    let body = serde_json::to_string(&page).map_err(|_| Problem::new(Code::Internal, "the page cannot be written"))?;
    Ok(([(header::CONTENT_TYPE, JSON)], body).into_response())
}

/// What tells this list from others.
fn parts_of(tenant: TenantId, filter: &EntryFilter) -> Parts {
    let EntryFilter { from, until, key, action, callers } = filter;
    let number = |moment: &Option<Timestamp>| moment.map(|moment| moment.epoch_ms().to_string());
    vec![
        Some("audit".to_owned()),
        Some(tenant.number().to_string()),
        number(from),
        number(until),
        key.as_ref().map(|key| key.as_str().to_owned()),
        action.map(|action| action.name().to_owned()),
        Some(callers.join(" ")),
    ]
}

fn place(native: &Native, parts: &Parts, cursor: &str) -> Option<EntryPlace> {
    let text = native.cursors.signed(parts, cursor)?;
    let (at, id) = text.split_once('.')?;
    Some(EntryPlace { at: Timestamp::from_epoch_ms(at.parse().ok()?)?, id: id.parse().ok()? })
}

impl From<Entry> for AuditEntry {
    fn from(entry: Entry) -> Self {
        let Entry { id: _, at, tenant: _, key, action, caller, sessions } = entry;
        Self { at: at.to_string(), key_id: key.into_string(), action: action.name(), caller, sessions }
    }
}
