//! A session as one JSON object.

use std::fmt;

use std::collections::HashSet;

use calldata_core::{
    Answer, CallId, Caller, Country, Details, DialogType, Fields, JsonKind, JsonText, NewSession, Recording, SessionId, Source, Timestamp,
    Turn,
};

use crate::invalid::{InvalidDocument, invalid};
use crate::items::{documented_answers, documented_turns};
use crate::members::{Members, time_of};

/// A session as it is written down: one JSON object, camelCase, RFC 3339 times. Unknown members are refused, so that a misspelt one
/// is not lost in silence.
pub struct SessionDocument(Members);

impl SessionDocument {
    /// Reads one JSON object.
    ///
    /// # Errors
    /// When it is not JSON, no object, nested too deeply, or holds an unpaired surrogate.
    pub fn parse(text: &str) -> Result<Self, InvalidDocument> {
        Members::parse(text).map(Self)
    }

    /// The session it describes; a local number without a country is one of `default_country`.
    ///
    /// # Errors
    /// When a member is missing, is not known or breaks a rule.
    pub fn into_session(self, default_country: Country) -> Result<NewSession, InvalidDocument> {
        let Self(mut given) = self;
        let call_id = given.required("callId")?;
        let caller = given.required("caller")?;
        let country_code = given.text("countryCode")?;
        let country = country_of(country_code.as_deref(), default_country)?;
        let source = given.text("source")?.map_or(Ok(Source::Native), |name| source(&name))?;
        let content = given.take("content");
        let session = NewSession {
            id: given.text("id")?.map(|id| SessionId::new(&id)).transpose().map_err(|error| invalid("id", error))?,
            received: given.given("receivedAt").map(|both| received(&both)).transpose()?,
            details: Details {
                call_id: CallId::new(&call_id).map_err(|error| invalid("callId", error))?,
                caller: Caller::new(&caller, country).map_err(|error| invalid("caller", error))?,
                country_code: country_code.as_deref().map(JsonText::string),
                cti_call_id: given.text("ctiCallId")?,
                calling_number: given.text("callingNumber")?.filter(|number| *number != caller),
                called_number: given.text("calledNumber")?,
                conversation: given.text("conversationId")?.as_deref().map(JsonText::string),
                started_at: given.time("startedAt")?,
                ended_at: given.time("endedAt")?,
                updated_at: given.time("updatedAt")?,
                dialog_type: given.text("dialogType")?.map(|name| dialog_type(&name)).transpose()?,
                intent: given.text("intent")?,
                // A bot may have posted null; elsewhere null is no content.
                content: content.filter(|content| source == Source::Parloa || content.kind() != JsonKind::Null),
                fields: given.given("fields").map(|fields| user_defined(&fields)).transpose()?.unwrap_or_default(),
                recording: given.given("recording").map(|recording| recorded(&recording, source)).transpose()?,
                business_info: given.given("businessInfo"),
                flag: given.text("flag")?,
                turns: documented_turns(&given.items("turns")?.unwrap_or_default())?,
                answers: documented_answers(&given.items("answers")?.unwrap_or_default())?,
                source,
            },
        };
        given.finish()?;
        Ok(session)
    }
}

/// Content stays out of logs.
impl fmt::Debug for SessionDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionDocument(…)")
    }
}

/// Reads `{"turns":[…],"answers":[…]}`: what is added to a session that is there.
///
/// # Errors
/// When it is not such an object, has neither of them, or an item is none.
pub fn read_turn_documents(text: &str) -> Result<(Vec<Turn>, Vec<Answer>), InvalidDocument> {
    let mut given = Members::parse(text)?;
    let (turns, answers) = (given.items("turns")?, given.items("answers")?);
    given.finish()?;
    if turns.is_none() && answers.is_none() {
        return Err(InvalidDocument::Missing { member: "turns".into() });
    }
    Ok((documented_turns(&turns.unwrap_or_default())?, documented_answers(&answers.unwrap_or_default())?))
}

fn country_of(code: Option<&str>, default: Country) -> Result<Country, InvalidDocument> {
    match code.map(str::trim) {
        None | Some("") => Ok(default),
        Some(code) => Country::parse(code).map_err(|error| invalid("countryCode", format!("is {error}"))),
    }
}

