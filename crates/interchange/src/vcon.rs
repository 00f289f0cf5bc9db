//! Sessions as vCons (draft-ietf-vcon-vcon-core-03), the form in which other systems exchange conversations.
//!
//! What the draft has a place for is there: who took part, what was said, what was understood, what was learned. All the rest is one
//! analysis of ours, so that a vCon that is read again is the session that it was. What another system wrote is read as far as it is
//! understood. `docs/adr/0018-vcon.md` says what is where, and why.

mod body;
mod documents;
mod entry;
mod foreign;
mod ours;
mod read;
mod write;

pub use documents::read_documents;
pub use read::read;
pub use write::write;

/// Who made the analyses that are ours.
const VENDOR: &str = "calldata-gateway";
/// The form of the analysis that holds the rest of a session.
const SESSION_SCHEMA: &str = "calldata-session/1";
/// The form of the analysis that holds questions and answers.
const ANSWERS_SCHEMA: &str = "calldata-answers/1";

/// Types of analyses, and purposes of attachments.
const SESSION: &str = "session";
const INTENT: &str = "intent";
const ANSWERS: &str = "qa";
const CONTENT: &str = "content";
const FIELDS: &str = "fields";

/// Where they are among the parties.
const CALLER: usize = 0;
const BOT: usize = 1;
const AGENT: usize = 3;
