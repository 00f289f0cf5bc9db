//! Query parameters, by names in any letter case; of a repeated one the first counts.

use std::borrow::Cow;

/// The parameters of a request. They are few: looking through all of them is faster than any index.
#[derive(Debug, Default)]
pub(crate) struct Query<'r>(Vec<(Cow<'r, str>, Cow<'r, str>)>);

impl<'r> Query<'r> {
    pub(crate) fn parse(query: Option<&'r str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).collect())
    }

    /// The value of a parameter, empty where it is given without one.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// The value of a parameter that counts as not given where it is empty.
    pub(crate) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_in_any_case_and_the_first_value_counts() {
        let query = Query::parse(Some("CALLER=%2B49+30&callID=1&CallId=2&empty=&flag"));
        assert_eq!(query.get("caller"), Some("+49 30"));
        assert_eq!(query.get("callid"), Some("1"));
        assert_eq!((query.get("empty"), query.filled("empty")), (Some(""), None));
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(query.get("other"), None);
        assert!(Query::parse(None).get("x").is_none());
    }
}
