//! Parsers and renderers without the server around them, for those who try to break them (feature `fuzz`; never in a release).

use calldata_core::{Country, NewSession, Session, SessionId, Timestamp, Zone};

use crate::get::Fetch;
use crate::posted::Posted;
use crate::query::Query;
use crate::record::Record;
use crate::render::{self, Format, Language, Style};

/// A session in everything that a fetch can be answered with.
#[derive(Debug)]
pub struct Answers {
    /// Names and values for people, in the order of an answer.
    pub members: Vec<(String, String)>,
    /// `format=json`.
    pub json: String,
    /// `format=xml`.
    pub xml: String,
    /// `format=html`, German and English.
    pub html: [String; 2],
    /// `format=text`, German and English.
    pub text: [String; 2],
}

/// The session of a post; `None` where it is refused.
pub fn posted(body: &[u8]) -> Option<NewSession> {
    Posted::parse(body, Country::GERMANY).ok().map(|posted| posted.session)
}

/// Whether a query asks for something.
pub fn asks(query: &str) -> bool {
    Fetch::parse(&Query::parse(Some(query)), Country::GERMANY).is_ok()
}

/// The answers that tell of a session; `None` where a renderer fails.
pub fn answers(new: NewSession, id: SessionId, now: Timestamp) -> Option<Answers> {
    let NewSession { id: _, received, details } = new;
    let (received_first, received_last) = received.unwrap_or((now, now));
    let record = Record::from(Session { id, received_first, received_last, details });
    let write = |format, language| render::record(&record, &Style { format, language, zone: Zone::berlin() });
    let both = |format| Some([write(format, Language::German)?, write(format, Language::English)?]);
    Some(Answers {
        members: record.members().into_iter().map(|(name, value)| (name, value.display().into_owned())).collect(),
        json: write(Format::Json, Language::German)?,
        xml: write(Format::Xml, Language::German)?,
        html: both(Format::Html)?,
        text: both(Format::Text)?,
    })
}
