//! `POST /v1/callers:export`, `POST /v1/callers:erase` and `GET /v1/erasures/{id}`: what is known of a person. The number is in the body, for
//! URLs are written down in many places.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use calldata_core::audit::Action;
use calldata_core::catalog::Filter;
use calldata_core::json_text::push_string;
use calldata_core::{Caller, CallerKey, Country, Grant, JsonKind, JsonText, JsonTextError, Receipt, Tenant, Timestamp};
use calldata_http::Stay;
use futures_util::stream;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Native;
use crate::client::Need;
use crate::id::Id;
use crate::problem::{Code, Problem, ProblemDocument};
use crate::reading::Reading;
use crate::refusals::ToAdmins;
use crate::resource::JSON;
use crate::shapes::SessionResource;
use crate::visit::{PIECE_MEMORY_BYTES, Visit, text};

/// Whose data it is about.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallerRequest)]
pub(crate) struct CallerRequest {
    /// The caller, as a phone number in any spelling or a user id.
    #[schema(example = "+49 30 123456")]
    caller: String,
    /// The country of a local number; else the tenant's default.
    #[schema(example = "+49")]
    country_code: Option<String>,
}

/// What is known of a caller.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallerExport {
    /// The caller, as compared.
    #[schema(example = "+4930123456")]
    caller: String,
    /// When it was read (RFC 3339).
    #[schema(example = "2024-02-27T12:16:23.926Z")]
    exported_at: String,
    /// All sessions, oldest start first.
    sessions: Vec<SessionResource>,
}

/// That a caller was erased.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Receipt)]
pub(crate) struct ReceiptResource {
    /// Identifies the erasure.
    #[schema(example = "0192f4c4-2222-4abc-8def-000000000001")]
    id: String,
    /// What stands for the caller: a keyed hash.
    #[schema(example = "hmac:q83vEjRWeJCrze8SNFZ4kA")]
    caller: String,
    /// How many sessions were erased.
    #[schema(example = 3)]
    sessions: u64,
    /// How many events about them, once they are erased, too.
    #[schema(example = 5)]
    events: u64,
    /// When it was asked for (RFC 3339).
    requested_at: String,
    /// When nobody could see any of it any more (RFC 3339).
    invisible_at: Option<String>,
    /// When it was gone from the files of the database (RFC 3339); absent until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    purged_at: Option<String>,
}

impl From<Receipt> for ReceiptResource {
    fn from(receipt: Receipt) -> Self {
        let Receipt { id, pseudonym, sessions, events, requested_at, invisible_at, purged_at } = receipt;
        let text = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
        Self {
            id,
            caller: pseudonym,
            sessions,
            events,
            requested_at: requested_at.to_string(),
            invisible_at: text(invisible_at),
            purged_at: text(purged_at),
        }
    }
}

