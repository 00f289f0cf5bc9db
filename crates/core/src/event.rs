//! What happened to a session, for whoever follows along.

use crate::{SessionId, Timestamp};

/// Something that happened to a session. It names the session and holds nothing of it: whoever is told looks it up as it is by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where it stands among the tenant's events.
    pub position: Position,
    /// What happened.
    pub kind: EventKind,
    /// To which session.
    pub session: SessionId,
    /// When.
    pub at: Timestamp,
}

/// What may happen to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// It was stored.
    Created,
    /// It was received again, or changed.
    Updated,
    /// It was erased on behalf of its caller. One that expires is not told of.
    Erased,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Created, Self::Updated, Self::Erased];

    /// Its name: `session.created`, `session.updated` or `session.erased`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "session.created",
            Self::Updated => "session.updated",
            Self::Erased => "session.erased",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A place in the order of events: first the commit, then the place within it. It means something within one
/// [epoch](crate::Epoch) only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The commit, in an order in which a later one never comes before one that was handed out.
    pub commit: i64,
    /// The place within the commit.
    pub place: i64,
}

impl Position {
    /// The end of a commit: after everything in it.
    pub fn end_of(commit: i64) -> Self {
        Self { commit, place: i64::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_ordered_by_commit_and_then_by_place() {
        assert!(Position { commit: 17, place: 3 } < Position { commit: 17, place: 4 });
        assert!(Position { commit: 17, place: i64::MAX } < Position { commit: 18, place: 0 });
    }

    #[test]
    fn kinds_have_names() {
        assert!(EventKind::ALL.into_iter().all(|kind| EventKind::parse(kind.name()) == Some(kind)));
        assert_eq!(EventKind::parse("session.expired"), None);
    }
}
