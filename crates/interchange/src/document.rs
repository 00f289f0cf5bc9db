//! A session as one JSON object.

use calldata_core::json_text::JsonTextError;
use calldata_core::{
    CallId, Caller, Country, Details, DialogType, Fields, JsonKind, JsonText, NewSession, Recording, SessionId, Source, Timestamp,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::items::{read_answers, read_turns};

/// A session as it is written down: one JSON object, camelCase, RFC 3339 times. Unknown members are refused, so that a misspelt one
/// is not lost in silence.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionDocument {
    id: Option<String>,
    call_id: String,
    caller: String,
    cti_call_id: Option<String>,
    called_number: Option<String>,
    conversation_id: Option<String>,
    country_code: Option<String>,
    started_at: Option<String>,
    ended_at: Option<String>,
    updated_at: Option<String>,
    received_at: Option<[String; 2]>,
    dialog_type: Option<DialogTypeName>,
    intent: Option<String>,
    #[serde(default, deserialize_with = "given")]
    content: Option<Box<RawValue>>,
    fields: Option<Box<RawValue>>,
    recording: Option<RecordingDocument>,
    business_info: Option<Box<RawValue>>,
    flag: Option<String>,
    #[serde(default)]
    turns: Vec<Box<RawValue>>,
    #[serde(default)]
    answers: Vec<Box<RawValue>>,
    source: Option<SourceName>,
}

/// Tells a member that is null from one that is absent.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DialogTypeName {
    Voice,
    Outbound,
    Chatbot,
    Ivr,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SourceName {
    Parloa,
    Oifde,
    #[default]
    Native,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RecordingDocument {
    file: Option<String>,
    location_id: Option<String>,
    announcement_file: Option<String>,
}

/// Why a document is no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDocument {
    /// It is not JSON, or not of this shape.
    #[error("{0}")]
    Shape(String),
    /// A member breaks a rule.
    #[error("{member} {reason}")]
    Member {
        /// Which member.
        member: &'static str,
        /// Which rule.
        reason: String,
    },
}

impl SessionDocument {
    /// Reads one JSON object.
    ///
    /// # Errors
    /// When it is not JSON, not of this shape, nested too deeply, or holds an unpaired surrogate.
    pub fn parse(text: &str) -> Result<Self, InvalidDocument> {
        JsonText::parse(text).map_err(|error| InvalidDocument::Shape(error.to_string()))?;
        serde_json::from_str(text).map_err(|error| InvalidDocument::Shape(without_content(&error)))
    }

    /// The session it describes; a local number without a country is one of `default_country`.
    ///
    /// # Errors
    /// When a member breaks a rule.
    pub fn into_session(self, default_country: Country) -> Result<NewSession, InvalidDocument> {
        let Self {
            id,
            call_id,
            caller,
            cti_call_id,
            called_number,
            conversation_id,
            country_code,
            started_at,
            ended_at,
            updated_at,
            received_at,
            dialog_type,
            intent,
            content,
            fields,
            recording,
            business_info,
            flag,
            turns,
            answers,
            source,
        } = self;
        let country = match country_code.as_deref().map(str::trim) {
            None | Some("") => default_country,
            Some(code) => Country::parse(code).map_err(|error| invalid("countryCode", format!("is {error}")))?,
        };
        let source = source.unwrap_or_default();
        let content = content.map(|raw| json("content", &raw)).transpose()?;
        let texts = |member, raw: Vec<Box<RawValue>>| raw.iter().map(|item| json(member, item)).collect::<Result<Vec<_>, _>>();
        Ok(NewSession {
            id: id.map(|id| SessionId::new(&id).map_err(|error| invalid("id", error))).transpose()?,
            received: received_at.map(received).transpose()?,
            details: Details {
                call_id: CallId::new(&call_id).map_err(|error| invalid("callId", error))?,
                caller: Caller::new(&caller, country).map_err(|error| invalid("caller", error))?,
                country_code: country_code.as_deref().map(JsonText::string),
                cti_call_id,
                calling_number: None,
                called_number,
                conversation: conversation_id.as_deref().map(JsonText::string),
                started_at: time("startedAt", started_at)?,
                ended_at: time("endedAt", ended_at)?,
                updated_at: time("updatedAt", updated_at)?,
                dialog_type: dialog_type.map(DialogType::from),
                intent,
                // A bot may have posted null; elsewhere null is no content.
                content: content.filter(|content| source == SourceName::Parloa || content.kind() != JsonKind::Null),
                fields: match fields {
                    Some(raw) => Fields::parse(raw.get()).map_err(|error| invalid("fields", format!("is {error}")))?,
                    None => Fields::default(),
                },
                recording: recording.map(|recording| recording.into_recording(source)),
                business_info: business_info.map(|raw| json("businessInfo", &raw)).transpose()?,
                flag,
                turns: read_turns(&texts("turns", turns)?).map_err(|error| invalid("turns", error))?,
                answers: read_answers(&texts("answers", answers)?).map_err(|error| invalid("answers", error))?,
                source: source.into(),
            },
        })
    }
}

