//! From a session to the members of an answer.

use std::borrow::Cow;

use calldata_core::{Fields, JsonText, Session, Source, Timestamp};

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
    pub(crate) countrycode: Option<JsonText>,
    /// Of a session that came another way; of a post it is one of the fields.
    pub(crate) intent: Option<JsonText>,
    /// All further members, under names that are not taken.
    pub(crate) fields: Fields,
}

impl Record {
    /// The members before the user-defined ones in order, those that are not known left out.
    pub(crate) fn own(&self) -> impl Iterator<Item = (&'static str, Cow<'_, JsonText>)> {
        let [caller, callid, timestamp, content, conversationid] = FIXED;
        let told = [
            (caller, JsonText::string(&self.caller)),
            (callid, JsonText::string(&self.callid)),
            (timestamp, JsonText::string(&self.timestamp.to_string())),
        ];
        let posted = [(content, &self.content), (conversationid, &self.conversationid)];
        let posted = posted.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
        told.map(|(name, value)| (name, Cow::Owned(value)))
            .into_iter()
            .chain(posted.chain(self.known()).map(|(name, value)| (name, Cow::Borrowed(value))))
    }

    /// Those of them that no answer reserves.
    fn known(&self) -> impl Iterator<Item = (&'static str, &JsonText)> {
        let known = [(COUNTRY_CODE, &self.countrycode), (INTENT, &self.intent)];
        known.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)))
    }

    /// The names that no field may have beside this record.
    pub(crate) fn taken(&self) -> Vec<&'static str> {
        FIXED.into_iter().chain(self.known().map(|(name, _)| name)).collect()
    }

    /// All members in order, those that are not known left out.
    pub(crate) fn members(&self) -> Vec<(String, Cow<'_, JsonText>)> {
        let mut members: Vec<_> = self.own().map(|(name, value)| (name.to_owned(), value)).collect();
        members.extend(self.fields.beside(&self.taken()).map(|(name, value)| (name, Cow::Borrowed(value))));
        members
    }

    /// The members after those that every answer reserves, in order.
    pub(crate) fn more(&self) -> Vec<(String, &JsonText)> {
        let mut members: Vec<_> = self.known().map(|(name, value)| (name.to_owned(), value)).collect();
        members.extend(self.fields.beside(&self.taken()));
        members
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
        Self {
            caller: details.caller.into_spelling(),
            callid: details.call_id.into_string(),
            timestamp,
            content: details.content,
            conversationid: details.conversation,
            countrycode: details.country_code,
            intent,
            fields: details.fields,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use calldata_core::{CallId, Caller, Country, Details, SessionId, Turn};

    fn session(source: Source, fields: &str) -> Session {
        let caller = Caller::new("030 1234567", Country::GERMANY).unwrap();
        let mut details = Details::new(CallId::new("c").unwrap(), caller, source);
        details.fields = Fields::parse(fields).unwrap();
        let at = Timestamp::clamped;
        Session { id: SessionId::new("s").unwrap(), received_first: at(1_000), received_last: at(2_000), details }
    }

    fn names(record: &Record) -> Vec<String> {
        record.members().into_iter().map(|(name, _)| name).collect()
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
        assert_eq!((record.timestamp, record.intent), (Timestamp::clamped(9), Some(JsonText::string("last"))));
        session.details.intent = Some("told".into());
        assert_eq!(Record::from(session).intent, Some(JsonText::string("told")));
    }
}
