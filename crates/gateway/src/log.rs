//! The log: lines on standard error, written by a thread of its own.
//!
//! A line a request, each with a call into the system, would cost as much as the rest of the request. Lines are gathered and written a
//! few hundred times a second at most ([`writer`]); [`lines`] makes them.

mod lines;
mod writer;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::Failure;
pub(crate) use writer::flush;

/// From now on there is a log, of what passes `filter`. What is written until the process ends is only there for sure after [`flush`].
pub(crate) fn begin(filter: EnvFilter) -> Result<(), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::because("the log cannot be begun", error);
    writer::begin().map_err(|error| failed(&error))?;
    let format = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(writer::Line::default);
    format.fmt_fields(lines::Plainly).event_format(lines::Lines).finish().try_init().map_err(|error| failed(&error))
}
