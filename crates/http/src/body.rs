//! Reading request bodies, chunked or not.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use crate::Limits;
use crate::memory_budget::{Charge, INCLUDED_BYTES, OverBudget, WAIT_FOR_MEMORY};

/// How much of a body that is too large is still read, as a multiple of the limit: a client that is cut off while it sends may never
/// see the answer.
const DRAIN_FACTOR: usize = 8;
/// How many times a body is in memory: as it came, as it was parsed, and as the row that is stored.
const COPIES: usize = 3;

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is larger than allowed.
    #[error("the body is too large")]
    TooLarge,
    /// The client stopped sending.
    #[error("the body ended early")]
    Interrupted,
    /// The client sends too slowly.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// There is no memory for it.
    #[error("there is no memory for the body")]
    NoMemory(#[from] OverBudget),
}

/// Reads the body of a request, which may be as large and take as long, counted from the request's arrival, as the limits say. The request
/// is charged for it before it is read.
///
/// # Errors
/// When it is larger, or the client stops sending or is too slow, or there is no memory for it.
pub async fn read_body(body: Body, arrived: Instant, limits: Limits, charge: Option<&Charge>) -> Result<Bytes, BodyError> {
    let until = arrived + limits.body_deadline();
    let mut too_large = false;
    let room = Room { charge, until: until.min(Instant::now() + WAIT_FOR_MEMORY), bytes: INCLUDED_BYTES, limit: limits.body_bytes };
    let read = {
        let mut reading = pin!(timeout_at(until, read(body, limits.body_bytes, room, &mut too_large)));
        match poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await {
            Poll::Ready(read) => read,
            Poll::Pending => {
                if let Some(charge) = charge {
                    charge.wait_for_client()?;
                }
                reading.await
            }
        }
    };
    // A client that cannot be waited for any longer has still sent too much.
    read.unwrap_or(Err(if too_large { BodyError::TooLarge } else { BodyError::TooSlow }))
}

/// Memory for a body of so many bytes.
struct Room<'c> {
    charge: Option<&'c Charge>,
    until: Instant,
    bytes: usize,
    limit: usize,
}

impl Room<'_> {
    /// Makes room for a body of this length in all.
    async fn grow(&mut self, length: usize) -> Result<(), BodyError> {
        let Some(charge) = self.charge.filter(|_| length > self.bytes) else { return Ok(()) };
        charge.reserve_by((length - self.bytes).saturating_mul(COPIES), self.until).await?;
        self.bytes = length;
        Ok(())
    }

    /// Makes room for a body that has reached this length and goes on.
    async fn go_on(&mut self, length: usize) -> Result<(), BodyError> {
        if length <= self.bytes {
            return Ok(());
        }
        self.grow(length.saturating_mul(2).min(self.limit.max(length))).await
    }
}

async fn read(body: Body, limit: usize, mut room: Room<'_>, too_large: &mut bool) -> Result<Bytes, BodyError> {
    let length = body.size_hint();
    let (least, most) = (in_usize(length.lower()), length.upper().map(in_usize));
    let mut stream = body.into_data_stream();
    if least > limit {
        *too_large = true;
        drain(stream, limit.saturating_mul(DRAIN_FACTOR)).await;
        return Err(BodyError::TooLarge);
    }
    if let Some(length) = most {
        room.grow(length.min(limit)).await?;
    }
    // Nearly every body is one piece, which need not be copied.
    let Some(first) = stream.next().await else { return Ok(Bytes::new()) };
    let first = first.map_err(|_| BodyError::Interrupted)?;
    if first.len() <= limit && stream.is_end_stream() {
        return Ok(first);
    }
    let mut stream = stream::iter([Ok(first)]).chain(stream);
    let mut read = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_: axum::Error| BodyError::Interrupted)?;
        if read.len() + chunk.len() > limit {
            *too_large = true;
            drain(stream, limit.saturating_mul(DRAIN_FACTOR)).await;
            return Err(BodyError::TooLarge);
        }
        room.go_on(read.len() + chunk.len()).await?;
        read.extend_from_slice(&chunk);
    }
    Ok(read.freeze())
}

