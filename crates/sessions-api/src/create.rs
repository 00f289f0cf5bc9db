//! `POST /v1/sessions`: one session.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use calldata_core::masking::shown;
use calldata_core::port::Creation;
use calldata_core::{NewSession, Session, Tenant};
use calldata_interchange::{SessionDocument, vcon};

use crate::Native;
use crate::client::Need;
use crate::get::VCON;
use crate::once::once;
use crate::problem::{Code, Problem, ProblemDocument};
use crate::refusals::ToWriters;
use crate::resource::{answer, tag};
use crate::shapes::SessionResource;
use crate::visit::{Visit, text};

pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Stores a session.
#[utoipa::path(
    post, path = "/v1/sessions", operation_id = "createSession", tag = "sessions", summary = "Store a session",
    description = "Stores one session, with its turns and answers if there are any, and answers once it is durable. With an \
        `Idempotency-Key`, the same request again within a day is answered as the first one was and stores nothing. With `Content-Type: \
        application/vcon+json`, the body is a vCon.",
    params(("Idempotency-Key" = Option<String>, Header, nullable = false, description = "A name for the request, 1 to 255 characters; the same one for every repetition.")),
    request_body(content = SessionResource, content_type = "application/json"),
    responses(
        ToWriters,
        (status = 201, description = "Stored.", body = SessionResource, content_type = "application/json",
            headers(("Location" = String, description = "The path of the session."), ("ETag" = String, description = "Changes with the session."),
                ("Idempotency-Replayed" = String, description = "`true` where the request was done before."))),
        (status = 400, description = "The session cannot be read, or breaks a rule.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "There is a session with this id, or another request with this key.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn create(State(native): State<Native>, request: Request) -> Response {
    native.answer(Need::Write, request, store).await
}

async fn store(native: &Native, mut visit: Visit) -> Result<Response, Problem> {
    let body = visit.read_body(native).await?;
    let once = once(&visit, "POST /v1/sessions", &body)?;
    let new = read_body(&visit, &body)?;
    let (creation, session) = native.shared.sessions.create(&visit.access, new, once).await?;
    match creation {
        Creation::Created => Ok(created(&session, false)),
        Creation::Repeated(Some(known)) if visit.access.scopes.read => Ok(created(&known, true)),
        // Who may only write is told what he was told the first time, and not what became of it since.
        Creation::Repeated(Some(known)) => {
            let first = known.received_first;
            let session = Session { id: known.id, received_first: first, received_last: first, ..session };
            Ok(created(&shown(&visit.access, &session, native.shared.sessions.now()), true))
        }
        // Of one that is gone since, what it was told to be is all that is known.
        Creation::Repeated(None) => Ok(created(&session, true)),
        Creation::NameTaken => Err(Problem::about(Code::Conflict, "Idempotency-Key", "belongs to a request for something else")),
        Creation::IdTaken => Err(Problem::about(Code::Conflict, "id", "belongs to a session that is there already")),
    }
}

/// The session in a body, as JSON or as a vCon.
pub(crate) fn read_body(visit: &Visit, body: &[u8]) -> Result<NewSession, Problem> {
    let tenant = &visit.access.tenant;
    let media_type = visit.header("content-type")?.and_then(|value| value.split(';').next()).map(str::trim);
    if media_type.is_some_and(|media_type| media_type.eq_ignore_ascii_case(VCON)) {
        return Ok(NewSession { received: None, ..vcon::read(text(body)?, tenant.default_country)? });
    }
    read_session(text(body)?, tenant)
}

/// The session that a text describes. When it was received, is the gateway's to say.
pub(crate) fn read_session(text: &str, tenant: &Tenant) -> Result<NewSession, Problem> {
    let session = SessionDocument::parse(text)?.into_session(tenant.default_country)?;
    Ok(NewSession { received: None, ..session })
}

fn created(session: &Session, replayed: bool) -> Response {
    let mut response = answer(StatusCode::CREATED, session, &tag(session));
    if let Ok(location) = HeaderValue::try_from(path(session)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// The path of a session, whatever its identifier consists of.
fn path(session: &Session) -> String {
    let id: String = form_urlencoded::byte_serialize(session.id.as_str().as_bytes()).collect();
    // In a path, a space is no plus.
    format!("/v1/sessions/{}", id.replace('+', "%20"))
}
