//! A connection to an endpoint: to an address that was checked, and to no other.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use calldata_core::webhook::{Failure, UrlHost, WebhookUrl};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::address::EndpointPolicy;
use crate::head_budget::{BudgetedStream, HeadBudget};

/// How many addresses of a name are tried.
const MAX_ADDRESSES: usize = 8;
/// How long the next one waits for the one before it.
const HEAD_START: Duration = Duration::from_millis(250);
/// How long the head of an answer may be.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Looks up names.
#[async_trait]
pub(crate) trait Hosts: Send + Sync + 'static {
    /// All addresses of that name.
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// Looks up names as the machine does.
pub(crate) struct SystemHosts;

#[async_trait]
impl Hosts for SystemHosts {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// The addresses of a host, all of which something may be sent to: one that is not, among others that are, is an attempt to get there.
/// The failure is the same whether a name is not known, or is and is refused: tenants learn nothing of names that only this machine knows.
/// The operator's log says which it was.
pub(crate) async fn addresses(hosts: &dyn Hosts, networks: &EndpointPolicy, host: UrlHost<'_>) -> Result<Vec<IpAddr>, Failure> {
    let refused = |why: &str| {
        let host = match host {
            UrlHost::Name(name) => name.to_owned(),
            UrlHost::Address(address) => address.to_string(),
        };
        tracing::info!(host, why, "a webhook has no address that something may be sent to");
        Failure::NoAllowedAddress
    };
    if !networks.allow_host(host) {
        return Err(refused("the operator does not allow this host"));
    }
    let addresses = match host {
        UrlHost::Address(address) => vec![address],
        UrlHost::Name(name) => hosts.addresses(name).await.map_err(|_| refused("the name is not known"))?,
    };
    if addresses.is_empty() {
        return Err(refused("the name has no address"));
    }
    if addresses.iter().all(|address| networks.allow(*address)) { Ok(addresses) } else { Err(refused("one of its addresses is refused")) }
}

/// An open connection, over which one message after the other is sent.
pub(crate) struct Connection {
    requests: SendRequest<Full<Bytes>>,
    head: HeadBudget,
    _driver: Driver,
    pub(crate) used: Instant,
}

/// What reads and writes; it ends with its connection.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Connects to one of these addresses; with TLS, to the host that the URL names.
    pub(crate) async fn open(addresses: &[IpAddr], url: &WebhookUrl, tls: Option<&TlsConnector>) -> Result<Self, Failure> {
        let stream = first_to_answer(addresses, url.port()).await?;
        // Without it a message waits for the acknowledgement of its head; where that cannot be set, it does.
        let _ = stream.set_nodelay(true);
        match tls {
            None => Self::over(stream).await,
            Some(tls) => {
                let stream = tls.connect(server_name(url.host())?, stream).await;
                let not_trusted = |error: &io::Error| {
                    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<tokio_rustls::rustls::Error>)
                };
                let failure = |error| if not_trusted(&error) { Failure::NotTrusted } else { Failure::NotConnected };
                Self::over(stream.map_err(failure)?).await
            }
        }
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Self, Failure> {
        let head = HeadBudget::default();
        let stream = BudgetedStream::new(stream, head.clone());
        let handshake = http1::Builder::new().max_buf_size(MAX_HEAD_BYTES).handshake(TokioIo::new(stream)).await;
        let (requests, connection) = handshake.map_err(|error| failure(&error))?;
        // Whoever sends hears of what goes wrong.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { requests, head, _driver: Driver(driver), used: Instant::now() })
    }

    /// Sends a request; returns the head of the answer.
    pub(crate) async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        self.used = Instant::now();
        self.requests.ready().await.map_err(|error| failure(&error))?;
        self.head.begin(&mut request, MAX_HEAD_BYTES);
        let response = self.requests.send_request(request).await.map_err(|error| failure(&error));
        self.head.lift();
        response
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }
}

