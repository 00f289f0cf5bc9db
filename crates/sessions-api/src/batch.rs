//! `POST /v1/sessions:batch`: many sessions, one a line; each is answered by a line, and a bad one fails alone.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use calldata_core::port::Written;
use calldata_core::{Access, NewSession, SessionId, StoreError};
use calldata_http::{Seat, Stay, with_request_id};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use crate::Native;
use crate::client::Need;
use crate::create::read_session;
use crate::problem::{Code, Problem, ProblemDocument};
use crate::refusals::ToWriters;
use crate::visit::{Visit, text};

const NDJSON: &str = "application/x-ndjson";
/// Sessions that are stored together.
const TOGETHER: usize = 200;
/// Answers, of so many sessions each, that wait for a client that has not come to read them yet.
const UNREAD: usize = 512;
/// How long the next piece of a body may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is tried to store what the store has no time for, and how long it is waited before.
const TRIES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(250);

/// What became of a line.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchResult {
    /// Which line, from 1. Empty lines count, and have no result.
    #[schema(example = 1)]
    line: u64,
    /// `created`, `duplicate` (there is a session with this id; nothing is changed) or `rejected`.
    #[schema(example = "created")]
    status: &'static str,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "0192f4c4-1111-7abc-8def-000000000001")]
    id: Option<String>,
    /// Why it was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemDocument>,
}

/// Stores many sessions.
#[utoipa::path(
    post, path = "/v1/sessions:batch", operation_id = "storeSessions", tag = "sessions", summary = "Store many sessions",
    description = "Takes one session a line (NDJSON), of any number, and answers each with a line, in order and while the rest is still \
        coming. A line that is wrong fails alone. Lines that are answered `created` are durable. A line without an `id` is another session \
        each time it is sent. A client that reads nothing before it has sent everything may send 100 000 lines at a time.",
    request_body(content = String, description = "Sessions, one JSON object a line.", content_type = "application/x-ndjson"),
    responses(
        ToWriters,
        (status = 200, description = "A result a line (NDJSON).", body = BatchResult, content_type = "application/x-ndjson"),
        (status = "default", description = "Too many requests, too busy, or a failure.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn batch(State(native): State<Native>, request: Request) -> Response {
    native.stream(Need::Write, Stay::Working, request, store).await
}

async fn store(native: &Native, mut visit: Visit) -> Result<Response, Problem> {
    visit.takes_no_parameters()?;
    visit.is_plain()?;
    let (answers, to_send) = mpsc::channel(UNREAD);
    let lines = Lines::of(visit.take_body(), native.shared.limits.body_bytes);
    let Visit { access, seat, .. } = visit;
    let request_id = with_request_id(|id| id.unwrap_or_default().to_owned());
    let loading = Loading { native: native.clone(), access, request_id, answers };
    // A task: what has arrived is stored also while the client does not read, and to the end of what is under way where it has gone.
    tokio::spawn(loading.load(lines, seat));
    let sent = stream::unfold(to_send, async |mut to_send| Some((Ok::<_, std::convert::Infallible>(to_send.recv().await?), to_send)));
    Ok(([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(sent)).into_response())
}

struct Loading {
    native: Native,
    access: Access,
    request_id: String,
    answers: mpsc::Sender<Bytes>,
}

impl Loading {
    async fn load(self, mut lines: Lines, _seat: Seat) {
        while let Some(first) = lines.next().await {
            let mut here = vec![first];
            // What is here is stored before more is waited for.
            while here.len() < TOGETHER
                && let Some(more) = lines.next_here()
            {
                here.push(more);
            }
            let results = self.store(here).await;
            // Nobody listens any more where the client has gone.
            if self.answers.send(results).await.is_err() {
                return;
            }
        }
    }

    /// Stores what can be stored, and tells of each line.
    async fn store(&self, lines: Vec<Line>) -> Bytes {
        let read: Vec<_> = lines.into_iter().map(|line| self.read(line)).collect();
        let new = read.iter().filter_map(|(_, session)| session.as_ref().ok().cloned()).collect();
        let mut outcomes = self.store_all(new).await.into_iter();
        let mut results = Vec::new();
        for (line, session) in read {
            let outcome = match session {
                Ok(session) => outcomes.next().unwrap_or_else(|| Outcome::Rejected(Problem::busy())).of(session.id.as_ref()),
                Err(problem) => Outcome::Rejected(problem),
            };
            let result = self.result(line, outcome);
            if serde_json::to_writer(&mut results, &result).is_ok() {
                results.push(b'\n');
            }
        }
        results.into()
    }

    fn read(&self, line: Line) -> (u64, Result<NewSession, Problem>) {
        match line {
            Line::Whole(number, bytes) => (number, text(&bytes).and_then(|text| read_session(text, &self.access.tenant))),
            Line::TooLong(number) => {
                let detail = format!("the line has more than {} bytes", self.native.shared.limits.body_bytes);
                (number, Err(Problem::new(Code::TooLarge, detail)))
            }
            Line::Broken(number) => {
                let detail = "the body ended early, or did not arrive in time; this line and what follows were not read";
                (number, Err(Problem::new(Code::InvalidRequest, detail)))
            }
        }
    }

    /// What the store has no time for is tried again: the client can do no better.
    async fn store_all(&self, new: Vec<NewSession>) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = new.iter().map(|_| None).collect();
        for attempt in 1..=TRIES {
            let open: Vec<_> = (0..).zip(&outcomes).filter(|(_, outcome)| outcome.is_none()).map(|(at, _)| at).collect();
            if open.is_empty() {
                break;
            }
            let again = open.iter().filter_map(|at: &usize| new.get(*at).cloned()).collect();
            let results = self.native.shared.sessions.create_all(&self.access, again).await;
            for (at, result) in open.into_iter().zip(results) {
                let is_last = attempt == TRIES;
                let outcome = match result {
                    Ok(Written::Created(id) | Written::Updated(id)) => Some(Outcome::Created(id)),
                    Ok(Written::Erased) | Err(StoreError::Taken(_)) => Some(Outcome::Duplicate(None)),
                    Err(StoreError::Busy(_)) if !is_last => None,
                    Err(error) => Some(Outcome::Rejected(error.into())),
                };
                if let Some(place) = outcomes.get_mut(at) {
                    *place = outcome;
                }
            }
            if outcomes.iter().any(Option::is_none) {
                tokio::time::sleep(PAUSE).await;
            }
        }
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Outcome::Rejected(Problem::busy()))).collect()
    }

    fn result(&self, line: u64, outcome: Outcome) -> BatchResult {
        let (status, id, problem) = match outcome {
            Outcome::Created(id) => ("created", Some(id), None),
            Outcome::Duplicate(id) => ("duplicate", id, None),
            Outcome::Rejected(problem) => ("rejected", None, Some(problem.document_of(self.request_id.clone()))),
        };
        BatchResult { line, status, id: id.map(SessionId::into_string), problem }
    }
}

