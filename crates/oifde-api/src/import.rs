//! Reading records that another system wrote: a vendor's answers, with their `recordList`.

use std::fmt;
use std::io::{self, BufRead};

use calldata_core::{
    CallId, Caller, Country, Details, DialogType, JsonKind, JsonText, NewSession, Recording, SessionId, Source, Timestamp,
};
use calldata_interchange::items::{read_answers, read_turns};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::record::{NONE, business_info_str};

/// Why a record cannot be taken. The words never repeat what the record says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecord {
    /// It is not a JSON object that can be kept.
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

/// Why reading ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The input cannot be read.
    #[error("cannot be read")]
    Io(#[from] io::Error),
    /// The input is not JSON from here on.
    #[error("is not valid JSON in line {line} of this document")]
    Syntax {
        /// Counted from the line in which the document begins.
        line: usize,
    },
    /// A document has no list of records.
    #[error("has no recordList")]
    NoRecords,
}

/// Reads one answer after the other and hands over each record as it comes, so that no more than one is held. `each` returns whether
/// to go on.
///
/// # Errors
/// When the input cannot be read, is not JSON, or holds something else than answers; the records before it were handed over.
pub fn read_records(mut input: impl BufRead, mut each: impl FnMut(&RawValue) -> bool) -> Result<(), ReadError> {
    loop {
        if !skip_white_space(&mut input)? {
            return Ok(());
        }
        let mut document = Document { each: &mut each, found: false, stopped: false };
        let mut deserializer = serde_json::Deserializer::from_reader(&mut input);
        let outcome = (&mut document).deserialize(&mut deserializer);
        if document.stopped {
            return Ok(());
        }
        match outcome {
            Err(error) if error.is_io() => return Err(ReadError::Io(error.into())),
            Err(error) if error.is_data() => return Err(ReadError::NoRecords),
            Err(error) => return Err(ReadError::Syntax { line: error.line() }),
            Ok(()) if !document.found => return Err(ReadError::NoRecords),
            Ok(()) => {}
        }
    }
}

/// Whether there is anything after the white space.
fn skip_white_space(input: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(false);
        }
        let blank = buffer.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let all = blank == buffer.len();
        input.consume(blank);
        if !all {
            return Ok(true);
        }
    }
}

/// An answer, or a bare list of records.
struct Document<'e, E> {
    each: &'e mut E,
    found: bool,
    stopped: bool,
}

