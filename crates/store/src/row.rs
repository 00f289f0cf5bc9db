//! Between a session and its row.

use calldata_core::port::{Same, Write};
use calldata_core::{
    Answer, CallId, Caller, CallerKey, Details, DialogType, Fields, InvolveMode, JsonText, Recording, Session, SessionId, Source,
    StoreError, Timestamp, Turn, TurnSource,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::entity::session::Model;
use crate::error::Unreadable;
use crate::search_key::search_key;

/// The row of a write.
pub(crate) fn of_write(write: Write) -> Model {
    let Write { scope, id, received_first, received_last, details, same, told_at: _ } = write;
    let intent_key = details.intent().map(search_key);
    let Details {
        call_id,
        caller,
        country_code,
        cti_call_id,
        calling_number,
        called_number,
        conversation,
        started_at,
        ended_at,
        updated_at,
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
    } = details;
    Model {
        tenant_id: scope.tenant().number(),
        id: id.as_str().to_owned(),
        call_id: call_id.as_str().to_owned(),
        caller: caller.spelling().to_owned(),
        caller_key: caller.key().as_str().to_owned(),
        country_code: country_code.map(|text| text.as_str().to_owned()),
        cti_call_key: cti_call_id.as_deref().map(search_key),
        conversation_key: conversation.as_ref().map(|text| search_key(&text.display())),
        intent_key,
        received_first: received_first.epoch_ms(),
        received_last: received_last.epoch_ms(),
        started_at: started_at.unwrap_or(received_first).epoch_ms(),
        source: source_number(source),
        replay_digest: match same {
            Same::Digest(digest) => Some(digest.as_bytes().to_vec()),
            Same::Id | Same::None => None,
        },
        content: content.map(|text| text.as_str().to_owned()),
        conversation: conversation.map(|text| text.as_str().to_owned()),
        fields: fields.into_json(),
        turns: json_unless_empty(&turns.into_iter().map(StoredTurn::from).collect::<Vec<_>>()),
        answers: json_unless_empty(&answers.into_iter().map(StoredAnswer::from).collect::<Vec<_>>()),
        details: StoredDetails {
            start_told: started_at.is_some(),
            ended_at: ended_at.map(Timestamp::epoch_ms),
            updated_at: updated_at.map(Timestamp::epoch_ms),
            cti_call_id,
            calling_number,
            called_number,
            dialog_type: dialog_type.map(StoredDialogType::from),
            intent,
            recording: recording.map(StoredRecording::from),
            business_info: business_info.and_then(|text| RawValue::from_string(text.as_str().to_owned()).ok()),
            flag,
        }
        .to_json(),
    }
}

/// The session of a row.
pub(crate) fn to_session(row: Model) -> Result<Session, StoreError> {
    let unreadable = |column| Unreadable { table: "session", column };
    let time = |ms| Timestamp::clamped(ms);
    let stored: StoredDetails = match row.details {
        Some(text) => serde_json::from_str(&text).map_err(|_| unreadable("details"))?,
        None => StoredDetails::default(),
    };
    let StoredDetails {
        start_told,
        ended_at,
        updated_at,
        cti_call_id,
        calling_number,
        called_number,
        dialog_type,
        intent,
        recording,
        business_info,
        flag,
    } = stored;
    Ok(Session {
        id: SessionId::new(&row.id).map_err(|_| unreadable("id"))?,
        received_first: time(row.received_first),
        received_last: time(row.received_last),
        details: Details {
            call_id: CallId::new(&row.call_id).map_err(|_| unreadable("call_id"))?,
            caller: Caller::known(row.caller, CallerKey::known(row.caller_key)),
            country_code: row.country_code.map(JsonText::trusted),
            cti_call_id,
            calling_number,
            called_number,
            conversation: row.conversation.map(JsonText::trusted),
            started_at: start_told.then(|| time(row.started_at)),
            ended_at: ended_at.map(time),
            updated_at: updated_at.map(time),
            dialog_type: dialog_type.map(DialogType::from),
            intent,
            content: row.content.map(JsonText::trusted),
            fields: fields_of(row.fields).ok_or_else(|| unreadable("fields"))?,
            recording: recording.map(Recording::from),
            business_info: business_info.map(|raw| JsonText::trusted(raw.get().to_owned())),
            flag,
            turns: list::<StoredTurn, _>(row.turns).map_err(|_| unreadable("turns"))?,
            answers: list::<StoredAnswer, _>(row.answers).map_err(|_| unreadable("answers"))?,
            source: source_of(row.source).ok_or_else(|| unreadable("source"))?,
        },
    })
}

/// What is written is valid; this notices what was never written.
fn fields_of(text: String) -> Option<Fields> {
    (text.starts_with('{') && text.ends_with('}')).then(|| Fields::trusted(text))
}

fn list<S: for<'de> Deserialize<'de>, T: From<S>>(text: Option<String>) -> Result<Vec<T>, serde_json::Error> {
    let Some(text) = text else { return Ok(Vec::new()) };
    Ok(serde_json::from_str::<Vec<S>>(&text)?.into_iter().map(T::from).collect())
}

fn json_unless_empty<T: Serialize>(items: &[T]) -> Option<String> {
    if items.is_empty() { None } else { serde_json::to_string(items).ok() }
}

fn source_number(source: Source) -> i32 {
    match source {
        Source::Parloa => 1,
        Source::Oifde => 2,
        Source::Native => 3,
    }
}

fn source_of(number: i32) -> Option<Source> {
    [Source::Parloa, Source::Oifde, Source::Native].into_iter().find(|source| source_number(*source) == number)
}

/// What is known about a session and never searched.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StoredDetails {
    #[serde(skip_serializing_if = "is_false")]
    start_told: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cti_call_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calling_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    called_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dialog_type: Option<StoredDialogType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<StoredRecording>,
    #[serde(skip_serializing_if = "Option::is_none")]
    business_info: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flag: Option<String>,
}