/// What serde says about a document, without what the document says.
fn without_content(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let about_names = ["unknown field", "missing field", "duplicate field"].iter().any(|kind| said.starts_with(kind));
    if about_names {
        let names = said.split(" at line").next().unwrap_or(&said);
        names.split(", expected").next().unwrap_or(names).to_owned()
    } else {
        format!("is not a session: wrong kind of value at column {}", error.column())
    }
}

fn invalid(member: &'static str, reason: impl ToString) -> InvalidDocument {
    InvalidDocument::Member { member, reason: reason.to_string() }
}

fn json(member: &'static str, raw: &RawValue) -> Result<JsonText, InvalidDocument> {
    JsonText::parse(raw.get()).map_err(|error: JsonTextError| invalid(member, error))
}

fn time(member: &'static str, text: Option<String>) -> Result<Option<Timestamp>, InvalidDocument> {
    let read = |text: String| Timestamp::parse_iso8601(&text).ok_or_else(|| invalid(member, "is not a time (RFC 3339)"));
    text.map(read).transpose()
}

fn received([first, last]: [String; 2]) -> Result<(Timestamp, Timestamp), InvalidDocument> {
    let both = time("receivedAt", Some(first))?.zip(time("receivedAt", Some(last))?);
    both.filter(|(first, last)| first <= last).ok_or_else(|| invalid("receivedAt", "must be the first receipt, then the last one"))
}

impl RecordingDocument {
    fn into_recording(self, source: SourceName) -> Recording {
        let Self { file, location_id, announcement_file } = self;
        // An OIFDE record tells the node of the pool apart from that of the file, and only it knows whether there is one.
        let pool_node = if source == SourceName::Oifde { None } else { location_id.as_deref().and_then(|id| id.parse().ok()) };
        Recording { file, location_id, announcement_file, pool_node, as_delivered: None }
    }
}

impl From<DialogTypeName> for DialogType {
    fn from(name: DialogTypeName) -> Self {
        match name {
            DialogTypeName::Voice => Self::Voice,
            DialogTypeName::Outbound => Self::Outbound,
            DialogTypeName::Chatbot => Self::Chatbot,
            DialogTypeName::Ivr => Self::Ivr,
        }
    }
}

impl From<SourceName> for Source {
    fn from(name: SourceName) -> Self {
        match name {
            SourceName::Parloa => Self::Parloa,
            SourceName::Oifde => Self::Oifde,
            SourceName::Native => Self::Native,
        }
    }
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
            (r#"{"callId":"c","caller":"x","turns":[{"by":"secret"}]}"#, "turns item 0 is not readable: by has a value of the wrong kind"),
            (r#"{"callId":"c","caller":"x","answers":[1]}"#, "answers item 0 is not readable: not an object"),
            (
                r#"{"callId":"c","caller":"x","receivedAt":["2024-02-28T00:00:00Z","2024-02-27T00:00:00Z"]}"#,
                "receivedAt must be the first receipt, then the last one",
            ),
            (r#"{"callId":"c","caller":["secret"]}"#, "is not a session: wrong kind of value at column 23"),
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
    fn an_oifde_session_has_no_pool_node_of_its_own() {
        let session = read(r#"{"callId":"c","caller":"x","recording":{"locationId":"7"},"source":"oifde"}"#).unwrap();
        assert_eq!(session.details.recording.unwrap().pool_node, None);
    }
}
