//! Masking: what a tenant wants to be told no longer some time after a call, but for keys that may see it (`unmasked`).
//!
//! Nothing that is stored changes: a session is masked on its way out, and everything that leaves [`crate::Sessions`] passes here.

use std::time::Duration;

use crate::access::Access;
use crate::{Answer, Details, Fields, JsonText, Recording, Session, Source, Timestamp, Turn};

/// What is shown in place of what is masked.
pub const MASK: &str = "***";
/// All user-defined fields.
pub const ALL_FIELDS: &str = "*";

/// The longest name in bytes, and how many there may be.
const MAX_NAME_BYTES: usize = 200;
const MAX_NAMES: usize = 100;
/// Names of one thing; who names one of them means all.
const SAME: [&[&str]; 4] =
    [&["answers", "qaRecords"], &["cticallid", "ctiCallId"], &["callednumber", "calledNumber"], &["endtime", "endTime", "endedAt"]];

/// What a tenant has masked, and from when on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masking {
    after_minutes: u32,
    names: Vec<String>,
}

/// Why something cannot be masked so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMasking {
    /// It begins too late.
    #[error("masking begins after 0 to {} minutes", Masking::MAX_MINUTES)]
    TooLate,
    /// Nothing would be masked.
    #[error("masking needs the name of at least one field")]
    NoName,
    /// There are more names than anybody needs.
    #[error("masking takes up to {MAX_NAMES} names")]
    TooManyNames,
    /// One of them is no name.
    #[error("the name of a field has 1 to {MAX_NAME_BYTES} bytes, none of them a control character")]
    Name,
}

impl Masking {
    /// The latest beginning: a year.
    pub const MAX_MINUTES: u32 = 525_600;

    /// Masks what has these names, so many minutes after a session was first received: whoever stores something more of it does not
    /// bring it back. A name is `content`, `turns`, `answers`, `intent`,
    /// `businessInfo`, `recording`, `ctiCallId`, `calledNumber`, `callingNumber`, `endedAt`, `flag`, that of a user-defined field, or
    /// [`ALL_FIELDS`].
    ///
    /// # Errors
    /// When there is no name or too many, one is none, or the minutes are too many.
    pub fn new(after_minutes: u32, names: Vec<String>) -> Result<Self, InvalidMasking> {
        if after_minutes > Self::MAX_MINUTES {
            return Err(InvalidMasking::TooLate);
        }
        if names.len() > MAX_NAMES {
            return Err(InvalidMasking::TooManyNames);
        }
        let mut once: Vec<String> = Vec::with_capacity(names.len());
        for name in names {
            if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
                return Err(InvalidMasking::Name);
            }
            if !once.contains(&name) {
                once.push(name);
            }
        }
        if once.is_empty() { Err(InvalidMasking::NoName) } else { Ok(Self { after_minutes, names: once }) }
    }

    /// After how many minutes.
    pub fn after_minutes(&self) -> u32 {
        self.after_minutes
    }

    /// What is masked, each name once.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Masks what is to be masked at `now`.
    pub fn mask(&self, session: &mut Session, now: Timestamp) {
        if now.since(session.received_first) >= Duration::from_secs(u64::from(self.after_minutes) * 60) {
            let last_turn_intent = session.last_turn_intent().is_some();
            self.mask_details(&mut session.details, last_turn_intent);
        }
    }

    fn mask_details(&self, details: &mut Details, last_turn_intent: bool) {
        let Details {
            call_id: _,
            caller: _,
            country_code: _,
            cti_call_id,
            calling_number,
            called_number,
            conversation: _,
            started_at: _,
            ended_at,
            updated_at: _,
            dialog_type: _,
            intent,
            content,
            fields,
            recording,
            business_info,
            flag,
            turns,
            answers,
            source,
        } = details;
        // What was read from a field that is masked would tell it in another place.
        let read_from = |names: &[&str]| {
            let posted = *source == Source::Parloa;
            posted && names.iter().any(|name| self.hides_field(name) && fields.get(name).is_some())
        };
        if self.has("ctiCallId") || read_from(&["cticallid", "ctiCallId"]) {
            hide_text(cti_call_id.as_mut());
        }
        if self.has("calledNumber") || read_from(&["callednumber", "calledNumber"]) {
            hide_text(called_number.as_mut());
        }
        if self.has("endedAt") || read_from(&["endtime", "endTime"]) {
            *ended_at = None;
        }
        if self.has("callingNumber") {
            hide_text(calling_number.as_mut());
        }
        if self.has("flag") {
            hide_text(flag.as_mut());
        }
        if self.has("intent") || read_from(&["intent"]) {
            hide_text(intent.as_mut());
            // Of what no bot posted, the intent of the last turn stands in for one that is not known.
            if *source != Source::Parloa && last_turn_intent && intent.as_deref().is_none_or(str::is_empty) {
                *intent = Some(MASK.to_owned());
            }
        }
        if self.has("turns") || read_from(&["turns"]) {
            turns.iter_mut().for_each(hide_turn);
        }
        if self.has("answers") || read_from(&["qaRecords"]) {
            answers.iter_mut().for_each(hide_answer);
        }
        if self.has("content") {
            hide_json(content.as_mut());
        }
        if self.has("businessInfo") {
            hide_json(business_info.as_mut());
        }
        if self.has("recording")
            && let Some(recording) = recording
        {
            hide_recording(recording);
        }
        if fields.iter().any(|(name, _)| self.hides_field(name)) {
            let shown = fields.iter().map(|(name, value)| {
                let value = if self.hides_field(name) { JsonText::string(MASK) } else { value.clone() };
                (name.to_owned(), value)
            });
            *fields = Fields::of_distinct(shown.collect());
        }
    }

    /// Whether this name, or another one of the same thing, was given.
    fn has(&self, name: &str) -> bool {
        let same = |given: &str| SAME.iter().any(|names| names.contains(&given) && names.contains(&name));
        self.names.iter().any(|given| given == name || same(given))
    }

    fn hides_field(&self, field: &str) -> bool {
        self.names.iter().any(|name| name == ALL_FIELDS) || self.has(field)
    }
}