impl StoredDetails {
    fn to_json(&self) -> Option<String> {
        serde_json::to_string(self).ok().filter(|text| text != "{}")
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum StoredDialogType {
    Voice,
    Outbound,
    Chatbot,
    Ivr,
    Other(String),
}

impl From<DialogType> for StoredDialogType {
    fn from(dialog_type: DialogType) -> Self {
        match dialog_type {
            DialogType::Voice => Self::Voice,
            DialogType::Outbound => Self::Outbound,
            DialogType::Chatbot => Self::Chatbot,
            DialogType::Ivr => Self::Ivr,
            DialogType::Other(name) => Self::Other(name),
        }
    }
}

impl From<StoredDialogType> for DialogType {
    fn from(stored: StoredDialogType) -> Self {
        match stored {
            StoredDialogType::Voice => Self::Voice,
            StoredDialogType::Outbound => Self::Outbound,
            StoredDialogType::Chatbot => Self::Chatbot,
            StoredDialogType::Ivr => Self::Ivr,
            StoredDialogType::Other(name) => Self::Other(name),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredRecording {
    file: Option<String>,
    location: Option<String>,
    announcement: Option<String>,
    node: Option<i64>,
    text: Option<String>,
}

impl From<Recording> for StoredRecording {
    fn from(recording: Recording) -> Self {
        let Recording { file, location_id, announcement_file, pool_node, as_delivered } = recording;
        Self { file, location: location_id, announcement: announcement_file, node: pool_node, text: as_delivered }
    }
}

impl From<StoredRecording> for Recording {
    fn from(stored: StoredRecording) -> Self {
        let StoredRecording { file, location, announcement, node, text } = stored;
        Self { file, location_id: location, announcement_file: announcement, pool_node: node, as_delivered: text }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredTurn {
    no: String,
    user: String,
    intent: String,
    reply: String,
    asked: Option<i64>,
    replied: Option<i64>,
    #[serde(default, skip_serializing_if = "is_false")]
    agent: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    mode: u8,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(value: &u8) -> bool {
    *value == 0
}

impl From<Turn> for StoredTurn {
    fn from(turn: Turn) -> Self {
        let Turn { no, user_text, intent, reply, requested_at, replied_at, by, mode } = turn;
        Self {
            no,
            user: user_text,
            intent,
            reply,
            asked: requested_at.map(Timestamp::epoch_ms),
            replied: replied_at.map(Timestamp::epoch_ms),
            agent: match by {
                TurnSource::Bot => false,
                TurnSource::Agent => true,
            },
            mode: match mode {
                InvolveMode::Common => 0,
                InvolveMode::Monitoring => 1,
                InvolveMode::Insertion => 2,
            },
        }
    }
}

impl From<StoredTurn> for Turn {
    fn from(stored: StoredTurn) -> Self {
        let StoredTurn { no, user, intent, reply, asked, replied, agent, mode } = stored;
        Self {
            no,
            user_text: user,
            intent,
            reply,
            requested_at: asked.map(Timestamp::clamped),
            replied_at: replied.map(Timestamp::clamped),
            by: if agent { TurnSource::Agent } else { TurnSource::Bot },
            mode: match mode {
                1 => InvolveMode::Monitoring,
                2 => InvolveMode::Insertion,
                _ => InvolveMode::Common,
            },
        }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredAnswer {
    no: Option<String>,
    series: Option<String>,
    question: Option<String>,
    kind: Option<String>,
    intent: Option<String>,
    original: Option<String>,
    created: Option<i64>,
}

impl From<Answer> for StoredAnswer {
    fn from(answer: Answer) -> Self {
        let Answer { no, series, question, question_type, intent, original, created_at } = answer;
        Self { no, series, question, kind: question_type, intent, original, created: created_at.map(Timestamp::epoch_ms) }
    }
}

impl From<StoredAnswer> for Answer {
    fn from(stored: StoredAnswer) -> Self {
        let StoredAnswer { no, series, question, kind, intent, original, created } = stored;
        Self { no, series, question, question_type: kind, intent, original, created_at: created.map(Timestamp::clamped) }
    }
}
