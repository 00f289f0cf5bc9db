//! A call session: the one record that both dialects write and read.

use std::time::Duration;

use crate::turn::{Answer, Turn};
use crate::{CallId, Caller, Fields, JsonText, SessionId, Timestamp};

/// A stored session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its identifier within the tenant.
    pub id: SessionId,
    /// When the gateway first received it; retention counts from here.
    pub received_first: Timestamp,
    /// When the gateway last received it; its age counts from here.
    pub received_last: Timestamp,
    /// What is known about it.
    pub details: Details,
}

impl Session {
    /// When the session began: as told, else when it was first received.
    pub fn started(&self) -> Timestamp {
        self.details.started_at.unwrap_or(self.received_first)
    }

    /// When the session last changed: as told, else when it was last received.
    pub fn updated(&self) -> Timestamp {
        self.details.updated_at.unwrap_or(self.received_last)
    }

    /// The time since it was last received.
    pub fn age(&self, now: Timestamp) -> Duration {
        now.since(self.received_last)
    }

    /// About how many bytes the session holds in memory.
    pub fn bytes(&self) -> usize {
        self.details.bytes()
    }

    /// What the caller wanted: as told, else at the end.
    pub fn intent(&self) -> Option<&str> {
        self.details.intent()
    }

    /// What the caller wanted at the end: the intention of the last turn, when it has one.
    pub fn last_turn_intent(&self) -> Option<&str> {
        self.details.last_turn_intent()
    }
}

/// A session on its way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// An identifier that it brings along; otherwise it gets one. A session with a known identifier replaces the earlier one.
    pub id: Option<SessionId>,
    /// First and last receipt that it brings along from another gateway.
    pub received: Option<(Timestamp, Timestamp)>,
    /// What is known about it.
    pub details: Details,
}

/// What is known about a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// The call it belongs to.
    pub call_id: CallId,
    /// Who called.
    pub caller: Caller,
    /// The country of the caller's local number, as posted.
    pub country_code: Option<JsonText>,
    /// The call as the telephony platform names it.
    pub cti_call_id: Option<String>,
    /// The number the call came from, where it differs from the caller.
    pub calling_number: Option<String>,
    /// The number that was called.
    pub called_number: Option<String>,
    /// The conversation, as posted.
    pub conversation: Option<JsonText>,
    /// When it began, when that was told.
    pub started_at: Option<Timestamp>,
    /// When it ended, when that was told.
    pub ended_at: Option<Timestamp>,
    /// When it last changed, when that was told.
    pub updated_at: Option<Timestamp>,
    /// What kind of conversation it was.
    pub dialog_type: Option<DialogType>,
    /// What the caller wanted.
    pub intent: Option<String>,
    /// What was learned, as posted.
    pub content: Option<JsonText>,
    /// User-defined fields, as posted.
    pub fields: Fields,
    /// Where the recording is.
    pub recording: Option<Recording>,
    /// What the business side attached, as delivered.
    pub business_info: Option<JsonText>,
    /// A mark that the author put on it.
    pub flag: Option<String>,
    /// What was said, in order.
    pub turns: Vec<Turn>,
    /// What was asked and answered, in order.
    pub answers: Vec<Answer>,
    /// Who delivered it.
    pub source: Source,
}

impl Details {
    /// The least that a session can be: a caller in a call.
    pub fn new(call_id: CallId, caller: Caller, source: Source) -> Self {
        Self {
            call_id,
            caller,
            country_code: None,
            cti_call_id: None,
            calling_number: None,
            called_number: None,
            conversation: None,
            started_at: None,
            ended_at: None,
            updated_at: None,
            dialog_type: None,
            intent: None,
            content: None,
            fields: Fields::default(),
            recording: None,
            business_info: None,
            flag: None,
            turns: Vec::new(),
            answers: Vec::new(),
            source,
        }
    }

    /// See [`Session::bytes`].
    pub fn bytes(&self) -> usize {
        let texts = [&self.content, &self.conversation, &self.business_info].into_iter().flatten().map(|text| text.as_str().len());
        let turns = self.turns.iter().map(|turn| size_of::<Turn>() + turn.user_text.len() + turn.intent.len() + turn.reply.len());
        let answers = self.answers.iter().map(|answer| {
            let texts = [&answer.series, &answer.question, &answer.question_type, &answer.intent, &answer.original];
            size_of::<Answer>() + texts.into_iter().flatten().map(String::len).sum::<usize>()
        });
        size_of::<Session>() + self.fields.as_json().len() + texts.sum::<usize>() + turns.sum::<usize>() + answers.sum::<usize>()
    }

    /// See [`Session::intent`].
    pub fn intent(&self) -> Option<&str> {
        self.intent.as_deref().or_else(|| self.last_turn_intent())
    }

    fn last_turn_intent(&self) -> Option<&str> {
        self.turns.last().map(|turn| turn.intent.as_str()).filter(|intent| !intent.is_empty())
    }
}

/// Who delivered a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A Parloa bot.
    Parloa,
    /// An OIFDE record.
    Oifde,
    /// The native interface.
    Native,
}

/// What kind of conversation a session was (OIF-R5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialogType {
    /// A voice navigation.
    Voice,
    /// An outbound call.
    Outbound,
    /// A chat.
    Chatbot,
    /// An IVR flow.
    Ivr,
    /// A kind that has no name here, as delivered.
    Other(String),
}

/// Where the recording of a session is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// Path and name of the recording.
    pub file: Option<String>,
    /// The node that holds the recording.
    pub location_id: Option<String>,
    /// The recorded announcement.
    pub announcement_file: Option<String>,
    /// The node of the CTI pool, where recordings are spread over one.
    pub pool_node: Option<i64>,
    /// The description as delivered, when it holds anything else than the first three.
    pub as_delivered: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Country;

    #[test]
    fn what_was_not_told_is_when_it_was_received() {
        let caller = Caller::new("+4930123", Country::GERMANY).unwrap();
        let mut session = Session {
            id: SessionId::new("s").unwrap(),
            received_first: Timestamp::clamped(1_000),
            received_last: Timestamp::clamped(2_000),
            details: Details::new(CallId::new("c").unwrap(), caller, Source::Parloa),
        };
        assert_eq!((session.started(), session.updated()), (Timestamp::clamped(1_000), Timestamp::clamped(2_000)));
        assert_eq!(session.age(Timestamp::clamped(5_000)), Duration::from_secs(3));
        session.details.started_at = Some(Timestamp::clamped(7));
        session.details.updated_at = Some(Timestamp::clamped(8));
        assert_eq!((session.started(), session.updated()), (Timestamp::clamped(7), Timestamp::clamped(8)));
        let turn = |intent: &str| Turn { intent: intent.into(), ..Turn::default() };
        session.details.turns = vec![turn("first"), turn("last")];
        assert_eq!(session.last_turn_intent(), Some("last"));
        session.details.turns.push(turn(""));
        assert_eq!(session.last_turn_intent(), None);
    }
}
