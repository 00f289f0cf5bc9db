//! What stands behind every API.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use calldata_core::{Clock, Directory, Sessions};

use crate::admission::Admission;
use crate::lockout::Lockout;
use crate::memory_budget::{DEFAULT_MEMORY_BUDGET_BYTES, MemoryBudget};
use crate::recognition::LookupLimiter;

/// What every API crate is given: who may come in, and what they come for.
#[derive(Clone)]
pub struct Shared {
    /// Recognises clients.
    pub directory: Arc<Directory>,
    /// Stores and finds sessions.
    pub sessions: Arc<Sessions>,
    /// How much and how long.
    pub limits: Limits,
    /// Who is let in when there is too much to do.
    pub admission: Arc<Admission>,
    /// Who has guessed too often.
    pub lockout: Arc<Lockout>,
    /// The bytes that all requests may hold.
    pub memory: MemoryBudget,
    pub(crate) lookups: Arc<LookupLimiter>,
}

impl Shared {
    /// Puts them together.
    pub fn new(directory: Arc<Directory>, sessions: Arc<Sessions>, limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let admission = Arc::new(Admission::new(limits.requests, limits.tenant_rate));
        let (memory, lockout) = (MemoryBudget::new(limits.memory_bytes), Arc::new(Lockout::new(clock)));
        Self { directory, sessions, limits, admission, lockout, memory, lookups: Arc::default() }
    }
}

/// How large a request may be and how long an answer may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest body, in bytes (PAR-P8).
    pub body_bytes: usize,
    /// The time after which an answer is given in any case; bots give up at 4 s (PAR-P8).
    pub deadline: Duration,
    /// How many requests may be under way at a time, those that wait for a record apart.
    pub requests: usize,
    /// How many requests each tenant may send a second; `None` for as many as it likes.
    pub tenant_rate: Option<NonZeroU32>,
    /// How many bytes all requests and connections may hold.
    pub memory_bytes: usize,
    /// How long a batch may take.
    pub batch: BatchLimits,
}

/// How long the body of a batch may take, which has no deadline as other bodies have. Only the time that is spent waiting for the client
/// counts for the rate: while sessions are stored, the client cannot send.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// A batch ends after this time, however much of it is left.
    pub max_duration: Duration,
    /// Within each such time of waiting, [`BatchLimits::min_bytes`] must arrive.
    pub rate_window: Duration,
    /// The fewest bytes within a window.
    pub min_bytes: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { max_duration: Duration::from_mins(30), rate_window: Duration::from_secs(30), min_bytes: 1 << 10 }
    }
}

impl Limits {
    /// How long a body may take to arrive: what is left of the deadline has to do for the rest, and for saying so.
    pub fn body_deadline(&self) -> Duration {
        self.deadline.saturating_sub(self.deadline / 8)
    }
}

impl Default for Limits {
    fn default() -> Self {
        // A little before 3 s, so that the answer is there within them.
        Self {
            body_bytes: 1 << 20,
            deadline: Duration::from_millis(2_900),
            requests: 1_024,
            tenant_rate: None,
            memory_bytes: DEFAULT_MEMORY_BUDGET_BYTES,
            batch: BatchLimits::default(),
        }
    }
}
