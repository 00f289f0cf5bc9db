//! The published JSON shape of a session, its turns and its answers: what the native interface, import, export and the `turns` of a
//! Parloa post have in common; and the same as a table and as a vCon.
//!
//! Wire types and their translation into the domain, nothing else. Arrows: core. To add a member: [`document`] and [`mod@write`] for a
//! session, [`items`] for a turn or an answer, where the OIFDE name stands beside ours; then [`mod@csv`], where it needs a column. A vCon has
//! every member that has no place of its own.

mod bounded;
pub mod csv;
pub mod document;
mod format;
pub mod invalid;
pub mod items;
mod members;
mod object;
pub mod vcon;
pub mod write;

pub use document::{SessionDocument, read_turn_documents};
pub use format::Format;
pub use invalid::InvalidDocument;
pub use items::{answers_of, turns_of};
pub use write::{write_answers, write_session, write_turns};
