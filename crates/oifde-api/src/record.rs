//! From a session to a record (OIF-R1 to OIF-R5).

use calldata_core::fields::object_text;
use calldata_core::masking::is_masked;
use calldata_core::{Answer, DialogType, InvolveMode, JsonKind, JsonText, Recording, Session, Source, Tenant, Timestamp, Turn, TurnSource};
use calldata_interchange::{answers_of, turns_of};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// The user-defined field of a post that holds turns, and the one that holds answers; they have members of their own here.
const TURNS: &str = "turns";
const ANSWERS: &str = "qaRecords";
const CONTENT: &str = "content";
/// What stands for an unknown file or node.
pub(crate) const NONE: &str = "null";

/// A session record.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// Identifies the record.
    #[schema(example = "7343-4256-a659-c7fe7682ef03")]
    log_id: String,
    /// The asking tenant.
    #[schema(example = "tenant001")]
    tenant_id: String,
    /// The user: a number, or a user id for a chat.
    #[schema(example = "10086")]
    call_sor_id: String,
    /// The call.
    #[schema(example = "16185589414826353c2c0036c0292e43ca7a4")]
    call_id: String,
    /// The call as the telephony platform names it; null when unknown.
    #[schema(required, example = json!(null))]
    cti_call_id: Option<String>,
    /// The number the call came from.
    #[schema(example = "10086")]
    calling_number: String,
    /// The number that was called; empty when unknown.
    #[schema(example = "899149138753490944")]
    called_number: String,
    /// When the call began, in epoch milliseconds.
    #[schema(example = 1_618_558_942_000_i64)]
    start_time: i64,
    /// When the call ended, in epoch milliseconds; absent when unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1_618_559_267_000_i64)]
    end_time: Option<i64>,
    /// When the record last changed, in epoch milliseconds.
    #[schema(example = 1_618_559_267_000_i64)]
    last_update_time: i64,
    /// The conversation; empty when unknown.
    #[schema(example = "1234567892021041615422158916185589414826353c2c0036c0292e43ca7a4")]
    flow_inst_id: String,
    /// `1` voice navigation, `2` outbound call, `3` chatbot, `4` IVR flow; absent when unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "1")]
    dialog_type: Option<String>,
    /// The JSON text of what was learned (`content` and user-defined fields); absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "{\"content\":\"The user spoke to the bot\",\"intent\":\"doSomeCoolThing\"}")]
    call_data: Option<String>,
    /// The recording node of a CTI pool; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 0)]
    location_id: Option<i64>,
    /// A mark; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "0")]
    flag: Option<String>,
    /// What the business side attached; null when there is nothing.
    #[schema(required, value_type = Option<serde_json::Value>, example = json!(null))]
    business_info: Option<Box<RawValue>>,
    /// A JSON text whose members are all strings: `yugaoFileName`, `locationId`, `recordFileName`; empty when there is no recording.
    #[schema(
        example = "{\"yugaoFileName\":\"null\",\"locationId\":\"0\",\"recordFileName\":\"Y:/135/odfsrecord/20220720/1658313131-85918321361224.wav\"}"
    )]
    business_info_str: String,
    /// What was said.
    #[expect(clippy::struct_field_names, reason = "the vendor's name")]
    record_detials: Vec<RecordDetail>,
    /// What was asked and answered.
    qa_records: Vec<QaRecord>,
}

/// One exchange of a conversation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecordDetail {
    /// The number of the exchange.
    #[schema(example = "1")]
    inter_no: String,
    /// What the user said, as recognised.
    #[schema(example = "How much call fee do I have?")]
    user_saying: String,
    /// What the user wanted.
    #[schema(example = "Call fee query")]
    intention: String,
    /// What was replied.
    #[schema(example = "Hello, your call fee of this month is CNY100. The call fee balance is CNY100.")]
    system_reply: String,
    /// When it was replied, in epoch milliseconds; 0 when unknown.
    #[schema(example = 1_618_558_954_000_i64)]
    timestamp: i64,
    /// When the user spoke, in epoch milliseconds; 0 when unknown.
    #[schema(example = 1_618_558_954_000_i64)]
    requset_time: i64,
    /// Who replied: 0 a chatbot, 1 a silent agent.
    #[schema(example = 0)]
    response_source: u8,
    /// How the flow took part: 0 common, 1 monitoring, 2 insertion.
    #[schema(example = 0)]
    involve_mode: u8,
}