/// Exports what is known of a caller.
#[utoipa::path(
    post, path = "/v1/callers:export", operation_id = "exportCaller", tag = "callers", summary = "Export what is known of a caller",
    description = "Gives everything that is stored of a caller, whichever dialect brought it, as one document. One that breaks off is not \
        all of it, as with an export.",
    request_body(content = CallerRequest, content_type = "application/json"),
    responses(
        ToAdmins,
        (status = 200, description = "What is known; nothing is no failure.", body = CallerExport, content_type = "application/json"),
        (status = 400, description = "The caller cannot be read.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn export(State(native): State<Native>, request: Request) -> Response {
    native.stream(Need::Admin, Stay::Working, request, read).await
}

async fn read(native: &Native, mut visit: Visit<Grant>) -> Result<Response, Problem> {
    let body = visit.read_body(native).await?;
    let as_of = native.shared.sessions.as_of(visit.access.tenant()).await?;
    let access = visit.access.revalidate()?;
    let caller = caller_of(text(&body)?, &access.tenant)?;
    let now = native.shared.sessions.now();
    let filter = Filter { caller: Some(caller.clone()), received_until: Some(as_of), ..Filter::default() };
    let mut head = String::from(r#"{"caller":"#);
    push_string(&mut head, caller.as_str());
    for part in [r#","exportedAt":""#, &now.to_string(), r#"","sessions":["#] {
        head.push_str(part);
    }
    visit.seat.reserve(PIECE_MEMORY_BYTES).await?;
    native.audit.write_down(&access, Action::Exported, Some(&caller), 0).await?;
    let mut reading = Reading::new(native.clone(), visit.access, visit.seat, filter)?;
    // The first piece is read before the status is given.
    let mut is_first = true;
    let begun = reading.read_on().await?.unwrap_or_default();
    let mut first = head.into_bytes();
    write_items(&begun, &mut is_first, &mut first);
    let rest = stream::unfold(Some((reading, is_first)), |state| async {
        let (mut reading, mut is_first) = state?;
        let mut piece = Vec::new();
        match reading.read_on().await {
            Ok(Some(sessions)) => {
                write_items(&sessions, &mut is_first, &mut piece);
                Some((Ok(Bytes::from(piece)), Some((reading, is_first))))
            }
            Ok(None) => Some((Ok(Bytes::from_static(b"]}")), None)),
            Err(error) => {
                error.log("callers:export");
                // The client sees the answer end before its end.
                Some((Err(error), None))
            }
        }
    });
    let body = Body::from_stream(futures_util::StreamExt::chain(stream::iter([Ok(Bytes::from(first))]), rest));
    Ok(([(header::CONTENT_TYPE, JSON)], body).into_response())
}

fn write_items(sessions: &[calldata_core::Session], is_first: &mut bool, out: &mut Vec<u8>) {
    for session in sessions {
        let mut item = String::from(if std::mem::take(is_first) { "" } else { "," });
        calldata_interchange::write_session(session, &mut item);
        out.extend_from_slice(item.as_bytes());
    }
}

/// Erases a caller.
#[utoipa::path(
    post, path = "/v1/callers:erase", operation_id = "eraseCaller", tag = "callers", summary = "Erase what is known of a caller",
    description = "Erases every session of a caller, whichever dialect brought it, and what was told of them. When this is answered, nobody \
        sees any of it any more; within a minute it is gone from the files of the database, too, which the receipt then says. A request that \
        comes again late is answered as if nothing had happened, and stores nothing. One that was still under way, because a database made \
        it wait, is erased within a second of being stored. What the caller does from now on is stored as before.",
    request_body(content = CallerRequest, content_type = "application/json"),
    responses(
        ToAdmins,
        (status = 200, description = "Erased; nothing to erase is no failure.", body = ReceiptResource, content_type = "application/json"),
        (status = 400, description = "The caller cannot be read.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = "default", description = "Too many requests, too busy (asking again is safe), or a failure.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn erase(State(native): State<Native>, request: Request) -> Response {
    native.answer(Need::Admin, request, erase_now).await
}

async fn erase_now(native: &Native, mut visit: Visit) -> Result<Response, Problem> {
    let body = visit.read_body(native).await?;
    let caller = caller_of(text(&body)?, &visit.access.tenant)?;
    let receipt = native.eraser.erase(&visit.access, caller).await?;
    Ok(answer(receipt))
}

/// Gives the receipt of an erasure.
#[utoipa::path(
    get, path = "/v1/erasures/{id}", operation_id = "getErasure", tag = "callers", summary = "Get the receipt of an erasure",
    description = "Gives the receipt once more, and says whether what was erased is gone from the files of the database by now.",
    params(("id" = String, Path, description = "The erasure.", example = "0192f4c4-2222-4abc-8def-000000000001")),
    responses(
        ToAdmins,
        (status = 200, description = "The receipt.", body = ReceiptResource, content_type = "application/json"),
        (status = 404, description = "There is no such erasure.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn receipt(State(native): State<Native>, Id(id): Id, request: Request) -> Response {
    let find = async move |native: &Native, visit: Visit| {
        // What cannot be stored identifies nothing.
        let id = Some(id).filter(|id| !id.contains('\0'));
        let found = match id {
            Some(id) => native.eraser.receipt(visit.access.tenant.id, &id).await?,
            None => None,
        };
        found.map(answer).ok_or_else(|| Problem::new(Code::NotFound, "there is no erasure with this id"))
    };
    native.answer(Need::Admin, request, find).await
}

fn answer(receipt: Receipt) -> Response {
    match serde_json::to_string(&ReceiptResource::from(receipt)) {
        Ok(body) => ([(header::CONTENT_TYPE, JSON)], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The caller that a body names.
fn caller_of(body: &str, tenant: &Tenant) -> Result<CallerKey, Problem> {
    let unreadable = |error| Problem::new(Code::InvalidRequest, format!("the body is {error}"));
    let members = JsonText::parse(body).map_err(unreadable)?.pairs().ok_or(JsonTextError::NotAnObject).map_err(unreadable)?;
    let (mut caller, mut country) = (None, tenant.default_country);
    for (name, value) in members {
        match name.as_str() {
            // Nobody could tell which one is meant.
            "caller" if caller.is_some() => return Err(Problem::invalid("caller", "is given twice")),
            "caller" => caller = value.as_string().filter(|caller| !caller.is_empty()),
            "countryCode" if value.kind() == JsonKind::Null => {}
            "countryCode" => {
                let code = value.as_scalar_text().and_then(|code| Country::parse(&code).ok());
                country = code.ok_or_else(|| {
                    Problem::invalid("countryCode", "is not a country (a calling code such as +41, or two letters such as CH)")
                })?;
            }
            // Here the name of a member may be the number itself.
            _ => return Err(Problem::new(Code::UnknownMember, "a member is not known; there are caller and countryCode")),
        }
    }
    let caller = caller.ok_or_else(|| Problem::invalid("caller", "must be a phone number or a user id"))?;
    let caller = Caller::new(&caller, country).map_err(|error| Problem::invalid("caller", &error.to_string()))?;
    Ok(caller.key().clone())
}
