//! The log: lines on standard error, written by a thread of its own.
//!
//! A line a request, each with a call into the system, would cost as much as the rest of the request. Lines are gathered and written a
//! few hundred times a second at most ([`writer`]); [`lines`] and [`json`] make them.

mod json;
mod lines;
mod writer;

use std::sync::OnceLock;

use clap::ValueEnum;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::Failure;
pub(crate) use writer::flush;

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people
    #[default]
    Plain,
    /// One JSON object a line
    Json,
}

static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// A line that is not told by way of the log, for instance because the log has failed, in the words and the format of the log.
pub(crate) fn bare_line(level: &str, message: &str) -> String {
    match FORMAT.get().copied().unwrap_or_default() {
        LogFormat::Plain => message.to_owned(),
        LogFormat::Json => serde_json::json!({ "level": level, "message": message }).to_string(),
    }
}

/// From now on there is a log, of what passes `filter`. What is written until the process ends is only there for sure after [`flush`].
pub(crate) fn begin(filter: EnvFilter, format: LogFormat) -> Result<(), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::because("the log cannot be begun", error);
    let _ = FORMAT.set(format);
    writer::begin().map_err(|error| failed(&error))?;
    let to =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(writer::Line::default).fmt_fields(lines::Plainly);
    match format {
        LogFormat::Plain => to.event_format(lines::Lines).finish().try_init(),
        LogFormat::Json => to.event_format(json::Objects).finish().try_init(),
    }
    .map_err(|error| failed(&error))
}
