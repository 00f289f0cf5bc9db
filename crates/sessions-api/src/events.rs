//! `GET /v1/events`: what happens to sessions, as it happens (server-sent events).

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use calldata_core::json_text::push_string;
use calldata_core::{Access, EventId, FollowError, Follower, Told};
use calldata_http::{Seat, Stay, log_failure};
use calldata_interchange::write_session;
use futures_util::stream;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Native;
use crate::client::Need;
use crate::problem::{Code, Problem, ProblemDocument};
use crate::query::Parameters;
use crate::refusals::ToReaders;
use crate::shapes::SessionResource;
use crate::visit::Visit;

const LAST_EVENT_ID: &str = "last-event-id";
/// After how long without an event something is sent, so that whoever is gone is noticed; and how often it is looked whether the key is live.
const SILENCE: Duration = Duration::from_secs(5);
/// After how long a client is to come again.
const RETRY: Duration = Duration::from_secs(1);

/// What happened to a session: the `data` of an event, and the body of a push.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Event)]
pub(crate) struct EventResource {
    /// `session.created`, `session.updated` or `session.erased`.
    #[schema(example = "session.created")]
    r#type: String,
    /// When it happened (RFC 3339).
    #[schema(example = "2024-02-27T12:16:23.926Z")]
    timestamp: String,
    data: EventData,
}

/// Which session, and the session as it is now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventData {
    /// The session.
    #[schema(example = "0192f4c4-1111-7abc-8def-000000000001")]
    id: String,
    /// Absent where it was erased.
    session: Option<SessionResource>,
}

/// Follows sessions.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "followEvents", tag = "events", summary = "Follow sessions",
    description = "Tells of sessions as they are stored, changed and erased, with the session as it is when it is told (server-sent events; \
        `id`, `event` and `data`, which is one JSON object). With the id of the last event in `Last-Event-ID`, goes on after it: what \
        happened while nobody listened is told first, up to a week of it. An event may come again, and none is left out; of sessions that \
        have expired nothing is told, and of those that were erased only that. Loading by the command line is not told of.",
    params(
        ("Last-Event-ID" = Option<String>, Header, nullable = false, description = "The id of the last event that arrived, as it was given; from now on where it is not given.", example = "00a1b2c3d4-17-1"),
        ("lastEventId" = Option<String>, Query, description = "The same, for clients that cannot send a header."),
    ),
    responses(
        ToReaders,
        (status = 200, description = "Events, without an end.", body = EventResource, content_type = "text/event-stream"),
        (status = 400, description = "There is no such event, later ones have been dropped since, or the database was restored: list the sessions, and begin anew.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn events(State(native): State<Native>, request: Request) -> Response {
    native.stream(Need::Read, Stay::Waiting, request, follow).await
}

async fn follow(native: &Native, visit: Visit) -> Result<Response, Problem> {
    let parameters = Parameters::read(visit.parts.uri.query(), &["lastEventId"])?;
    let after = visit.header(LAST_EVENT_ID)?.filter(|id| !id.is_empty()).or(parameters.get("lastEventId"));
    let unknown = |why: &str| Problem::about(Code::InvalidCursor, "Last-Event-ID", why);
    let after = after.map(str::parse::<EventId>).transpose().map_err(|_| unknown("is not the id of an event"))?;
    let Visit { access, seat, .. } = visit;
    let follower = native.shared.sessions.follow(access, after).await.map_err(|error| match error {
        FollowError::Unknown => unknown("is not the id of an event"),
        FollowError::OtherEpoch => {
            unknown("is of another database, or of a time before this one was restored; list the sessions, and begin anew without it")
        }
        FollowError::TooOld => unknown("is too old: later events have been dropped; list the sessions, and begin anew without it"),
        FollowError::Store(error) => error.into(),
    })?;
    let following = Following { native: native.clone(), follower, _seat: seat };
    let begin = Event::default().retry(RETRY).comment("follows");
    let events = stream::unfold(following, |mut following| async {
        let events = following.next().await?;
        Some((stream::iter(events.into_iter().map(Ok)), following))
    });
    let events = futures_util::StreamExt::flatten(events);
    let events = futures_util::StreamExt::chain(stream::iter([Ok::<_, Infallible>(begin)]), events);
    Ok(Sse::new(events).into_response())
}

struct Following {
    native: Native,
    follower: Follower,
    _seat: Seat,
}

impl Following {
    /// The next events, or a word that there are none; `None` at the end.
    async fn next(&mut self) -> Option<Vec<Event>> {
        if self.follower.is_over() {
            return None;
        }
        // A key that is revoked, or may no longer read, has seen its last event.
        let directory = &self.native.shared.directory;
        let still = |access: &Access| directory.still(access).ok().filter(|access| access.scopes.read);
        match self.follower.next(SILENCE, still).await {
            Ok(Some(told)) => Some(told.iter().map(event).collect()),
            Ok(None) if self.follower.is_over() => None,
            Ok(None) => Some(vec![Event::default().comment("nothing new")]),
            Err(error) => {
                log_failure("events", &error);
                // The client comes again with the last id it saw.
                None
            }
        }
    }
}

fn event(told: &Told) -> Event {
    Event::default().id(told.id.to_string()).event(told.event.kind.name()).data(text(told))
}

/// The text of an event: one line.
pub(crate) fn text(told: &Told) -> String {
    let Told { id: _, event, session } = told;
    let mut text = format!(r#"{{"type":"{}","timestamp":"{}","data":{{"id":"#, event.kind.name(), event.at);
    push_string(&mut text, event.session.as_str());
    if let Some(session) = session {
        text.push_str(r#","session":"#);
        write_session(session, &mut text);
    }
    text.push_str("}}");
    text
}