/// A question and its answer; what is unknown is absent.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct QaRecord {
    /// The number of the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "1")]
    inter_no: Option<String>,
    /// The series of questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "100")]
    series_id: Option<String>,
    /// What was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Did you take a PCR test?")]
    question_title: Option<String>,
    /// The kind of question.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2")]
    question_type: Option<String>,
    /// What the answer means.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Yes.")]
    answer_intent: Option<String>,
    /// What the user answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "I have taken the test.")]
    original_answer: Option<String>,
    /// When it was answered, in epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1_650_774_697_000_i64)]
    create_time: Option<i64>,
}

impl Record {
    /// The record of a session, as the tenant that asks for it sees it.
    pub(crate) fn of(session: Session, tenant: &Tenant) -> Self {
        let call_data = call_data(&session);
        let (start_time, last_update_time) = (session.started().epoch_ms(), session.updated().epoch_ms());
        let details = session.details;
        let user = details.caller.spelling().to_owned();
        Self {
            log_id: session.id.as_str().to_owned(),
            tenant_id: tenant.oifde_id.clone(),
            call_sor_id: user.clone(),
            call_id: details.call_id.as_str().to_owned(),
            cti_call_id: details.cti_call_id,
            calling_number: details.calling_number.unwrap_or(user),
            called_number: details.called_number.unwrap_or_default(),
            start_time,
            end_time: details.ended_at.map(Timestamp::epoch_ms),
            last_update_time,
            flow_inst_id: details.conversation.map(flow_inst_id).unwrap_or_default(),
            dialog_type: details.dialog_type.map(dialog_type),
            call_data,
            location_id: details.recording.as_ref().and_then(|recording| recording.pool_node),
            flag: details.flag,
            business_info: details.business_info.and_then(|info| RawValue::from_string(info.as_str().to_owned()).ok()),
            business_info_str: details.recording.as_ref().map(business_info_str).unwrap_or_default(),
            record_detials: details.turns.into_iter().map(RecordDetail::from).collect(),
            qa_records: details.answers.into_iter().map(QaRecord::from).collect(),
        }
    }
}

/// The JSON text of content and user-defined fields, without those that have members of their own here.
fn call_data(session: &Session) -> Option<String> {
    let details = &session.details;
    // A record brought its call data as one text.
    if details.source == Source::Oifde && details.fields.is_empty() {
        return details.content.as_ref().map(|content| content.display().into_owned());
    }
    // A field that is masked can no longer be read; what was read from it tells that it could be.
    let elsewhere = |name: &str, value: &JsonText| match name {
        TURNS => turns_of(value).is_some() || (is_masked(value) && !details.turns.is_empty()),
        ANSWERS => answers_of(value).is_some() || (is_masked(value) && !details.answers.is_empty()),
        _ => false,
    };
    let posted = details.source == Source::Parloa;
    let content = details.content.iter().map(|content| (CONTENT.to_owned(), content));
    let fields = details.fields.beside(&[CONTENT]).filter(|(name, value)| !(posted && elsewhere(name, value)));
    let members: Vec<_> = content.chain(fields).collect();
    if members.is_empty() { None } else { Some(object_text(members)) }
}

/// A conversation that was posted as null is unknown.
fn flow_inst_id(conversation: JsonText) -> String {
    if conversation.kind() == JsonKind::Null { String::new() } else { conversation.display().into_owned() }
}

fn dialog_type(dialog_type: DialogType) -> String {
    match dialog_type {
        DialogType::Voice => "1".into(),
        DialogType::Outbound => "2".into(),
        DialogType::Chatbot => "3".into(),
        DialogType::Ivr => "4".into(),
        DialogType::Other(name) => name,
    }
}

/// OIF-R3: the description of a recording, empty where there is none.
pub(crate) fn business_info_str(recording: &Recording) -> String {
    let Recording { file, location_id, announcement_file, pool_node: _, as_delivered } = recording;
    if let Some(text) = as_delivered {
        return text.clone();
    }
    if file.is_none() && location_id.is_none() && announcement_file.is_none() {
        return String::new();
    }
    let member = |value: &Option<String>| JsonText::string(value.as_deref().unwrap_or(NONE));
    object_text([("yugaoFileName", member(announcement_file)), ("locationId", member(location_id)), ("recordFileName", member(file))])
}

