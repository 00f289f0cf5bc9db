//! The parameters of a list.

use calldata_core::catalog::{Filter, Needle};
use calldata_core::{CallId, CallerKey, Country, Timestamp};

use crate::problem::{Code, Problem};

/// The most items on a page, and how many there are unless it is said.
pub(crate) const MAX_LIMIT: u64 = 100;
const DEFAULT_LIMIT: u64 = 50;
/// The longest text to look for, in bytes.
const MAX_TEXT_BYTES: usize = 1_024;

/// The parameters of a request, each given once and none of them empty.
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads a query of which these are the parameters. A misspelt one is refused: without it, the answer would be another one.
    pub(crate) fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let query = query.unwrap_or_default();
        if !is_encoded(query) {
            return Err(Problem::new(Code::InvalidRequest, "the query is not percent-encoded UTF-8"));
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let Some(name) = known.iter().find(|known| **known == name) else {
                let detail = match known {
                    [] => "there are no parameters here".to_owned(),
                    known => format!("a parameter is not known; there are {}", known.join(", ")),
                };
                return Err(Problem::unknown(&name, detail));
            };
            if value.is_empty() {
                // A page that was asked for with nothing is not the first one.
                let code = if *name == "cursor" { Code::InvalidCursor } else { Code::InvalidField };
                return Err(Problem::about(code, name, "is empty; leave it out"));
            }
            if parameters.iter().any(|(given, _)| given == name) {
                return Err(Problem::invalid(name, "is given twice"));
            }
            parameters.push(((*name).to_owned(), value.into_owned()));
        }
        Ok(Self(parameters))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// How many items are asked for.
    pub(crate) fn limit(&self) -> Result<u64, Problem> {
        let Some(text) = self.get("limit") else { return Ok(DEFAULT_LIMIT) };
        let plain = text.bytes().all(|b| b.is_ascii_digit());
        let limit = text.parse().ok().filter(|limit| plain && (1..=MAX_LIMIT).contains(limit));
        limit.ok_or_else(|| Problem::invalid("limit", &format!("must be a number from 1 to {MAX_LIMIT}")))
    }

    /// Whether something is asked for: `true`, or `false`.
    pub(crate) fn switch(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::invalid(name, "must be true or false")),
        }
    }

    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        // A `+` that was not encoded arrives as a space.
        let read = Timestamp::parse_rfc3339(&text.replace(' ', "+"));
        read.map(Some).ok_or_else(|| Problem::invalid(name, "is not a time (RFC 3339)"))
    }

    /// Which sessions are asked for; a local number is one of `default_country` unless another one is given.
    pub(crate) fn filter(&self, default_country: Country) -> Result<Filter, Problem> {
        let country = match self.get("countryCode") {
            None => default_country,
            Some(code) => Country::parse(code).map_err(|error| Problem::invalid("countryCode", &format!("is {error}")))?,
        };
        let call_id = self.get("callId").map(CallId::new).transpose();
        let [from, until] = [self.time("from")?, self.time("to")?];
        if from.zip(until).is_some_and(|(from, until)| from > until) {
            return Err(Problem::invalid("from", "is later than to"));
        }
        if self.get("text").is_some_and(|text| text.len() > MAX_TEXT_BYTES) {
            return Err(Problem::invalid("text", &format!("has more than {MAX_TEXT_BYTES} bytes")));
        }
        Ok(Filter {
            call_id: call_id.map_err(|error| Problem::invalid("callId", &error.to_string()))?,
            caller: self.get("caller").map(|caller| CallerKey::of(caller, country)),
            cti_call_id: self.get("ctiCallId").map(str::to_owned),
            conversation: self.get("conversationId").map(str::to_owned),
            intent: self.get("intent").map(str::to_owned),
            from,
            until,
            received_until: None,
            text: self.get("text").and_then(Needle::new),
        })
    }
}

/// Whether every `%` begins a byte, and the bytes are text. What is not would be replaced in silence.
fn is_encoded(query: &str) -> bool {
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = query.as_bytes();
    let whole = bytes.iter().enumerate().all(|(at, byte)| *byte != b'%' || (is_hex(bytes.get(at + 1)) && is_hex(bytes.get(at + 2))));
    let stands_in = |text: &str| text.contains(char::REPLACEMENT_CHARACTER);
    let is_given = stands_in(query) || query.to_ascii_uppercase().contains("%EF%BF%BD");
    whole && (is_given || !form_urlencoded::parse(bytes).any(|(name, value)| stands_in(&name) || stands_in(&value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 12] =
        ["caller", "callId", "ctiCallId", "conversationId", "countryCode", "intent", "from", "to", "text", "limit", "cursor", "count"];

    #[test]
    fn a_filter_is_what_is_asked_for() {
        let read = |query| Parameters::read(Some(query), &KNOWN).and_then(|parameters| parameters.filter(Country::GERMANY)).unwrap();
        assert_eq!(read(""), Filter::default());
        assert_eq!(read("caller=+4930123456"), read("caller=030%20123456"));
        assert_ne!(read("caller=030123456"), read("caller=030123456&countryCode=CH"));
        assert_eq!(read("from=2024-02-27T13:00:00%2B01:00").from, read("from=2024-02-27T12:00:00Z").from);
        assert_eq!(read("from=2024-02-27T13:00:00+01:00").from, read("from=2024-02-27T12:00:00Z").from);
    }

    #[test]
    fn what_is_wrong_is_refused_and_not_ignored() {
        let refused = |query| {
            let parameters = Parameters::read(Some(query), &KNOWN);
            let read = parameters.and_then(|p| p.limit().and(p.switch("count")).and(p.filter(Country::GERMANY).map(drop)));
            read.is_err()
        };
        for wrong in [
            "callid=1",
            "caller=",
            "caller=1&caller=2",
            "from=yesterday",
            "from=2024-02-28T00:00:00Z&to=2024-02-27T00:00:00Z",
            "from=2024-02-27",
            "caller=%zz",
            "caller=%FF",
            "limit=0",
            "limit=101",
            "limit=+1",
            "limit=x",
            "count=yes",
            "countryCode=nowhere",
            "callId=a%00",
        ] {
            assert!(refused(wrong), "{wrong}");
        }
        assert!(!refused("limit=100&count=true&cursor=x"));
    }
}
