//! Serving, and stopping in order.
//!
//! Rooms: [`connection`] serves one connection, over the [`wire`] on which heads are judged ([`head`], [`chunks`]) before the HTTP library
//! reads them; [`activity`] knows who waits for whom on it; [`places`] bounds how many there are; [`tls`] holds the certificate.

mod activity;
mod chunks;
mod connection;
mod head;
mod places;
mod tls;
mod wire;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use calldata_http::{MemoryBudget, Origins, TrustedProxies};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tower::Service;

use crate::app::App;
use crate::documents::DocsAccess;
pub use activity::Patience;
use connection::{ForwardingWarning, Front};
use places::Places;
pub use tls::{Tls, heed_hangup};

/// How many connections there may be unless it is set.
pub const DEFAULT_MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");
/// How long a stop waits unless it is set.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(10);
/// What a stop may take beyond the drain time.
const LAST_WRITES: Duration = Duration::from_millis(500);
/// How many connections there may be beside the API.
const CONNECTIONS_BESIDE: usize = 64;
/// How many bytes their requests may hold.
const BUDGET_BESIDE_BYTES: usize = 8 << 20;
/// Connections that may wait to be accepted; the system may have a lower bound.
const BACKLOG: u32 = 4_096;
/// How long nothing is accepted after that has failed for a reason on this side, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a stop waits for requests under way.
    pub drain: Duration,
    /// How many connections there may be.
    pub max_connections: NonZeroUsize,
    /// Whose word on where a request comes from is believed.
    pub proxies: TrustedProxies,
    /// The web pages that may use the API.
    pub origins: Origins,
    /// Where the API description is served.
    pub docs: DocsAccess,
    /// TLS; plain text without.
    pub tls: Option<Tls>,
    /// How long clients are waited for.
    pub patience: Patience,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            drain: DEFAULT_DRAIN,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            proxies: TrustedProxies::default(),
            origins: Origins::default(),
            docs: DocsAccess::default(),
            tls: None,
            patience: Patience::default(),
        }
    }
}

/// Listens there. Many may arrive at once: whoever finds the usual queue of 128 full hangs for seconds, and believes to be connected.
///
/// # Errors
/// When that is not possible.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop` completes; then requests under way are finished for up to the drain time.
///
/// # Errors
/// Never so far: what fails is a connection's own affair.
pub async fn serve(app: &App, listener: TcpListener, options: Options, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let Options { drain, max_connections, proxies, origins, docs, tls, patience } = options;
    let memory = app.memory().clone();
    let places = Places::new(max_connections.get(), &memory);
    let forwarding = ForwardingWarning::armed();
    let front = Arc::new(Front { service: app.service(&origins, docs), proxies, tls, patience, memory, forwarding });
    let (stopping, stopped) = watch::channel(false);
    let served = async {
        let mut connections = JoinSet::new();
        tokio::select! {
            () = stop => {}
            never = accept(&listener, &front, &places, &mut connections, &stopped) => match never {},
        }
        drop(listener);
        // Who waits for a record is answered now.
        app.sessions().close();
        stopping.send_replace(true);
        let out_of_time = Instant::now() + drain;
        let drained = timeout_at(out_of_time, async { while connections.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!(connections = connections.len(), "stopped while requests were still under way");
            connections.abort_all();
        }
        out_of_time
    };
    let out_of_time = tokio::select! {
        out_of_time = served => out_of_time,
        () = app.keep() => Instant::now(),
    };
    let last_writes = out_of_time.saturating_duration_since(Instant::now()) + LAST_WRITES;
    if timeout(last_writes, app.write_last()).await.is_err() {
        tracing::warn!("who did what and who used which key could not all be written down in time");
    }
    Ok(())
}

/// Serves something small beside the API for ever: a few connections, plain, nobody believed.
pub async fn serve_beside(router: Router, listener: TcpListener) -> Infallible {
    let memory = MemoryBudget::new(BUDGET_BESIDE_BYTES);
    let places = Places::new(CONNECTIONS_BESIDE, &memory);
    let (proxies, patience, forwarding) = (TrustedProxies::default(), Patience::default(), ForwardingWarning::default());
    let front = Arc::new(Front { service: router, proxies, tls: None, patience, memory, forwarding });
    let (_stopping, stopped) = watch::channel(false);
    accept(&listener, &front, &places, &mut JoinSet::new(), &stopped).await
}

/// Accepts connections for ever.
async fn accept<S>(
    listener: &TcpListener,
    front: &Arc<Front<S>>,
    places: &Places,
    connections: &mut JoinSet<()>,
    stopped: &watch::Receiver<bool>,
) -> Infallible
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static,
{
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => match places.take(peer.ip(), front.proxies.trusts(peer.ip())) {
                Ok(place) => {
                    tracing::trace!(connections = connections.len() + 1, "a connection is accepted");
                    let (front, stopped) = (Arc::clone(front), stopped.clone());
                    connections.spawn(async move {
                        tokio::select! {
                            () = front.serve(stream, peer, &place, stopped) => {}
                            () = place.is_given_on() => {}
                        }
                    });
                }
                Err(why) => places.refuse(stream, peer.ip(), why, front.tls.is_some()),
            },
            // The client has gone again.
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "connections cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused)
}

/// Hears SIGTERM and SIGINT from now on; what is returned completes when one of them comes.
///
/// # Errors
/// When they cannot be heard.
pub fn asked_to_stop() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
