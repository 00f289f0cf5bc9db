//! From a session to the members of an answer.

use std::borrow::Cow;

use calldata_core::{JsonText, Session, Source, Timestamp};

/// The members that every answer reserves (PAR-G4).
const FIXED: [&str; 5] = ["caller", "callid", "timestamp", "content", "conversationid"];
const COUNTRY_CODE: &str = "countrycode";
const INTENT: &str = "intent";

/// What an answer tells of a session, in the dialect's order (PAR-G4). A member that is not known is `None`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The spelling posted.
    pub(crate) caller: String,
    pub(crate) callid: String,
    pub(crate) timestamp: Timestamp,
    pub(crate) content: Option<JsonText>,
    pub(crate) conversationid: Option<JsonText>,
    /// All further members, under names that are given once.
    pub(crate) more: Vec<(String, JsonText)>,
}

impl Record {
    /// All members in order, those that are not known left out.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, Cow<'_, JsonText>)> {
        let [caller, callid, timestamp, content, conversationid] = FIXED;
        let told = [
            (caller, JsonText::string(&self.caller)),
            (callid, JsonText::string(&self.callid)),
            (timestamp, JsonText::string(&self.timestamp.to_string())),
        ];
        let posted = [(content, &self.content), (conversationid, &self.conversationid)];
        let posted = posted.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, Cow::Borrowed(value))));
        let more = self.more.iter().map(|(name, value)| (name.as_str(), Cow::Borrowed(value)));
        told.into_iter().map(|(name, value)| (name, Cow::Owned(value))).chain(posted).chain(more)
    }
}

impl From<Session> for Record {
    fn from(session: Session) -> Self {
        // A post is dated by what it says, else by its last receipt; what came another way, by its last update.
        let (timestamp, intent) = match session.details.source {
            Source::Parloa => (session.details.started_at.unwrap_or(session.received_last), None),
            Source::Oifde | Source::Native => {
                let told = session.details.intent.as_deref().filter(|intent| !intent.is_empty());
                (session.updated(), told.or(session.last_turn_intent()).map(JsonText::string))
            }
        };
        let details = session.details;
        let mut more = Vec::new();
        more.extend(details.country_code.map(|value| (COUNTRY_CODE.to_owned(), value)));
        more.extend(intent.map(|value| (INTENT.to_owned(), value)));
        let taken: Vec<_> = FIXED.into_iter().chain(more.iter().map(|(name, _)| name.as_str())).collect();
        let fields: Vec<_> = details.fields.beside(&taken).map(|(name, value)| (name, value.clone())).collect();
        more.extend(fields);
        Self {
            caller: details.caller.spelling().to_owned(),
            callid: details.call_id.as_str().to_owned(),
            timestamp,
            content: details.content,
            conversationid: details.conversation,
            more,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use calldata_core::{CallId, Caller, Country, Details, Fields, SessionId, Turn};

    fn session(source: Source, fields: &str) -> Session {
        let caller = Caller::new("030 1234567", Country::GERMANY).unwrap();
        let mut details = Details::new(CallId::new("c").unwrap(), caller, source);
        details.fields = Fields::parse(fields).unwrap();
        let at = Timestamp::clamped;
        Session { id: SessionId::new("s").unwrap(), received_first: at(1_000), received_last: at(2_000), details }
    }

    fn names(record: &Record) -> Vec<String> {
        record.members().map(|(name, _)| name.to_owned()).collect()
    }

    #[test]
    fn par_g4_fixed_members_first_then_fields_as_posted() {
        let mut session = session(Source::Parloa, r#"{"z":1,"a":2}"#);
        assert_eq!(names(&Record::from(session.clone())), ["caller", "callid", "timestamp", "z", "a"]);
        session.details.content = Some(JsonText::string("x"));
        session.details.conversation = Some(JsonText::string("y"));
        session.details.country_code = Some(JsonText::string("+49"));
        let record = Record::from(session.clone());
        assert_eq!(names(&record), ["caller", "callid", "timestamp", "content", "conversationid", "countrycode", "z", "a"]);
        assert_eq!((record.caller.as_str(), record.timestamp), ("030 1234567", Timestamp::clamped(2_000)));
        session.details.started_at = Some(Timestamp::clamped(5));
        assert_eq!(Record::from(session).timestamp, Timestamp::clamped(5));
    }

    #[test]
    fn par_p4_fixed_members_win_over_fields_of_their_name() {
        let record = Record::from(session(Source::Parloa, r#"{"caller":1,"timestamp":"","intent":"pay","countrycode2":1}"#));
        assert_eq!(names(&record), ["caller", "callid", "timestamp", "input.caller", "input.timestamp", "intent", "countrycode2"]);
    }

    #[test]
    fn a_session_from_elsewhere_is_dated_by_its_update_and_tells_its_intent() {
        let mut session = session(Source::Oifde, r#"{"intent":"field"}"#);
        assert_eq!(names(&Record::from(session.clone())), ["caller", "callid", "timestamp", "intent"], "no intent is invented");
        session.details.turns = vec![Turn { intent: "last".into(), ..Turn::default() }];
        session.details.updated_at = Some(Timestamp::clamped(9));
        let record = Record::from(session.clone());
        assert_eq!(names(&record), ["caller", "callid", "timestamp", "intent", "input.intent"]);
        assert_eq!((record.timestamp, record.more[0].1.as_str()), (Timestamp::clamped(9), r#""last""#));
        session.details.intent = Some("told".into());
        assert_eq!(Record::from(session).more[0].1.as_str(), r#""told""#);
    }
}