/// What became of a session.
enum Outcome {
    Created(SessionId),
    /// Of the one that has its identifier.
    Duplicate(Option<SessionId>),
    Rejected(Problem),
}

impl Outcome {
    /// Of a session that brought this identifier along.
    fn of(self, id: Option<&SessionId>) -> Self {
        match self {
            Self::Duplicate(None) => Self::Duplicate(id.cloned()),
            other => other,
        }
    }
}

/// A line, by its number.
enum Line {
    Whole(u64, Bytes),
    TooLong(u64),
    /// It did not arrive as a whole, and nothing comes after it.
    Broken(u64),
}

/// The lines of a body. Of one that is too long no more than that is kept.
struct Lines {
    body: BodyDataStream,
    here: BytesMut,
    most_bytes: usize,
    number: u64,
    is_too_long: bool,
    is_over: bool,
}

impl Lines {
    fn of(body: Body, most_bytes: usize) -> Self {
        Self { body: body.into_data_stream(), here: BytesMut::new(), most_bytes, number: 0, is_too_long: false, is_over: false }
    }

    /// The next line that is not empty; `None` at the end.
    async fn next(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.next_here() {
                return Some(line);
            }
            if self.is_over {
                return None;
            }
            match tokio::time::timeout(PATIENCE, self.body.next()).await {
                Ok(Some(Ok(bytes))) => self.here.extend_from_slice(&bytes),
                Ok(None) => {
                    self.is_over = true;
                    // The last line need not end with a line break.
                    let rest = self.here.split().freeze();
                    self.number += 1;
                    return self.line(rest);
                }
                Ok(Some(Err(_))) | Err(_) => {
                    self.is_over = true;
                    self.number += 1;
                    return Some(Line::Broken(self.number));
                }
            }
        }
    }

    /// The next line that is not empty, if all of it is here.
    fn next_here(&mut self) -> Option<Line> {
        while let Some(end) = self.here.iter().position(|byte| *byte == b'\n') {
            let line = self.here.split_to(end + 1).freeze();
            self.number += 1;
            if let Some(line) = self.line(line) {
                return Some(line);
            }
        }
        // With room for the end of a line, which is none of it.
        if self.here.len() > self.most_bytes + 2 {
            self.is_too_long = true;
            self.here.clear();
        }
        None
    }

    fn line(&mut self, bytes: Bytes) -> Option<Line> {
        let said = bytes.strip_suffix(b"\n").map_or(&bytes[..], |line| line.strip_suffix(b"\r").unwrap_or(line));
        if std::mem::take(&mut self.is_too_long) || said.len() > self.most_bytes {
            return Some(Line::TooLong(self.number));
        }
        (!bytes.trim_ascii().is_empty()).then_some(Line::Whole(self.number, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(pieces: &[&'static str], most_bytes: usize) -> Vec<String> {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok::<_, std::convert::Infallible>(Bytes::from(*piece))).collect();
        let mut lines = Lines::of(Body::from_stream(stream::iter(pieces)), most_bytes);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await {
            found.push(match line {
                Line::Whole(number, bytes) => format!("{number} {}", str::from_utf8(bytes.trim_ascii()).unwrap()),
                Line::TooLong(number) => format!("{number} too long"),
                Line::Broken(number) => format!("{number} broken"),
            });
        }
        found
    }

    #[tokio::test]
    async fn lines_are_found_however_they_are_cut() {
        assert_eq!(lines(&["a\nb", "b\r\n\n \nc"], 9).await, ["1 a", "2 bb", "5 c"]);
        assert_eq!(lines(&["a\n"], 9).await, ["1 a"]);
        assert_eq!(lines(&[], 9).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_passed_over_and_those_behind_it_are_read() {
        assert_eq!(lines(&["aaaa", "aaaa", "aaaa\nb\ncccc", "cccc"], 4).await, ["1 too long", "2 b", "3 too long"]);
        assert_eq!(lines(&["aaaa\nbbbb\r\nccccc\ndddd"], 4).await, ["1 aaaa", "2 bbbb", "3 too long", "4 dddd"]);
        assert_eq!(lines(&["aaaa", "\n", "bbbb\r", "\n", "ccccc"], 4).await, ["1 aaaa", "2 bbbb", "3 too long"]);
    }
}
