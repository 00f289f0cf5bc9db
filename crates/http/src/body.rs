//! Reading request bodies, chunked or not.

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use crate::Limits;

/// How much of a body that is too large is still read, as a multiple of the limit: a client that is cut off while it sends may never
/// see the answer.
const DRAIN_FACTOR: usize = 8;

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
}

/// Reads the body of a request, which may be as large and take as long, counted from the request's arrival, as the limits say.
///
/// # Errors
/// When it is larger, or the client stops sending or is too slow.
pub async fn read_body(body: Body, arrived: Instant, limits: Limits) -> Result<Bytes, BodyError> {
    let mut too_large = false;
    let read = timeout_at(arrived + limits.body_deadline(), read(body, limits.body_bytes, &mut too_large)).await;
    // A client that cannot be waited for any longer has still sent too much.
    read.unwrap_or(Err(if too_large { BodyError::TooLarge } else { BodyError::TooSlow }))
}

async fn read(body: Body, limit: usize, too_large: &mut bool) -> Result<Bytes, BodyError> {
    let mut stream = body.into_data_stream();
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
        read.extend_from_slice(&chunk);
    }
    Ok(read.freeze())
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
    use std::time::Duration;

    async fn read_of(body: Body, deadline: Duration) -> Result<Bytes, BodyError> {
        read_body(body, Instant::now(), Limits { body_bytes: 5, deadline, ..Limits::default() }).await
    }

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
        assert_eq!(read_body(body, arrived, limits).await, Err(BodyError::TooSlow));
    }
}
