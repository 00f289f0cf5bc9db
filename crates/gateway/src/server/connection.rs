//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{self, HeaderValue, StatusCode, Version, header};
use axum::response::Response;
use bytes::BytesMut;
use calldata_http::requests::{MAX_HEAD_BYTES, MAX_HEADERS, Unacceptable};
use calldata_http::{Charge, ConnectionTrust, MemoryBudget, RequestMemory, Source, Streamed, TrustedPeer, TrustedProxies};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tower::Service;

use super::activity::{Activity, Answered, Patience};
use super::places::Place;
use super::tls::Tls;
use super::wire::Wire;

/// How long TLS may take to begin.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How much of that is a gift: the first request counts from here at the latest.
const HANDSHAKE_GRACE: Duration = Duration::from_secs(5);
/// How long a connection that is told to end may take for what is on its way.
const ENDING: Duration = Duration::from_millis(500);
/// What a client of HTTP/2 says first.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A client of HTTP/2 that does not answer this is gone.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_STREAMS: u32 = 100;
/// Streams that a client may make fail before it is cut off.
const MAX_FAILED_STREAMS: usize = 64;
/// What one connection may have in memory, read and not used; of HTTP/2 also what a stream has of an answer that the client does not take.
const MAX_BUFFER_BYTES: usize = 64 << 10;
/// What a client of HTTP/2 may send of bodies that nobody has read yet, of all streams together.
const MAX_UNREAD_BODY_BYTES: u32 = 64 << 10;
/// How long a request of HTTP/2 waits for one of those before it to be authenticated, where there are too many to begin with.
const UNPROVEN_WAIT: Duration = Duration::from_secs(1);

/// What all connections have in common.
pub(super) struct Front<S> {
    pub(super) service: S,
    pub(super) proxies: TrustedProxies,
    pub(super) tls: Option<Tls>,
    pub(super) patience: Patience,
    pub(super) memory: MemoryBudget,
    pub(super) forwarding: ForwardingWarning,
}

/// Warns once that a client says where a request comes from and is not believed: behind a proxy that is not named, all clients share one
/// source, its lockouts and its share of connections.
#[derive(Clone, Debug, Default)]
pub(super) struct ForwardingWarning(Arc<AtomicBool>);

impl ForwardingWarning {
    pub(super) fn armed() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    fn check(&self, proxies: &TrustedProxies, peer: IpAddr, request: &http::Request<Body>) {
        if self.0.load(Ordering::Relaxed) && proxies.ignores(peer, request.headers()) && self.0.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                "a request says by X-Forwarded-For or Forwarded where it comes from, and its sender is no trusted proxy: all clients behind \
                 it count as one (--trusted-proxy; told once)"
            );
        }
    }
}

/// The other side of a connection.
struct Peer {
    address: IpAddr,
    is_trusted: bool,
    trust: ConnectionTrust,
    unproven_requests: Arc<Semaphore>,
    proxies: TrustedProxies,
    memory: MemoryBudget,
    forwarding: ForwardingWarning,
}

