//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{self, HeaderValue, StatusCode, Version, header};
use axum::response::Response;
use bytes::BytesMut;
use calldata_http::requests::{MAX_HEAD_BYTES, MAX_HEADERS, Unacceptable};
use calldata_http::{Charge, MemoryBudget, RequestMemory, Source, Streamed, TrustedProxies};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tower::Service;

use super::activity::{Activity, Answered, Patience};
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
/// What one connection may have in memory, read and not used.
const MAX_BUFFER_BYTES: usize = 64 << 10;
/// The same for all bodies of a connection of HTTP/2, which the library holds until they are read.
const WINDOW_BYTES: u32 = 64 << 10;

/// What all connections have in common.
pub(super) struct Front<S> {
    pub(super) service: S,
    pub(super) proxies: TrustedProxies,
    pub(super) tls: Option<Tls>,
    pub(super) patience: Patience,
    pub(super) memory: MemoryBudget,
}

impl<S> Front<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static,
{
    /// Serves a connection until it ends, or is to end and nothing is under way on it.
    pub(super) async fn serve(&self, stream: TcpStream, peer: SocketAddr, mut stopping: watch::Receiver<bool>) {
        let accepted = Instant::now();
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
    async fn serve_either(&self, mut stream: TcpStream, activity: Arc<Activity>, peer: SocketAddr, mut stopping: watch::Receiver<bool>) {
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

    async fn serve_http1<I>(&self, wire: Wire<I>, activity: &Arc<Activity>, peer: SocketAddr, stopping: watch::Receiver<bool>)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service = service_fn(|request| self.answer(request, peer.ip(), activity));
        // The time for a head is kept here, beside the times for everything else.
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_BUFFER_BYTES);
        let connection = pin!(builder.serve_connection(TokioIo::new(wire), service));
        keep(connection, http1::Connection::graceful_shutdown, activity, Ending::AtOnce, stopping).await;
    }

    async fn serve_http2<I>(&self, wire: Wire<I>, activity: &Arc<Activity>, peer: SocketAddr, stopping: watch::Receiver<bool>)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (service, proxies, memory, known) = (self.service.clone(), self.proxies.clone(), self.memory.clone(), Arc::clone(activity));
        // Streams are tasks of their own.
        let service = service_fn(move |request| {
            let (service, proxies, known) = (service.clone(), proxies.clone(), Arc::clone(&known));
            let memory = memory.clone();
            async move { answer(service, &proxies, &memory, request, peer.ip(), &known).await }
        });
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_send_buf_size(MAX_BUFFER_BYTES)
            .max_local_error_reset_streams(MAX_FAILED_STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX));
        let connection = pin!(builder.serve_connection(TokioIo::new(wire), service));
        keep(connection, http2::Connection::graceful_shutdown, activity, Ending::WithGoodbye, stopping).await;
    }

    async fn answer(
        &self,
        request: http::Request<Incoming>,
        peer: IpAddr,
        activity: &Arc<Activity>,
    ) -> Result<http::Response<Answered>, Overloaded> {
        answer(self.service.clone(), &self.proxies, &self.memory, request, peer, activity).await
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
    proxies: &TrustedProxies,
    memory: &MemoryBudget,
    request: http::Request<Incoming>,
    peer: IpAddr,
    activity: &Arc<Activity>,
) -> Result<http::Response<Answered>, Overloaded>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send>,
{
    let source = proxies.source(peer, request.headers());
    let (memory, charge) = charge(memory, source)?;
    let (exchange, refused) = activity.begin(charge.clone());
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(source);
    request.extensions_mut().insert(memory);
    let too_many = (request.headers().len() > MAX_HEADERS).then_some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    if let Some(status) = refused.or(too_many) {
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
