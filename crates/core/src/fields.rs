//! User-defined fields.

use crate::json_text::{JsonText, JsonTextError, members_of, push_string};

/// Room for an object of the usual size.
const USUAL_BYTES: usize = 512;

/// User-defined fields: names are unique, order and values are those of their author.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, JsonText)>);

impl Fields {
    /// Fields whose names are known to differ.
    pub fn of_distinct(members: Vec<(String, JsonText)>) -> Self {
        Self(members)
    }

    /// The fields of a JSON object.
    ///
    /// # Errors
    /// When the text is no JSON object.
    pub fn parse(text: &str) -> Result<Self, JsonTextError> {
        members_of(text).map(Self)
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&JsonText> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &JsonText)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields as the text of a JSON object.
    pub fn to_json(&self) -> String {
        object_text(self.iter())
    }

    /// Names and values for an answer that has fixed members of its own: a field whose name is taken is given as `input.NAME`,
    /// with as many `input.` in front as it takes to be the only one of that name (PAR-P4).
    pub fn beside<'a>(&'a self, taken: &'a [&str]) -> impl Iterator<Item = (String, &'a JsonText)> {
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
}

/// The text of a JSON object with these members.
pub fn object_text<N: AsRef<str>, V: std::borrow::Borrow<JsonText>>(members: impl IntoIterator<Item = (N, V)>) -> String {
    let mut text = String::with_capacity(USUAL_BYTES);
    text.push('{');
    for (name, value) in members {
        if text.len() > 1 {
            text.push(',');
        }
        push_string(&mut text, name.as_ref());
        text.push(':');
        text.push_str(value.borrow().as_str());
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
        assert_eq!(fields.to_json(), r#"{"b":3,"a":2}"#);
        assert_eq!(Fields::parse(&fields.to_json()).unwrap(), fields);
        assert_eq!(fields.get("a").unwrap().as_str(), "2");
        assert_eq!(Fields::of_distinct(vec![("x".into(), JsonText::string("y"))]).to_json(), r#"{"x":"y"}"#);
        assert!(!fields.is_empty() && Fields::default().is_empty());
        assert_eq!(Fields::default().to_json(), "{}");
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
}