impl<S> Front<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static,
{
    /// Serves a connection until it ends, or is to end and nothing is under way on it.
    pub(super) async fn serve(&self, stream: TcpStream, peer: SocketAddr, place: &Place, mut stopping: watch::Receiver<bool>) {
        let accepted = Instant::now();
        let peer = Arc::new(Peer {
            address: peer.ip(),
            is_trusted: self.proxies.trusts(peer.ip()),
            trust: place.trust.clone(),
            unproven_requests: Arc::clone(&place.unproven_requests),
            proxies: self.proxies.clone(),
            memory: self.memory.clone(),
            forwarding: self.forwarding.clone(),
        });
        // A connection on which this fails is broken, and will tell so when it is read.
        let _ = stream.set_nodelay(true);
        let began = |now: Instant| Arc::new(Activity::since(now.min(accepted + HANDSHAKE_GRACE), self.patience));
        let Some(tls) = &self.tls else {
            let activity = began(accepted);
            return self.serve_either(stream, activity, peer, stopping).await;
        };
        let stopped = async { stopping.wait_for(|stopping| *stopping).await.is_err() };
        let encrypted = tokio::select! {
            encrypted = timeout_at(accepted + HANDSHAKE, tls.acceptor().accept(stream)) => encrypted,
            _ = stopped => return,
        };
        let Ok(Ok(encrypted)) = encrypted else { return };
        let activity = began(Instant::now());
        if encrypted.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.serve_http2(Wire::http2(encrypted, BytesMut::new(), Arc::clone(&activity)), &activity, peer, stopping).await;
        } else {
            self.serve_http1(Wire::http1(encrypted, BytesMut::new(), Arc::clone(&activity)), &activity, peer, stopping).await;
        }
    }

    /// Serves what the client begins with: HTTP/1.1, or HTTP/2 by prior knowledge.
    async fn serve_either(&self, mut stream: TcpStream, activity: Arc<Activity>, peer: Arc<Peer>, mut stopping: watch::Receiver<bool>) {
        let mut read = BytesMut::new();
        let found = {
            let stopped = async { stopping.wait_for(|stopping| *stopping).await.is_err() };
            let until = activity.patience_ends().unwrap_or_else(Instant::now);
            tokio::select! {
                found = timeout_at(until, speaks_http2(&mut stream, &mut read)) => found,
                _ = stopped => return,
            }
        };
        match found {
            Ok(Ok(true)) => self.serve_http2(Wire::http2(stream, read, Arc::clone(&activity)), &activity, peer, stopping).await,
            Ok(Ok(false)) => self.serve_http1(Wire::http1(stream, read, Arc::clone(&activity)), &activity, peer, stopping).await,
            Ok(Err(_)) | Err(_) => {}
        }
    }

    async fn serve_http1<I>(&self, wire: Wire<I>, activity: &Arc<Activity>, peer: Arc<Peer>, stopping: watch::Receiver<bool>)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service = service_fn(|request| answer(self.service.clone(), &peer, request, activity));
        // The time for a head is kept here, beside the times for everything else.
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_BUFFER_BYTES);
        let connection = pin!(builder.serve_connection(TokioIo::new(wire), service));
        keep(connection, http1::Connection::graceful_shutdown, activity, Ending::AtOnce, stopping).await;
    }

    async fn serve_http2<I>(&self, wire: Wire<I>, activity: &Arc<Activity>, peer: Arc<Peer>, stopping: watch::Receiver<bool>)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (service, known) = (self.service.clone(), Arc::clone(activity));
        // Streams are tasks of their own.
        let service = service_fn(move |request| {
            let (service, peer, known) = (service.clone(), Arc::clone(&peer), Arc::clone(&known));
            async move { answer(service, &peer, request, &known).await }
        });
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_concurrent_streams(MAX_STREAMS)
            .initial_connection_window_size(MAX_UNREAD_BODY_BYTES)
            .initial_stream_window_size(MAX_UNREAD_BODY_BYTES)
            .max_send_buf_size(MAX_BUFFER_BYTES)
            .max_local_error_reset_streams(MAX_FAILED_STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX));
        let connection = pin!(builder.serve_connection(TokioIo::new(wire), service));
        keep(connection, http2::Connection::graceful_shutdown, activity, Ending::WithGoodbye, stopping).await;
    }
}