impl From<Turn> for RecordDetail {
    fn from(turn: Turn) -> Self {
        let Turn { no, user_text, intent, reply, requested_at, replied_at, by, mode } = turn;
        Self {
            inter_no: no,
            user_saying: user_text,
            intention: intent,
            system_reply: reply,
            timestamp: replied_at.map_or(0, Timestamp::epoch_ms),
            requset_time: requested_at.map_or(0, Timestamp::epoch_ms),
            response_source: response_source(by),
            involve_mode: involve_mode(mode),
        }
    }
}

/// The number of who replied.
pub(crate) fn response_source(by: TurnSource) -> u8 {
    match by {
        TurnSource::Bot => 0,
        TurnSource::Agent => 1,
    }
}

/// The number of how the flow took part.
pub(crate) fn involve_mode(mode: InvolveMode) -> u8 {
    match mode {
        InvolveMode::Common => 0,
        InvolveMode::Monitoring => 1,
        InvolveMode::Insertion => 2,
    }
}

impl From<Answer> for QaRecord {
    fn from(answer: Answer) -> Self {
        let Answer { no, series, question, question_type, intent, original, created_at } = answer;
        Self {
            inter_no: no,
            series_id: series,
            question_title: question,
            question_type,
            answer_intent: intent,
            original_answer: original,
            create_time: created_at.map(Timestamp::epoch_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use calldata_core::{CallId, Caller, Country, Details, Fields, SessionId};

    fn session(source: Source, content: Option<&str>, fields: &str) -> Session {
        let caller = Caller::new("u", Country::GERMANY).unwrap();
        let mut details = Details::new(CallId::new("c").unwrap(), caller, source);
        details.content = content.map(|content| JsonText::parse(content).unwrap());
        details.fields = Fields::parse(fields).unwrap();
        let received = Timestamp::clamped(0);
        Session { id: SessionId::new("s").unwrap(), received_first: received, received_last: received, details }
    }

    #[test]
    fn call_data_is_content_and_fields_without_what_has_members_of_its_own() {
        let told = |source, content, fields| call_data(&session(source, content, fields));
        let turns = r#"{"turns":[{"no":"1"}],"qaRecords":"[]","x":1}"#;
        assert_eq!(told(Source::Parloa, Some("\"t\""), turns).unwrap(), r#"{"content":"t","x":1}"#);
        assert_eq!(told(Source::Parloa, None, r#"{"turns":"none","qaRecords":1}"#).unwrap(), r#"{"turns":"none","qaRecords":1}"#);
        assert_eq!(told(Source::Native, None, turns).unwrap(), turns, "only a post has its turns in a field");
        assert_eq!(told(Source::Parloa, None, r#"{"turns":[]}"#), None);
        assert_eq!(told(Source::Native, Some("1"), r#"{"content":2}"#).unwrap(), r#"{"content":1,"input.content":2}"#);
    }

    #[test]
    fn oif_r2_the_call_data_of_a_record_is_the_text_that_it_brought() {
        assert_eq!(call_data(&session(Source::Oifde, Some(r#""any text""#), "{}")).unwrap(), "any text");
        assert_eq!(call_data(&session(Source::Oifde, None, "{}")), None);
        assert_eq!(call_data(&session(Source::Oifde, Some("\"t\""), r#"{"x":1}"#)).unwrap(), r#"{"content":"t","x":1}"#);
    }

    #[test]
    fn oif_r3_one_known_part_of_a_recording_is_enough() {
        let known = |file: Option<&str>, location: Option<&str>, announcement: Option<&str>| {
            let text = |part: Option<&str>| part.map(str::to_owned);
            business_info_str(&Recording {
                file: text(file),
                location_id: text(location),
                announcement_file: text(announcement),
                ..Recording::default()
            })
        };
        assert_eq!(known(None, None, None), "");
        assert_eq!(known(Some("f"), None, None), r#"{"yugaoFileName":"null","locationId":"null","recordFileName":"f"}"#);
        assert_eq!(known(None, Some("1"), None), r#"{"yugaoFileName":"null","locationId":"1","recordFileName":"null"}"#);
        assert_eq!(known(None, None, Some("a")), r#"{"yugaoFileName":"a","locationId":"null","recordFileName":"null"}"#);
    }

    #[test]
    fn a_conversation_that_was_posted_as_null_is_unknown() {
        let flow = |text: &str| flow_inst_id(JsonText::parse(text).unwrap());
        assert_eq!((flow("null").as_str(), flow("\"x\"").as_str(), flow("7").as_str()), ("", "x", "7"));
    }
}
