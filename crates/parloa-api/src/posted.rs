//! From a post to a session.

use calldata_core::json_text::{JsonTextError, members_of};
use calldata_core::replay::ReplayDigest;
use calldata_core::{CallId, Caller, Country, Details, DialogType, Fields, JsonKind, JsonText, NewSession, Source, Timestamp};
use calldata_interchange::{answers_of, turns_of};

/// A post that can be stored.
#[derive(Debug)]
pub(crate) struct Posted {
    pub(crate) session: NewSession,
    /// What makes the same post again the same record (PAR-P7).
    pub(crate) digest: ReplayDigest,
}

/// An input error that a bot's author can mend (PAR-P5). The words never repeat what was posted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidPost {
    #[error("the body cannot be read: {0}")]
    Body(JsonTextError),
    #[error("the body has no object \"input\"")]
    NoInput,
    /// The vendor's own words (PAR-P2).
    #[error("Required Attributes: callid, callerid")]
    RequiredMissing,
    #[error("{field} {reason}")]
    Field { field: &'static str, reason: String },
}

impl Posted {
    /// Reads a post; a local number without a country is one of `default_country`.
    pub(crate) fn parse(body: &[u8], default_country: Country) -> Result<Self, InvalidPost> {
        let text = std::str::from_utf8(body).map_err(|_| InvalidPost::Body(JsonTextError::Syntax))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let body = match members_of(text) {
            Ok(members) => members,
            Err(JsonTextError::NotAnObject) => return Err(InvalidPost::NoInput),
            Err(error) => return Err(InvalidPost::Body(error)),
        };
        let input = body.into_iter().find(|(name, _)| name == "input").ok_or(InvalidPost::NoInput)?.1;
        Self::from_input(input.members().map_err(|_| InvalidPost::NoInput)?, default_country)
    }

    fn from_input(mut input: Vec<(String, JsonText)>, default_country: Country) -> Result<Self, InvalidPost> {
        let call = required(take(&mut input, "callid"));
        let caller = required(take(&mut input, "callerid"));
        let (Some(call), Some(caller)) = (call, caller) else { return Err(InvalidPost::RequiredMissing) };
        let country = country_of(&input)?.unwrap_or(default_country);
        let started_at = time_of(&input)?;
        let call_id = CallId::new(&call).map_err(|error| invalid("callid", error))?;
        let caller = Caller::new(&caller, country).map_err(|error| invalid("callerid", error))?;
        let digest = ReplayDigest::of(&call_id, caller.key(), input.iter().map(|(name, value)| (name.as_str(), value)));

        let mut details = Details::new(call_id, caller, Source::Parloa);
        details.started_at = started_at;
        details.dialog_type = Some(DialogType::Voice);
        let mut fields = Vec::with_capacity(input.len());
        for (name, value) in input {
            match name.as_str() {
                "content" => details.content = Some(value),
                "conversationid" | "conversationId" => details.conversation = Some(value),
                "countrycode" | "countryCode" => details.country_code = Some(value),
                // Without a time in it, it is no more than a field of that name.
                "timestamp" if started_at.is_some() => {}
                _ => {
                    note(&mut details, &name, &value);
                    fields.push((name, value));
                }
            }
        }
        details.fields = Fields::of_distinct(fields);
        Ok(Self { session: NewSession { id: None, received: None, details }, digest })
    }
}

/// What a user-defined field of a known name means beyond this dialect.
fn note(details: &mut Details, name: &str, value: &JsonText) {
    match name {
        "cticallid" | "ctiCallId" => details.cti_call_id = filled(value).or_else(|| details.cti_call_id.take()),
        "callednumber" | "calledNumber" => details.called_number = filled(value).or_else(|| details.called_number.take()),
        "endtime" | "endTime" => {
            details.ended_at = filled(value).and_then(|text| Timestamp::parse_lenient(&text)).or(details.ended_at);
        }
        "intent" => details.intent = filled(value),
        "turns" => details.turns = turns_of(value).unwrap_or_default(),
        "qaRecords" => details.answers = answers_of(value).unwrap_or_default(),
        _ => {}
    }
}

fn take(input: &mut Vec<(String, JsonText)>, name: &str) -> Option<JsonText> {
    let at = input.iter().position(|(known, _)| known == name)?;
    Some(input.remove(at).1)
}

/// PAR-P2: text that is not empty, or a number as its digits.
fn required(value: Option<JsonText>) -> Option<String> {
    filled(&value?)
}