/// Whether the client begins as those of HTTP/2 do; `read` is what was read to find out.
async fn speaks_http2(stream: &mut TcpStream, read: &mut BytesMut) -> io::Result<bool> {
    loop {
        if read.starts_with(HTTP2_PREFACE) {
            return Ok(true);
        }
        if !HTTP2_PREFACE.starts_with(read) {
            return Ok(false);
        }
        if stream.read_buf(read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// There is no memory left, not even for a refusal: the request is dropped, and with HTTP/1 its connection.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("there is no memory for another request")]
struct Overloaded;

/// Charges a request for its memory, or for that of a refusal.
fn charge(memory: &MemoryBudget, source: Source) -> Result<(RequestMemory, Charge), Overloaded> {
    match memory.enter(source) {
        Ok(charge) => Ok((RequestMemory::Charged(charge.clone()), charge)),
        Err(over) => memory.refuse(source).map(|charge| (RequestMemory::Refused(over), charge)).map_err(|_| Overloaded),
    }
}

/// Hands a request to the service, with what only the server knows about it.
async fn answer<S>(
    mut service: S,
    peer: &Peer,
    request: http::Request<Incoming>,
    activity: &Arc<Activity>,
) -> Result<http::Response<Answered>, Overloaded>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send>,
{
    let source = peer.proxies.source(peer.address, request.headers());
    let (memory, charge) = charge(&peer.memory, source)?;
    let (mut exchange, refused) = activity.begin(charge.clone());
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(source);
    request.extensions_mut().insert(memory);
    peer.forwarding.check(&peer.proxies, peer.address, &request);
    let mut beginning = pin!(peer.may_begin(request.version()));
    let begun = match std::future::poll_fn(|cx| Poll::Ready(beginning.as_mut().poll(cx))).await {
        Poll::Ready(begun) => begun,
        Poll::Pending => {
            charge.wait_for_client().map_err(|_| Overloaded)?;
            beginning.await
        }
    };
    let busy = match begun {
        Ok(permit) => {
            exchange.hold(permit);
            None
        }
        Err(TooManyUnproven) => Some(StatusCode::SERVICE_UNAVAILABLE),
    };
    if peer.is_trusted {
        request.extensions_mut().insert(TrustedPeer);
    }
    if !peer.trust.is_proven() {
        request.extensions_mut().insert(peer.trust.clone());
    }
    let too_many = (request.headers().len() > MAX_HEADERS).then_some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    if let Some(status) = refused.or(too_many).or(busy) {
        request.extensions_mut().insert(Unacceptable(status));
    }
    let version = request.version();
    let Ok(()) = std::future::poll_fn(|cx| service.poll_ready(cx)).await;
    let Ok(mut response) = service.call(request).await;
    charge.wait_for_client().map_err(|_| Overloaded)?;
    // The rest of the request is not waited for; the library ends the connection, and does not say so.
    if version < Version::HTTP_2 && exchange.is_arriving() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let streamed = response.extensions().get::<Streamed>().is_some();
    Ok(response.map(|body| exchange.answered(body, streamed)))
}

/// Too many requests are under way on a connection on which none was authenticated.
struct TooManyUnproven;

impl Peer {
    /// Waits until a request may begin: on a connection of HTTP/2 a few until one was authenticated, and from then on as many as there are
    /// streams. A connection of HTTP/1 has one at a time, and one of a trusted proxy those of many clients.
    async fn may_begin(&self, version: Version) -> Result<Option<OwnedSemaphorePermit>, TooManyUnproven> {
        if version < Version::HTTP_2 || self.is_trusted {
            return Ok(None);
        }
        match timeout(UNPROVEN_WAIT, Arc::clone(&self.unproven_requests).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Some(permit)),
            // Closed: one was authenticated.
            Ok(Err(_)) => Ok(None),
            Err(_) => Err(TooManyUnproven),
        }
    }
}

/// How a connection ends on which nothing is under way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// By being closed.
    AtOnce,
    /// After both sides have said so.
    WithGoodbye,
}

/// Drives a connection to its end, and sees to it that there is one.
async fn keep<C: Future>(
    mut connection: Pin<&mut C>,
    begin_to_end: impl Fn(Pin<&mut C>),
    activity: &Activity,
    way: Ending,
    mut stopping: watch::Receiver<bool>,
) {
    let mut check = pin!(sleep_until(activity.patience_ends().unwrap_or_else(Instant::now)));
    let mut ending = false;
    loop {
        let stop = tokio::select! {
            biased;
            // How it went does not matter: what fails here is the client's doing, and its requests have their own log lines.
            _ = connection.as_mut() => return,
            _ = stopping.wait_for(|stopping| *stopping), if !ending => true,
            () = check.as_mut() => false,
        };
        let now = Instant::now();
        let patience_ends = activity.patience_ends();
        if !stop && !ending && patience_ends.is_none_or(|end| end > now) {
            // While the gateway itself works on an answer, the client's time does not run.
            check.as_mut().reset(patience_ends.unwrap_or(now + ENDING));
            continue;
        }
        if ending && patience_ends.is_some_and(|end| end <= now || activity.is_quiet()) {
            return;
        }
        if !ending {
            ending = true;
            if way == Ending::AtOnce && activity.is_quiet() {
                return;
            }
            begin_to_end(connection.as_mut());
        }
        check.as_mut().reset(now + ENDING);
    }
}
