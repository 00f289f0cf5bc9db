//! Traces: which work belongs to which request, by the W3C header `traceparent`. Nobody pays for it until somebody observes.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, HeaderName};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

static OBSERVER: OnceLock<Arc<dyn Observer>> = OnceLock::new();

thread_local! {
    /// What this thread works on at present.
    static AT_WORK: Cell<Option<Context>> = const { Cell::new(None) };
}

/// A piece of work within a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace, not 0.
    pub trace: u128,
    /// This piece, not 0.
    pub span: u64,
    /// The piece that it is part of, where there is one.
    pub parent: Option<u64>,
    /// Whether it is wanted.
    pub sampled: bool,
}

/// A piece of work that is done.
#[derive(Clone, Debug)]
pub struct Done<'d> {
    /// Its place.
    pub context: Context,
    /// What it was: a method and a route's template, or the name of an operation. Never what a client chose.
    pub name: &'d str,
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What became of it.
    pub outcome: Outcome<'d>,
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'d> {
    /// A request was answered.
    Answered {
        /// Its method.
        method: &'d str,
        /// The template of its route.
        route: &'d str,
        /// With this status.
        status: u16,
        /// Its id.
        request_id: &'d str,
    },
    /// Something was done on the way.
    Operation {
        /// Whether it failed.
        failed: bool,
    },
}

/// Who is told.
pub trait Observer: Send + Sync + 'static {
    /// Whether a trace that begins here is wanted.
    fn wants(&self, trace: u128) -> bool;
    /// A piece of work is done that was wanted. Must not take long.
    fn done(&self, done: &Done<'_>);
}

/// Has all that is done told from now on; false where somebody is told already.
pub fn observe(observer: Arc<dyn Observer>) -> bool {
    OBSERVER.set(observer).is_ok()
}

/// Whether somebody is told.
pub fn is_observed() -> bool {
    OBSERVER.get().is_some()
}

/// A request's place: within the trace that a trusted proxy names, or a new one. `None` while nobody observes. Who is not trusted could
/// have every request of its own recorded, whatever share is wanted, and write into the traces of others.
pub(crate) fn of_request(headers: &HeaderMap, trusted: bool) -> Option<Context> {
    let observer = OBSERVER.get()?;
    let told = headers.get(&TRACEPARENT).filter(|_| trusted).and_then(|value| parse(value.to_str().ok()?));
    let span = rand::random::<u64>().max(1);
    Some(match told {
        Some((trace, parent, sampled)) => Context { trace, span, parent: Some(parent), sampled },
        None => {
            let trace = rand::random::<u128>().max(1);
            Context { trace, span, parent: None, sampled: observer.wants(trace) }
        }
    })
}

/// Tells of something that is done.
pub(crate) fn tell(done: &Done<'_>) {
    if let Some(observer) = OBSERVER.get().filter(|_| done.context.sampled) {
        observer.done(done);
    }
}

/// Does something as a piece of the work on this thread's request, and tells of it.
///
/// # Errors
/// Those of the work.
pub async fn within<T, E>(name: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let Some(parent) = AT_WORK.get().filter(|parent| parent.sampled) else { return work.await };
    let context = Context { span: rand::random::<u64>().max(1), parent: Some(parent.span), ..parent };
    let (began, at) = (now(), tokio::time::Instant::now());
    let outcome = work.await;
    tell(&Done { context, name, began, took: at.elapsed(), outcome: Outcome::Operation { failed: outcome.is_err() } });
    outcome
}

/// From now on this thread works on that, until what is returned is dropped.
pub(crate) fn at_work(context: Option<Context>) -> AtWork {
    AtWork { before: AT_WORK.replace(context) }
}

/// See [`at_work`].
pub(crate) struct AtWork {
    before: Option<Context>,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        AT_WORK.set(self.before);
    }
}

#[expect(clippy::disallowed_methods, reason = "when something happened on this machine, whatever the tests' clock says")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// Trace, sender and whether it is wanted: `00-<32 hex>-<16 hex>-<2 hex>`, of later versions what stands there.
fn parse(text: &str) -> Option<(u128, u64, bool)> {
    let mut parts = text.trim().split('-');
    let (version, trace, sender, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !is_hex(version, 2) || version == "ff" || !is_hex(trace, 32) || !is_hex(sender, 16) || !is_hex(flags, 2) {
        return None;
    }
    if version == "00" && parts.next().is_some() {
        return None;
    }
    let (trace, sender) = (u128::from_str_radix(trace, 16).ok()?, u64::from_str_radix(sender, 16).ok()?);
    let flags = u8::from_str_radix(flags, 16).ok()?;
    (trace != 0 && sender != 0).then_some((trace, sender, flags & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents_as_the_standard_has_them() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let known = (0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71_6920_3331);
        let of = |version: &str, flags: &str| parse(&format!("{version}-{trace}-b7ad6b7169203331-{flags}"));
        assert_eq!(of("00", "01"), Some((known.0, known.1, true)));
        assert_eq!(of("00", "00"), Some((known.0, known.1, false)));
        assert_eq!(of("cc", "01-what-the-future-brings"), Some((known.0, known.1, true)));
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
