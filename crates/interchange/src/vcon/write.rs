//! Writing a vCon.

use calldata_core::{CallerKey, Country, Session, Timestamp, Turn, TurnSource};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::body::Body;
use super::{AGENT, ANSWERS, ANSWERS_SCHEMA, BOT, CALLER, CONTENT, FIELDS, INTENT, SESSION, SESSION_SCHEMA, VENDOR};
use crate::object::{Object, push_array};
use crate::write::{content, mode_name, push_members, turn_source_name, write_answers};

/// What a UUID is made from besides a tenant and an identifier, so that it is no other hash of them.
const UUID_DOMAIN: &[u8] = b"calldata-gateway vcon\0";
/// The most digits of a number in international form.
const MAX_E164_DIGITS: usize = 15;

/// Appends a session as one vCon on one line. A session whose identifier is no UUID gets one that the identifier and the first receipt
/// decide, which are the same wherever it is brought.
pub fn write(session: &Session, tenant_name: &str, out: &mut String) {
    let told = Told::of(session);
    let mut vcon = Object::open(out);
    vcon.string("uuid", &told.uuid);
    vcon.time("created_at", session.received_first);
    vcon.time("updated_at", session.updated());
    vcon.value("parties", |out| push_parties(&told, tenant_name, out));
    if !told.dialogs.is_empty() {
        vcon.value("dialog", |out| push_array(out, &told.dialogs, push_dialog));
    }
    let rest = rest_of(&told);
    let mut answers = String::new();
    write_answers(&session.details.answers, &mut answers);
    let analyses = analyses(&told, &answers, &rest);
    vcon.value("analysis", |out| push_array(out, analyses, push_analysis));
    let learned = learned(session);
    if !told.dialogs.is_empty() && !learned.is_empty() {
        vcon.value("attachments", |out| push_array(out, learned, |(purpose, body), out| push_attachment(&told, purpose, &body, out)));
    }
    vcon.close();
}

/// A session, and where in the vCon parts of it are told.
struct Told<'s> {
    session: &'s Session,
    uuid: String,
    /// The caller as a phone number.
    caller: Option<&'s str>,
    /// The number that was called, as a phone number.
    called: Option<String>,
    dialogs: Vec<Dialog<'s>>,
    turns: Vec<Spoken<'s>>,
}

/// One text that somebody said.
struct Dialog<'s> {
    start: Timestamp,
    /// Who said it, then who heard it.
    parties: [usize; 2],
    text: &'s str,
}

/// A turn, and its dialogs; a text that is not known has none.
struct Spoken<'s> {
    turn: &'s Turn,
    user: Option<usize>,
    reply: Option<usize>,
}

impl<'s> Told<'s> {
    fn of(session: &'s Session) -> Self {
        let mut dialogs = Vec::new();
        let mut turns = Vec::with_capacity(session.details.turns.len());
        for turn in &session.details.turns {
            let other = if turn.by == TurnSource::Agent { AGENT } else { BOT };
            let mut say = |text: &'s str, start: Option<Timestamp>, parties| {
                let start = start.unwrap_or_else(|| session.started());
                (!text.is_empty()).then(|| {
                    dialogs.push(Dialog { start, parties, text });
                    dialogs.len() - 1
                })
            };
            let user = say(&turn.user_text, turn.requested_at, [CALLER, other]);
            let reply = say(&turn.reply, turn.replied_at.or(turn.requested_at), [other, CALLER]);
            turns.push(Spoken { turn, user, reply });
        }
        let details = &session.details;
        Self {
            session,
            uuid: uuid_of(session),
            caller: Some(details.caller.key().as_str()).filter(|number| is_e164(number)),
            called: details.called_number.as_deref().and_then(called),
            dialogs,
            turns,
        }
    }
}

impl Spoken<'_> {
    /// The dialog that the turn's intention was recognised in.
    fn dialog(&self) -> Option<usize> {
        self.user.or(self.reply)
    }
}

/// The identifier when it is a UUID in its usual spelling, else one of version 8.
fn uuid_of(session: &Session) -> String {
    let id = session.id.as_str();
    if Uuid::try_parse(id).is_ok_and(|uuid| uuid.hyphenated().to_string() == id) {
        return id.to_owned();
    }
    let hash =
        Sha256::new().chain_update(UUID_DOMAIN).chain_update(session.received_first.epoch_ms().to_be_bytes()).chain_update(id).finalize();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash).for_each(|(byte, hashed)| *byte = hashed);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        digits.len() <= MAX_E164_DIGITS && digits.starts_with(|c: char| c != '0') && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

/// The number that was called, where its spelling alone tells which one it is: a local one could be of any country.
fn called(spelling: &str) -> Option<String> {
    if !spelling.starts_with('+') && !spelling.starts_with("00") {
        return None;
    }
    let key = CallerKey::of(spelling, Country::GERMANY);
    is_e164(key.as_str()).then(|| key.as_str().to_owned())
}

