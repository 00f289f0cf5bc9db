//! Reading request bodies, chunked or not.

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

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
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// When it is larger, or the client stops sending.
pub async fn read_body(body: Body, limit: usize) -> Result<Bytes, BodyError> {
    let mut stream = body.into_data_stream();
    let mut read = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| BodyError::Interrupted)?;
        if read.len() + chunk.len() > limit {
            drain(stream, limit.saturating_mul(DRAIN_FACTOR)).await;
            return Err(BodyError::TooLarge);
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read.freeze())
}

async fn drain(mut stream: BodyDataStream, mut allowance: usize) {
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

    #[tokio::test]
    async fn a_body_up_to_the_limit_is_read_and_a_larger_one_refused() {
        assert_eq!(read_body(Body::from("12345"), 5).await.unwrap(), "12345");
        assert_eq!(read_body(Body::from("123456"), 5).await, Err(BodyError::TooLarge));
        assert_eq!(read_body(Body::from("x".repeat(1_000)), 5).await, Err(BodyError::TooLarge));
        let broken = futures_util::stream::iter([Ok("12"), Err(std::io::Error::other("gone"))]);
        assert_eq!(read_body(Body::from_stream(broken), 5).await, Err(BodyError::Interrupted));
    }
}
