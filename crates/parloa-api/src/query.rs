//! Query parameters, by names in any letter case; of a repeated one the first counts.

use std::collections::HashMap;
use std::sync::Arc;

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Arc<HashMap<String, String>>);

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            parameters.entry(name.to_ascii_lowercase()).or_insert_with(|| value.into_owned());
        }
        Self(Arc::new(parameters))
    }

    /// The value of a parameter, empty where it is given without one.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(&name.to_ascii_lowercase()).map(String::as_str)
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
