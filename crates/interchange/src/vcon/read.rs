//! Reading a vCon.

use calldata_core::{Country, JsonText, NewSession};

use super::entry::Entry;
use super::{SESSION, SESSION_SCHEMA, VENDOR, foreign, ours};
use crate::SessionDocument;
use crate::invalid::{InvalidDocument, invalid};
use crate::members::Members;

/// The session that a vCon tells of; a local number without a country is one of `country`. One of ours is read as the session that it
/// was; one of another system as far as it is understood.
///
/// # Errors
/// When it is no vCon, signed or encrypted, needs an extension, or does not say who called.
pub fn read(text: &str, country: Country) -> Result<NewSession, InvalidDocument> {
    let vcon = Vcon::parse(text)?;
    let document = match vcon.analysis.iter().find(|analysis| is_session(analysis)) {
        Some(session) => ours::document(&vcon, session)?,
        None => foreign::document(&vcon)?,
    };
    SessionDocument::parse(&document)?.into_session(country)
}

fn is_session(analysis: &Entry) -> bool {
    analysis.is("type", SESSION) && analysis.is("vendor", VENDOR) && analysis.is("schema", SESSION_SCHEMA)
}

/// The unsigned form of a vCon.
pub(super) struct Vcon {
    pub(super) uuid: String,
    pub(super) updated_at: Option<JsonText>,
    pub(super) subject: Option<JsonText>,
    pub(super) parties: Vec<Entry>,
    pub(super) dialog: Vec<Entry>,
    pub(super) analysis: Vec<Entry>,
    pub(super) attachments: Vec<Entry>,
    /// The same as they are.
    pub(super) raw: Raw,
}

/// What a vCon of another system may say that is kept and not understood.
pub(super) struct Raw {
    pub(super) dialog: Vec<JsonText>,
    pub(super) analysis: Vec<JsonText>,
    pub(super) attachments: Vec<JsonText>,
}

impl Vcon {
    fn parse(text: &str) -> Result<Self, InvalidDocument> {
        let mut given = Members::parse(text)?;
        if given.take("payload").is_some() && given.take("signatures").is_some() {
            return Err(InvalidDocument::Shape("is signed: its payload has to be verified and taken out first".into()));
        }
        if given.take("ciphertext").is_some() {
            return Err(InvalidDocument::Shape("is encrypted".into()));
        }
        if !list(&mut given, "critical")?.is_empty() {
            return Err(invalid("critical", "names extensions, and none is known here"));
        }
        let uuid = given.required("uuid")?;
        let (parties, dialog) = (list(&mut given, "parties")?, list(&mut given, "dialog")?);
        let (analysis, attachments) = (list(&mut given, "analysis")?, list(&mut given, "attachments")?);
        Ok(Self {
            uuid,
            updated_at: given.given("updated_at"),
            subject: given.given("subject"),
            parties: entries("parties", &parties)?,
            dialog: entries("dialog", &dialog)?,
            analysis: entries("analysis", &analysis)?,
            attachments: entries("attachments", &attachments)?,
            raw: Raw { dialog, analysis, attachments },
        })
    }
}

fn list(given: &mut Members, name: &'static str) -> Result<Vec<JsonText>, InvalidDocument> {
    let Some(list) = given.given(name) else { return Ok(Vec::new()) };
    list.items().ok_or_else(|| invalid(name, "must be an array"))
}

fn entries(name: &'static str, items: &[JsonText]) -> Result<Vec<Entry>, InvalidDocument> {
    let entry = |(index, item)| Entry::of(item).ok_or_else(|| invalid(format!("{name}[{index}]"), "is not an object"));
    items.iter().enumerate().map(entry).collect()
}

/// A phone number without the scheme that it may have.
pub(super) fn number_of(party: &Entry) -> Option<String> {
    let tel = party.text("tel")?;
    Some(tel.strip_prefix("tel:").map(str::to_owned).unwrap_or(tel))
}