impl<'de, E: FnMut(&RawValue) -> bool> DeserializeSeed<'de> for &mut Document<'_, E> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, E: FnMut(&RawValue) -> bool> Visitor<'de> for &mut Document<'_, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer with a recordList")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if name == "recordList" {
                map.next_value_seed(&mut *self)?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.found = true;
        while let Some(record) = list.next_element::<Box<RawValue>>()? {
            if !(self.each)(&record) {
                self.stopped = true;
                return Err(serde::de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// The session of a record; a local number is one of `default_country`. The record's `tenantId` does not count (OIF-R2).
///
/// # Errors
/// When the record lacks something or a member breaks a rule.
pub fn session_of(record: &RawValue, default_country: Country) -> Result<NewSession, InvalidRecord> {
    let shape = |error: calldata_core::JsonTextError| InvalidRecord::Shape(error.to_string());
    let record = Members(JsonText::parse(record.get()).map_err(shape)?.members().map_err(shape)?);
    let id = SessionId::new(&record.required("logId")?).map_err(|error| invalid("logId", error))?;
    let call_id = CallId::new(&record.required("callId")?).map_err(|error| invalid("callId", error))?;
    let user = record.required("callSorId")?;
    let caller = Caller::new(&user, default_country).map_err(|error| invalid("callSorId", error))?;

    let mut details = Details::new(call_id, caller, Source::Oifde);
    details.cti_call_id = record.text("ctiCallId")?;
    details.calling_number = record.text("callingNumber")?.filter(|number| *number != user);
    details.called_number = record.text("calledNumber")?.filter(|number| !number.is_empty());
    details.conversation = record.text("flowInstId")?.filter(|conversation| !conversation.is_empty()).as_deref().map(JsonText::string);
    details.started_at = record.time("startTime")?;
    details.ended_at = record.time("endTime")?;
    details.updated_at = record.time("lastUpdateTime")?;
    details.dialog_type = record.text("dialogType")?.map(dialog_type);
    details.content = record.get("callData").map(|text| JsonText::string(&text.display()));
    details.recording = recording(record.text("businessInfoStr")?, record.integer("locationId")?);
    details.business_info = record.get("businessInfo").cloned();
    details.flag = record.text("flag")?;
    details.turns = read_turns(&record.list("recordDetials")?).map_err(|error| invalid("recordDetials", error))?;
    details.answers = read_answers(&record.list("qaRecords")?).map_err(|error| invalid("qaRecords", error))?;
    Ok(NewSession { id: Some(id), received: None, details })
}

fn dialog_type(number: String) -> DialogType {
    match number.as_str() {
        "1" => DialogType::Voice,
        "2" => DialogType::Outbound,
        "3" => DialogType::Chatbot,
        "4" => DialogType::Ivr,
        _ => DialogType::Other(number),
    }
}

/// What the description of a recording says. A text that we would write otherwise is kept as it is (OIF-R2).
fn recording(text: Option<String>, pool_node: Option<i64>) -> Option<Recording> {
    let text = text.filter(|text| !text.is_empty());
    if text.is_none() && pool_node.is_none() {
        return None;
    }
    let mut recording = Recording { pool_node, ..Recording::default() };
    let Some(text) = text else { return Some(recording) };
    if let Ok(members) = calldata_core::json_text::members_of(&text) {
        let members = Members(members);
        let file = |name| members.get(name).and_then(JsonText::as_string).filter(|value| value != NONE);
        recording.announcement_file = file("yugaoFileName");
        recording.location_id = file("locationId");
        recording.file = file("recordFileName");
    }
    if business_info_str(&recording) != text {
        recording.as_delivered = Some(text);
    }
    Some(recording)
}

fn invalid(member: &'static str, reason: impl ToString) -> InvalidRecord {
    InvalidRecord::Member { member, reason: reason.to_string() }
}

/// The members of a record; null is unknown.
struct Members(Vec<(String, JsonText)>);

impl Members {
    fn get(&self, name: &str) -> Option<&JsonText> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value).filter(|value| value.kind() != JsonKind::Null)
    }

    /// A string, or a number as its digits.
    fn text(&self, name: &'static str) -> Result<Option<String>, InvalidRecord> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_scalar_text().map(Some).ok_or_else(|| invalid(name, "must be a string"))
    }

    fn required(&self, name: &'static str) -> Result<String, InvalidRecord> {
        self.text(name)?.ok_or_else(|| invalid(name, "is missing"))
    }

    fn integer(&self, name: &'static str) -> Result<Option<i64>, InvalidRecord> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| invalid(name, "must be a whole number"))
    }

    fn time(&self, name: &'static str) -> Result<Option<Timestamp>, InvalidRecord> {
        let Some(ms) = self.integer(name)? else { return Ok(None) };
        Timestamp::from_epoch_ms(ms).map(Some).ok_or_else(|| invalid(name, "must be epoch milliseconds"))
    }

    fn list(&self, name: &'static str) -> Result<Vec<JsonText>, InvalidRecord> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        value.items().ok_or_else(|| invalid(name, "must be an array"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use calldata_core::{Session, Tenant};

    const DOCUMENTED: &str = include_str!("../../../tests/golden/oifde-response.json");

    fn tenant() -> Tenant {
        Tenant::new("n", "c", "xxxxxx", Timestamp::clamped(0))
    }

    /// The record that comes back for one that was read.
    fn round_trip(record: &str) -> String {
        let raw = RawValue::from_string(record.to_owned()).unwrap();
        let NewSession { id, received: _, details } = session_of(&raw, Country::GERMANY).unwrap();
        let received = Timestamp::clamped(77);
        let session = Session { id: id.unwrap(), received_first: received, received_last: received, details };
        serde_json::to_string(&Record::of(session, &tenant())).unwrap()
    }

    fn records(text: &str) -> (Vec<String>, Result<(), ReadError>) {
        let mut found = Vec::new();
        let outcome = read_records(text.as_bytes(), |record| {
            found.push(record.get().to_owned());
            true
        });
        (found, outcome)
    }

    #[test]
    fn oif_r2_the_documented_record_comes_back_value_for_value_and_key_for_key() {
        let (found, outcome) = records(DOCUMENTED);
        outcome.unwrap();
        let compact = JsonText::parse(&found[0]).unwrap();
        assert_eq!(round_trip(&found[0]), compact.as_str());
    }

    #[test]
    fn oif_r2_everything_that_a_record_can_say_comes_back() {
        let full = r#"{"logId":"l","tenantId":"xxxxxx","callSorId":"u","callId":"c","ctiCallId":"t","callingNumber":"","calledNumber":"d","startTime":1,"endTime":2,"lastUpdateTime":3,"flowInstId":"f","dialogType":"9","callData":"{\"x\":1}","locationId":7,"flag":"g","businessInfo":{"a":[1.50]},"businessInfoStr":"other text","recordDetials":[{"interNo":"","userSaying":"","intention":"","systemReply":"","timestamp":0,"requsetTime":0,"responseSource":1,"involveMode":2}],"qaRecords":[{},{"interNo":"1"}]}"#;
        assert_eq!(round_trip(full), full);
        for number in ["1", "2", "3", "4"] {
            let record = full.replace(r#""dialogType":"9""#, &format!(r#""dialogType":"{number}""#));
            assert_eq!(round_trip(&record), record);
        }
    }

    #[test]
    fn oif_r2_what_is_unknown_is_null_absent_or_empty_as_documented() {
        let least = r#"{"logId":"l","callId":"c","callSorId":"u","qaRecords":null,"callData":null,"businessInfoStr":""}"#;
        let expected = r#"{"logId":"l","tenantId":"xxxxxx","callSorId":"u","callId":"c","ctiCallId":null,"callingNumber":"u","calledNumber":"","startTime":77,"lastUpdateTime":77,"flowInstId":"","businessInfo":null,"businessInfoStr":"","recordDetials":[],"qaRecords":[]}"#;
        assert_eq!(round_trip(least), expected);
    }

    #[test]
    fn oif_r3_the_description_of_a_recording_is_kept_also_where_we_would_write_it_otherwise() {
        for text in [
            r#"{"yugaoFileName":"a","locationId":"null","recordFileName":"b"}"#,
            r#"{ "yugaoFileName":"a","locationId":"1","recordFileName":"b"}"#,
            r#"{"recordFileName":"b","more":1}"#,
            r#"{"yugaoFileName":"null","locationId":"null","recordFileName":"null"}"#,
            "null",
        ] {
            let record = format!(r#"{{"logId":"l","callId":"c","callSorId":"u","businessInfoStr":{}}}"#, JsonText::string(text).as_str());
            let back: serde_json::Value = serde_json::from_str(&round_trip(&record)).unwrap();
            assert_eq!(back["businessInfoStr"], text);
        }
    }

    #[test]
    fn a_bad_record_is_named_by_its_member_and_not_repeated() {
        let cases = [
            (r#"{"callId":"secret","callSorId":"u"}"#, "logId is missing"),
            (r#"{"logId":"l","callSorId":"u"}"#, "callId is missing"),
            (r#"{"logId":"l","callId":"c","callSorId":null}"#, "callSorId is missing"),
            (r#"{"logId":"","callId":"c","callSorId":"u"}"#, "logId is empty"),
            (r#"{"logId":"l","callId":"","callSorId":"u"}"#, "callId is empty"),
            (r#"{"logId":"l","callId":"c","callSorId":"a\u0000"}"#, "callSorId holds NUL (U+0000)"),
            (r#"{"logId":"l","callId":"c","callSorId":"u","startTime":"secret"}"#, "startTime must be a whole number"),
            (r#"{"logId":"l","callId":"c","callSorId":"u","endTime":99999999999999999}"#, "endTime must be epoch milliseconds"),
            (r#"{"logId":"l","callId":"c","callSorId":"u","recordDetials":{}}"#, "recordDetials must be an array"),
            (
                r#"{"logId":"l","callId":"c","callSorId":"u","recordDetials":[{"userSaying":1}]}"#,
                "recordDetials item 0 is not readable: userSaying has a value of the wrong kind",
            ),
            (
                r#"{"logId":"l","callId":"c","callSorId":"u","qaRecords":[{"createTime":true}]}"#,
                "qaRecords item 0 is not readable: createTime has a value of the wrong kind",
            ),
            (r#"{"logId":{},"callId":"c","callSorId":"u"}"#, "logId must be a string"),
            ("[]", "not an object"),
        ];
        for (record, reason) in cases {
            let raw = RawValue::from_string(record.to_owned()).unwrap();
            assert_eq!(session_of(&raw, Country::GERMANY).unwrap_err().to_string(), reason, "{record}");
        }
    }

    #[test]
    fn answers_and_bare_lists_are_read_one_after_the_other() {
        let (found, outcome) = records("{\"total\":1,\"recordList\":[{\"a\":1},2]}\n [3]\n{\"recordList\":[]}\n");
        assert_eq!((found, outcome.is_ok()), (vec![r#"{"a":1}"#.to_owned(), "2".into(), "3".into()], true));
        let (found, outcome) = records("[1]\n[2,\n x]");
        assert_eq!((found.len(), outcome.unwrap_err().to_string()), (2, "is not valid JSON in line 2 of this document".into()));
        assert!(matches!(records("{\"errorCode\":1}").1, Err(ReadError::NoRecords)));
        assert!(matches!(records("1").1, Err(ReadError::NoRecords)));
        assert!(matches!(records("{\"recordList\":null}").1, Err(ReadError::NoRecords)));
        assert!(records("").1.is_ok());
        let mut seen = 0;
        let stop = read_records(&b"[1,2,3]"[..], |_| {
            seen += 1;
            seen < 2
        });
        assert_eq!((seen, stop.is_ok()), (2, true));
    }
}
