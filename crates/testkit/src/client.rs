//! A client that believes nothing: every answer is checked against the committed API description.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;

use crate::description::Description;
use crate::events::Events;

/// A client of one gateway.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    description: Arc<Description>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Client {
    /// A client of the gateway at this address.
    ///
    /// # Panics
    /// When the committed description cannot be read.
    pub fn new(address: SocketAddr) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client without options");
        Self { http, base: format!("http://{address}"), description: Description::committed() }
    }

    /// The same over HTTP/2, without a negotiation.
    ///
    /// # Panics
    /// When there can be none.
    #[must_use]
    pub fn over_http2(&self) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).http2_prior_knowledge();
        Self { http: http.build().expect("a client without options"), ..self.clone() }
    }

    /// Sends a request; `path` may hold a query.
    ///
    /// # Panics
    /// When there is no answer, or one that the API description does not allow.
    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        self.try_request(method, path, headers, body).await.expect("the gateway answers")
    }

    /// Sends a request that may stay without a whole answer.
    ///
    /// # Errors
    /// When it does.
    ///
    /// # Panics
    /// When there is an answer that the API description does not allow.
    pub async fn try_request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Answer, reqwest::Error> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method has a name");
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        let headers = response.headers().iter();
        let headers =
            headers.map(|(name, value)| (name.as_str().to_owned(), value.to_str().expect("headers are text").to_owned())).collect();
        let status = response.status().as_u16();
        let body = response.bytes().await?.to_vec();
        let answer = Answer { status, headers, body };
        if let Err(complaint) = self.description.check(method.as_str(), path, &answer) {
            panic!("{method} {path} was answered {status}, which the API description does not allow: {complaint}\n{}", answer.text());
        }
        Ok(answer)
    }
}

impl Client {
    /// Follows the events of the tenant with this key.
    ///
    /// # Panics
    /// When they cannot be followed.
    pub async fn follow(&self, key: &str, last_event_id: Option<&str>) -> Events {
        let mut request = self.http.get(format!("{}/v1/events", self.base)).bearer_auth(key);
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.expect("the gateway answers");
        assert_eq!(response.status(), 200, "events can be followed");
        let check = Arc::clone(&self.description);
        Events::of(response, check)
    }
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON; numbers that need more digits than a float has are better looked for in [`Answer::text`].
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("the body is not JSON ({error}): {}", self.text()))
    }
}
