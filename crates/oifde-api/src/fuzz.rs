//! Parsers and renderers without the server around them, for those who try to break them (feature `fuzz`; never in a release).

use calldata_core::{NewSession, Session, SessionId, Tenant, Timestamp};

use crate::body::Parameters;
use crate::record::Record;

/// What is wrong with a body; `None` where it can be read.
pub fn refusal(body: &[u8]) -> Option<String> {
    Parameters::parse(body).err().map(|failure| failure.to_string())
}

/// The record of a session; `None` where it cannot be written.
pub fn record(new: NewSession, id: SessionId, now: Timestamp) -> Option<String> {
    let NewSession { id: brought, received, details } = new;
    let (received_first, received_last) = received.unwrap_or((now, now));
    let session = Session { id: brought.unwrap_or(id), received_first, received_last, details };
    serde_json::to_string(&Record::of(session, &Tenant::new("n", "c", "t", now))).ok()
}
