//! Recognising the same post when it arrives again (PAR-P7).

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::json_text::push_string;
use crate::{CallId, CallerKey, JsonText};

/// For how long after the first receipt the same post is the same record.
pub const WINDOW: Duration = Duration::from_secs(600);

/// What two posts share exactly when they are the same: call, caller as compared, and everything else that was posted, in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplayDigest([u8; 16]);

impl ReplayDigest {
    /// The digest of a post. `rest` is all that was posted besides call and caller.
    pub fn of<'a>(call: &CallId, caller: &CallerKey, rest: impl IntoIterator<Item = (&'a str, &'a JsonText)>) -> Self {
        let mut members: Vec<_> = rest.into_iter().collect();
        members.sort_by_key(|(name, _)| *name);
        let mut text = String::new();
        for part in [call.as_str(), caller.as_str()] {
            push_string(&mut text, part);
        }
        for (name, value) in members {
            push_string(&mut text, name);
            value.canonical(&mut text);
        }
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(Sha256::digest(text)) {
            *to = from;
        }
        Self(bytes)
    }

    /// The digest as bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Country;

    fn digest(call: &str, caller: &str, rest: &str) -> ReplayDigest {
        let members = JsonText::parse(rest).unwrap().members().unwrap();
        let caller = CallerKey::of(caller, Country::GERMANY);
        ReplayDigest::of(&CallId::new(call).unwrap(), &caller, members.iter().map(|(name, value)| (name.as_str(), value)))
    }

    #[test]
    fn par_p7_order_spelling_and_escapes_do_not_matter_and_all_else_does() {
        let one = digest("c", "030 123456", r#"{"a":"x","b":{"c":1,"d":2}}"#);
        assert_eq!(one, digest("c", "+4930123456", r#"{"b":{"d":2,"c":1},"a":"\u0078"}"#));
        for other in [
            digest("d", "030 123456", r#"{"a":"x","b":{"c":1,"d":2}}"#),
            digest("c", "030 123457", r#"{"a":"x","b":{"c":1,"d":2}}"#),
            digest("c", "030 123456", r#"{"a":"y","b":{"c":1,"d":2}}"#),
            digest("c", "030 123456", r#"{"a":"x","b":{"c":1,"d":3}}"#),
            digest("c", "030 123456", r#"{"a":"x"}"#),
            digest("c", "030 123456", r#"{"a":"x","b":{"c":1,"d":"2"}}"#),
            digest("c", "030 123456", "{}"),
        ] {
            assert_ne!(one, other);
        }
        assert_ne!(digest("c", "d", "{}"), digest("c\"\"d", "", "{}"));
        assert_eq!(one.as_bytes().len(), 16);
    }
}
