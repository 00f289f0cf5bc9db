//! What an attachment or an analysis holds.

use crate::object::Object;

/// The deepest JSON that is told as JSON. Many readers stop at 128 levels, and a body is some levels down; deeper values are told as the
/// text that they are.
const DEEPEST: usize = 64;

/// The content of an attachment or an analysis.
#[derive(Clone, Debug)]
pub(super) enum Body<'b> {
    Text(&'b str),
    Json(&'b str),
}

impl Body<'_> {
    pub(super) fn push(&self, object: &mut Object<'_>) {
        match self {
            Self::Text(text) => {
                object.string("body", text);
                object.string("encoding", "none");
            }
            Self::Json(json) if depth(json) <= DEEPEST => {
                object.json("body", json);
                object.string("encoding", "json");
            }
            Self::Json(json) => Body::Text(json).push(object),
        }
    }

    pub(super) fn media_type(&self) -> &'static str {
        match self {
            Self::Text(_) => "text/plain",
            Self::Json(_) => "application/json",
        }
    }
}

/// How deeply objects and arrays are nested.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_are_not_deep() {
        for (json, levels) in [("1", 0), (r#""[[[\"[[""#, 0), (r#"{"a":[1,{"]":2}],"b":[]}"#, 3), (r#"["\\",[]]"#, 2)] {
            assert_eq!(depth(json), levels, "{json}");
        }
    }

    #[test]
    fn json_that_is_too_deep_for_readers_is_told_as_text() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let written = |json: &str| {
            let mut text = String::new();
            let mut object = Object::open(&mut text);
            Body::Json(json).push(&mut object);
            object.close();
            text
        };
        assert_eq!(written(&nested(DEEPEST)), format!(r#"{{"body":{},"encoding":"json"}}"#, nested(DEEPEST)));
        assert_eq!(written(&nested(DEEPEST + 1)), format!(r#"{{"body":"{}","encoding":"none"}}"#, nested(DEEPEST + 1)));
    }
}
