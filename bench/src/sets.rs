//! What is raced against what.

mod throughput;

use crate::Result;
use crate::harness::Harness;
use crate::options::Set;

/// Measures a set.
///
/// # Errors
/// When something does not start, breaks, or cannot be read.
pub fn run(harness: &mut Harness, set: Set) -> Result {
    match set {
        Set::W => throughput::w(harness),
        Set::RRecent => throughput::r_recent(harness),
        _ => Ok(()),
    }
}
