//! What stands behind every API.

use std::sync::Arc;
use std::time::Duration;

use calldata_core::{Directory, Sessions};

/// What every API crate is given: who may come in, and what they come for.
#[derive(Clone)]
pub struct Shared {
    /// Recognises clients.
    pub directory: Arc<Directory>,
    /// Stores and finds sessions.
    pub sessions: Arc<Sessions>,
    /// How much and how long.
    pub limits: Limits,
}

/// How large a request may be and how long an answer may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest body, in bytes (PAR-P8).
    pub body_bytes: usize,
    /// The time after which an answer is given in any case; bots give up at 4 s (PAR-P8).
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // A little before 3 s, so that the answer is there within them.
        Self { body_bytes: 1 << 20, deadline: Duration::from_millis(2_900) }
    }
}
