//! What is raced against what.

mod export;
mod latency;
mod purge;
mod throughput;
mod upkeep;

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
        Set::Latency => latency::run(harness),
        Set::Memory => upkeep::memory(harness),
        Set::RCold => throughput::r_cold(harness),
        Set::Q => throughput::q(harness),
        Set::Export => export::run(harness),
        Set::Startup => upkeep::startup(harness),
        Set::Mixed => throughput::mixed(harness),
        Set::Growth => throughput::growth(harness),
        Set::Purge => purge::run(harness),
    }
}
