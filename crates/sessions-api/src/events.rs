//! `GET /v1/events`: what happens to sessions, as it happens (server-sent events).

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use calldata_core::json_text::push_string;
use calldata_core::{EventId, FollowError, Follower, Grant, StoreError, Told};
use calldata_http::{Seat, Stay, log_failure};
use calldata_interchange::write_session;
use futures_util::stream;
use serde::Serialize;
use tokio::time::Instant;
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
/// The charge of a follower beside that of every request: its place, its events that are read and not told, and buffers.
const FOLLOWER_BYTES: usize = 16 << 10;
/// The charge while a session is read and written for a follower.
const TELLING_BYTES: usize = 512 << 10;
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

async fn follow(native: &Native, visit: Visit<Grant>) -> Result<Response, Problem> {
    let parameters = Parameters::read(visit.parts.uri.query(), &["lastEventId"])?;
    let after = visit.header(LAST_EVENT_ID)?.filter(|id| !id.is_empty()).or(parameters.get("lastEventId"));
    let unknown = |why: &str| Problem::about(Code::InvalidCursor, "Last-Event-ID", why);
    let after = after.map(str::parse::<EventId>).transpose().map_err(|_| unknown("is not the id of an event"))?;
    let Visit { access: grant, seat, .. } = visit;
    seat.reserve(FOLLOWER_BYTES).await?;
    let follower = native.shared.sessions.follow(grant, after).await.map_err(|error| match error {
        FollowError::Unknown => unknown("is not the id of an event"),
        FollowError::OtherEpoch => {
            unknown("is of another database, or of a time before this one was restored; list the sessions, and begin anew without it")
        }
        FollowError::TooOld => unknown("is too old: later events have been dropped; list the sessions, and begin anew without it"),
        FollowError::Store(error) => error.into(),
    })?;
    let following = Following { follower, seat, told_bytes: 0 };
    let begin = Event::default().retry(RETRY).comment("follows");
    let events = stream::unfold(following, |mut following| async {
        let event = following.next().await?;
        Some((Ok(event), following))
    });
    let events = futures_util::StreamExt::chain(stream::iter([Ok::<_, Infallible>(begin)]), events);
    Ok(Sse::new(events).into_response())
}

struct Following {
    follower: Follower,
    seat: Seat,
    /// How many bytes the request is charged for the last event, which the client is taking.
    told_bytes: usize,
}

impl Following {
    /// The next event, or a word that there is none; `None` at the end. A key that is revoked, or may no longer read, has seen its last one.
    async fn next(&mut self) -> Option<Event> {
        self.charge_for(0);
        if self.follower.is_over() {
            return None;
        }
        match self.tell().await {
            Ok(Some(event)) => Some(event),
            Ok(None) if self.follower.is_over() => None,
            Ok(None) => Some(Event::default().comment("nothing new")),
            Err(error) => {
                log_failure("events", &error);
                // The client comes again with the last id it saw.
                None
            }
        }
    }
}

impl Following {
    async fn tell(&mut self) -> Result<Option<Event>, StoreError> {
        let until = Instant::now() + SILENCE;
        while self.follower.is_ready(until.saturating_duration_since(Instant::now())).await? {
            // One session tells a thousand followers at once: each waits until there is memory for it.
            if self.seat.reserve(TELLING_BYTES).await.is_err() {
                if Instant::now() >= until {
                    return Ok(None);
                }
                continue;
            }
            self.told_bytes = TELLING_BYTES;
            if let Some(told) = self.follower.tell().await? {
                let text = text(&told);
                self.charge_for(text.len());
                return Ok(Some(event(&told, text)));
            }
            self.charge_for(0);
        }
        Ok(None)
    }

    /// Gives back what is charged beyond this many bytes.
    fn charge_for(&mut self, bytes: usize) {
        if let (Some(charge), Some(surplus)) = (self.seat.charge(), self.told_bytes.checked_sub(bytes)) {
            charge.release(surplus);
            self.told_bytes = bytes;
        }
    }
}

fn event(told: &Told, text: String) -> Event {
    Event::default().id(told.id.to_string()).event(told.event.kind.name()).data(text)
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
