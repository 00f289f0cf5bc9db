//! `GET /v1/sessions` and `GET /v1/calls`: sessions, one by one or by call.

use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use calldata_core::Timestamp;
use calldata_core::catalog::{Call, Filter, Place};
use calldata_core::json_text::push_string;
use calldata_interchange::write_session;

use crate::Native;
use crate::client::Need;
use crate::cursor::List;
use crate::problem::{Code, Problem, ProblemDocument};
use crate::query::Parameters;
use crate::refusals::ToReaders;
use crate::resource::JSON;
use crate::shapes::{CallPage, SessionPage};
use crate::visit::{PIECE_MEMORY_BYTES, Visit};

const LIST: [&str; 12] =
    ["caller", "callId", "ctiCallId", "conversationId", "countryCode", "intent", "from", "to", "text", "limit", "cursor", "count"];

/// Lists sessions.
#[utoipa::path(
    get, path = "/v1/sessions", operation_id = "listSessions", tag = "sessions", summary = "List sessions",
    description = "Lists the sessions that match all that is given, newest start first, ties by id. `next` is where to go on, given back as \
        `cursor` with the same parameters; it stays good while sessions arrive, repeats none and passes over none. A page may be short, or \
        empty, while there is a `next`: what was looked at in a second did not match. An unknown parameter is refused.",
    params(
        ("caller" = Option<String>, Query, description = "Of this caller, compared as a phone number in any spelling, or a user id.", example = "+4930123456"),
        ("countryCode" = Option<String>, Query, description = "The country of a local number in `caller`; else the tenant's default.", example = "+49"),
        ("callId" = Option<String>, Query, description = "Of this call.", example = "145644644ff"),
        ("ctiCallId" = Option<String>, Query, description = "Of this call, as the telephony platform names it."),
        ("conversationId" = Option<String>, Query, description = "Of this conversation."),
        ("intent" = Option<String>, Query, description = "In which the caller wanted this; without an intent of its own, a session has that of its last turn."),
        ("from" = Option<String>, Query, description = "Begun then or later (RFC 3339). A session whose start is not told began when it was first received.", example = "2024-02-27T00:00:00Z"),
        ("to" = Option<String>, Query, description = "Begun then or earlier (RFC 3339).", example = "2034-02-28T00:00:00Z"),
        ("text" = Option<String>, Query, description = "With this in their `content`, in any letter case."),
        ("limit" = Option<u32>, Query, description = "How many at most, 1 to 100. Default 50.", minimum = 1, maximum = 100, example = 10),
        ("cursor" = Option<String>, Query, description = "Where to go on: the `next` of the page before."),
        ("count" = Option<bool>, Query, description = "Whether to count all that match, too. Not together with `text`.", example = true),
    ),
    responses(
        ToReaders,
        (status = 200, description = "A page.", body = SessionPage, content_type = "application/json"),
        (status = 400, description = "A parameter is unknown or breaks a rule, or the cursor is not one of this list.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn list(State(native): State<Native>, request: Request) -> Response {
    native.answer(Need::Read, request, sessions).await
}

async fn sessions(native: &Native, visit: Visit) -> Result<Response, Problem> {
    let parameters = Parameters::read(visit.parts.uri.query(), &LIST)?;
    let asked = Asked::of(native, &visit, &parameters, "sessions")?;
    let Asked { filter, after, limit, .. } = &asked;
    let count = parameters.switch("count")?;
    if count && filter.text.is_some() {
        return Err(Problem::invalid("count", "cannot be combined with text"));
    }
    // How many there are would tell what is masked in them.
    if count && (filter.intent.is_some() || filter.cti_call_id.is_some()) && !visit.access.sees_all() {
        return Err(Problem::invalid("count", "cannot be combined with intent or ctiCallId by a key that sees masked sessions"));
    }
    visit.seat.reserve(PIECE_MEMORY_BYTES).await?;
    let page = native.shared.sessions.list(&visit.access, filter, after.clone(), *limit).await?;
    let total = if count { Some(native.shared.sessions.count(&visit.access, filter).await?) } else { None };
    let mut text = String::from(r#"{"items":["#);
    for (number, session) in page.items.iter().enumerate() {
        if number > 0 {
            text.push(',');
        }
        write_session(session, &mut text);
    }
    Ok(asked.page(native, &visit, text, page.next.as_ref(), total))
}

/// Lists calls.
#[utoipa::path(
    get, path = "/v1/calls", operation_id = "listCalls", tag = "sessions", summary = "List calls",
    description = "Lists the calls of which a session matches all that is given, each with all its sessions, oldest start first. A call is \
        what one caller did under one call id. Ordered by when the first session that matches began, newest first; otherwise as the list of \
        sessions.",
    params(
        ("caller" = Option<String>, Query, description = "As for sessions; so are the others.", example = "+4930123456"),
        ("countryCode" = Option<String>, Query, description = "The country of a local number in `caller`.", example = "+49"),
        ("callId" = Option<String>, Query, description = "This call.", example = "145644644ff"),
        ("ctiCallId" = Option<String>, Query, description = "This call, as the telephony platform names it."),
        ("conversationId" = Option<String>, Query, description = "With this conversation."),
        ("intent" = Option<String>, Query, description = "In which the caller wanted this."),
        ("from" = Option<String>, Query, description = "With a session begun then or later (RFC 3339).", example = "2024-02-27T00:00:00Z"),
        ("to" = Option<String>, Query, description = "With a session begun then or earlier (RFC 3339).", example = "2034-02-28T00:00:00Z"),
        ("text" = Option<String>, Query, description = "With this in the `content` of a session, in any letter case."),
        ("limit" = Option<u32>, Query, description = "How many calls at most, 1 to 100. Default 50.", minimum = 1, maximum = 100, example = 10),
        ("cursor" = Option<String>, Query, description = "Where to go on: the `next` of the page before."),
    ),
    responses(
        ToReaders,
        (status = 200, description = "A page.", body = CallPage, content_type = "application/json"),
        (status = 400, description = "A parameter is unknown or breaks a rule, or the cursor is not one of this list.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn list_calls(State(native): State<Native>, request: Request) -> Response {
    native.answer(Need::Read, request, calls).await
}

async fn calls(native: &Native, visit: Visit) -> Result<Response, Problem> {
    let parameters = Parameters::read(visit.parts.uri.query(), LIST.split_last().map_or(&LIST, |(_count, others)| others))?;
    let asked = Asked::of(native, &visit, &parameters, "calls")?;
    let Asked { filter, after, limit, .. } = &asked;
    visit.seat.reserve(PIECE_MEMORY_BYTES).await?;
    let page = native.shared.sessions.list_calls(&visit.access, filter, after.clone(), *limit).await?;
    let mut text = String::from(r#"{"items":["#);
    for (number, call) in page.items.iter().enumerate() {
        if number > 0 {
            text.push(',');
        }
        write_call(call, &mut text);
    }
    Ok(asked.page(native, &visit, text, page.next.as_ref(), None))
}

fn write_call(call: &Call, text: &mut String) {
    let Some(last) = call.sessions.last() else { return text.push_str("{}") };
    text.push_str(r#"{"callId":"#);
    push_string(text, last.details.call_id.as_str());
    text.push_str(r#","caller":"#);
    push_string(text, last.details.caller.spelling());
    let started = call.sessions.iter().map(calldata_core::Session::started).min();
    let updated = call.sessions.iter().map(calldata_core::Session::updated).max();
    for (name, moment) in [("startedAt", started), ("updatedAt", updated)] {
        for part in [",\"", name, "\":\"", &moment.unwrap_or(Timestamp::EARLIEST).to_string(), "\""] {
            text.push_str(part);
        }
    }
    if call.is_cut {
        text.push_str(r#","isCut":true"#);
    }
    text.push_str(r#","sessions":["#);
    for (number, session) in call.sessions.iter().enumerate() {
        if number > 0 {
            text.push(',');
        }
        write_session(session, text);
    }
    text.push_str("]}");
}

/// A page that is asked for.
struct Asked {
    kind: &'static str,
    filter: Filter,
    after: Option<Place>,
    limit: u64,
}

impl Asked {
    fn of(native: &Native, visit: &Visit, parameters: &Parameters, kind: &'static str) -> Result<Self, Problem> {
        let tenant = &visit.access.tenant;
        let filter = parameters.filter(tenant.default_country)?;
        let after = match parameters.get("cursor") {
            None => None,
            Some(cursor) => {
                let place = native.cursors.read(&List { tenant: tenant.id, kind, filter: &filter }, cursor);
                let unknown = || Problem::about(Code::InvalidCursor, "cursor", "is not one of this list; give the same parameters again");
                Some(place.ok_or_else(unknown)?)
            }
        };
        Ok(Self { kind, filter, after, limit: parameters.limit()? })
    }

    /// Ends a page whose items are written.
    fn page(&self, native: &Native, visit: &Visit, mut text: String, next: Option<&Place>, total: Option<u64>) -> Response {
        text.push(']');
        let list = List { tenant: visit.access.tenant.id, kind: self.kind, filter: &self.filter };
        if let Some(cursor) = next.and_then(|next| native.cursors.write(&list, next)) {
            text.push_str(r#","next":"#);
            push_string(&mut text, &cursor);
        }
        if let Some(total) = total {
            text.push_str(r#","total":"#);
            text.push_str(&total.to_string());
        }
        text.push('}');
        ([(header::CONTENT_TYPE, JSON)], text).into_response()
    }
}
