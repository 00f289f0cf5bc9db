//! An endpoint for tests: it keeps what it is sent, and answers as it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

/// A request as it was received.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) request_line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The message's identifier.
    pub(crate) fn id(&self) -> &str {
        self.header("webhook-id").unwrap()
    }

    /// The session that it is about.
    pub(crate) fn session(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        body["data"]["id"].as_str().unwrap().to_owned()
    }
}

/// What is answered to a request: the raw text; `None` where nothing is, and the connection stays.
pub(crate) type Answers = Box<dyn Fn(&Received) -> Option<String> + Send + Sync>;

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    arrivals: mpsc::UnboundedReceiver<Received>,
    pub(crate) connections: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer of that status, with these header lines.
#[expect(clippy::unnecessary_wraps, reason = "it is what a receiver answers, who may also answer nothing")]
pub(crate) fn status(status: u16, headers: &str) -> Option<String> {
    Some(format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\n{headers}\r\n"))
}

impl Receiver {
    /// Listens on this machine.
    pub(crate) async fn answering(answers: impl Fn(&Received) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, arrivals) = mpsc::unbounded_channel();
        let (answers, connections): (Arc<Answers>, _) = (Arc::new(Box::new(answers)), Arc::new(Mutex::new(0)));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *count.lock().unwrap() += 1;
                open.spawn(serve(stream, Arc::clone(&answers), tell.clone()));
            }
        });
        Self { address, arrivals, connections, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/in?token=hush", self.address)
    }

    /// The next request, once there is one.
    pub(crate) async fn next(&mut self) -> Received {
        self.arrivals.recv().await.unwrap()
    }

    /// All requests that arrived by now.
    pub(crate) fn so_far(&mut self) -> Vec<Received> {
        std::iter::from_fn(|| self.arrivals.try_recv().ok()).collect()
    }
}

/// Answers the requests of a connection, one after the other.
pub(crate) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answers: Arc<Answers>,
    tell: mpsc::UnboundedSender<Received>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let received = read(&mut stream).await?;
        let answer = answers(&received);
        tell.send(received).ok()?;
        match answer {
            Some(answer) => stream.write_all(answer.as_bytes()).await.ok()?,
            None => std::future::pending().await,
        }
    }
}

async fn read(stream: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>) -> Option<Received> {
    let mut request_line = String::new();
    stream.read_line(&mut request_line).await.ok().filter(|read| *read > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut received = Received { request_line: request_line.trim_end().to_owned(), headers, body: String::new() };
    let mut body = vec![0; received.header("content-length")?.parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    received.body = String::from_utf8(body).ok()?;
    Some(received)
}