fn push_parties(told: &Told<'_>, tenant_name: &str, out: &mut String) {
    let tel = |party: &mut Object<'_>, number: &str| party.string("tel", &format!("tel:{number}"));
    let name = |party: &mut Object<'_>, name: &str| {
        party.string("name", name);
        party.string("validation", "none");
    };
    let with_agent = told.turns.iter().any(|spoken| spoken.turn.by == TurnSource::Agent);
    push_array(out, 0..AGENT + usize::from(with_agent), |party, out| {
        let mut object = Object::open(out);
        match party {
            CALLER => match told.caller {
                Some(number) => tel(&mut object, number),
                None => name(&mut object, told.session.details.caller.spelling()),
            },
            BOT => {
                if let Some(number) = &told.called {
                    tel(&mut object, number);
                }
                name(&mut object, "bot");
                object.string("type", "bot");
            }
            AGENT => {
                name(&mut object, "agent");
                object.string("type", "person");
            }
            _ => {
                object.string("type", "organization");
                object.string("org", tenant_name);
            }
        }
        object.close();
    });
}

fn push_dialog(dialog: &Dialog<'_>, out: &mut String) {
    let Dialog { start, parties, text } = dialog;
    let mut object = Object::open(out);
    object.string("type", "text");
    object.time("start", *start);
    object.value("parties", |out| push_array(out, parties, |party, out| out.push_str(&party.to_string())));
    let body = Body::Text(text);
    object.string("mediatype", body.media_type());
    body.push(&mut object);
    object.close();
}

/// What was learned: content and user-defined fields.
fn learned(session: &Session) -> Vec<(&'static str, Body<'_>)> {
    let content = content(&session.details).map(|content| (CONTENT, Body::Json(content.as_str())));
    let fields = &session.details.fields;
    let fields = (!fields.is_empty()).then(|| (FIELDS, Body::Json(fields.as_json())));
    content.into_iter().chain(fields).collect()
}

fn push_attachment(told: &Told<'_>, purpose: &str, body: &Body<'_>, out: &mut String) {
    let mut object = Object::open(out);
    object.string("purpose", purpose);
    object.time("start", told.session.started());
    object.json("party", &BOT.to_string());
    // The draft wants one; what was learned belongs to all of them.
    object.json("dialog", "0");
    object.string("mediatype", body.media_type());
    body.push(&mut object);
    object.close();
}

/// Something that was understood.
struct Analysis<'a> {
    kind: &'static str,
    dialog: Option<usize>,
    schema: Option<&'static str>,
    body: Body<'a>,
}

fn analyses<'a>(told: &'a Told<'_>, answers: &'a str, rest: &'a str) -> Vec<Analysis<'a>> {
    let of = |kind, body| Analysis { kind, dialog: None, schema: None, body };
    let mut analyses = Vec::new();
    analyses.extend(told.session.details.intent.as_deref().map(|intent| of(INTENT, Body::Text(intent))));
    let intents = told.turns.iter().filter(|spoken| !spoken.turn.intent.is_empty() && spoken.dialog().is_some());
    analyses.extend(intents.map(|spoken| Analysis { dialog: spoken.dialog(), ..of(INTENT, Body::Text(&spoken.turn.intent)) }));
    if !told.session.details.answers.is_empty() {
        analyses.push(Analysis { schema: Some(ANSWERS_SCHEMA), ..of(ANSWERS, Body::Json(answers)) });
    }
    if told.dialogs.is_empty() {
        // An attachment belongs to a dialog.
        analyses.extend(learned(told.session).into_iter().map(|(kind, body)| of(kind, body)));
    }
    analyses.push(Analysis { schema: Some(SESSION_SCHEMA), ..of(SESSION, Body::Json(rest)) });
    analyses
}

fn push_analysis(analysis: Analysis<'_>, out: &mut String) {
    let Analysis { kind, dialog, schema, body } = analysis;
    let mut object = Object::open(out);
    object.string("type", kind);
    if let Some(dialog) = dialog {
        object.json("dialog", &dialog.to_string());
    }
    object.string("mediatype", body.media_type());
    object.string("vendor", VENDOR);
    object.string_if_known("schema", schema);
    body.push(&mut object);
    object.close();
}

/// The members of the session that the rest of the vCon has no place for.
fn rest_of(told: &Told<'_>) -> String {
    let details = &told.session.details;
    let mut without = vec!["intent", "content", "fields", "turns", "answers"];
    if told.uuid == told.session.id.as_str() {
        without.push("id");
    }
    if told.caller.is_none_or(|number| number == details.caller.spelling()) {
        without.push("caller");
    }
    if told.called == details.called_number {
        without.push("calledNumber");
    }
    let mut text = String::new();
    let mut object = Object::open_without(&mut text, &without);
    push_members(told.session, &mut object);
    object.with_all();
    if !told.turns.is_empty() {
        object.value("turns", |out| push_array(out, &told.turns, push_turn));
    }
    object.close();
    text
}

fn push_turn(spoken: &Spoken<'_>, out: &mut String) {
    let Spoken { turn, user, reply } = spoken;
    let Turn { no, user_text: _, intent, reply: _, requested_at, replied_at, by, mode } = turn;
    let mut object = Object::open(out);
    object.string("no", no);
    for (name, dialog) in [("userDialog", user), ("replyDialog", reply)] {
        if let Some(dialog) = dialog {
            object.json(name, &dialog.to_string());
        }
    }
    if spoken.dialog().is_none() && !intent.is_empty() {
        object.string("intent", intent);
    }
    object.time_if_known("requestedAt", *requested_at);
    object.time_if_known("repliedAt", *replied_at);
    object.string("by", turn_source_name(*by));
    object.string("mode", mode_name(*mode));
    object.close();
}
