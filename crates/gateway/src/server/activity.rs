//! What goes on on a connection: who waits for whom decides how long it may stay.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use calldata_http::Charge;
use http_body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// How long a client is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long a connection may be without a request: before the first one, between two, and while a head arrives.
    pub idle: Duration,
    /// How long a client may take nothing of an answer that is there, whatever else it does.
    pub stalled: Duration,
    /// How long a client may take for an answer in all.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { idle: Duration::from_secs(10), stalled: Duration::from_secs(15), answer: Duration::from_secs(60) }
    }
}

/// The number of no request.
const NONE: usize = usize::MAX;

/// What goes on on one connection.
#[derive(Debug)]
pub(super) struct Activity {
    patience: Patience,
    began: Instant,
    /// When the client was last given something, in milliseconds since the connection began.
    last_ms: AtomicU64,
    /// Requests that the gateway is working on.
    working: AtomicUsize,
    /// Requests whose answers are not out yet.
    open: AtomicUsize,
    /// Answers that are there and not out: one, or of HTTP/2 a few.
    answers: Mutex<Vec<Taking>>,
    /// When bytes of an answer were last written where that tells something, in milliseconds since the connection began: HTTP/1 only.
    written_ms: AtomicU64,
    /// The client does not take what is written.
    blocked: AtomicBool,
    /// The request, by its number, whose body is not there as a whole. HTTP/1 only: the next head may be read before this one's answer is
    /// given.
    arriving: AtomicUsize,
    requests: AtomicUsize,
    /// A request, by its number, that is refused for its head.
    refused: OnceLock<(usize, StatusCode)>,
}

/// An answer that the client is taking.
#[derive(Clone, Copy, Debug)]
struct Taking {
    /// The number of its request.
    number: usize,
    since: Instant,
    last: Instant,
}

impl Activity {
    /// Of a connection that has been idle since then.
    pub(super) fn since(began: Instant, patience: Patience) -> Self {
        Self {
            patience,
            began,
            last_ms: AtomicU64::new(0),
            working: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            answers: Mutex::default(),
            written_ms: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            arriving: AtomicUsize::new(NONE),
            requests: AtomicUsize::new(0),
            refused: OnceLock::new(),
        }
    }

    /// Until when the client may go on doing nothing; none while it is the gateway that is waited for. Every answer has to be taken: that
    /// something else moves does not help it.
    pub(super) fn patience_ends(&self) -> Option<Instant> {
        let Patience { idle, stalled, answer } = self.patience;
        let written = self.at(&self.written_ms);
        let ends = |taking: &Taking| (taking.last.max(written) + stalled).min(taking.since + answer);
        let first = self.answers().iter().map(ends).min();
        if first.is_some() {
            return first;
        }
        (self.working.load(Ordering::Acquire) == 0).then(|| self.at(&self.last_ms) + idle)
    }

    /// Nothing is under way, and everything that was answered is out.
    pub(super) fn is_quiet(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0 && !self.blocked.load(Ordering::Acquire)
    }

    /// Whether the client keeps the gateway from writing.
    pub(super) fn set_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Release);
    }

    /// The body of the request of this number is still arriving; or of none.
    pub(super) fn set_arriving(&self, number: Option<usize>) {
        self.arriving.store(number.unwrap_or(NONE), Ordering::Release);
    }

    /// The client was given something.
    pub(super) fn moved(&self) {
        self.note(&self.last_ms);
    }

    /// The client takes the bytes of an answer, as far as writing them tells.
    pub(super) fn wrote(&self) {
        self.note(&self.last_ms);
        self.note(&self.written_ms);
    }

    fn note(&self, moment: &AtomicU64) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        moment.fetch_max(now, Ordering::AcqRel);
    }

    fn at(&self, moment: &AtomicU64) -> Instant {
        self.began + Duration::from_millis(moment.load(Ordering::Acquire))
    }

    fn answers(&self) -> MutexGuard<'_, Vec<Taking>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request of this number, counted from 0, is refused with that status.
    pub(super) fn refuse(&self, number: usize, status: StatusCode) {
        self.refused.get_or_init(|| (number, status));
    }

    /// A request begins; with what it is refused, if it is.
    pub(super) fn begin(self: &Arc<Self>, charge: Charge) -> (Exchange, Option<StatusCode>) {
        let number = self.requests.fetch_add(1, Ordering::AcqRel);
        let refused = self.refused.get().filter(|(refused, _)| *refused == number).map(|(_, status)| *status);
        self.open.fetch_add(1, Ordering::AcqRel);
        self.working.fetch_add(1, Ordering::AcqRel);
        let activity = Arc::clone(self);
        (Exchange { activity, number, answered: None, streamed: false, working: true, _charge: charge, permit: None }, refused)
    }
}

/// A request and its answer, until the answer is out.
#[derive(Debug)]
pub(super) struct Exchange {
    activity: Arc<Activity>,
    number: usize,
    /// When its answer was there.
    answered: Option<Instant>,
    /// It may take any time in all.
    streamed: bool,
    working: bool,
    /// The memory of the request and its answer.
    _charge: Charge,
    /// Given back when the answer is out.
    permit: Option<OwnedSemaphorePermit>,
}

impl Exchange {
    /// Holds this until the answer is out.
    pub(super) fn hold(&mut self, permit: Option<OwnedSemaphorePermit>) {
        self.permit = permit;
    }

    /// Whether an answer given now comes before the end of its request.
    pub(super) fn is_arriving(&self) -> bool {
        self.activity.arriving.load(Ordering::Acquire) == self.number
    }

    /// The gateway has answered; what it still has to say, it says in this body.
    pub(super) fn answered(mut self, body: Body, streamed: bool) -> Answered {
        let now = Instant::now();
        self.answered = Some(now);
        self.streamed = streamed;
        self.took_at(now);
        self.set_working(false);
        Answered { body, exchange: self }
    }

    /// The client has taken what was there of the answer, and is given more.
    fn took(&self) {
        self.took_at(Instant::now());
    }

    fn took_at(&self, last: Instant) {
        let Some(since) = self.answered.map(|since| if self.streamed { last } else { since }) else { return };
        let (mut answers, number) = (self.activity.answers(), self.number);
        match answers.iter_mut().find(|taking| taking.number == number) {
            Some(taking) => (taking.since, taking.last) = (since, last),
            None => answers.push(Taking { number, since, last }),
        }
    }

    fn is_taken(&self) {
        self.activity.answers().retain(|taking| taking.number != self.number);
    }

    fn set_working(&mut self, working: bool) {
        if self.working == working {
            return;
        }
        self.working = working;
        self.activity.moved();
        if working {
            self.is_taken();
            self.activity.working.fetch_add(1, Ordering::AcqRel);
        } else {
            self.activity.working.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.set_working(false);
        self.is_taken();
        self.activity.moved();
        self.activity.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Answered {
    body: Body,
    exchange: Exchange,
}

impl http_body::Body for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_ready() {
            self.exchange.took();
        }
        self.exchange.set_working(frame.is_pending());
        self.exchange.activity.moved();
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