/// Whether a value is masked, or as good as that.
pub fn is_masked(value: &JsonText) -> bool {
    value.as_str().strip_prefix('"').and_then(|text| text.strip_suffix('"')) == Some(MASK)
}

/// Masks what this client may not see at `now`. For everything that leaves [`crate::Sessions`]; it costs a comparison where the tenant has
/// nothing masked.
pub(crate) fn hide(access: &Access, session: &mut Session, now: Timestamp) {
    if let Some(masking) = &access.tenant.masking
        && !access.scopes.unmasked
    {
        masking.mask(session, now);
    }
}

/// The same of several.
pub(crate) fn hide_all<'s>(access: &Access, sessions: impl IntoIterator<Item = &'s mut Session>, now: Timestamp) {
    for session in sessions {
        hide(access, session, now);
    }
}

/// A session as this client may see it at `now`.
pub fn shown(access: &Access, session: &Session, now: Timestamp) -> Session {
    let mut session = session.clone();
    hide(access, &mut session, now);
    session
}

/// What is empty tells nothing.
fn hide_text(text: Option<&mut String>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        MASK.clone_into(text);
    }
}

fn hide_json(value: Option<&mut JsonText>) {
    if let Some(value) = value {
        *value = JsonText::string(MASK);
    }
}

fn hide_turn(turn: &mut Turn) {
    let Turn { no: _, user_text, intent, reply, requested_at: _, replied_at: _, by: _, mode: _ } = turn;
    for text in [user_text, intent, reply] {
        hide_text(Some(text));
    }
}

fn hide_answer(answer: &mut Answer) {
    let Answer { no: _, series: _, question: _, question_type: _, intent, original, created_at: _ } = answer;
    hide_text(intent.as_mut());
    hide_text(original.as_mut());
}

/// Where the recording is, but not on which node.
fn hide_recording(recording: &mut Recording) {
    let Recording { file, location_id: _, announcement_file, pool_node: _, as_delivered } = recording;
    (*file, *announcement_file, *as_delivered) = (None, None, None);
}

#[cfg(test)]
mod tests;
