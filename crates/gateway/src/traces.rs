//! Traces for a collector: every request, and what it asked of the store, sent as OTLP by a thread of its own.

mod store;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use calldata_http::trace::{self, Done, Observer, Outcome};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor};

use crate::Failure;
pub(crate) use store::Traced;

/// Where a collector takes traces, below its address.
const PATH: &str = "/v1/traces";

/// What is not sent yet when the process ends is waited for this long.
const LAST_WORDS: Duration = Duration::from_secs(2);

static COLLECTOR: OnceLock<Arc<Collector>> = OnceLock::new();

/// Tells a collector.
#[derive(Debug)]
struct Collector {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    /// Which share of the traces that begin here is wanted.
    share: f64,
}

/// Begins to tell the collector at this address of that share of all requests; of those that are part of a wanted trace, always.
///
/// # Errors
/// When the address cannot be used.
pub(crate) fn begin(endpoint: &str, share: f64) -> Result<(), Failure> {
    let endpoint = format!("{}{PATH}", endpoint.trim_end_matches('/'));
    let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).with_endpoint(endpoint).build();
    let exporter = exporter.map_err(|error| Failure::because("traces cannot be sent; see --otlp-endpoint", &error))?;
    let resource = Resource::builder()
        .with_service_name("calldata-gateway")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let mut processor = BatchSpanProcessor::builder(exporter).build();
    processor.set_resource(&resource);
    let scope = InstrumentationScope::builder("calldata-gateway").build();
    let collector = Arc::new(Collector { processor, scope, share });
    trace::observe(COLLECTOR.get_or_init(|| collector).clone());
    Ok(())
}

/// Sends what is not sent yet.
pub(crate) fn end() {
    if let Some(Err(error)) = COLLECTOR.get().map(|collector| collector.processor.shutdown_with_timeout(LAST_WORDS)) {
        tracing::debug!(error = &error as &dyn std::error::Error, "the last traces could not be sent");
    }
}

/// Whether a trace is among that share of all: its last digits are random.
fn is_among(trace: u128, share: f64) -> bool {
    let last = u32::try_from(trace & u128::from(u32::MAX)).unwrap_or_default();
    f64::from(last) < share * 2_f64.powi(32)
}

impl Observer for Collector {
    fn wants(&self, trace: u128) -> bool {
        is_among(trace, self.share)
    }

    fn done(&self, done: &Done<'_>) {
        let Done { context, name, began, took, outcome } = done;
        let (span_kind, attributes, failed) = match *outcome {
            Outcome::Answered { method, route, status, request_id } => (
                SpanKind::Server,
                vec![
                    KeyValue::new("http.request.method", method.to_owned()),
                    KeyValue::new("http.route", route.to_owned()),
                    KeyValue::new("http.response.status_code", i64::from(status)),
                    KeyValue::new("calldata.request_id", request_id.to_owned()),
                ],
                status >= 500,
            ),
            Outcome::Operation { failed } => (SpanKind::Internal, Vec::new(), failed),
        };
        let span = SpanId::from(context.span);
        let flags = TraceFlags::SAMPLED;
        self.processor.on_end(SpanData {
            span_context: SpanContext::new(TraceId::from(context.trace), span, flags, false, TraceState::NONE),
            parent_span_id: context.parent.map_or(SpanId::INVALID, SpanId::from),
            parent_span_is_remote: span_kind == SpanKind::Server && context.parent.is_some(),
            span_kind,
            name: (*name).to_owned().into(),
            start_time: *began,
            end_time: began.checked_add(*took).unwrap_or(SystemTime::UNIX_EPOCH),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: if failed { Status::error("") } else { Status::Unset },
            instrumentation_scope: self.scope.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_all_traces_is_wanted() {
        let ends = [0, 1 << 31, u128::from(u32::MAX), u128::MAX];
        assert_eq!(ends.map(|trace| is_among(trace, 1.0)), [true; 4]);
        assert_eq!(ends.map(|trace| is_among(trace, 0.0)), [false; 4]);
        assert_eq!(ends.map(|trace| is_among(trace, 0.5)), [true, false, false, false]);
    }
}
