//! The yardstick: how fast the gateway is, as ratios to a bare axum that does nothing, and beside peers that people might use instead.
//!
//! Arrows: the binary `bench` runs the gateway as a program and needs nothing of ours but the clock; `hot_paths` builds the gateway's
//! service in its own process to count instructions. Nothing depends on this crate. The test kit is not used: it would change the
//! features that the gateway is built with.
//!
//! Rooms: [`load`] sends requests and counts, [`work`] knows what is asked and what a right answer is, [`server`] runs what is measured,
//! [`stores`] fills databases, [`sets`] says what is raced against what, [`report`] what came of it. To add a set: a function in
//! [`sets`], a line in its list, and a goal in [`report`] where the project has one.
#![expect(clippy::cast_precision_loss, reason = "counts become ratios here, and no ratio has sixteen digits")]

pub mod contender;
pub mod harness;
pub mod hot_paths;
pub mod load;
pub mod names;
pub mod options;
pub mod paced;
pub mod postgres;
pub mod processes;
pub mod report;
pub mod rows;
pub mod server;
pub mod sets;
pub mod stores;
pub mod wire;
pub mod work;

/// Whatever went wrong; it ends the run with one line.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// A result of this crate.
pub type Result<T = ()> = std::result::Result<T, Error>;
