//! `POST /v1/sessions:batch`: many sessions, one a line; each is answered by a line, and a bad one fails alone.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use calldata_core::port::Written;
use calldata_core::{Access, Grant, GrantError, NewSession, SessionId, StoreError, Tenant};
use calldata_http::{BatchLimits, Seat, Stay, log_ended, with_request_id};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
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
/// How many times the lines that are stored together are in memory: as they came, as sessions, and as rows.
const GROUP_COPIES: usize = 3;
/// How long lines are still read and refused once the right has ended, so that the client reads why.
const REFUSAL_PERIOD: Duration = Duration::from_secs(5);
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
        each time it is sent. A client that reads nothing before it has sent everything may send 100 000 lines at a time. A batch takes 30 minutes at most, and \
        its body brings 1 KiB or more within any 30 seconds of waiting for it; else the last line of the answer says that what follows was not \
        read. Where the key is revoked meanwhile, the lines that are still read are rejected with `not-authenticated` (`not-permitted` where \
        it lost its scope), and the answer ends. What was answered `created` stays stored.",
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

async fn store(native: &Native, mut visit: Visit<Grant>) -> Result<Response, Problem> {
    visit.takes_no_parameters()?;
    visit.is_plain()?;
    let (answers, to_send) = mpsc::channel(UNREAD);
    let limits = native.shared.limits;
    visit.seat.reserve(GROUP_COPIES.saturating_mul(limits.body_bytes)).await?;
    let lines = Lines::of(visit.take_body(), limits.body_bytes, limits.batch);
    let Visit { access: grant, seat, .. } = visit;
    let request_id = with_request_id(|id| id.unwrap_or_default().to_owned());
    let loading = Loading { native: native.clone(), grant, request_id, answers, seat: seat.clone() };
    // A task: what has arrived is stored also while the client does not read, and to the end of what is under way where it has gone.
    tokio::spawn(loading.load(lines));
    let sent = stream::unfold((to_send, seat), async |(mut to_send, seat): (mpsc::Receiver<Bytes>, Seat)| {
        let results = to_send.recv().await?;
        if let Some(charge) = seat.charge() {
            charge.release(results.len());
        }
        Some((Ok::<_, std::convert::Infallible>(results), (to_send, seat)))
    });
    Ok(([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(sent)).into_response())
}

struct Loading {
    native: Native,
    grant: Grant,
    request_id: String,
    answers: mpsc::Sender<Bytes>,
    seat: Seat,
}

impl Loading {
    async fn load(self, mut lines: Lines) {
        while let Some(first) = lines.next().await {
            let mut here = vec![first];
            // What is here is stored before more is waited for.
            while here.len() < TOGETHER
                && let Some(more) = lines.next_here()
            {
                here.push(more);
            }
            let results = self.store(here).await;
            // The client has gone, or takes no answers for as long as the batch may last.
            if !matches!(timeout_at(lines.ends, self.send(results)).await, Ok(true)) {
                return;
            }
            if let Err(error) = self.grant.revalidate()
                && error.is_final()
                && lines.end_within(REFUSAL_PERIOD)
            {
                log_ended("batch", &error);
            }
        }
    }

    /// Puts results where the client takes them, once there is memory for them; false where the client has gone.
    async fn send(&self, results: Bytes) -> bool {
        while self.seat.reserve(results.len()).await.is_err() {
            if self.answers.is_closed() {
                return false;
            }
        }
        self.answers.send(results).await.is_ok()
    }

    /// Stores what can be stored, and tells of each line.
    async fn store(&self, lines: Vec<Line>) -> Bytes {
        let access = self.access().await;
        let read = |line: Line| match &access {
            Ok(access) => self.read(line, &access.tenant),
            Err(error) => (line.number(), Err(Problem::from(*error))),
        };
        let read: Vec<_> = lines.into_iter().map(read).collect();
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

    /// The access as it is now; a directory that cannot be asked is asked again, as the store is.
    async fn access(&self) -> Result<Access, GrantError> {
        for _ in 1..TRIES {
            match self.grant.revalidate() {
                Err(GrantError::Unavailable) => tokio::time::sleep(PAUSE).await,
                checked => return checked,
            }
        }
        self.grant.revalidate()
    }

    fn read(&self, line: Line, tenant: &Tenant) -> (u64, Result<NewSession, Problem>) {
        match line {
            Line::Whole(number, bytes) => (number, text(&bytes).and_then(|text| read_session(text, tenant))),
            Line::TooLong(number) => {
                let detail = format!("the line has more than {} bytes", self.native.shared.limits.body_bytes);
                (number, Err(Problem::new(Code::TooLarge, detail)))
            }
            Line::Broken(number, reason) => {
                let detail = format!("{}; this line and what follows were not read", self.explain(reason));
                (number, Err(Problem::new(Code::InvalidRequest, detail)))
            }
        }
    }

    fn explain(&self, reason: Break) -> String {
        let BatchLimits { max_duration, rate_window, min_bytes } = self.native.shared.limits.batch;
        match reason {
            Break::Interrupted => "the body ended early".to_owned(),
            Break::TooSlow => format!("fewer than {min_bytes} bytes arrived within {} s", rate_window.as_secs()),
            Break::TooLong => format!("the batch took longer than {} s", max_duration.as_secs()),
        }
    }

    /// What the store has no time for is tried again: the client can do no better. The grant is checked before each attempt.
    async fn store_all(&self, new: Vec<NewSession>) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = new.iter().map(|_| None).collect();
        for attempt in 1..=TRIES {
            let open: Vec<_> = (0..).zip(&outcomes).filter(|(_, outcome)| outcome.is_none()).map(|(at, _)| at).collect();
            if open.is_empty() {
                break;
            }
            let is_last = attempt == TRIES;
            let results = match self.grant.revalidate() {
                Ok(access) => {
                    let again = open.iter().filter_map(|at: &usize| new.get(*at).cloned()).collect();
                    self.native.shared.sessions.create_all(&access, again).await.into_iter().map(Ok).collect()
                }
                Err(error) => open.iter().map(|_| Err(error)).collect::<Vec<_>>(),
            };
            for (at, result) in open.into_iter().zip(results) {
                let outcome = match result {
                    Ok(Ok(Written::Created(id) | Written::Updated(id))) => Some(Outcome::Created(id)),
                    Ok(Ok(Written::Erased) | Err(StoreError::Taken(_))) => Some(Outcome::Duplicate(None)),
                    Ok(Err(StoreError::Busy(_))) | Err(GrantError::Unavailable) if !is_last => None,
                    Ok(Err(error)) => Some(Outcome::Rejected(error.into())),
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
    Broken(u64, Break),
}

impl Line {
    fn number(&self) -> u64 {
        match self {
            Self::Whole(number, _) | Self::TooLong(number) | Self::Broken(number, _) => *number,
        }
    }
}

/// Why a body is not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    Interrupted,
    TooSlow,
    TooLong,
}

/// The lines of a body. Of one that is too long no more than that is kept.
struct Lines {
    body: BodyDataStream,
    here: BytesMut,
    most_bytes: usize,
    limits: BatchLimits,
    /// When nothing more is read.
    ends: Instant,
    /// How long was waited for the body, and how much of it arrived, since enough of it last had.
    waited: Duration,
    arrived_bytes: usize,
    number: u64,
    is_too_long: bool,
    is_over: bool,
    is_refused: bool,
}

impl Lines {
    fn of(body: Body, most_bytes: usize, limits: BatchLimits) -> Self {
        Self {
            body: body.into_data_stream(),
            here: BytesMut::new(),
            most_bytes,
            limits,
            ends: Instant::now() + limits.max_duration,
            waited: Duration::ZERO,
            arrived_bytes: 0,
            number: 0,
            is_too_long: false,
            is_over: false,
            is_refused: false,
        }
    }

    /// Reads for no longer than this. Returns whether it is said for the first time; later calls change nothing.
    fn end_within(&mut self, period: Duration) -> bool {
        let is_first = !std::mem::replace(&mut self.is_refused, true);
        if is_first {
            self.ends = self.ends.min(Instant::now() + period);
        }
        is_first
    }

    /// The next piece of the body; `None` at its end.
    async fn receive(&mut self) -> Result<Option<Bytes>, Break> {
        let began = Instant::now();
        let slow_at = began + self.limits.rate_window.saturating_sub(self.waited);
        let received = match timeout_at(slow_at.min(self.ends), self.body.next()).await {
            Ok(received) => received.transpose().map_err(|_| Break::Interrupted)?,
            Err(_) if slow_at < self.ends => return Err(Break::TooSlow),
            Err(_) => return Err(Break::TooLong),
        };
        self.waited += began.elapsed();
        self.arrived_bytes += received.as_ref().map_or(0, Bytes::len);
        if self.arrived_bytes >= self.limits.min_bytes {
            (self.waited, self.arrived_bytes) = (Duration::ZERO, 0);
        }
        Ok(received)
    }

    /// The next line that is not empty; `None` at the end.
    async fn next(&mut self) -> Option<Line> {
        loop {
            if self.is_over {
                return None;
            }
            if Instant::now() >= self.ends {
                return Some(self.broken(Break::TooLong));
            }
            if let Some(line) = self.next_here() {
                return Some(line);
            }
            match self.receive().await {
                Ok(Some(bytes)) => self.here.extend_from_slice(&bytes),
                Ok(None) => {
                    self.is_over = true;
                    // The last line need not end with a line break.
                    let rest = self.here.split().freeze();
                    self.number += 1;
                    return self.line(rest);
                }
                Err(reason) => return Some(self.broken(reason)),
            }
        }
    }

    fn broken(&mut self, reason: Break) -> Line {
        self.is_over = true;
        self.here.clear();
        self.number += 1;
        Line::Broken(self.number, reason)
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
        found_in(Lines::of(Body::from_stream(stream::iter(pieces)), most_bytes, BatchLimits::default())).await
    }

    async fn found_in(mut lines: Lines) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(line) = lines.next().await {
            found.push(match line {
                Line::Whole(number, bytes) => format!("{number} {}", str::from_utf8(bytes.trim_ascii()).unwrap()),
                Line::TooLong(number) => format!("{number} too long"),
                Line::Broken(number, reason) => format!("{number} {reason:?}"),
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

    /// A body of these pieces, each after a pause.
    async fn paced(pieces: &[(u64, &'static str)], limits: BatchLimits) -> Vec<String> {
        let pieces = pieces.to_vec();
        let paced = stream::iter(pieces).then(async |(pause_s, piece)| {
            tokio::time::sleep(Duration::from_secs(pause_s)).await;
            Ok::<_, std::convert::Infallible>(Bytes::from(piece))
        });
        found_in(Lines::of(Body::from_stream(paced), 9, limits)).await
    }

    const SLOWLY: BatchLimits =
        BatchLimits { max_duration: Duration::from_secs(1_000), rate_window: Duration::from_secs(30), min_bytes: 4 };

    #[tokio::test(start_paused = true)]
    async fn a_body_that_brings_too_little_within_the_window_is_read_no_further() {
        assert_eq!(paced(&[(29, "a\n"), (29, "b\n"), (29, "c\n")], SLOWLY).await, ["1 a", "2 TooSlow"]);
        assert_eq!(paced(&[(29, "aaa\n"), (29, "bbb\n"), (29, "ccc\n")], SLOWLY).await, ["1 aaa", "2 bbb", "3 ccc"]);
        assert_eq!(paced(&[(0, "a\n"), (31, "bbb\n")], SLOWLY).await, ["1 a", "2 TooSlow"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_ends_after_its_time_however_fast_it_is() {
        let hasty = BatchLimits { max_duration: Duration::from_secs(60), ..SLOWLY };
        assert_eq!(paced(&[(29, "aaa\n"), (29, "bbb\n"), (29, "ccc\n")], hasty).await, ["1 aaa", "2 bbb", "3 TooLong"]);
        let at_once = Lines::of(Body::from("aaa\nbbb\n"), 9, BatchLimits { max_duration: Duration::ZERO, ..SLOWLY });
        assert_eq!(found_in(at_once).await, ["1 TooLong"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_body_is_read_for_a_while_and_no_longer() {
        let forever = stream::repeat(()).then(async |()| {
            tokio::time::sleep(Duration::from_secs(2)).await;
            Ok::<_, std::convert::Infallible>(Bytes::from("aaaa\n"))
        });
        let mut lines = Lines::of(Body::from_stream(forever), 9, SLOWLY);
        assert!(lines.end_within(Duration::from_secs(5)));
        assert!(!lines.end_within(Duration::from_secs(5)), "it is not put off");
        assert_eq!(found_in(lines).await, ["1 aaaa", "2 aaaa", "3 TooLong"]);
    }
}
