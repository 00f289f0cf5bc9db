//! Bounds what an endpoint may send before its final answer: hyper reads on for as long as informational responses (1xx) follow each other.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use hyper::Request;
use hyper::ext::on_informational;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many informational responses may come before the final one.
const MAX_INFORMATIONAL: usize = 8;

/// How much may still be read before the final head has arrived.
#[derive(Clone, Debug)]
pub(crate) struct HeadBudget {
    bytes: Arc<AtomicUsize>,
}

impl Default for HeadBudget {
    fn default() -> Self {
        Self { bytes: Arc::new(AtomicUsize::new(usize::MAX)) }
    }
}

impl HeadBudget {
    /// From now on the connection may read so many bytes, and the request may be answered by a few informational responses.
    pub(crate) fn begin<B>(&self, request: &mut Request<B>, bytes: usize) {
        self.bytes.store(bytes, Ordering::Release);
        let (bytes, received) = (Arc::clone(&self.bytes), AtomicUsize::new(0));
        on_informational(request, move |_| {
            if received.fetch_add(1, Ordering::Relaxed) >= MAX_INFORMATIONAL {
                bytes.store(0, Ordering::Release);
            }
        });
    }

    /// The head is there; what follows is bounded by the reader of the body.
    pub(crate) fn lift(&self) {
        self.bytes.store(usize::MAX, Ordering::Release);
    }

    fn spend(&self, bytes: usize) {
        let left = self.bytes.load(Ordering::Acquire);
        if left != usize::MAX {
            // Only the connection's task spends; what others store meanwhile ends the budget or lifts it, and stays.
            let _ = self.bytes.compare_exchange(left, left.saturating_sub(bytes), Ordering::AcqRel, Ordering::Acquire);
        }
    }

    fn is_spent(&self) -> bool {
        self.bytes.load(Ordering::Acquire) == 0
    }
}

/// A stream that fails once the budget is spent.
#[derive(Debug)]
pub(crate) struct BudgetedStream<S> {
    stream: S,
    head: HeadBudget,
}

impl<S> BudgetedStream<S> {
    pub(crate) fn new(stream: S, head: HeadBudget) -> Self {
        Self { stream, head }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BudgetedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.head.is_spent() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "too much before the answer")));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.head.spend(buffer.filled().len().saturating_sub(before));
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BudgetedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
