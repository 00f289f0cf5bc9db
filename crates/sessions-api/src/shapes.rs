//! What the description says of bodies. They are written and read as text (calldata-interchange), so that order and digits survive.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

/// What was learned during a call.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Session, example = json!({
    "callId": "145644644ff", "caller": "+49 30 123456", "startedAt": "2024-02-27T12:16:23.926Z", "dialogType": "voice", "intent": "invoice",
    "content": "Wants a copy of the invoice", "fields": { "customerNumber": "4711" },
    "turns": [{ "no": "1", "userText": "My invoice, please", "intent": "invoice", "reply": "Which month?", "by": "bot", "mode": "common" }],
    "answers": [{ "no": "1", "question": "Which month?", "original": "January" }],
}))]
pub(crate) struct SessionResource {
    /// Identifies the session within its tenant. Given by the gateway, unless a session that is stored brings one along.
    #[schema(example = "0192f4c4-1111-7abc-8def-000000000001")]
    id: Option<String>,
    /// The call. Several sessions may share one.
    #[schema(example = "145644644ff")]
    call_id: String,
    /// The phone number or user id of the caller, as spelled.
    #[schema(example = "+49 30 123456")]
    caller: String,
    /// The number the call came from, where it is another than the caller.
    calling_number: Option<String>,
    /// The call as the telephony platform names it.
    cti_call_id: Option<String>,
    /// The number that was called.
    #[schema(example = "+49 30 987654")]
    called_number: Option<String>,
    /// The conversation.
    conversation_id: Option<String>,
    /// The country of a local number (`+49`, `49`, `0049` or `DE`).
    #[schema(example = "+49")]
    country_code: Option<String>,
    /// When it began (RFC 3339). One whose start is not told began when it was first received.
    #[schema(example = "2024-02-27T12:16:23.926Z")]
    started_at: Option<String>,
    /// When it ended (RFC 3339).
    ended_at: Option<String>,
    /// When it last changed (RFC 3339), where that was told.
    updated_at: Option<String>,
    /// When the gateway received it first and last (RFC 3339). Not heeded in what is stored.
    #[schema(example = json!(["2024-02-27T12:16:23.926Z", "2024-02-27T12:16:23.926Z"]), min_items = 2, max_items = 2)]
    received_at: Option<Vec<String>>,
    /// `voice`, `outbound`, `chatbot` or `ivr`; another kind, as a vendor names it, is `other:NAME`.
    #[schema(example = "voice", pattern = "^(voice|outbound|chatbot|ivr|other:[\\s\\S]*)$")]
    dialog_type: Option<String>,
    /// What the caller wanted.
    #[schema(example = "invoice")]
    intent: Option<String>,
    /// What was learned: any JSON, given back with all its digits.
    content: Option<serde_json::Value>,
    /// User-defined fields: any JSON, in their order, given back with all their digits.
    fields: Option<HashMap<String, serde_json::Value>>,
    /// Where the recording is.
    recording: Option<RecordingResource>,
    /// What the business side attached: any JSON.
    business_info: Option<serde_json::Value>,
    /// A mark.
    flag: Option<String>,
    /// What was said, in order.
    turns: Option<Vec<TurnResource>>,
    /// What was asked and answered, in order.
    answers: Option<Vec<AnswerResource>>,
    /// Who delivered it: `parloa`, `oifde` or `native`.
    #[schema(example = "native", pattern = "^(parloa|oifde|native)$")]
    source: Option<String>,
}

/// Where a recording is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Recording)]
pub(crate) struct RecordingResource {
    /// Path and name of the recording.
    file: Option<String>,
    /// The node that holds it.
    location_id: Option<String>,
    /// The recorded announcement.
    announcement_file: Option<String>,
    /// The node of a CTI pool, in a session of an OIFDE system.
    pool_node: Option<i64>,
    /// The description as an OIFDE system delivered it, where it says more.
    as_delivered: Option<String>,
}

/// One exchange of a conversation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Turn)]
pub(crate) struct TurnResource {
    /// The number of the turn, as its author counts.
    #[schema(example = "1")]
    no: Option<String>,
    /// What the user said, as recognised.
    #[schema(example = "My invoice, please")]
    user_text: Option<String>,
    /// What the user wanted, as recognised.
    #[schema(example = "invoice")]
    intent: Option<String>,
    /// What was replied.
    #[schema(example = "Which month?")]
    reply: Option<String>,
    /// When the user spoke (RFC 3339).
    requested_at: Option<String>,
    /// When the reply was given (RFC 3339).
    replied_at: Option<String>,
    /// Who replied: `bot` or `agent`.
    #[schema(example = "bot", pattern = "^(bot|agent)$")]
    by: Option<String>,
    /// How the flow took part: `common`, `monitoring` or `insertion`.
    #[schema(example = "common", pattern = "^(common|monitoring|insertion)$")]
    mode: Option<String>,
}

/// A question and its answer.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Answer)]
pub(crate) struct AnswerResource {
    /// The number of the question, as its author counts.
    #[schema(example = "1")]
    no: Option<String>,
    /// The series of questions.
    series: Option<String>,
    /// What was asked.
    #[schema(example = "Which month?")]
    question: Option<String>,
    /// The kind of question, as its author names it.
    question_type: Option<String>,
    /// What the answer means, as recognised.
    intent: Option<String>,
    /// What the user answered.
    #[schema(example = "January")]
    original: Option<String>,
    /// When it was answered (RFC 3339).
    created_at: Option<String>,
}

/// Turns and answers to be added to a session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Additions, example = json!({ "turns": [{ "no": "2", "userText": "January", "reply": "It is on its way", "by": "bot" }] }))]
pub(crate) struct AdditionsResource {
    turns: Option<Vec<TurnResource>>,
    answers: Option<Vec<AnswerResource>>,
}

/// A part of a list of sessions.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionPage {
    items: Vec<SessionResource>,
    /// Where to go on; absent at the end.
    next: Option<String>,
    /// How many match in all, where that was asked for.
    total: Option<u64>,
}

/// What one caller did in one call.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Call)]
pub(crate) struct CallResource {
    call_id: String,
    /// The caller, as spelled in the newest session.
    caller: String,
    /// When the first of its sessions began (RFC 3339).
    started_at: String,
    /// When one of its sessions last changed (RFC 3339).
    updated_at: String,
    /// The call has more sessions than fit on a page; these are the newest. The list of sessions with its `callId` gives all of them.
    #[schema(example = false)]
    is_cut: Option<bool>,
    /// Its sessions, oldest start first.
    sessions: Vec<SessionResource>,
}

/// A part of a list of calls.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallPage {
    items: Vec<CallResource>,
    /// Where to go on; absent at the end.
    next: Option<String>,
}