fn source(name: &str) -> Result<Source, InvalidDocument> {
    match name {
        "parloa" => Ok(Source::Parloa),
        "oifde" => Ok(Source::Oifde),
        "native" => Ok(Source::Native),
        _ => Err(invalid("source", "must be parloa, oifde or native")),
    }
}

fn dialog_type(name: &str) -> Result<DialogType, InvalidDocument> {
    match name {
        "voice" => Ok(DialogType::Voice),
        "outbound" => Ok(DialogType::Outbound),
        "chatbot" => Ok(DialogType::Chatbot),
        "ivr" => Ok(DialogType::Ivr),
        // A kind that another system delivered and that has no name here.
        _ => match name.strip_prefix("other:") {
            Some(delivered) => Ok(DialogType::Other(delivered.to_owned())),
            None => Err(invalid("dialogType", "must be voice, outbound, chatbot or ivr")),
        },
    }
}

fn received(both: &JsonText) -> Result<(Timestamp, Timestamp), InvalidDocument> {
    let wrong = || invalid("receivedAt", "must be the first receipt, then the last one");
    let items = both.items().ok_or_else(wrong)?;
    let [first, last] = items.as_slice() else { return Err(wrong()) };
    let time = |value| time_of(value).ok_or_else(|| invalid("receivedAt", "is not a time (RFC 3339)"));
    let (first, last) = (time(first)?, time(last)?);
    if first <= last { Ok((first, last)) } else { Err(wrong()) }
}

/// Whichever of two values of one name were kept, the other would be lost in silence.
fn user_defined(fields: &JsonText) -> Result<Fields, InvalidDocument> {
    let mut names = HashSet::new();
    if !fields.pairs().unwrap_or_default().into_iter().all(|(name, _)| names.insert(name)) {
        return Err(invalid("fields", "has a name that is given twice"));
    }
    Fields::parse(fields.as_str()).map_err(|error| invalid("fields", format!("is {error}")))
}