/// A text that is not empty, or a number as its digits.
fn filled(value: &JsonText) -> Option<String> {
    value.as_scalar_text().filter(|text| !text.is_empty())
}

/// The value of the last field that has one of these names; null and blank text count as not given, for a bot sends an unset
/// variable as one of them.
fn given<'a>(input: &'a [(String, JsonText)], names: &[&str]) -> Option<&'a JsonText> {
    let value = input.iter().rev().find(|(name, _)| names.contains(&name.as_str())).map(|(_, value)| value)?;
    let blank = value.kind() == JsonKind::Null || value.as_string().is_some_and(|text| text.trim().is_empty());
    (!blank).then_some(value)
}

fn country_of(input: &[(String, JsonText)]) -> Result<Option<Country>, InvalidPost> {
    let Some(value) = given(input, &["countrycode", "countryCode"]) else { return Ok(None) };
    let country = value.as_scalar_text().and_then(|text| Country::parse(&text).ok());
    country.map(Some).ok_or_else(|| invalid("countrycode", "is no country (a calling code such as +41, or two letters such as CH)"))
}

fn time_of(input: &[(String, JsonText)]) -> Result<Option<Timestamp>, InvalidPost> {
    let Some(value) = given(input, &["timestamp"]) else { return Ok(None) };
    let time = value.as_scalar_text().and_then(|text| Timestamp::parse_lenient(&text));
    time.map(Some).ok_or_else(|| invalid("timestamp", "is no time (ISO 8601, or epoch seconds or milliseconds)"))
}