fn failure(error: &hyper::Error) -> Failure {
    let cause = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    let is_excessive = cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData);
    if error.is_parse() || is_excessive { Failure::NotHttp } else { Failure::NotConnected }
}

/// Connects to whichever answers first; each has a head start before the next.
async fn first_to_answer(addresses: &[IpAddr], port: u16) -> Result<TcpStream, Failure> {
    let attempts = addresses.iter().take(MAX_ADDRESSES).zip(0_u32..).map(|(address, place)| async move {
        tokio::time::sleep(HEAD_START * place).await;
        TcpStream::connect((*address, port)).await
    });
    let mut attempts: FuturesUnordered<_> = attempts.collect();
    while let Some(attempt) = attempts.next().await {
        if let Ok(stream) = attempt {
            return Ok(stream);
        }
    }
    Err(Failure::NotConnected)
}

/// Whom the certificate has to name.
fn server_name(host: UrlHost<'_>) -> Result<ServerName<'static>, Failure> {
    match host {
        UrlHost::Address(address) => Ok(ServerName::from(address)),
        // Certificates name no root.
        UrlHost::Name(name) => {
            let name = name.strip_suffix('.').unwrap_or(name).to_owned();
            ServerName::try_from(name).map_err(|_| Failure::NotTrusted)
        }
    }
}

/// Names and their addresses, for tests.
#[cfg(test)]
pub(crate) struct KnownHosts(pub(crate) Vec<(&'static str, Vec<IpAddr>)>);

#[cfg(test)]
#[async_trait]
impl Hosts for KnownHosts {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let known = self.0.iter().find(|(known, _)| *known == name);
        known.map(|(_, addresses)| addresses.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// To allow for what tests listen on.
#[cfg(test)]
pub(crate) fn loopback() -> EndpointPolicy {
    EndpointPolicy::new(vec!["127.0.0.0/8".parse().expect("this is a network"), "::1/128".parse().expect("this is a network")])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use tokio::net::TcpListener;

    fn known() -> Arc<dyn Hosts> {
        let of = |addresses: &[&str]| addresses.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(KnownHosts(vec![
            ("public.example", of(&["8.8.8.8", "2606:4700:4700::1111"])),
            ("private.example", of(&["10.0.0.1"])),
            ("both.example", of(&["8.8.8.8", "127.0.0.1"])),
            ("mapped.example", of(&["8.8.8.8", "::ffff:127.0.0.1"])),
            ("none.example", of(&[])),
        ]))
    }

    #[tokio::test]
    async fn a_name_counts_only_if_all_of_its_addresses_do() {
        let hosts = known();
        let look = async |name| addresses(&*hosts, &EndpointPolicy::default(), UrlHost::Name(name)).await;
        assert_eq!(look("public.example").await.unwrap().len(), 2);
        for refused in ["private.example", "both.example", "mapped.example"] {
            assert_eq!(look(refused).await, Err(Failure::NoAllowedAddress), "{refused}");
        }
        for missing in ["none.example", "unknown.example"] {
            assert_eq!(look(missing).await, Err(Failure::NoAllowedAddress), "{missing}");
        }
    }

    #[tokio::test]
    async fn this_machine_is_refused_whatever_it_is_called() {
        for name in ["localhost", "localhost.", "LOCALHOST"] {
            let looked = addresses(&SystemHosts, &EndpointPolicy::default(), UrlHost::Name(name)).await;
            assert!(matches!(looked, Err(Failure::NoAllowedAddress)), "{name}: {looked:?}");
        }
    }

    #[tokio::test]
    async fn an_address_that_takes_no_connection_makes_way_for_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // Nobody listens at the first.
        let stream = first_to_answer(&["127.0.0.2".parse().unwrap(), "127.0.0.1".parse().unwrap()], port).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
        let nobody = first_to_answer(&["127.0.0.2".parse().unwrap()], port).await;
        assert_eq!(nobody.map(drop), Err(Failure::NotConnected));
    }
}
