//! A session as an answer: its text, and the tag that changes whenever it does.

use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use calldata_core::Session;
use calldata_interchange::write_session;
use sha2::{Digest, Sha256};

use crate::problem::{Code, Problem};

pub(crate) const JSON: &str = "application/json";
/// What tags consist of, in bytes before they are written.
const TAG_BYTES: usize = 12;

/// A session's text.
pub(crate) fn text(session: &Session) -> String {
    let mut text = String::new();
    write_session(session, &mut text);
    text
}

/// What changes whenever a session does, as it is shown: of what is masked, it tells nothing.
pub(crate) fn tag(session: &Session) -> String {
    let digest = Sha256::digest(text(session));
    let digits = digest.iter().take(TAG_BYTES).fold(String::from("\""), |mut digits, byte| {
        // Writing to a string does not fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    });
    digits + "\""
}

/// The same of the session as a vCon: no two representations share a tag.
pub(crate) fn vcon_tag(tag: &str) -> String {
    format!("{}-vcon\"", tag.trim_end_matches('"'))
}

/// Answers with a session as it is shown to whoever asks, under the tag of what is stored.
pub(crate) fn answer(status: StatusCode, shown: &Session, tag: &str) -> Response {
    let mut response = (status, [(header::CONTENT_TYPE, JSON)], text(shown)).into_response();
    set_tag(&mut response, tag);
    response
}

pub(crate) fn set_tag(response: &mut Response, tag: &str) {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
}

/// What a client expects a session to be.
pub(crate) enum Expected {
    Anything,
    /// One of these tags.
    Tags(Vec<String>),
}

impl Expected {
    /// What `If-Match` says.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        match tags(headers, &header::IF_MATCH)? {
            None => Ok(Self::Anything),
            Some(tags) if tags.iter().any(|tag| tag == "*") => Ok(Self::Anything),
            Some(tags) => Ok(Self::Tags(tags)),
        }
    }

    pub(crate) fn is_met(&self, session: &Session) -> bool {
        match self {
            Self::Anything => true,
            Self::Tags(tags) => {
                let tag = tag(session);
                tags.contains(&tag) || tags.contains(&vcon_tag(&tag))
            }
        }
    }
}

/// Whether the client has what is there already, as `If-None-Match` says.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> Result<bool, Problem> {
    let known = tags(headers, &header::IF_NONE_MATCH)?.unwrap_or_default();
    Ok(known.iter().any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag))
}

fn tags(headers: &HeaderMap, name: &header::HeaderName) -> Result<Option<Vec<String>>, Problem> {
    let mut tags = None;
    for value in headers.get_all(name) {
        let value = value.to_str().map_err(|_| Problem::about(Code::InvalidRequest, name.as_str(), "is not a list of tags"))?;
        tags.get_or_insert_with(Vec::new).extend(value.split(',').map(|tag| tag.trim().to_owned()));
    }
    Ok(tags)
}
