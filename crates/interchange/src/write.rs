//! A session as the JSON object that [`SessionDocument`](crate::SessionDocument) reads.

use calldata_core::{Answer, Details, DialogType, InvolveMode, JsonKind, JsonText, Recording, Session, Source, Turn, TurnSource};

use crate::object::{Object, push_array, push_time};

/// Appends a session as one JSON object on one line; what is not known is left out. Read and written again it is the same text.
pub fn write_session(session: &Session, out: &mut String) {
    let mut object = Object::open(out);
    push_members(session, &mut object);
    object.close();
}

/// Appends turns as a JSON array.
pub fn write_turns(turns: &[Turn], out: &mut String) {
    push_array(out, turns, push_turn);
}

/// Appends answers as a JSON array.
pub fn write_answers(answers: &[Answer], out: &mut String) {
    push_array(out, answers, push_answer);
}

/// Appends the members of a session.
pub(crate) fn push_members(session: &Session, object: &mut Object<'_>) {
    let Session { id, received_first, received_last, details } = session;
    let Details {
        call_id,
        caller,
        country_code,
        cti_call_id,
        calling_number: _,
        called_number,
        conversation,
        started_at,
        ended_at,
        updated_at,
        dialog_type,
        intent,
        content: _,
        fields,
        recording,
        business_info,
        flag,
        turns,
        answers,
        source,
    } = details;
    object.string("id", id.as_str());
    object.string("callId", call_id.as_str());
    object.string("caller", caller.spelling());
    object.string_if_known("ctiCallId", cti_call_id.as_deref());
    object.string_if_known("callingNumber", calling_number(details));
    object.string_if_known("calledNumber", called_number.as_deref());
    object.string_if_known("conversationId", text_of(conversation.as_ref()).as_deref());
    object.string_if_known("countryCode", text_of(country_code.as_ref()).as_deref());
    object.time_if_known("startedAt", *started_at);
    object.time_if_known("endedAt", *ended_at);
    object.time_if_known("updatedAt", *updated_at);
    object.value("receivedAt", |out| push_array(out, [*received_first, *received_last], |time, out| push_time(out, time)));
    object.string_if_known("dialogType", dialog_type.as_ref().map(dialog_type_name).as_deref());
    object.string_if_known("intent", intent.as_deref());
    if let Some(content) = content(details) {
        object.json("content", content.as_str());
    }
    object.json("fields", fields.as_json());
    if let Some(recording) = recording {
        object.value("recording", |out| push_recording(recording, *source, out));
    }
    if let Some(info) = business_info {
        object.json("businessInfo", info.as_str());
    }
    object.string_if_known("flag", flag.as_deref());
    object.value("turns", |out| write_turns(turns, out));
    object.value("answers", |out| write_answers(answers, out));
    object.string("source", source_name(*source));
}

/// The number the call came from, where it says more than the caller.
pub(crate) fn calling_number(details: &Details) -> Option<&str> {
    details.calling_number.as_deref().filter(|number| *number != details.caller.spelling())
}

/// A conversation or a country as text: bots post numbers as well, and null for none.
pub(crate) fn text_of(posted: Option<&JsonText>) -> Option<String> {
    posted.filter(|posted| posted.kind() != JsonKind::Null).map(|posted| posted.display().into_owned())
}

/// The content; a bot may have posted null, elsewhere null is no content.
pub(crate) fn content(details: &Details) -> Option<&JsonText> {
    details.content.as_ref().filter(|content| details.source == Source::Parloa || content.kind() != JsonKind::Null)
}

pub(crate) fn dialog_type_name(dialog_type: &DialogType) -> String {
    match dialog_type {
        DialogType::Voice => "voice".to_owned(),
        DialogType::Outbound => "outbound".to_owned(),
        DialogType::Chatbot => "chatbot".to_owned(),
        DialogType::Ivr => "ivr".to_owned(),
        DialogType::Other(delivered) => format!("other:{delivered}"),
    }
}

pub(crate) fn source_name(source: Source) -> &'static str {
    match source {
        Source::Parloa => "parloa",
        Source::Oifde => "oifde",
        Source::Native => "native",
    }
}

fn push_recording(recording: &Recording, source: Source, out: &mut String) {
    let Recording { file, location_id, announcement_file, pool_node, as_delivered } = recording;
    let mut object = Object::open(out);
    object.string_if_known("file", file.as_deref());
    object.string_if_known("locationId", location_id.as_deref());
    object.string_if_known("announcementFile", announcement_file.as_deref());
    // Everywhere else the node is that of the location, and there is no other description.
    if source == Source::Oifde {
        if let Some(node) = pool_node {
            object.json("poolNode", &node.to_string());
        }
        object.string_if_known("asDelivered", as_delivered.as_deref());
    }
    object.close();
}

fn push_turn(turn: &Turn, out: &mut String) {
    let Turn { no, user_text, intent, reply, requested_at, replied_at, by, mode } = turn;
    let mut object = Object::open(out);
    object.string("no", no);
    object.string("userText", user_text);
    object.string("intent", intent);
    object.string("reply", reply);
    object.time_if_known("requestedAt", *requested_at);
    object.time_if_known("repliedAt", *replied_at);
    object.string("by", turn_source_name(*by));
    object.string("mode", mode_name(*mode));
    object.close();
}

pub(crate) fn turn_source_name(by: TurnSource) -> &'static str {
    match by {
        TurnSource::Bot => "bot",
        TurnSource::Agent => "agent",
    }
}

pub(crate) fn mode_name(mode: InvolveMode) -> &'static str {
    match mode {
        InvolveMode::Common => "common",
        InvolveMode::Monitoring => "monitoring",
        InvolveMode::Insertion => "insertion",
    }
}

fn push_answer(answer: &Answer, out: &mut String) {
    let Answer { no, series, question, question_type, intent, original, created_at } = answer;
    let mut object = Object::open(out);
    object.string_if_known("no", no.as_deref());
    object.string_if_known("series", series.as_deref());
    object.string_if_known("question", question.as_deref());
    object.string_if_known("questionType", question_type.as_deref());
    object.string_if_known("intent", intent.as_deref());
    object.string_if_known("original", original.as_deref());
    object.time_if_known("createdAt", *created_at);
    object.close();
}