fn recorded(recording: &JsonText, source: Source) -> Result<Recording, InvalidDocument> {
    let mut given = Members::of(recording, "recording.").ok_or_else(|| invalid("recording", "must be an object"))?;
    let location_id = given.text("locationId")?;
    // An OIFDE record tells the node of the pool apart from that of the file; elsewhere they are one, and these members are not known.
    let (pool_node, as_delivered) = if source == Source::Oifde {
        let node =
            given.given("poolNode").map(|node| node.as_str().parse().map_err(|_| given.invalid("poolNode", "must be a whole number")));
        (node.transpose()?, given.text("asDelivered")?)
    } else {
        (location_id.as_deref().and_then(|id| id.parse().ok()), None)
    };
    let recording =
        Recording { file: given.text("file")?, location_id, announcement_file: given.text("announcementFile")?, pool_node, as_delivered };
    given.finish()?;
    Ok(recording)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<NewSession, String> {
        SessionDocument::parse(text).and_then(|document| document.into_session(Country::GERMANY)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_full_document_becomes_a_session() {
        let session = read(
            r#"{"id":"s1","callId":"c1","caller":"030 123456","ctiCallId":"cti","calledNumber":"+4930","conversationId":"conv","countryCode":"+43",
            "startedAt":"2024-02-27T12:00:00Z","endedAt":"2024-02-27T12:10:00Z","updatedAt":"2024-02-27T12:11:00Z",
            "receivedAt":["2024-02-27T12:12:00Z","2024-02-27T12:13:00Z"],"dialogType":"ivr","intent":"pay","content":{"a": 1.10},
            "fields":{"z":1,"a":"x"},"recording":{"file":"f.wav","locationId":"7","announcementFile":"g.wav"},"businessInfo":[1],"flag":"f",
            "turns":[{"no":"1","userText":"hi"}],"answers":[{"no":"1"}],"source":"native"}"#,
        )
        .unwrap();
        let details = session.details;
        assert_eq!(session.id.unwrap().as_str(), "s1");
        let (first, last) = session.received.unwrap();
        assert_eq!(last.since(first).as_secs(), 60);
        assert_eq!((details.caller.spelling(), details.caller.key().as_str()), ("030 123456", "+4330123456"));
        assert_eq!(details.content.unwrap().as_str(), r#"{"a":1.10}"#);
        assert_eq!(details.fields.as_json(), r#"{"z":1,"a":"x"}"#);
        let recording = details.recording.unwrap();
        assert_eq!((recording.location_id.as_deref(), recording.pool_node), (Some("7"), Some(7)));
        assert_eq!((details.turns.len(), details.answers.len(), details.source), (1, 1, Source::Native));
        assert_eq!(details.dialog_type, Some(DialogType::Ivr));
        assert_eq!(details.started_at.unwrap().to_string(), "2024-02-27T12:00:00.000Z");
        assert_eq!(details.ended_at.unwrap().to_string(), "2024-02-27T12:10:00.000Z");
        assert_eq!(details.updated_at.unwrap().to_string(), "2024-02-27T12:11:00.000Z");
        assert_eq!(details.business_info.unwrap().as_str(), "[1]");
    }

    #[test]
    fn the_least_document_is_a_caller_in_a_call() {
        let session = read(r#"{"callId":"c","caller":"x","content":null}"#).unwrap();
        assert_eq!((session.id, session.received), (None, None));
        let expected = Details::new(CallId::new("c").unwrap(), Caller::new("x", Country::GERMANY).unwrap(), Source::Native);
        assert_eq!(session.details, expected);
        let parloa = read(r#"{"callId":"c","caller":"x","content":null,"source":"parloa"}"#).unwrap();
        assert_eq!(parloa.details.content.unwrap().as_str(), "null");
    }

    #[test]
    fn what_is_wrong_is_named_and_what_was_said_is_not_repeated() {
        let cases = [
            (r#"{"caller":"secret"}"#, "missing field `callId`"),
            (r#"{"callId":"c","caller":"x","colour":"secret"}"#, "unknown field `colour`"),
            (r#"{"callId":"c","caller":"x","startedAt":"secret"}"#, "startedAt is not a time (RFC 3339)"),
            (r#"{"callId":"","caller":"secret"}"#, "callId is empty"),
            (r#"{"callId":"c","caller":"x\u0000"}"#, "caller holds NUL (U+0000)"),
            (
                r#"{"callId":"c","caller":"x","countryCode":"secret"}"#,
                "countryCode is not a country (a calling code such as +41, or two letters such as CH)",
            ),
            (r#"{"callId":"c","caller":"x","fields":["secret"]}"#, "fields is not an object"),
            (r#"{"callId":"c","caller":"x","fields":{"secret":1,"b":{},"secret":2}}"#, "fields has a name that is given twice"),
            (r#"{"callId":"c","caller":"x","turns":[{},{"by":"secret"}]}"#, "turns[1].by must be bot or agent"),
            (r#"{"callId":"c","caller":"x","turns":[{"colour":"secret"}]}"#, "unknown field `turns[0].colour`"),
            (r#"{"callId":"c","caller":"x","turns":{}}"#, "turns must be an array"),
            (r#"{"callId":"c","caller":"x","answers":[1]}"#, "answers[0] is not an object"),
            (r#"{"callId":"c","caller":"x","answers":[{"no":"1","interNo":"1"}]}"#, "unknown field `answers[0].interNo`"),
            (r#"{"callId":"c","caller":"x","caller":"secret"}"#, "duplicate field `caller`"),
            (r#"{"callId":"c","caller":"x","source":"secret"}"#, "source must be parloa, oifde or native"),
            (r#"{"callId":"c","caller":"x","dialogType":"secret"}"#, "dialogType must be voice, outbound, chatbot or ivr"),
            (r#"{"callId":"c","caller":"x","recording":"secret"}"#, "recording must be an object"),
            (r#"{"callId":"c","caller":"x","recording":{"file":1}}"#, "recording.file must be a string"),
            (r#"{"callId":"c","caller":"x","recording":{"poolNode":1}}"#, "unknown field `recording.poolNode`"),
            (r#"{"callId":"c","caller":"x","recording":{"poolNode":"1"},"source":"oifde"}"#, "recording.poolNode must be a whole number"),
            (
                r#"{"callId":"c","caller":"x","receivedAt":["2024-02-28T00:00:00Z"]}"#,
                "receivedAt must be the first receipt, then the last one",
            ),
            (r#"{"callId":"c","caller":"x","receivedAt":["secret","2024-02-28T00:00:00Z"]}"#, "receivedAt is not a time (RFC 3339)"),
            (
                r#"{"callId":"c","caller":"x","receivedAt":["2024-02-28T00:00:00Z","2024-02-27T00:00:00Z"]}"#,
                "receivedAt must be the first receipt, then the last one",
            ),
            (r#"{"callId":"c","caller":["secret"]}"#, "caller must be a string"),
            (r#"{"callId":"c","caller":null}"#, "missing field `caller`"),
            (r#"["secret"]"#, "not an object"),
            (r#"{"callId":"c","caller":"\ud800"}"#, "holds an unpaired surrogate"),
            ("secret", "not valid JSON"),
        ];
        for (document, reason) in cases {
            assert_eq!(read(document).unwrap_err(), reason, "{document}");
        }
        let deep = format!(r#"{{"callId":"c","caller":"x","content":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        assert!(read(&deep).unwrap_err().starts_with("nested deeper"));
    }

    #[test]
    fn only_an_oifde_session_has_a_pool_node_of_its_own() {
        let recording = |members: &str, source: &str| {
            let session = read(&format!(r#"{{"callId":"c","caller":"x","recording":{{{members}}},"source":"{source}"}}"#));
            session.unwrap().details.recording.unwrap()
        };
        assert_eq!(recording(r#""locationId":"7""#, "oifde").pool_node, None);
        assert_eq!(recording(r#""locationId":"7""#, "parloa").pool_node, Some(7));
        let delivered = recording(r#""locationId":"7","poolNode":-3,"asDelivered":"x""#, "oifde");
        assert_eq!((delivered.pool_node, delivered.as_delivered.as_deref()), (Some(-3), Some("x")));
    }

    #[test]
    fn a_kind_of_dialog_without_a_name_and_a_number_the_call_came_from_are_read() {
        let session = read(r#"{"callId":"c","caller":"x","callingNumber":"y","dialogType":"other:7"}"#).unwrap().details;
        assert_eq!((session.calling_number.as_deref(), session.dialog_type), (Some("y"), Some(DialogType::Other("7".into()))));
        assert_eq!(read(r#"{"callId":"c","caller":"x","callingNumber":"x"}"#).unwrap().details.calling_number, None, "the caller's own");
    }

    #[test]
    fn turns_and_answers_are_read_by_themselves() {
        let (turns, answers) = read_turn_documents(r#"{"turns":[{"userText":"hi"},{}],"answers":[{"no":"1"}]}"#).unwrap();
        assert_eq!((turns.len(), answers.len()), (2, 1));
        assert_eq!(turns[0].user_text, "hi");
        assert_eq!(read_turn_documents(r#"{"answers":[]}"#), Ok((vec![], vec![])));
        let refused = |text: &str| read_turn_documents(text).unwrap_err().to_string();
        assert_eq!(refused("{}"), "missing field `turns`");
        assert_eq!(refused(r#"{"turn":[]}"#), "unknown field `turn`");
        assert_eq!(refused(r#"{"turns":[{"no":"1","foo":1}]}"#), "unknown field `turns[0].foo`");
        assert_eq!(refused(r#"{"answers":[{},{"foo":1}]}"#), "unknown field `answers[1].foo`");
        assert_eq!(refused(r#"{"turns":{}}"#), "turns must be an array");
        assert_eq!(refused(r#"{"turns":null}"#), "missing field `turns`");
        assert_eq!(read_turn_documents(r#"{"turns":null,"answers":[{}]}"#).map(|(_, answers)| answers.len()), Ok(1));
        for (turn, reason) in [
            (r#"{"userSaying":"x"}"#, "unknown field `turns[0].userSaying`"),
            (r#"{"no":"1","no":"2"}"#, "duplicate field `turns[0].no`"),
            (r#"{"by":"0"}"#, "turns[0].by must be bot or agent"),
            (r#"{"mode":1}"#, "turns[0].mode must be common, monitoring or insertion"),
            (r#"{"requestedAt":5}"#, "turns[0].requestedAt is not a time (RFC 3339)"),
            (r#"{"userText":5}"#, "turns[0].userText must be a string"),
            (r#"{"no":{}}"#, "turns[0].no must be a string or a number"),
        ] {
            assert_eq!(refused(&format!(r#"{{"turns":[{turn}]}}"#)), reason);
        }
        assert_eq!(refused(r#"{"answers":[{"seriesId":"5"}]}"#), "unknown field `answers[0].seriesId`");
        assert_eq!(refused("[]"), "not an object");
    }
}
