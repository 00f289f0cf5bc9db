//! What every request passes: room, who asks, and the time it may take.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use calldata_core::service::PAGE_BYTES;
use calldata_core::{Access, Grant};
use calldata_http::{BodyError, Refusal, Seat, Stay, holding, read_body, repeated_header};
use tokio::time::Instant;

use crate::Native;
use crate::client::{Need, recognise};
use crate::problem::{Code, Problem};
use crate::query::Parameters;

/// The charge for sessions that are read and written a piece at a time: as rows, as sessions and as text, and the last one goes beyond.
pub(crate) const PIECE_MEMORY_BYTES: usize = 4 * PAGE_BYTES;

/// A request whose sender is recognised. One that ends within the deadline has its access as it was let in; one that may go on holds a
/// grant, which is checked at each use.
pub(crate) struct Visit<A = Access> {
    pub(crate) access: A,
    need: Need,
    pub(crate) parts: Parts,
    pub(crate) seat: Seat,
    body: Body,
    arrived: Instant,
}

impl Native {
    /// Answers a request of somebody who may do this, within the time that there is.
    pub(crate) async fn answer<W>(&self, need: Need, request: Request, work: W) -> Response
    where
        W: AsyncFnOnce(&Self, Visit) -> Result<Response, Problem>,
    {
        let answered = tokio::time::timeout(self.shared.limits.deadline, async {
            let visit = self.visit(need, Stay::Working, request).await?;
            let seat = visit.seat.clone();
            Ok(holding(work(self, visit).await?, seat).await?)
        });
        // A write that is under way goes on when its request is dropped here.
        answered.await.unwrap_or_else(|_| Err(Problem::busy())).unwrap_or_else(IntoResponse::into_response)
    }

    /// The same where the answer goes on for as long as there is something to tell; the work has its own time.
    pub(crate) async fn stream<W>(&self, need: Need, stay: Stay, request: Request, work: W) -> Response
    where
        W: AsyncFnOnce(&Self, Visit<Grant>) -> Result<Response, Problem>,
    {
        let visit = tokio::time::timeout(self.shared.limits.deadline, self.visit(need, stay, request));
        let answered = async {
            let Visit { access, need, parts, seat, body, arrived } = visit.await.unwrap_or_else(|_| Err(Problem::busy()))?;
            let access = Grant::new(Arc::clone(&self.shared.directory), access, need);
            let mut response = work(self, Visit { access, need, parts, seat, body, arrived }).await?;
            response.extensions_mut().insert(calldata_http::Streamed);
            Ok::<_, Problem>(response)
        };
        answered.await.unwrap_or_else(IntoResponse::into_response)
    }

    async fn visit(&self, need: Need, stay: Stay, request: Request) -> Result<Visit, Problem> {
        let arrived = Instant::now();
        let (parts, body) = request.into_parts();
        if let Some(name) = repeated_header(&parts.headers) {
            return Err(Problem::about(Code::InvalidRequest, name, "must be there once"));
        }
        let seat = self.shared.admission.enter(stay, &parts.extensions)?;
        let access = recognise(&self.shared, &parts, &seat, need).await?;
        Ok(Visit { access, need, parts, seat, body, arrived })
    }
}

impl Visit {
    /// The body as a whole. It may take seconds to arrive, so the access is checked again behind it.
    pub(crate) async fn read_body(&mut self, native: &Native) -> Result<Bytes, Problem> {
        let body = self.receive(native).await?;
        self.access = native.shared.directory.revalidate(&self.access, self.need)?;
        Ok(body)
    }
}

impl Visit<Grant> {
    /// The body as a whole.
    pub(crate) async fn read_body(&mut self, native: &Native) -> Result<Bytes, Problem> {
        self.receive(native).await
    }
}

impl<A> Visit<A> {
    /// The body as it comes.
    pub(crate) fn take_body(&mut self) -> Body {
        std::mem::take(&mut self.body)
    }

    async fn receive(&mut self, native: &Native) -> Result<Bytes, Problem> {
        self.takes_no_parameters()?;
        self.is_plain()?;
        let body = self.take_body();
        read_body(body, self.arrived, native.shared.limits, self.seat.charge()).await.map_err(|error| match error {
            BodyError::TooLarge => {
                Problem::new(Code::TooLarge, format!("the body has more than {} bytes", native.shared.limits.body_bytes))
            }
            BodyError::Interrupted => Problem::new(Code::InvalidRequest, "the body ended early"),
            BodyError::TooSlow => Problem::new(Code::InvalidRequest, "the body did not arrive in time"),
            BodyError::NoMemory(over) => Refusal::from(over).into(),
        })
    }

    /// A parameter that is not known is refused, and what takes a body takes none.
    pub(crate) fn takes_no_parameters(&self) -> Result<(), Problem> {
        Parameters::read(self.parts.uri.query(), &[]).map(drop)
    }

    /// A body that is packed is refused: what it unpacks to has no bound.
    pub(crate) fn is_plain(&self) -> Result<(), Problem> {
        match self.header("content-encoding")? {
            Some(encoding) if !encoding.eq_ignore_ascii_case("identity") => Err(Problem::unsupported_encoding()),
            _ => Ok(()),
        }
    }

    /// A header's value, where it is there once and readable.
    pub(crate) fn header(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.parts.headers.get_all(name).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let readable = value.to_str().ok().filter(|_| values.next().is_none());
        readable.map(Some).ok_or_else(|| Problem::invalid(name, "must be there once, in plain characters"))
    }
}

/// The text of a body.
pub(crate) fn text(body: &[u8]) -> Result<&str, Problem> {
    let text = std::str::from_utf8(body).map_err(|_| Problem::new(Code::InvalidRequest, "the body is not valid UTF-8"))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}
