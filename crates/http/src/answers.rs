//! Answers on their way out: a request is under way until its answer is out.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use crate::{Refusal, Seat};

/// An answer up to this length costs so little that nobody needs to know whether it is out.
const SMALL_BYTES: u64 = 64 << 10;
/// What is handed over of a larger one at a time. The HTTP library asks for more as the client takes it; this is what it sends at once.
const FRAME_BYTES: usize = 16 << 10;

/// Put beside an answer that goes on for as long as there is something to tell: it may take any time in all, while the client takes what is
/// there.
#[derive(Clone, Copy, Debug)]
pub struct Streamed;

/// Put beside an answer that somebody was willing to wait for: how long it took says nothing about how fast the gateway is.
#[derive(Clone, Copy, Debug)]
pub struct Waited;

/// An answer that keeps its request's seat taken until the client has it, unless it is small. Its request is charged for its length, and
/// for nothing else any more.
///
/// # Errors
/// When there is no memory for it.
pub async fn holding(response: Response, seat: Seat) -> Result<Response, Refusal> {
    let length = response.body().size_hint().upper();
    if let (Some(charge), Some(length)) = (seat.charge(), length) {
        charge.settle(usize::try_from(length).unwrap_or(usize::MAX)).await?;
    }
    if length.is_some_and(|length| length <= SMALL_BYTES) {
        return Ok(response);
    }
    Ok(response.map(|body| Body::new(Holding { body, rest: Bytes::new(), _seat: seat })))
}

/// The body of a large answer.
struct Holding {
    body: Body,
    /// What was made and not yet handed over.
    rest: Bytes,
    _seat: Seat,
}

impl http_body::Body for Holding {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(frame))) => return Poll::Ready(Some(Ok(frame))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        // A copy: a part would keep the whole in memory, for as long as it waits for the client.
        let length = self.rest.len().min(FRAME_BYTES);
        let part = self.rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(&part)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (of_body, rest) = (self.body.size_hint(), u64::try_from(self.rest.len()).unwrap_or(u64::MAX));
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower().saturating_add(rest));
        if let Some(upper) = of_body.upper().and_then(|upper| upper.checked_add(rest)) {
            hint.set_upper(upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{Admission, Stay};
    use axum::body::to_bytes;
    use axum::http::Extensions;

    /// Whether the only seats there are, two, are free.
    fn is_free(admission: &Admission) -> bool {
        let (first, second) = (admission.enter(Stay::Working, &Extensions::new()), admission.enter(Stay::Working, &Extensions::new()));
        first.is_ok() && second.is_ok()
    }

    #[tokio::test]
    async fn a_large_answer_goes_out_piece_by_piece_and_holds_its_seat_until_then() {
        let admission = Admission::new(1, None);
        let content: Vec<u8> = (0..200_001_u32).flat_map(u32::to_be_bytes).collect();
        let seat = admission.enter(Stay::Working, &Extensions::new()).unwrap();
        let answer = holding(Response::new(Body::from(content.clone())), seat).await.unwrap();
        let mut body = answer.into_body();
        let mut taken = Vec::new();
        while !body.is_end_stream() {
            assert!(!is_free(&admission));
            assert_eq!(body.size_hint().exact(), Some((content.len() - taken.len()) as u64), "so that its length is told");
            let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap().into_data().unwrap();
            assert!(frame.len() <= FRAME_BYTES && !frame.is_empty(), "{}", frame.len());
            taken.extend(frame);
        }
        drop(body);
        assert_eq!(taken, content);
        assert!(is_free(&admission));
    }

    #[tokio::test]
    async fn a_small_answer_holds_nothing_and_one_of_unknown_length_does() {
        let admission = Admission::new(1, None);
        let seat = admission.enter(Stay::Working, &Extensions::new()).unwrap();
        let small = holding(Response::new(Body::from("small")), seat).await.unwrap();
        assert!(is_free(&admission));
        assert_eq!(to_bytes(small.into_body(), 10).await.unwrap(), "small");
        let parts = futures_util::stream::iter(["a", "", "b"].map(Ok::<_, std::io::Error>));
        let seat = admission.enter(Stay::Working, &Extensions::new()).unwrap();
        let unknown = holding(Response::new(Body::from_stream(parts)), seat).await.unwrap();
        assert!(!is_free(&admission));
        assert_eq!(to_bytes(unknown.into_body(), 10).await.unwrap(), "ab");
        assert!(is_free(&admission));
    }
}
