//! `POST /v1/sessions/{id}/turns` and `PUT /v1/sessions/{id}`: more of a session while the call runs, or another one in its place.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use calldata_core::masking::shown;
use calldata_core::port::{Amend, Amended, Once};
use calldata_core::{Access, Details, Session, SessionId};
use calldata_interchange::read_turn_documents;

use crate::Native;
use crate::client::Need;
use crate::create::{REPLAYED, read_body};
use crate::get::session_id;
use crate::id::Id;
use crate::once::once;
use crate::problem::{Code, Problem, ProblemDocument};
use crate::refusals::ToWriters;
use crate::resource::{self, Expected, answer, tag};
use crate::shapes::{AdditionsResource, SessionResource};
use crate::visit::{Visit, text};

/// A session may grow to this many times the largest body.
const MAX_GROWTH: usize = 4;

/// Adds turns and answers.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/turns", operation_id = "appendTurns", tag = "sessions", summary = "Append turns and answers",
    description = "Adds turns and answers behind those that a session has, and answers with the session as it is then, once it is durable. \
        With an `Idempotency-Key`, the same request again within a day adds nothing.",
    params(
        ("id" = String, Path, description = "The session.", example = "0192f4c4-1111-7abc-8def-000000000001"),
        ("If-Match" = Option<String>, Header, nullable = false, description = "The tag that the session must have."),
        ("Idempotency-Key" = Option<String>, Header, nullable = false, description = "A name for the request, 1 to 255 characters; the same one for every repetition."),
    ),
    request_body(content = AdditionsResource, content_type = "application/json"),
    responses(
        ToWriters,
        (status = 200, description = "Added.", body = SessionResource, content_type = "application/json",
            headers(("ETag" = String, description = "Changes with the session."),
                ("Idempotency-Replayed" = String, description = "`true` where the request was done before."))),
        (status = 204, description = "Added; the key may not read, and is not told what else there is. Or it was added before, and the session was erased since."),
        (status = 400, description = "The turns cannot be read, or break a rule.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "There is no such live session.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "Another request has this key.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, description = "The session has another tag.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The body, or the session, would be too large.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn append(State(native): State<Native>, Id(id): Id, request: Request) -> Response {
    native.answer(Need::Write, request, async move |native: &Native, visit| add(native, visit, &id).await).await
}

async fn add(native: &Native, mut visit: Visit, id: &str) -> Result<Response, Problem> {
    let id = session_id(id)?;
    let body = visit.read_body(native).await?;
    let once = once(&visit, &format!("POST /v1/sessions/{id}/turns"), &body)?;
    let (turns, answers) = read_turn_documents(text(&body)?)?;
    if turns.is_empty() && answers.is_empty() {
        return Err(Problem::invalid("turns", "is empty, and so is answers"));
    }
    let change = move |details: &Details| {
        let mut details = details.clone();
        details.turns.extend(turns.iter().cloned());
        details.answers.extend(answers.iter().cloned());
        details
    };
    amend(native, &visit.access, id, Expected::of(&visit.parts.headers)?, once, Keeps::Everything, change).await
}

/// Puts another session in the place of one.
#[utoipa::path(
    put, path = "/v1/sessions/{id}", operation_id = "replaceSession", tag = "sessions", summary = "Replace a session",
    description = "Puts what is given in the place of a session, which keeps its id, its source and its first receipt. What is not given is \
        gone. With `Content-Type: application/vcon+json`, the body is a vCon.",
    params(
        ("id" = String, Path, description = "The session.", example = "0192f4c4-1111-7abc-8def-000000000001"),
        ("If-Match" = Option<String>, Header, nullable = false, description = "The tag that the session must have."),
    ),
    request_body(content = SessionResource, content_type = "application/json"),
    responses(
        ToWriters,
        (status = 200, description = "Replaced.", body = SessionResource, content_type = "application/json",
            headers(("ETag" = String, description = "Changes with the session."))),
        (status = 204, description = "Replaced; the key may not read."),
        (status = 400, description = "The session cannot be read, or breaks a rule.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "There is no such live session.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, description = "The session has another tag.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn replace(State(native): State<Native>, Id(id): Id, request: Request) -> Response {
    native.answer(Need::Write, request, async move |native: &Native, visit| put(native, visit, &id).await).await
}

async fn put(native: &Native, mut visit: Visit, id: &str) -> Result<Response, Problem> {
    let id = session_id(id)?;
    let body = visit.read_body(native).await?;
    let new = read_body(&visit, &body)?;
    if new.id.is_some_and(|given| given != id) {
        return Err(Problem::invalid("id", "is not that of the path"));
    }
    let (given, expected) = (new.details, Expected::of(&visit.parts.headers)?);
    let change = move |details: &Details| Details { source: details.source, ..given.clone() };
    amend(native, &visit.access, id, expected, None, Keeps::Nothing, change).await
}

/// What a change keeps of what there was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    Everything,
    /// Whoever may not see all of it must not put anything in its place.
    Nothing,
}

async fn amend(
    native: &Native,
    access: &Access,
    id: SessionId,
    expected: Expected,
    once: Option<Once>,
    keeps: Keeps,
    change: impl Fn(&Details) -> Details + Send + Sync + 'static,
) -> Result<Response, Problem> {
    let (reader, now) = (access.clone(), native.shared.sessions.now());
    let most_bytes = native.shared.limits.body_bytes.saturating_mul(MAX_GROWTH);
    let decide = move |session: &Session| {
        let seen = shown(&reader, session, now);
        // By the tag of what this client sees and by no other one: tags could be guessed.
        if !expected.is_met(&seen) {
            return Err(Problem::about(Code::PreconditionFailed, "If-Match", "names another state of the session; get it again"));
        }
        if keeps == Keeps::Nothing && seen != *session {
            return Err(Problem::new(Code::NotPermitted, "some of the session is masked for this key, and would be lost"));
        }
        let changed = Session { details: change(&session.details), ..session.clone() };
        if resource::text(&changed).len() > most_bytes {
            return Err(Problem::new(Code::TooLarge, format!("the session would have more than {most_bytes} bytes")));
        }
        Ok(changed.details)
    };
    // The store is told what becomes of a session, the client why nothing does.
    let refusal = Arc::new(Mutex::new(None));
    let tell = Arc::clone(&refusal);
    let amend: Amend = Arc::new(move |session: &Session| {
        decide(session).map_err(|problem| *tell.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem)).ok()
    });
    let amended = native.shared.sessions.amend(access, id, once, amend).await?;
    let repeated = |mut response: Response| {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        response
    };
    // Who may only write is not told what else there is.
    let shown = |session: &Session| {
        if access.scopes.read { answer(StatusCode::OK, session, &tag(session)) } else { StatusCode::NO_CONTENT.into_response() }
    };
    match amended {
        Amended::Changed(session) => Ok(shown(&session)),
        Amended::Repeated(session) => Ok(repeated(shown(&session))),
        // It was done, and there is nothing left to show.
        Amended::Erased => Ok(repeated(StatusCode::NO_CONTENT.into_response())),
        Amended::Left(_) => Err(refusal.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_else(Problem::busy)),
        Amended::NameTaken => Err(Problem::about(Code::Conflict, "Idempotency-Key", "belongs to a request for something else")),
        Amended::NoSuchSession => Err(Problem::no_session()),
    }
}
