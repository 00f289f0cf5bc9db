//! The program calldata-gateway: settings, command line, and the composition of all rooms into one service.
//!
//! [`app`] puts the dialects together, [`server`] serves them, [`description`] publishes what they look like, [`settings`] says how,
//! [`documents`] where,
//! [`command`] holds one file a command. [`log`], [`admin`] and `traces` are what operators see, `supervisor` what systemd hears.
//! Everything else of ours is used here, and nothing uses this crate but tests and the yardstick.
//!
//! To add a command: a variant in [`cli`], a file in [`command`].

pub mod admin;
pub mod app;
pub mod cli;
pub mod command;
mod core_dumps;
pub mod description;
pub mod documents;
mod failure;
pub mod log;
mod memory_limit;
mod output;
mod panics;
pub mod server;
pub mod settings;
mod supervisor;
mod token_secret;
mod told;
mod traces;

pub use failure::Failure;
