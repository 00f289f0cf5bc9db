//! Server-sent events, as a client reads them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::client::Answer;
use crate::description::Description;

/// Longer than any event is on its way that comes at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// Events that are being followed.
pub struct Events {
    response: reqwest::Response,
    read: String,
    description: Arc<Description>,
}

/// An event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it tells.
    pub data: Value,
}

impl Events {
    pub(crate) fn of(response: reqwest::Response, description: Arc<Description>) -> Self {
        Self { response, read: String::new(), description }
    }

    /// The next event.
    ///
    /// # Panics
    /// When none comes, or one that the API description does not allow.
    pub async fn next(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.next_or_end()).await.expect("an event comes").expect("the events go on")
    }

    /// The next event; `None` where they end.
    ///
    /// # Panics
    /// When an event comes that the API description does not allow.
    pub async fn next_or_end(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.read.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.read = rest;
                if let Some(event) = self.event(&block) {
                    return Some(event);
                }
            }
            let piece = self.response.chunk().await.ok().flatten()?;
            self.read.push_str(std::str::from_utf8(&piece).expect("events are UTF-8 and cut between characters"));
        }
    }

    /// `None` for a comment.
    fn event(&self, block: &str) -> Option<Event> {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned));
        let data = field("data")?;
        let headers = vec![("content-type".to_owned(), "text/event-stream".to_owned())];
        let answer = Answer { status: 200, headers, body: data.clone().into() };
        if let Err(complaint) = self.description.check("GET", "/v1/events", &answer) {
            panic!("an event is not what the API description allows: {complaint}\n{data}");
        }
        let data = serde_json::from_str(&data).expect("an event is JSON");
        Some(Event { id: field("id").unwrap_or_default(), name: field("event").unwrap_or_default(), data })
    }
}
