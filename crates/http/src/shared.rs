//! What stands behind every API.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use calldata_core::{Clock, Directory, Sessions};

use crate::admission::Admission;
use crate::lockout::Lockout;
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
    pub(crate) lookups: Arc<LookupLimiter>,
}

impl Shared {
    /// Puts them together.
    pub fn new(directory: Arc<Directory>, sessions: Arc<Sessions>, limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let admission = Arc::new(Admission::new(limits.requests, limits.tenant_rate));
        Self { directory, sessions, limits, admission, lockout: Arc::new(Lockout::new(clock)), lookups: Arc::default() }
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
        Self { body_bytes: 1 << 20, deadline: Duration::from_millis(2_900), requests: 1_024, tenant_rate: None }
    }
}
