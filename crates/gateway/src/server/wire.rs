//! A connection as the HTTP library sees it: heads are judged before it reads them, and what the client takes is noticed.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::activity::Activity;
use super::chunks::Chunks;
use super::head::{Framing, Head, Verdict};

/// Stands for a head that is refused, so that the answer takes the way of all answers, behind those to earlier requests.
const REFUSED: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
/// How long the rest of what a client sends is still read when the connection ends before it: a client that is cut off while it sends
/// may never see the answer.
const LINGER: Duration = Duration::from_secs(1);
const READ_BYTES: usize = 4 << 10;

/// A connection, plain or through TLS.
#[derive(Debug)]
pub(super) struct Wire<I> {
    io: I,
    activity: Arc<Activity>,
    /// Read, and not yet handed on.
    held: BytesMut,
    /// How much of that may be handed on.
    judged: usize,
    state: State,
    heads: usize,
    closed: bool,
    lingers: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum State {
    /// HTTP/2 has frames, and nothing to be judged here.
    Http2,
    Head(Head),
    Body(u64),
    Chunks(Chunks),
    Refused,
}

impl<I> Wire<I> {
    /// A connection of which this was read already.
    pub(super) fn http1(io: I, read: BytesMut, activity: Arc<Activity>) -> Self {
        Self::new(io, read, activity, State::Head(Head::default()))
    }

    /// A connection of which this was read already.
    pub(super) fn http2(io: I, read: BytesMut, activity: Arc<Activity>) -> Self {
        Self::new(io, read, activity, State::Http2)
    }

    fn new(io: I, held: BytesMut, activity: Arc<Activity>, state: State) -> Self {
        Self { io, activity, held, judged: 0, state, heads: 0, closed: false, lingers: None }
    }

    /// Finds out how much of what is held may be handed on.
    fn judge(&mut self) -> io::Result<()> {
        let held = self.held.len();
        match &mut self.state {
            State::Http2 => self.judged = held,
            State::Refused => {}
            State::Head(head) => match head.judge(&self.held) {
                Verdict::Unfinished => {}
                Verdict::Whole(length, framing) => {
                    self.judged = length;
                    self.heads += 1;
                    self.state = match framing {
                        Framing::Sized(0) => State::Head(Head::default()),
                        Framing::Sized(length) => State::Body(length),
                        Framing::Chunked => State::Chunks(Chunks::default()),
                    };
                }
                Verdict::Refused(status) => {
                    self.activity.refuse(self.heads, status);
                    self.held = BytesMut::from(REFUSED);
                    self.judged = REFUSED.len();
                    self.state = State::Refused;
                }
            },
            State::Body(left) => {
                self.judged = usize::try_from(*left).unwrap_or(usize::MAX).min(held);
                self.took(self.judged);
            }
            State::Chunks(chunks) => {
                let (taken, ends) = chunks.advance(&self.held)?;
                self.judged = taken;
                if ends {
                    self.state = State::Head(Head::default());
                }
            }
        }
        self.note_body();
        Ok(())
    }

    /// So much of a body of known length was read.
    fn took(&mut self, bytes: usize) {
        if let State::Body(left) = &mut self.state {
            *left = left.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
            if *left == 0 {
                self.state = State::Head(Head::default());
            }
        }
        self.note_body();
    }

    /// Notes whether the body of the request has arrived as a whole, as far as that can be known.
    fn note_body(&self) {
        let arrived = match self.state {
            State::Http2 | State::Head(_) | State::Refused => true,
            State::Body(left) => left <= u64::try_from(self.held.len().saturating_sub(self.judged)).unwrap_or(u64::MAX),
            State::Chunks(_) => false,
        };
        self.activity.set_arriving(if arrived { None } else { self.heads.checked_sub(1) });
    }

    /// Notes whether the client takes what is written. Frames of HTTP/2 are no progress, for pings are answered as well.
    fn note(&self, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.activity.set_blocked(wrote.is_pending());
        if wrote.is_ready() && !matches!(self.state, State::Http2) {
            self.activity.wrote();
        }
        wrote
    }

    /// How much can be read straight into the library's buffer, without being looked at.
    fn unjudged(&self) -> usize {
        match self.state {
            State::Http2 => usize::MAX,
            State::Body(left) => usize::try_from(left).unwrap_or(usize::MAX),
            State::Head(_) | State::Chunks(_) | State::Refused => 0,
        }
    }

    /// The client is in the middle of something that will not be read.
    fn is_interrupted(&self) -> bool {
        match self.state {
            State::Http2 => false,
            State::Head(_) => !self.held.is_empty(),
            State::Body(_) | State::Chunks(_) | State::Refused => true,
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Wire<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        loop {
            if wire.judged > 0 {
                let length = wire.judged.min(buffer.remaining());
                buffer.put_slice(wire.held.get(..length).unwrap_or_default());
                wire.held.advance(length);
                wire.judged -= length;
                return Poll::Ready(Ok(()));
            }
            if !wire.held.is_empty() {
                wire.judge()?;
                if wire.judged > 0 {
                    continue;
                }
            }
            if matches!(wire.state, State::Refused) {
                // The answer is on its way, and ends the connection.
                return Poll::Pending;
            }
            let straight = wire.unjudged().min(buffer.remaining());
            if straight > 0 {
                let mut part = ReadBuf::new(buffer.initialize_unfilled_to(straight));
                ready!(Pin::new(&mut wire.io).poll_read(cx, &mut part))?;
                let read = part.filled().len();
                buffer.advance(read);
                wire.took(read);
                return Poll::Ready(Ok(()));
            }
            wire.held.reserve(READ_BYTES);
            // It keeps nothing between two polls, so that it need not be kept either.
            if ready!(pin!(wire.io.read_buf(&mut wire.held)).poll(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let wrote = Pin::new(&mut wire.io).poll_write(cx, bytes);
        wire.note(wrote)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let wrote = Pin::new(&mut wire.io).poll_write_vectored(cx, parts);
        wire.note(wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if !wire.closed {
            ready!(Pin::new(&mut wire.io).poll_shutdown(cx))?;
            wire.closed = true;
        }
        if !wire.is_interrupted() {
            return Poll::Ready(Ok(()));
        }
        let until = wire.lingers.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        let mut space = [0; READ_BYTES];
        loop {
            if until.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut space = ReadBuf::new(&mut space);
            match Pin::new(&mut wire.io).poll_read(cx, &mut space) {
                Poll::Ready(Ok(())) if !space.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
