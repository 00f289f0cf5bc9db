//! Sends messages to endpoints.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use calldata_core::Timestamp;
use calldata_core::webhook::{Failure, MessageId, WebhookUrl};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::address::EndpointPolicy;
use crate::answer::Answer;
use crate::connection::{Connection, Hosts, SystemHosts, addresses};

/// How long an endpoint may take to accept a connection, the look-up of its name included.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a delivery may take in all.
const IN_ALL: Duration = Duration::from_secs(15);
/// How much of what follows the head of an answer is read, and for how long; it is of no interest, but the next answer comes after it.
const BODY_BYTES: usize = 64 << 10;
const BODY: Duration = Duration::from_secs(1);
/// How long a connection is kept that nothing is sent over.
const IDLE: Duration = Duration::from_secs(5);
const AGENT: &str = concat!("calldata-gateway/", env!("CARGO_PKG_VERSION"));

/// A message that is ready to be sent.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) id: MessageId,
    pub(crate) timestamp_s: i64,
    pub(crate) signature: String,
    pub(crate) body: Bytes,
}

/// Sends messages to endpoints: to those that are on the internet, or in a network that the operator allows. It looks up names by
/// itself and connects to what it found, follows no redirect, and knows no proxy.
pub struct Sender {
    networks: EndpointPolicy,
    hosts: Box<dyn Hosts>,
    roots: Option<RootCertStore>,
    tls: OnceCell<TlsConnector>,
}

impl Sender {
    /// Sends to the internet and these networks.
    pub fn new(networks: EndpointPolicy) -> Arc<Self> {
        Arc::new(Self { networks, hosts: Box::new(SystemHosts), roots: None, tls: OnceCell::new() })
    }

    /// Sends to an endpoint.
    pub(crate) fn to(self: &Arc<Self>, url: WebhookUrl) -> Endpoint {
        Endpoint { sender: Arc::clone(self), url, idle: Mutex::default() }
    }

    async fn connect(&self, url: &WebhookUrl) -> Result<Connection, Failure> {
        let addresses = addresses(&*self.hosts, &self.networks, url.host()).await?;
        let tls = if url.is_https() { Some(self.tls().await?) } else { None };
        Connection::open(&addresses, url, tls).await
    }

    /// TLS that trusts whom the machine trusts; read when it is first needed.
    async fn tls(&self) -> Result<&TlsConnector, Failure> {
        let connector = async {
            let roots = match &self.roots {
                Some(roots) => roots.clone(),
                None => tokio::task::spawn_blocking(roots_of_machine).await.map_err(|_| Failure::NotTrusted)?,
            };
            let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
            let config = config.with_protocol_versions(&[&TLS13, &TLS12]).map_err(|_| Failure::NotTrusted)?;
            let mut config = config.with_root_certificates(roots).with_no_client_auth();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(TlsConnector::from(Arc::new(config)))
        };
        self.tls.get_or_try_init(|| connector).await
    }
}

fn roots_of_machine() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, unreadable) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!(unreadable, "this machine trusts no certificate authority: nothing can be sent by https");
    }
    roots
}

/// An endpoint, and the connections to it that are open.
pub(crate) struct Endpoint {
    sender: Arc<Sender>,
    url: WebhookUrl,
    idle: Mutex<Vec<Connection>>,
}

impl Endpoint {
    /// Sends a message and hears whether it was taken.
    pub(crate) async fn send(&self, message: Message, now: Timestamp) -> Answer {
        let deadline = Instant::now() + IN_ALL;
        let sent = timeout_at(deadline, self.exchange(message));
        let (mut connection, answer) = match sent.await {
            Ok(Ok((connection, response))) => (connection, response),
            Ok(Err(failure)) => return failure.into(),
            Err(_) => return Failure::TimedOut.into(),
        };
        let told = Answer::of(answer.status(), answer.headers(), now);
        // Whatever becomes of the rest, the head said it all.
        let until = deadline.min(Instant::now() + BODY);
        if timeout_at(until, read_whole(answer.into_body())).await == Ok(true) {
            connection.used = Instant::now();
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        told
    }

    async fn exchange(&self, message: Message) -> Result<(Connection, hyper::Response<Incoming>), Failure> {
        let request = self.request(message)?;
        if let Some(mut connection) = self.open_already() {
            // An endpoint may close a connection at any time: the next one is tried before that counts.
            if let Ok(answer) = connection.send(request.clone()).await {
                return Ok((connection, answer));
            }
        }
        let mut connection = timeout(CONNECT, self.sender.connect(&self.url)).await.map_err(|_| Failure::TimedOut)??;
        let answer = connection.send(request).await?;
        Ok((connection, answer))
    }

    fn open_already(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.is_closed() && connection.used.elapsed() < IDLE);
        idle.pop()
    }

    fn request(&self, message: Message) -> Result<Request<Full<Bytes>>, Failure> {
        let Message { id, timestamp_s, signature, body } = message;
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.url.target())
            .header(HOST, self.url.authority())
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id.as_str())
            .header("webhook-timestamp", timestamp_s)
            .header("webhook-signature", signature);
        request.body(Full::new(body)).map_err(|_| Failure::NotHttp)
    }
}

/// Reads what is of no interest; false where it is too much.
async fn read_whole(mut body: Incoming) -> bool {
    let mut room = BODY_BYTES;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        match room.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(left) => room = left,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests;
