//! `GET /v1/sessions/{id}`: one session.

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use calldata_core::SessionId;
use calldata_interchange::vcon;

use crate::Native;
use crate::accepted::preferred;
use crate::client::Need;
use crate::id::Id;
use crate::problem::{Problem, ProblemDocument};
use crate::query::Parameters;
use crate::refusals::ToReaders;
use crate::resource::{JSON, answer, is_known, set_tag, tag, vcon_tag};
use crate::shapes::SessionResource;
use crate::visit::Visit;

/// What a vCon is called.
pub(crate) const VCON: &str = "application/vcon+json";

/// Gives a session.
#[utoipa::path(
    get, path = "/v1/sessions/{id}", operation_id = "getSession", tag = "sessions", summary = "Get a session",
    description = "Gives one session. With `Accept: application/vcon+json`, as a vCon, unless JSON is accepted as gladly.",
    params(
        ("id" = String, Path, description = "The session.", example = "0192f4c4-1111-7abc-8def-000000000001"),
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "The tag of what is there already."),
    ),
    responses(
        ToReaders,
        (status = 200, description = "The session.", content((SessionResource = "application/json"), (serde_json::Value = "application/vcon+json")),
            headers(("ETag" = String, description = "Changes with the session."))),
        (status = 304, description = "It is what is there already."),
        (status = 404, description = "There is no such live session.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = "default", description = "A bad request, too many requests, too busy, or a failure.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn get(State(native): State<Native>, Id(id): Id, request: Request) -> Response {
    native.answer(Need::Read, request, async move |native: &Native, visit| show(native, visit, &id).await).await
}

async fn show(native: &Native, visit: Visit, id: &str) -> Result<Response, Problem> {
    Parameters::read(visit.parts.uri.query(), &[])?;
    let id = session_id(id)?;
    let found = native.shared.sessions.find(&visit.access, &id).await?.ok_or_else(Problem::no_session)?;
    let as_vcon = preferred(&visit.parts.headers, JSON, &[VCON]) == VCON;
    let tag = if as_vcon { vcon_tag(&tag(&found)) } else { tag(&found) };
    if is_known(&visit.parts.headers, &tag)? {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        set_tag(&mut response, &tag);
        response.headers_mut().insert(header::VARY, header::HeaderValue::from_static("Accept"));
        return Ok(response);
    }
    let mut response = if as_vcon {
        let mut text = String::new();
        vcon::write(&found, &visit.access.tenant.name, &mut text);
        let mut response = ([(header::CONTENT_TYPE, VCON)], text).into_response();
        set_tag(&mut response, &tag);
        response
    } else {
        answer(StatusCode::OK, &found, &tag)
    };
    response.headers_mut().insert(header::VARY, header::HeaderValue::from_static("Accept"));
    Ok(response)
}

/// One that cannot be stored belongs to no session.
pub(crate) fn session_id(id: &str) -> Result<SessionId, Problem> {
    SessionId::new(id).map_err(|_| Problem::no_session())
}
