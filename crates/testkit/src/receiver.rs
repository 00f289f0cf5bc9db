//! An endpoint that webhooks are sent to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
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

#[derive(Debug, Default)]
struct State {
    status: u16,
    messages: Vec<Message>,
}

/// Takes messages, and answers each with the status that it is told to.
#[derive(Debug)]
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
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
        let state = Arc::new(Mutex::new(State { status: 204, messages: Vec::new() }));
        let known = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A connection that breaks off is no message.
                let _ = tokio::spawn(take(stream, Arc::clone(&known))).await;
            }
        });
        Self { address, state, serving }
    }

    /// The URL that messages are to be sent to.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// From now on, answers with this status.
    pub fn answer_with(&self, status: u16) {
        lock(&self.state).status = status;
    }

    /// What has arrived so far, whatever it was answered with.
    pub fn messages(&self) -> Vec<Message> {
        lock(&self.state).messages.clone()
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

async fn take(mut stream: TcpStream, state: Arc<Mutex<State>>) -> std::io::Result<()> {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    let (mut line, mut headers) = (String::new(), Vec::new());
    read.read_line(&mut line).await?;
    loop {
        line.clear();
        if read.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    read.read_exact(&mut body).await?;
    let status = {
        let mut state = lock(&state);
        state.messages.push(Message { headers, body: String::from_utf8_lossy(&body).into_owned() });
        state.status
    };
    let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    write.write_all(answer.as_bytes()).await
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
