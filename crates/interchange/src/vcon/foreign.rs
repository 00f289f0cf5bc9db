//! A vCon of another system, as a document of ours as far as it is understood. Nothing is invented, and what is not understood is kept as
//! fields.

use calldata_core::{JsonText, Timestamp, TurnSource};

use super::entry::Entry;
use super::read::{Raw, Vcon, number_of};
use crate::invalid::InvalidDocument;
use crate::object::{Object, push_array};
use crate::write::turn_source_name;

pub(super) fn document(vcon: &Vcon) -> Result<String, InvalidDocument> {
    let (caller, spelling) = caller(vcon).ok_or_else(|| InvalidDocument::Missing { member: "parties".into() })?;
    let (turns, other) = turns(vcon, caller);
    let started = vcon.dialog.iter().filter_map(start_of).min();
    let updated = vcon.updated_at.as_ref().and_then(time_of);
    let mut text = String::new();
    let mut object = Object::open(&mut text);
    object.string("id", &vcon.uuid);
    object.string("callId", &vcon.uuid);
    object.string("caller", &spelling);
    object.time_if_known("startedAt", started);
    object.time_if_known("updatedAt", updated);
    object.value("fields", |out| push_fields(vcon, &other, out));
    if let Some(url) = vcon.dialog.iter().filter(|dialog| dialog.is("type", "recording")).find_map(|dialog| dialog.text("url")) {
        object.value("recording", |out| {
            let mut recording = Object::open(out);
            recording.string("file", &url);
            recording.close();
        });
    }
    object.value("turns", |out| push_array(out, turns, |turn, out| turn.push(out)));
    object.close();
    Ok(text)
}

/// Who called: the first party with a number, else the first with a name or another address, and which party that is. One that is told to be
/// somebody else has called only where there is nobody besides.
fn caller(vcon: &Vcon) -> Option<(usize, String)> {
    let first = |is_asked: &dyn Fn(&Entry) -> bool, spelling: &dyn Fn(&Entry) -> Option<String>| {
        let known = |(index, party)| Some((index, spelling(party).filter(|spelling| !spelling.is_empty())?));
        vcon.parties.iter().enumerate().filter(|(_, party)| is_asked(party)).find_map(known)
    };
    let address = |party: &Entry| ["name", "sip", "mailto", "did", "uuid"].into_iter().find_map(|member| party.text(member));
    let among = |is_asked: &dyn Fn(&Entry) -> bool| first(is_asked, &number_of).or_else(|| first(is_asked, &address));
    among(&|party| !is_another(party)).or_else(|| among(&|_| true))
}

/// Whether a party is told to be on the other side of the call.
fn is_another(party: &Entry) -> bool {
    let is =
        |member: &str, kinds: &[&str]| party.text(member).is_some_and(|kind| kinds.iter().any(|known| kind.eq_ignore_ascii_case(known)));
    is("type", &["bot", "organization", "system", "agent"]) || is("role", &["bot", "agent", "supervisor", "expert"])
}

fn push_fields(vcon: &Vcon, other_dialogs: &[usize], out: &mut String) {
    let Raw { dialog, analysis, attachments } = &vcon.raw;
    let mut object = Object::open(out);
    if let Some(subject) = &vcon.subject {
        object.json("vconSubject", subject.as_str());
    }
    let others: Vec<_> = other_dialogs.iter().filter_map(|index| dialog.get(*index)).collect();
    for (name, list) in
        [("vconDialog", others), ("vconAnalysis", analysis.iter().collect()), ("vconAttachments", attachments.iter().collect())]
    {
        if !list.is_empty() {
            object.value(name, |out| push_array(out, list, |item, out| out.push_str(item.as_str())));
        }
    }
    object.close();
}

fn start_of(dialog: &Entry) -> Option<Timestamp> {
    dialog.get("start").and_then(time_of)
}

fn time_of(value: &JsonText) -> Option<Timestamp> {
    Timestamp::parse_iso8601(&value.as_string()?)
}

/// A turn as far as it is known.
#[derive(Default)]
struct Heard {
    user_text: Option<String>,
    reply: Option<String>,
    requested_at: Option<Timestamp>,
    replied_at: Option<Timestamp>,
    by: TurnSource,
}

impl Heard {
    fn push(&self, out: &mut String) {
        let Self { user_text, reply, requested_at, replied_at, by } = self;
        let mut object = Object::open(out);
        object.string_if_known("userText", user_text.as_deref());
        object.string_if_known("reply", reply.as_deref());
        object.time_if_known("requestedAt", *requested_at);
        object.time_if_known("repliedAt", *replied_at);
        object.string("by", turn_source_name(*by));
        object.close();
    }
}

/// What the caller said, each time with the reply to it, and the dialogs that are something else.
fn turns(vcon: &Vcon, caller: usize) -> (Vec<Heard>, Vec<usize>) {
    let mut turns: Vec<Heard> = Vec::new();
    let mut other = Vec::new();
    for (index, dialog) in vcon.dialog.iter().enumerate() {
        let Some(text) = text_of(dialog) else {
            other.push(index);
            continue;
        };
        let at = start_of(dialog);
        let speaker = speaker_of(dialog);
        if speaker == Some(caller) {
            turns.push(Heard { user_text: Some(text), requested_at: at, ..Heard::default() });
            continue;
        }
        if turns.last().is_none_or(|turn| turn.reply.is_some()) {
            turns.push(Heard::default());
        }
        if let Some(turn) = turns.last_mut() {
            (turn.reply, turn.replied_at) = (Some(text), at);
            let party = speaker.and_then(|speaker| vcon.parties.get(speaker));
            let by_agent = party.and_then(|party| party.text("type")).is_some_and(|kind| matches!(kind.as_str(), "person" | "agent"));
            turn.by = if by_agent { TurnSource::Agent } else { TurnSource::Bot };
        }
    }
    (turns, other)
}

/// The text of a dialog; `None` when it is something else.
fn text_of(dialog: &Entry) -> Option<String> {
    let plain = dialog.text("mediatype").is_none_or(|media_type| media_type.to_ascii_lowercase().starts_with("text/"));
    if plain && dialog.is("type", "text") { dialog.text_body() } else { None }
}

/// The party that said it.
fn speaker_of(dialog: &Entry) -> Option<usize> {
    let first = || {
        let parties = dialog.get("parties")?;
        let party = parties.items().map_or_else(|| Some(parties.clone()), |parties| parties.into_iter().next())?;
        party.as_str().parse().ok()
    };
    dialog.index("originator").or_else(first)
}
