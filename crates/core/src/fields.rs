//! User-defined fields.

use std::sync::OnceLock;

use crate::json_text::{JsonText, JsonTextError, members_of, names_of_object, push_string};

/// Room for an object of the usual size.
const USUAL_BYTES: usize = 512;

/// User-defined fields: names are unique, order and values are those of their author.
///
/// They are one text, as they are stored and mostly given back; members are only made for who looks at them.
#[derive(Clone, Debug)]
pub struct Fields {
    text: JsonText,
    members: OnceLock<Vec<(String, JsonText)>>,
}

impl Default for Fields {
    fn default() -> Self {
        Self::trusted("{}".to_owned())
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Fields {}

impl Fields {
    /// Fields whose names are known to differ.
    pub fn of_distinct(members: Vec<(String, JsonText)>) -> Self {
        let text = object_text(members.iter().map(|(name, value)| (name, value)));
        Self { text: JsonText::trusted(text), members: OnceLock::from(members) }
    }

    /// The fields of a JSON object.
    ///
    /// # Errors
    /// When the text is no JSON object.
    pub fn parse(text: &str) -> Result<Self, JsonTextError> {
        members_of(text).map(Self::of_distinct)
    }

    /// A text that earlier [`Fields`] were written out as; it is not checked again.
    pub fn trusted(text: String) -> Self {
        Self { text: JsonText::trusted(text), members: OnceLock::new() }
    }

    fn members(&self) -> &[(String, JsonText)] {
        self.members.get_or_init(|| self.text.members().unwrap_or_default())
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&JsonText> {
        self.members().iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &JsonText)> {
        self.members().iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.as_json() == "{}"
    }

    /// The fields as the text of a JSON object.
    pub fn as_json(&self) -> &str {
        self.text.as_str()
    }

    /// The same, for good.
    pub fn into_json(self) -> String {
        self.text.into_string()
    }

    /// Names and values for an answer that has fixed members of its own: a field whose name is taken is given as `input.NAME`,
    /// with as many `input.` in front as it takes to be the only one of that name (PAR-P4).
    pub fn beside<'a, 't>(&'a self, taken: &'t [&'t str]) -> impl Iterator<Item = (String, &'a JsonText)> + use<'a, 't> {
        let mut renamed: Vec<String> = Vec::new();
        self.iter().map(move |(name, value)| {
            let mut shown = name.to_owned();
            if taken.contains(&name) {
                shown.insert_str(0, "input.");
                while self.get(&shown).is_some() || taken.contains(&shown.as_str()) || renamed.contains(&shown) {
                    shown.insert_str(0, "input.");
                }
                renamed.push(shown.clone());
            }
            (shown, value)
        })
    }

    /// Appends the members that [`Fields::beside`] gives to the text of an object that is not closed yet. Where no name is taken, that is
    /// the text as it is.
    pub fn push_beside(&self, object: &mut String, taken: &[&str]) {
        // A name with an escape in it may be any name.
        if names_of_object(self.as_json()).all(|name| !name.contains('\\') && !taken.contains(&name)) {
            let members = self.as_json().get(1..self.as_json().len() - 1).unwrap_or_default();
            separate(object, !members.is_empty());
            object.push_str(members);
        } else {
            self.beside(taken).for_each(|(name, value)| push_member(object, &name, value));
        }
    }
}

/// Appends a member to the text of an object that is not closed yet.
pub fn push_member(object: &mut String, name: &str, value: &JsonText) {
    separate(object, true);
    push_string(object, name);
    object.push(':');
    object.push_str(value.as_str());
}

fn separate(object: &mut String, more_follows: bool) {
    if more_follows && object.len() > 1 {
        object.push(',');
    }
}

/// The text of a JSON object with these members.
pub fn object_text<N: AsRef<str>, V: std::borrow::Borrow<JsonText>>(members: impl IntoIterator<Item = (N, V)>) -> String {
    let mut text = String::with_capacity(USUAL_BYTES);
    text.push('{');
    for (name, value) in members {
        push_member(&mut text, name.as_ref(), value.borrow());
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_the_last_value_of_a_name_are_kept() {
        let fields = Fields::parse(r#"{"b":1,"a":2,"b":3}"#).unwrap();
        assert_eq!(fields.as_json(), r#"{"b":3,"a":2}"#);
        assert_eq!(Fields::parse(fields.as_json()).unwrap(), fields);
        assert_eq!(fields.get("a").unwrap().as_str(), "2");
        assert_eq!(Fields::of_distinct(vec![("x".into(), JsonText::string("y"))]).as_json(), r#"{"x":"y"}"#);
        assert!(!fields.is_empty() && Fields::default().is_empty());
        assert_eq!(Fields::default().as_json(), "{}");
        let again = Fields::trusted(fields.clone().into_json());
        assert!(again == fields && again.iter().eq(fields.iter()));
    }

    #[test]
    fn par_p4_a_taken_name_is_given_as_input_name_and_never_twice() {
        let fields = Fields::parse(r#"{"caller":1,"input.caller":2,"x":3,"timestamp":4}"#).unwrap();
        let shown: Vec<_> = fields.beside(&["caller", "timestamp"]).map(|(name, value)| (name, value.as_str().to_owned())).collect();
        let expected = [("input.input.caller", "1"), ("input.caller", "2"), ("x", "3"), ("input.timestamp", "4")];
        assert_eq!(shown, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        let shown: Vec<_> = fields.beside(&["caller", "input.caller"]).map(|(name, _)| name).collect();
        assert_eq!(shown, ["input.input.caller", "input.input.input.caller", "x", "timestamp"], "nor two that were both taken");
    }

    #[test]
    fn par_p4_as_text_they_are_what_they_are_as_members() {
        for text in [
            "{}",
            r#"{"x":1}"#,
            r#"{"caller":1,"x":{"caller":[2,{"y":"}\"]"}],"z":"a,\"caller\":"},"timestamp":4}"#,
            r#"{"x":{"caller":1},"y":[{"caller":2},"caller"],"z":"\\"}"#,
            r#"{"\u0063aller":1}"#,
            r#"{"a\"b":1,"":2,"input.caller":3}"#,
        ] {
            let fields = Fields::trusted(text.to_owned());
            let taken = ["caller", "callid"];
            for start in ["{", r#"{"first":0"#] {
                let (mut spliced, mut joined) = (start.to_owned(), start.to_owned());
                fields.push_beside(&mut spliced, &taken);
                fields.beside(&taken).for_each(|(name, value)| push_member(&mut joined, &name, value));
                let parsed = |text: String| JsonText::parse(&(text + "}")).unwrap().members().unwrap();
                assert_eq!(parsed(spliced), parsed(joined), "{text}");
            }
        }
    }
}
