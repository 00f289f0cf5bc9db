//! Reading requests: a JSON object, whatever its content type says.

use axum::extract::Request;
use axum::http::{Extensions, Method};
use calldata_core::json_text::members_of;
use calldata_core::{JsonKind, JsonText};
use calldata_http::{BodyError, Limits, Refusal, RequestMemory, read_body, repeated_header};
use tokio::time::Instant;

use crate::codes::Failure;

/// The largest body. Requests are some hundred bytes, and nobody knows yet who sends them.
const MAX_BODY_BYTES: usize = 64 << 10;

/// The parameters of a request; null and "" count as not given (OIF-Q1), of a name given twice the last counts.
#[derive(Debug)]
pub(crate) struct Parameters(Vec<(String, JsonText)>);

impl Parameters {
    /// Reads the body of a POST (OIF-Q7), and returns what else belongs to the request. To be done before a seat is taken: a client that
    /// nobody knows decides how long it takes.
    pub(crate) async fn read(request: Request, limits: Limits) -> Result<(Self, Extensions), Failure> {
        if request.method() != Method::POST {
            return Err(Failure::parameter("method", "must be POST"));
        }
        if let Some(name) = repeated_header(request.headers()) {
            return Err(Failure::parameter(name, "must be there once"));
        }
        let limits = Limits { body_bytes: limits.body_bytes.min(MAX_BODY_BYTES), ..limits };
        let (parts, body) = request.into_parts();
        let charge = RequestMemory::of(&parts.extensions).map_err(Refusal::from)?;
        let body = match read_body(body, Instant::now(), limits, charge.as_ref()).await {
            Ok(body) => body,
            Err(BodyError::TooLarge) => return Err(Failure::parameter("body", "is too large")),
            Err(BodyError::Interrupted) => return Err(Failure::parameter("body", "ended early")),
            Err(BodyError::TooSlow) => return Err(Failure::parameter("body", "did not arrive in time")),
            Err(BodyError::NoMemory(over)) => return Err(Refusal::from(over).into()),
        };
        Ok((Self::parse(&body)?, parts.extensions))
    }

    pub(crate) fn parse(body: &[u8]) -> Result<Self, Failure> {
        let text = std::str::from_utf8(body).map_err(|_| Failure::parameter("body", "is not valid JSON"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        members_of(text).map(Self::of).map_err(|error| Failure::parameter("body", &format!("cannot be read: {error}")))
    }

    fn of(members: Vec<(String, JsonText)>) -> Self {
        Self(members.into_iter().filter(|(_, value)| value.kind() != JsonKind::Null && value.as_str() != "\"\"").collect())
    }

    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&JsonText> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The value of a parameter that is a string.
    pub(crate) fn string(&self, name: &str) -> Result<Option<String>, Failure> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_string().map(Some).ok_or_else(|| Failure::parameter(name, "must be a string"))
    }

    /// The parameters within a parameter that is an object.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Self>, Failure> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.members().map(|members| Some(Self::of(members))).map_err(|_| Failure::parameter(name, "must be an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oif_q1_null_and_empty_count_as_not_given() {
        let parameters = Parameters::parse(br#"{"a":"x","b":null,"c":"","d":1,"a":"y","e":" "}"#).unwrap();
        assert_eq!(parameters.string("a"), Ok(Some("y".into())));
        assert_eq!((parameters.string("b"), parameters.string("c"), parameters.string("z")), (Ok(None), Ok(None), Ok(None)));
        assert_eq!(parameters.string("d"), Err(Failure::parameter("d", "must be a string")));
        assert_eq!(parameters.string("e"), Ok(Some(" ".into())));
    }

    #[test]
    fn oif_h1_parameters_may_be_within_an_object() {
        let parameters = Parameters::parse(br#"{"p":{"a":"x","b":"","a":"y"},"q":null,"r":[],"s":"{}"}"#).unwrap();
        let within = parameters.object("p").unwrap().unwrap();
        assert_eq!((within.string("a"), within.string("b")), (Ok(Some("y".into())), Ok(None)));
        assert!(parameters.object("q").unwrap().is_none() && parameters.object("z").unwrap().is_none());
        for other in ["r", "s"] {
            assert_eq!(parameters.object(other).unwrap_err(), Failure::parameter(other, "must be an object"));
        }
    }

    #[test]
    fn oif_q7_a_body_that_is_no_object_is_a_parameter_error() {
        for body in [&b""[..], b"x", b"[]", b"1", b"{", b"{\"a\":\"\xff\"}", br#"{"a":"\ud800"}"#] {
            assert!(matches!(Parameters::parse(body), Err(Failure::Parameter(message)) if message.starts_with("body ")));
        }
    }
}
