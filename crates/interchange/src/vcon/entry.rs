//! A party, dialog, attachment or analysis on its way in. What is of another kind than the draft says counts as absent.

use calldata_core::{JsonKind, JsonText};

/// The members of an entry; of a name that is given twice the last value counts.
pub(super) struct Entry(Vec<(String, JsonText)>);

impl Entry {
    pub(super) fn of(value: &JsonText) -> Option<Self> {
        value.members().ok().map(Self)
    }

    pub(super) fn get(&self, name: &str) -> Option<&JsonText> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.as_string()
    }

    pub(super) fn index(&self, name: &str) -> Option<usize> {
        self.get(name)?.as_str().parse().ok()
    }

    /// Names and values in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &JsonText)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(super) fn is(&self, member: &str, value: &str) -> bool {
        self.text(member).as_deref() == Some(value)
    }

    /// The text that it holds.
    pub(super) fn text_body(&self) -> Option<String> {
        let encoding = self.text("encoding");
        if encoding.as_deref().is_none_or(|encoding| matches!(encoding, "none" | "json")) { self.text("body") } else { None }
    }

    /// The JSON that it holds, as JSON or as text.
    pub(super) fn json_body(&self) -> Option<JsonText> {
        let body = self.get("body")?;
        if body.kind() == JsonKind::String && !self.is("encoding", "json") {
            JsonText::parse(&body.as_string()?).ok()
        } else {
            Some(body.clone())
        }
    }
}
