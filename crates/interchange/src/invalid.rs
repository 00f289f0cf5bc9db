//! Why a document is refused. The words never repeat what it says, names of members aside.

/// As much of a name as is repeated, in characters.
const NAME_SHOWN: usize = 64;

/// Why a document cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDocument {
    /// It is not JSON, or no object.
    #[error("{0}")]
    Shape(String),
    /// A member that it needs is not there.
    #[error("missing field `{member}`")]
    Missing {
        /// Which member.
        member: String,
    },
    /// Nobody knows a member of that name.
    #[error("unknown field `{member}`")]
    Unknown {
        /// Its name, shortened and without control characters.
        member: String,
    },
    /// A member is there twice, and nobody could tell which one was meant.
    #[error("duplicate field `{member}`")]
    Repeated {
        /// Which member.
        member: String,
    },
    /// A member breaks a rule.
    #[error("{member} {reason}")]
    Member {
        /// Which member.
        member: String,
        /// Which rule.
        reason: String,
    },
}

impl InvalidDocument {
    /// The member that is wrong, such as `caller`, `recording.file` or `turns[0].by`; `None` where it is the document as a whole.
    pub fn member(&self) -> Option<&str> {
        match self {
            Self::Shape(_) => None,
            Self::Missing { member } | Self::Unknown { member } | Self::Repeated { member } | Self::Member { member, reason: _ } => {
                Some(member)
            }
        }
    }

    /// What is wrong with the member, or with the document.
    pub fn rule(&self) -> &str {
        match self {
            Self::Shape(reason) | Self::Member { member: _, reason } => reason,
            Self::Missing { .. } => "is missing",
            Self::Unknown { .. } => "is not known",
            Self::Repeated { .. } => "is given twice",
        }
    }

    /// A member called `name`, which is the client's own word, in the object at `place`.
    pub(crate) fn unknown(place: &str, name: &str) -> Self {
        Self::Unknown { member: format!("{place}{}", shown(name)) }
    }
}

/// A member that breaks a rule.
pub(crate) fn invalid(member: impl Into<String>, reason: impl ToString) -> InvalidDocument {
    InvalidDocument::Member { member: member.into(), reason: reason.to_string() }
}

/// A name of the client's as it can be repeated in a line: short, and without control characters.
pub fn shown(name: &str) -> String {
    let mut shown = String::with_capacity(name.len().min(NAME_SHOWN));
    for c in name.chars().take(NAME_SHOWN) {
        match c {
            // Breaks of a line, and what turns the direction of writing around.
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => shown.extend(c.escape_unicode()),
            _ if c.is_control() => shown.extend(c.escape_unicode()),
            _ => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_clients_is_short_and_stays_in_its_line() {
        assert_eq!(InvalidDocument::unknown("turns[0].", "a\n\u{202e}b`").to_string(), "unknown field `turns[0].a\\u{a}\\u{202e}b``");
        assert_eq!(shown(&"ü".repeat(100)), "ü".repeat(64));
    }

    #[test]
    fn member_and_rule_are_told_apart() {
        let cases = [
            (InvalidDocument::Shape("not valid JSON".into()), None, "not valid JSON"),
            (InvalidDocument::Missing { member: "callId".into() }, Some("callId"), "is missing"),
            (InvalidDocument::unknown("", "colour"), Some("colour"), "is not known"),
            (InvalidDocument::Repeated { member: "id".into() }, Some("id"), "is given twice"),
            (invalid("caller", "is empty"), Some("caller"), "is empty"),
        ];
        for (error, member, rule) in cases {
            assert_eq!((error.member(), error.rule()), (member, rule));
        }
    }
}