fn invalid(field: &'static str, reason: impl ToString) -> InvalidPost {
    InvalidPost::Field { field, reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Details, String> {
        Posted::parse(body.as_bytes(), Country::GERMANY).map(|posted| posted.session.details).map_err(|error| error.to_string())
    }

    fn with(rest: &str) -> Result<Details, String> {
        parse(&format!(r#"{{"input":{{"callid":"c","callerid":"0301234567"{rest}}}}}"#))
    }

    #[test]
    fn par_p2_required_fields_are_text_or_numbers() {
        let missing = Err("Required Attributes: callid, callerid".to_owned());
        for input in [
            r#"{"callid":"c"}"#,
            r#"{"callerid":"x"}"#,
            r#"{"callid":"","callerid":"x"}"#,
            r#"{"callid":null,"callerid":"x"}"#,
            r#"{"callid":true,"callerid":"x"}"#,
            r#"{"callid":{},"callerid":"x"}"#,
            r#"{"callid":"c","callerid":[]}"#,
            r#"{"whichCall":"c","callerid":"x"}"#,
            "{}",
        ] {
            assert_eq!(parse(&format!(r#"{{"input":{input}}}"#)), missing, "{input}");
        }
        let numbers = parse(r#"{"input":{"callid":123456789012345678901234567890,"callerid":10086}}"#).unwrap();
        assert_eq!((numbers.call_id.as_str(), numbers.caller.spelling()), ("123456789012345678901234567890", "10086"));
    }

    #[test]
    fn par_p4_every_other_field_is_kept_as_posted_and_in_order() {
        let details = with(r#","z":1.50,"conversationId":7,"a":{"k":[null]},"content":"x","caller":"me","a":"last""#).unwrap();
        assert_eq!(details.fields.as_json(), r#"{"z":1.50,"a":"last","caller":"me"}"#);
        assert_eq!(details.content.unwrap().as_str(), r#""x""#);
        assert_eq!(details.conversation.unwrap().as_str(), "7");
        assert_eq!(details.dialog_type, Some(DialogType::Voice));
        assert_eq!(details.source, Source::Parloa);
        assert_eq!(with(r#","content":null"#).unwrap().content.unwrap().as_str(), "null");
        assert_eq!(with(r#","conversationid":"a""#).unwrap().conversation.unwrap().as_str(), r#""a""#);
    }

    #[test]
    fn par_p5_the_error_names_the_field_and_does_not_repeat_the_value() {
        let cases = [
            (r#","timestamp":"secret""#, "timestamp is no time (ISO 8601, or epoch seconds or milliseconds)"),
            (r#","timestamp":{}"#, "timestamp is no time (ISO 8601, or epoch seconds or milliseconds)"),
            (r#","countrycode":"secret""#, "countrycode is no country (a calling code such as +41, or two letters such as CH)"),
            (r#","countryCode":true"#, "countrycode is no country (a calling code such as +41, or two letters such as CH)"),
            (r#","callid":"a\u0000""#, "callid holds NUL (U+0000)"),
            (r#","callerid":"a\u0000""#, "callerid holds NUL (U+0000)"),
        ];
        for (rest, error) in cases {
            assert_eq!(with(rest).unwrap_err(), error);
        }
        for body in ["", "secret", "{", "[1", r#"{"input":{"#, "{}{}"] {
            assert_eq!(parse(body).unwrap_err(), "the body cannot be read: not valid JSON", "{body}");
        }
        for body in ["1", "[]", "{}", r#"{"input":1}"#, r#"{"input":null}"#, r#"{"input":"{}"}"#] {
            assert_eq!(parse(body).unwrap_err(), "the body has no object \"input\"", "{body}");
        }
        assert!(Posted::parse(b"{\"input\":\"\xff\"}", Country::GERMANY).is_err());
        assert_eq!(with(r#","x":"\ud800""#).unwrap_err(), "the body cannot be read: holds an unpaired surrogate");
    }

    #[test]
    fn par_p6_the_timestamp_becomes_the_start() {
        let details = with(r#","timestamp":"2024-02-27T12:16:23.926Z""#).unwrap();
        assert_eq!(details.started_at.unwrap().to_string(), "2024-02-27T12:16:23.926Z");
        assert!(details.fields.is_empty());
        assert_eq!(with(r#","timestamp":1709036183926"#).unwrap().started_at, details.started_at);
        let unset = with(r#","timestamp":" ","countrycode":null"#).unwrap();
        assert_eq!((unset.started_at, unset.fields.as_json()), (None, r#"{"timestamp":" "}"#), "an unset variable");
    }

    #[test]
    fn par_n1_the_posted_country_decides_over_the_default() {
        assert_eq!(with("").unwrap().caller.key().as_str(), "+49301234567");
        let swiss = parse(r#"{"input":{"callid":"c","callerid":"0791234567","countryCode":41}}"#).unwrap();
        assert_eq!(swiss.caller.key().as_str(), "+41791234567");
        assert_eq!(swiss.country_code.unwrap().as_str(), "41", "kept as posted");
    }

    #[test]
    fn known_names_are_understood_and_stay_user_defined_fields() {
        let rest = r#","cticallid":"t","calledNumber":49,"endtime":"2024-02-27","intent":"pay","turns":[{"userText":"hi"}],"qaRecords":"[{\"no\":\"1\"}]""#;
        let details = with(rest).unwrap();
        assert_eq!((details.cti_call_id.as_deref(), details.called_number.as_deref()), (Some("t"), Some("49")));
        assert_eq!(details.ended_at.unwrap().to_string(), "2024-02-27T00:00:00.000Z");
        assert_eq!((details.intent.as_deref(), details.turns.len(), details.answers.len()), (Some("pay"), 1, 1));
        assert_eq!(details.fields.iter().count(), 6);
        let other = with(r#","ctiCallId":{},"callednumber":"","endTime":"soon","intent":[],"turns":"no","qaRecords":1"#).unwrap();
        assert_eq!((other.cti_call_id, other.called_number, other.ended_at, other.intent), (None, None, None, None));
        assert!(other.turns.is_empty() && other.answers.is_empty());
        assert_eq!(other.fields.iter().count(), 6);
        let both = with(r#","ctiCallId":"a","cticallid":"","calledNumber":"b","callednumber":null,"endTime":0,"endtime":"x""#).unwrap();
        assert_eq!(
            (both.cti_call_id.as_deref(), both.called_number.as_deref(), both.ended_at.map(Timestamp::epoch_ms)),
            (Some("a"), Some("b"), Some(0))
        );
    }

    #[test]
    fn par_p7_the_digest_covers_all_input_and_no_context() {
        let digest = |body: &str| Posted::parse(body.as_bytes(), Country::GERMANY).unwrap().digest;
        let one = digest(r#"{"input":{"callid":"c","callerid":"0301234567","a":1,"b":2},"context":{"t":1}}"#);
        assert_eq!(one, digest(r#"{"context":{"t":2},"input":{"b":2,"a":1,"callerid":"+49 30 1234567","callid":"c"}}"#));
        assert_ne!(one, digest(r#"{"input":{"callid":"c","callerid":"0301234567","a":1,"b":3}}"#));
        assert_ne!(one, digest(r#"{"input":{"callid":"c","callerid":"0301234567","a":1,"b":2,"timestamp":1}}"#));
    }
}
