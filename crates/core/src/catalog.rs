//! Which sessions are asked for, and in which order they come.

use crate::{CallId, CallerKey, Session, SessionId, Timestamp};

/// Which sessions are meant; all that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this call.
    pub call_id: Option<CallId>,
    /// Of this caller.
    pub caller: Option<CallerKey>,
    /// Of this call, as the telephony platform names it.
    pub cti_call_id: Option<String>,
    /// Of this conversation.
    pub conversation: Option<String>,
    /// In which the caller wanted this; see [`Session::intent`].
    pub intent: Option<String>,
    /// Begun then or later.
    pub from: Option<Timestamp>,
    /// Begun then or earlier.
    pub until: Option<Timestamp>,
    /// First received then or earlier.
    pub received_until: Option<Timestamp>,
    /// With this in their content, whatever the letter case.
    pub text: Option<Needle>,
}

/// A text to look for, whatever its letter case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle(String);

impl Needle {
    /// To look for this text; `None` for an empty one, which is everywhere.
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.to_lowercase()))
    }

    /// The text, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_in(&self, text: &str) -> bool {
        text.to_lowercase().contains(&self.0)
    }
}

impl Filter {
    /// Whether a session is meant.
    pub fn matches(&self, session: &Session) -> bool {
        let Self { call_id, caller, cti_call_id, conversation, intent, from, until, received_until, text } = self;
        let details = &session.details;
        let started = session.started();
        call_id.as_ref().is_none_or(|call| *call == details.call_id)
            && caller.as_ref().is_none_or(|caller| caller == details.caller.key())
            && cti_call_id.as_ref().is_none_or(|cti| details.cti_call_id.as_ref() == Some(cti))
            && conversation.as_ref().is_none_or(|wanted| details.conversation.as_ref().is_some_and(|known| known.display() == *wanted))
            && intent.as_ref().is_none_or(|wanted| session.intent() == Some(wanted))
            && from.is_none_or(|from| from <= started)
            && until.is_none_or(|until| started <= until)
            && received_until.is_none_or(|until| session.received_first <= until)
            && text.as_ref().is_none_or(|text| details.content.as_ref().is_some_and(|content| text.is_in(&content.words())))
    }
}

/// A place in the order of sessions: by start, ties by identifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When the session began.
    pub started: Timestamp,
    /// The session.
    pub id: SessionId,
}

impl Place {
    /// Where a session stands.
    pub fn of(session: &Session) -> Self {
        Self { started: session.started(), id: session.id.clone() }
    }
}

/// From which end sessions are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The newest start first.
    #[default]
    NewestFirst,
    /// The oldest start first.
    OldestFirst,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<'f> {
    /// Of which sessions. Their text is not looked at.
    pub filter: &'f Filter,
    /// In which order.
    pub order: Order,
    /// After which place.
    pub after: Option<&'f Place>,
    /// How many at most.
    pub limit: u64,
    /// How many bytes they may hold; the last one may go beyond.
    pub max_bytes: usize,
}

/// What a store gives of a [`Listing`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The sessions, in order.
    pub sessions: Vec<Session>,
    /// There may be more within the limit: the bytes were used up.
    pub is_cut: bool,
}

/// A part of a list, as it is given to whoever asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What matches.
    pub items: Vec<T>,
    /// Where to go on; `None` at the end. A page may be short, or empty, and not the last.
    pub next: Option<Place>,
}

/// All sessions of one caller in one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// At least one, the oldest start first.
    pub sessions: Vec<Session>,
    /// The call has more sessions than these, which are its newest.
    pub is_cut: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Caller, Country, Details, JsonText, Source, Turn};

    fn session() -> Session {
        let caller = Caller::new("030 123456", Country::GERMANY).unwrap();
        let mut details = Details::new(CallId::new("c").unwrap(), caller, Source::Native);
        details.content = Some(JsonText::string("Straße und Wasser"));
        details.conversation = Some(JsonText::parse("17").unwrap());
        details.turns = vec![Turn { intent: "pay".into(), ..Turn::default() }];
        let at = Timestamp::clamped(1_000);
        Session { id: SessionId::new("s").unwrap(), received_first: at, received_last: at, details }
    }

    #[test]
    fn all_that_is_given_must_match() {
        let session = session();
        let at = |ms| Some(Timestamp::clamped(ms));
        let matching = Filter {
            call_id: CallId::new("c").ok(),
            caller: Some(CallerKey::of("+4930123456", Country::GERMANY)),
            conversation: Some("17".into()),
            intent: Some("pay".into()),
            from: at(1_000),
            until: at(1_000),
            received_until: at(1_000),
            text: Needle::new("STRASSE").or(Needle::new("x")),
            ..Filter::default()
        };
        assert!(Filter::default().matches(&session));
        assert!(!matching.matches(&session), "letter case is not spelling");
        let matching = Filter { text: Needle::new("WASSER"), ..matching };
        assert!(matching.matches(&session));
        let other = [
            Filter { call_id: CallId::new("d").ok(), ..matching.clone() },
            Filter { caller: Some(CallerKey::of("110", Country::GERMANY)), ..matching.clone() },
            Filter { cti_call_id: Some("x".into()), ..matching.clone() },
            Filter { conversation: Some("18".into()), ..matching.clone() },
            Filter { intent: Some("Pay".into()), ..matching.clone() },
            Filter { from: at(1_001), ..matching.clone() },
            Filter { until: at(999), ..matching.clone() },
            Filter { received_until: at(999), ..matching.clone() },
            Filter { text: Needle::new("wein"), ..matching.clone() },
        ];
        assert!(!other.iter().any(|filter| filter.matches(&session)));
    }
}
