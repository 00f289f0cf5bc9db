//! Work that is finished even when nobody waits for it any more.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Does the work where it is waited for, which costs no task of its own; once it has begun, it goes on as one where the waiting ends.
pub(crate) fn uncancelled<F: Future<Output: Send> + Send + 'static>(work: F) -> Uncancelled<F> {
    Uncancelled { work: Some(Box::pin(work)), begun: false }
}

pub(crate) struct Uncancelled<F: Future<Output: Send> + Send + 'static> {
    work: Option<Pin<Box<F>>>,
    begun: bool,
}

impl<F: Future<Output: Send> + Send + 'static> Future for Uncancelled<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.begun = true;
        let Some(work) = &mut self.work else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Uncancelled<F> {
    fn drop(&mut self) {
        // What panicked has ended; without a runtime everything has.
        if let (Some(work), true, false, Ok(runtime)) = (self.work.take(), self.begun, std::thread::panicking(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn what_has_begun_goes_on_when_nobody_waits_any_more() {
        let (begin, began) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel();
        let mut work = Box::pin(uncancelled(async move {
            began.await.unwrap();
            done.send(7).unwrap();
        }));
        assert!(work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(work);
        begin.send(()).unwrap();
        assert_eq!(is_done.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn what_is_waited_for_is_done_there_and_what_never_began_is_not_done() {
        assert_eq!(uncancelled(async { 7 }).await, 7);
        let (done, is_done) = oneshot::channel::<()>();
        drop(uncancelled(async move { done.send(()).unwrap() }));
        assert!(is_done.await.is_err());
    }
}
