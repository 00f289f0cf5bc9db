//! Lines of JSON, for programs that gather logs.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::lines::{since_epoch, write_time};

/// One object a line: `time`, `level`, `request_id` where there is one, `target`, `message`, and the fields of the event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Objects;

impl<S, N> FormatEvent<S, N> for Objects
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let normalised = event.normalized_metadata();
        let metadata = normalised.as_ref().unwrap_or_else(|| event.metadata());
        writer.write_str("{\"time\":\"")?;
        write_time(&mut writer, since_epoch())?;
        write!(writer, "\",\"level\":\"{}\"", metadata.level())?;
        calldata_http::with_request_id(|id| match id {
            Some(id) => write!(writer, ",\"request_id\":{}", Quoted(id)),
            None => Ok(()),
        })?;
        write!(writer, ",\"target\":{}", Quoted(metadata.target()))?;
        let mut members = Members { writer, result: Ok(()) };
        event.record(&mut members);
        members.result?;
        members.writer.write_str("}\n")
    }
}

/// A text as a JSON string.
struct Quoted<'t>(&'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::Value::from(self.0).to_string())
    }
}

struct Members<'w> {
    writer: Writer<'w>,
    result: fmt::Result,
}

impl Members<'_> {
    fn member(&mut self, field: &Field, value: impl fmt::Display) {
        let name = field.name();
        // What libraries log another way says again where it comes from.
        if self.result.is_ok() && !name.starts_with("log.") {
            self.result = write!(self.writer, ",{}:{value}", Quoted(name.strip_prefix("r#").unwrap_or(name)));
        }
    }
}

impl Visit for Members<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, Quoted(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(error) = source {
            // To write into a text cannot fail.
            let _ = write!(text, ": {error}");
            source = error.source();
        }
        self.member(field, Quoted(&text));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.member(field, Quoted(&format!("{value:?}")));
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::tests::Said;
    use super::*;
    use std::io;

    #[test]
    fn every_line_is_an_object_whatever_is_in_it() {
        let said = Said::default();
        let format = tracing_subscriber::fmt().with_ansi(false).with_writer(said.clone()).event_format(Objects);
        tracing::dispatcher::with_default(&format.finish().into(), || {
            let error = io::Error::other("a \"word\"\n\u{1b}[31mred");
            tracing::info!(method = "GET", status = 200_u16, elapsed_ms = 3_u64, yes = true, n = -1, r#type = "t", "answered {}", "fast");
            tracing::error!(error = &error as &dyn std::error::Error, odd = ?"a\nb", "two\nlines");
        });
        let lines: Vec<serde_json::Value> = said.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            (&lines[0]["message"], &lines[0]["status"], &lines[0]["n"], &lines[0]["yes"]),
            (&"answered fast".into(), &200.into(), &(-1).into(), &true.into())
        );
        assert_eq!((&lines[0]["level"], &lines[0]["type"]), (&"INFO".into(), &"t".into()));
        assert_eq!(lines[0]["time"].as_str().unwrap().len(), 27);
        assert_eq!((&lines[1]["message"], &lines[1]["error"]), (&"two\nlines".into(), &"a \"word\"\n\u{1b}[31mred".into()));
    }
}
