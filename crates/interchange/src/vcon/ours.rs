//! A vCon that we wrote, as the document that it was made from. What somebody took out of it since is not known.

use std::collections::HashMap;

use super::entry::Entry;
use super::read::{Vcon, number_of};
use super::{ANSWERS, BOT, CALLER, CONTENT, FIELDS, INTENT, VENDOR};
use crate::invalid::{InvalidDocument, invalid};
use crate::object::{Object, push_array};

/// Members of a turn that name its dialogs.
const USER_DIALOG: &str = "userDialog";
const REPLY_DIALOG: &str = "replyDialog";

pub(super) fn document(vcon: &Vcon, session: &Entry) -> Result<String, InvalidDocument> {
    let rest = session.json_body().as_ref().and_then(Entry::of);
    let rest = rest.ok_or_else(|| invalid("analysis", "has a session whose body is not an object"))?;
    let mut text = String::new();
    let mut object = Object::open(&mut text);
    for (name, value) in rest.iter().filter(|(name, _)| *name != "turns") {
        object.json(name, value.as_str());
    }
    let mut if_left_out = |name: &str, value: Option<String>| {
        if rest.get(name).is_none() {
            object.string_if_known(name, value.as_deref());
        }
    };
    if_left_out("id", Some(vcon.uuid.clone()));
    let caller = vcon.parties.get(CALLER);
    if_left_out("caller", caller.and_then(|party| number_of(party).or_else(|| party.text("name"))));
    if_left_out("calledNumber", vcon.parties.get(BOT).and_then(number_of));

    let mut of_ours = vcon.analysis.iter().filter(|analysis| analysis.is("vendor", VENDOR));
    let intent = of_ours.clone().find(|analysis| analysis.is("type", INTENT) && analysis.get("dialog").is_none());
    object.string_if_known("intent", intent.and_then(Entry::text_body).as_deref());
    for learned in [CONTENT, FIELDS] {
        let attached = vcon.attachments.iter().find(|attachment| attachment.is("purpose", learned));
        let learned_entry = attached.or_else(|| of_ours.clone().find(|analysis| analysis.is("type", learned)));
        if let Some(value) = learned_entry.and_then(Entry::json_body) {
            object.json(learned, value.as_str());
        }
    }
    if let Some(turns) = rest.get("turns") {
        let turns = turns.items().ok_or_else(|| invalid("turns", "must be an array"))?;
        let intents = intents(vcon);
        object.value("turns", |out| {
            push_array(out, turns, |turn, out| match Entry::of(&turn) {
                Some(turn) => push_turn(vcon, &intents, &turn, out),
                // It is refused with its place, like any that is none.
                None => out.push_str(turn.as_str()),
            });
        });
    }
    if let Some(answers) = of_ours.find(|analysis| analysis.is("type", ANSWERS)).and_then(Entry::json_body) {
        object.json("answers", answers.as_str());
    }
    object.close();
    Ok(text)
}

/// What was wanted, by the dialog that it was recognised in.
fn intents(vcon: &Vcon) -> HashMap<usize, String> {
    let of_dialogs = vcon.analysis.iter().filter(|analysis| analysis.is("vendor", VENDOR) && analysis.is("type", INTENT));
    of_dialogs.filter_map(|analysis| Some((analysis.index("dialog")?, analysis.text_body()?))).collect()
}

fn push_turn(vcon: &Vcon, intents: &HashMap<usize, String>, turn: &Entry, out: &mut String) {
    let (user, reply) = (turn.index(USER_DIALOG), turn.index(REPLY_DIALOG));
    let said = |dialog: Option<usize>| vcon.dialog.get(dialog?).and_then(Entry::text_body);
    let mut object = Object::open(out);
    for (name, value) in turn.iter().filter(|(name, _)| ![USER_DIALOG, REPLY_DIALOG].contains(name)) {
        object.json(name, value.as_str());
    }
    object.string_if_known("userText", said(user).as_deref());
    object.string_if_known("reply", said(reply).as_deref());
    if let Some(intent) = user.or(reply).and_then(|dialog| intents.get(&dialog)) {
        object.string("intent", intent);
    }
    object.close();
}