fn in_usize(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

async fn drain(mut stream: impl Stream<Item = Result<Bytes, axum::Error>> + Unpin, mut allowance: usize) {
    while let Some(Ok(chunk)) = stream.next().await {
        match allowance.checked_sub(chunk.len()) {
            Some(rest) => allowance = rest,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;
    use crate::memory_budget::{MIN_MEMORY_BUDGET_BYTES, MemoryBudget};
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    async fn read_of(body: Body, deadline: Duration) -> Result<Bytes, BodyError> {
        read_body(body, Instant::now(), Limits { body_bytes: 5, deadline, ..Limits::default() }, None).await
    }

    const SOURCE: Source = Source(IpAddr::V4(Ipv4Addr::LOCALHOST));
    const SOON: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_body_up_to_the_limit_is_read_and_a_larger_one_refused() {
        assert_eq!(read_of(Body::from("12345"), SOON).await.unwrap(), "12345");
        assert_eq!(read_of(Body::from("123456"), SOON).await, Err(BodyError::TooLarge));
        assert_eq!(read_of(Body::from("x".repeat(1_000)), SOON).await, Err(BodyError::TooLarge));
        let broken = futures_util::stream::iter([Ok("12"), Err(std::io::Error::other("gone"))]);
        assert_eq!(read_of(Body::from_stream(broken), SOON).await, Err(BodyError::Interrupted));
    }

    #[tokio::test]
    async fn a_body_that_stalls_is_waited_for_no_longer_than_allowed() {
        let stalls = |sent: &'static str| {
            let begins = futures_util::stream::iter([Ok::<_, std::io::Error>(sent)]);
            Body::from_stream(begins.chain(futures_util::stream::pending()))
        };
        let moment = Duration::from_millis(10);
        assert_eq!(read_of(stalls("12"), moment).await, Err(BodyError::TooSlow));
        assert_eq!(read_of(stalls("123456"), moment).await, Err(BodyError::TooLarge), "that much is known already");
    }

    #[tokio::test]
    async fn the_time_counts_from_the_arrival_of_the_request() {
        let limits = Limits { body_bytes: 5, deadline: SOON, ..Limits::default() };
        let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let arrived = Instant::now().checked_sub(SOON).unwrap();
        assert_eq!(read_body(body, arrived, limits, None).await, Err(BodyError::TooSlow));
    }

    #[tokio::test]
    async fn a_body_is_charged_before_it_is_read_whether_its_length_is_known_or_not() {
        let limits = Limits { body_bytes: 1 << 20, deadline: SOON, ..Limits::default() };
        let budget = MemoryBudget::new(MIN_MEMORY_BUDGET_BYTES);
        let charge = budget.enter(SOURCE).unwrap();
        let pieces = futures_util::stream::iter((0..8).map(|_| Ok::<_, std::io::Error>("x".repeat(32 << 10))));
        assert_eq!(read_body(Body::from_stream(pieces), Instant::now(), limits, Some(&charge)).await.unwrap().len(), 256 << 10);
        assert!(charge.bytes() > 3 * (256 << 10), "{}", charge.bytes());
        let charge = budget.enter(SOURCE).unwrap();
        assert_eq!(read_body(Body::from("x".repeat(100 << 10)), Instant::now(), limits, Some(&charge)).await.unwrap().len(), 100 << 10);
        assert!(charge.bytes() >= 3 * (96 << 10), "{}", charge.bytes());
        // More than clients may have that have not authenticated.
        let late = Instant::now().checked_sub(SOON / 2).unwrap();
        let whole = Body::from("x".repeat(1 << 20));
        let refused =
            [whole, Body::from_stream(futures_util::stream::iter((0..32).map(|_| Ok::<_, std::io::Error>("x".repeat(32 << 10)))))];
        let held = (0..2_000).map_while(|_| budget.enter(SOURCE).ok()).collect::<Vec<_>>();
        for body in refused {
            let refused = read_body(body, late, limits, Some(&charge)).await;
            assert_eq!(refused, Err(BodyError::NoMemory(OverBudget::Process)));
        }
        drop(held);
    }
}
