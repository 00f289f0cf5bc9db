//! An endpoint that webhooks are sent to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::program::eventually;

/// Longer than any message is on its way that arrives at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// A message that arrived.
#[derive(Clone, Debug)]
pub struct Message {
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Message {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What it tells.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a message is JSON")
    }
}

/// What a receiver has taken, and what it answers.
#[derive(Debug)]
struct Inbox {
    status: StatusCode,
    messages: Vec<Message>,
}

/// Takes messages, and answers each with the status that it is told to.
#[derive(Debug)]
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    inbox: Arc<Mutex<Inbox>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// One that answers with status 204.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let inbox = Arc::new(Mutex::new(Inbox { status: StatusCode::NO_CONTENT, messages: Vec::new() }));
        let hook = Router::new().route("/hook", post(take)).with_state(Arc::clone(&inbox));
        let serving = tokio::spawn(async move { axum::serve(listener, hook).await.expect("a receiver serves until it is dropped") });
        Self { address, inbox, serving }
    }

    /// The URL that messages are to be sent to.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// From now on, answers with this status.
    pub fn answer_with(&self, status: StatusCode) {
        lock(&self.inbox).status = status;
    }

    /// What has arrived so far, whatever it was answered with.
    pub fn messages(&self) -> Vec<Message> {
        lock(&self.inbox).messages.clone()
    }

    /// What has arrived, once there is so much of it.
    ///
    /// # Panics
    /// When so much does not arrive.
    pub async fn receives(&self, count: usize) -> Vec<Message> {
        eventually("the messages arrive", PATIENCE, async || self.messages().len() >= count).await;
        self.messages()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(State(inbox): State<Arc<Mutex<Inbox>>>, headers: HeaderMap, body: String) -> StatusCode {
    let headers = headers.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let mut inbox = lock(&inbox);
    inbox.messages.push(Message { headers: headers.collect(), body });
    inbox.status
}

fn lock(inbox: &Mutex<Inbox>) -> MutexGuard<'_, Inbox> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}
