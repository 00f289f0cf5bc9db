//! How a line of the log looks: time, level, request, place, what happened.

use std::cell::RefCell;
use std::fmt::{self, Debug};
use std::time::{Duration, UNIX_EPOCH};

use calldata_core::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{DefaultVisitor, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Date and time to the second: `2024-02-27T12:16:23`.
const SECOND_CHARS: usize = 19;

thread_local! {
    /// The last second that was written, and how: most lines share theirs with the one before.
    static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

/// Lines as people know them from other programs, with the request in front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // What libraries log another way says only there where it comes from.
        let normalised = event.normalized_metadata();
        let metadata = normalised.as_ref().unwrap_or_else(|| event.metadata());
        write_time(&mut writer, since_epoch())?;
        let level = metadata.level().as_str();
        writer.write_str("      ".get(level.len()..).unwrap_or_default())?;
        writer.write_str(level)?;
        writer.write_char(' ')?;
        let mut within = false;
        calldata_http::with_request_id(|id| match id {
            Some(id) => {
                within = true;
                writer.write_str("request{id=\"")?;
                writer.write_str(id)?;
                writer.write_str("\"}:")
            }
            None => Ok(()),
        })?;
        for span in context.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            within = true;
            writer.write_str(span.metadata().name())?;
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>().filter(|fields| !fields.is_empty()) {
                write!(writer, "{{{fields}}}")?;
            }
            writer.write_char(':')?;
        }
        if within {
            writer.write_char(' ')?;
        }
        writer.write_str(metadata.target())?;
        writer.write_str(": ")?;
        context.format_fields(writer.by_ref(), event)?;
        writer.write_char('\n')
    }
}

/// When something happens on this machine, whatever the tests' clock says.
pub(super) fn since_epoch() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "the log tells the time of the machine")]
    std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// `2024-02-27T12:16:23.926123Z`
pub(super) fn write_time(writer: &mut Writer<'_>, since_epoch: Duration) -> fmt::Result {
    SECOND.with_borrow_mut(|(known, text)| {
        let second = since_epoch.as_secs();
        if *known != second {
            let ms = i64::try_from(second).unwrap_or(i64::MAX).saturating_mul(1_000);
            *text = Timestamp::clamped(ms).to_string();
            text.truncate(SECOND_CHARS);
            *known = second;
        }
        writer.write_str(text)
    })?;
    write!(writer, ".{:06}Z", since_epoch.subsec_micros())
}

/// Fields as `name=value`, the message bare.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plainly;

impl<'w> FormatFields<'w> for Plainly {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut plain = Plain { writer, first: true, result: Ok(()) };
        fields.record(&mut plain);
        plain.result
    }
}

/// Writes what is frequent by itself, and leaves the rest to the library.
struct Plain<'w> {
    writer: Writer<'w>,
    first: bool,
    result: fmt::Result,
}

impl Plain<'_> {
    fn named(&mut self, field: &Field) -> fmt::Result {
        if !std::mem::take(&mut self.first) {
            self.writer.write_char(' ')?;
        }
        let name = field.name();
        self.writer.write_str(name.strip_prefix("r#").unwrap_or(name))?;
        self.writer.write_char('=')
    }

    fn or_fail(&mut self, write: impl FnOnce(&mut Self) -> fmt::Result) {
        if self.result.is_ok() {
            self.result = write(self);
        }
    }

    fn by_the_library(&mut self, record: impl FnOnce(&mut DefaultVisitor<'_>)) {
        self.or_fail(|plain| {
            let mut visitor = DefaultVisitor::new(plain.writer.by_ref(), std::mem::take(&mut plain.first));
            record(&mut visitor);
            tracing_subscriber::field::VisitOutput::finish(visitor)
        });
    }
}

impl Visit for Plain<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        let plain = value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\' && byte != b'\'' || byte == b' ');
        if !plain || field.name() == "message" || field.name().starts_with("log.") {
            return self.by_the_library(|visitor| visitor.record_str(field, value));
        }
        self.or_fail(|writer| {
            writer.named(field)?;
            writer.writer.write_char('"')?;
            writer.writer.write_str(value)?;
            writer.writer.write_char('"')
        });
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name().starts_with("log.") {
            return;
        }
        self.or_fail(|writer| {
            writer.named(field)?;
            write!(writer.writer, "{value}")
        });
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.by_the_library(|visitor| visitor.record_error(field, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name().starts_with("log.") {
            return;
        }
        self.by_the_library(|visitor| visitor.record_debug(field, value));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    pub(in super::super) struct Said(Arc<Mutex<Vec<u8>>>);

    impl Said {
        pub(in super::super) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Said {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Said {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// What is said of this, after the time.
    fn said(by: impl FnOnce(Said) -> tracing::Dispatch) -> String {
        let said = Said::default();
        tracing::dispatcher::with_default(&by(said.clone()), || {
            let error = io::Error::other("\u{1b}[31mred");
            tracing::info!(method = "GET", route = "/a b", status = 200_u16, elapsed_ms = 3_u64, "answered");
            tracing::warn!(odd = "a\"b\n\u{1b}", text = %"x y", debug = ?Some("z"), n = -1, yes = true, "two {}", "words");
            tracing::error!(error = &error as &dyn std::error::Error, r#type = "t", "\u{1b}[31mred");
            tracing::info_span!("outer", name = "n").in_scope(|| tracing::info_span!("inner").in_scope(|| tracing::info!(a = 1, "within")));
            tracing::info!("bare");
            tracing::info!(alone = "x");
        });
        said.text().lines().map(|line| line.split_once('Z').unwrap().1).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn lines_are_those_of_the_library() {
        let ours = |said| {
            let format = tracing_subscriber::fmt().with_ansi(false).with_writer(said);
            format.fmt_fields(Plainly).event_format(Lines).finish().into()
        };
        assert_eq!(said(ours), said(|said| tracing_subscriber::fmt().with_ansi(false).with_writer(said).finish().into()));
    }

    #[test]
    fn the_time_is_told_to_the_microsecond() {
        let written = |micros| {
            let mut text = String::new();
            write_time(&mut Writer::new(&mut text), Duration::from_micros(micros)).unwrap();
            text
        };
        assert_eq!(written(1_709_036_183_000_042), "2024-02-27T12:16:23.000042Z");
        assert_eq!(written(1_709_036_183_926_123), "2024-02-27T12:16:23.926123Z");
        assert_eq!(written(1_709_036_184_000_000), "2024-02-27T12:16:24.000000Z");
    }
}
