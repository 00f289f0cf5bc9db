//! The members of an object on its way in, each of them taken once.

use calldata_core::{JsonKind, JsonText, Timestamp};

use crate::invalid::{InvalidDocument, invalid};

/// What is left of an object's members.
pub(crate) struct Members {
    /// Where the object is in the document, such as `recording.`.
    place: &'static str,
    left: Vec<(String, JsonText)>,
    taken: Vec<&'static str>,
}

impl Members {
    /// The members of a document.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidDocument> {
        let shape = |reason: &dyn ToString| InvalidDocument::Shape(reason.to_string());
        let document = JsonText::parse(text).map_err(|error| shape(&error))?;
        Self::of(&document, "").ok_or_else(|| shape(&"not an object"))
    }

    /// The members of an object; `None` when it is none.
    pub(crate) fn of(object: &JsonText, place: &'static str) -> Option<Self> {
        Some(Self { place, left: object.pairs()?, taken: Vec::new() })
    }

    /// A member as it is, null included.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<JsonText> {
        self.taken.push(name);
        let at = self.left.iter().position(|(known, _)| known == name)?;
        Some(self.left.remove(at).1)
    }

    /// A member; null is unknown.
    pub(crate) fn given(&mut self, name: &'static str) -> Option<JsonText> {
        self.take(name).filter(|value| value.kind() != JsonKind::Null)
    }

    /// A member that is a string.
    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, InvalidDocument> {
        let Some(value) = self.given(name) else { return Ok(None) };
        value.as_string().map(Some).ok_or_else(|| self.invalid(name, "must be a string"))
    }

    /// A member that is a string and has to be there.
    pub(crate) fn required(&mut self, name: &'static str) -> Result<String, InvalidDocument> {
        self.text(name)?.ok_or_else(|| InvalidDocument::Missing { member: format!("{}{name}", self.place) })
    }

    /// A member that is a time.
    pub(crate) fn time(&mut self, name: &'static str) -> Result<Option<Timestamp>, InvalidDocument> {
        let Some(value) = self.given(name) else { return Ok(None) };
        time_of(&value).map(Some).ok_or_else(|| self.invalid(name, "is not a time (RFC 3339)"))
    }

    /// A member that is an array.
    pub(crate) fn items(&mut self, name: &'static str) -> Result<Option<Vec<JsonText>>, InvalidDocument> {
        let Some(value) = self.given(name) else { return Ok(None) };
        value.items().map(Some).ok_or_else(|| self.invalid(name, "must be an array"))
    }

    /// Nothing may be left.
    pub(crate) fn finish(self) -> Result<(), InvalidDocument> {
        let Self { place, left, taken } = self;
        match left.first() {
            None => Ok(()),
            Some((name, _)) if taken.contains(&name.as_str()) => Err(InvalidDocument::Repeated { member: format!("{place}{name}") }),
            Some((name, _)) => Err(InvalidDocument::unknown(place, name)),
        }
    }

    /// A member that breaks a rule.
    pub(crate) fn invalid(&self, name: &str, reason: impl ToString) -> InvalidDocument {
        invalid(format!("{}{name}", self.place), reason)
    }
}

/// The time in a JSON string.
pub(crate) fn time_of(value: &JsonText) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(&value.as_string()?)
}
