//! What operators' systems ask on a port of its own: metrics for Prometheus, and health.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::header;
use axum::{Router, routing};
use calldata_http::health::{self, SharedReadiness};
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
const SECONDS: [f64; 12] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0];
const ROWS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 32.0, 64.0, 128.0, 512.0];

/// Begins to count. Until then, counting costs nothing.
///
/// # Errors
/// When something else in the process counts already.
pub fn count() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_rows".into()), &ROWS)?
        .install_recorder()?;
    describe_counter!("calldata_requests_total", "Requests answered, by dialect, route template, method and status");
    describe_histogram!("calldata_request_seconds", Unit::Seconds, "Time to the answer, by dialect, route template and method");
    describe_histogram!("calldata_wait_seconds", Unit::Seconds, "How long fetches took that may wait for a record");
    describe_counter!("calldata_requests_refused_total", "Requests turned away, by reason: full, share, rate, lockout, lookups, memory");
    describe_gauge!("calldata_memory_budget_bytes", Unit::Bytes, "Memory that requests and connections may hold");
    describe_gauge!("calldata_memory_used_bytes", Unit::Bytes, "Memory that requests hold, by share: entrance, strangers, tenants");
    describe_counter!("calldata_authentications_total", "Keys, secrets and tokens, by dialect and outcome: right, wrong, locked out");
    describe_counter!("calldata_misses_total", "Questions to which there was no record, by dialect and reason");
    describe_counter!("calldata_lookups_total", "Sessions looked up in SQLite, by where they were found: memory, database");
    describe_counter!("calldata_writes_refused_total", "Writes turned away because too many waited");
    describe_gauge!("calldata_write_queue_rows", "Writes that wait for the next commit");
    describe_histogram!("calldata_commit_rows", "Writes that shared a commit");
    describe_histogram!("calldata_commit_seconds", Unit::Seconds, "Time of a commit");
    describe_counter!("calldata_quota_refusals_total", "Writes that were refused because a tenant stores as much as it may");
    describe_gauge!("calldata_stored_bytes", "Bytes of sessions, by tenant, of those that have a quota");
    describe_gauge!("calldata_quota_bytes", "Bytes of sessions that a tenant may store, by tenant");
    describe_gauge!("calldata_purge_backlog_sessions", "Sessions that have expired and are still stored");
    describe_gauge!("calldata_clock_ahead_seconds", Unit::Seconds, "By how much the machine's clock is ahead of the gateway's time");
    describe_gauge!("calldata_clock_unproven_seconds", Unit::Seconds, "By how much the gateway's time is ahead of what it deletes by");
    describe_counter!("calldata_audit_lost_total", "Reads and writes of which it could not be noted who did them");
    describe_counter!("calldata_audit_dropped_total", "Entries of audit trails that were dropped beyond their tenant's budget");
    describe_counter!("calldata_purged_sessions_total", "Expired sessions that were deleted");
    describe_gauge!("calldata_database_connections", "Connections to the database, by pool and state: idle, busy");
    describe_counter!("calldata_webhook_deliveries_total", "Attempts to tell a webhook, by outcome: delivered, failed, dead, gone, moot");
    describe_gauge!("calldata_webhook_backlog", "Sessions of which webhooks are still to be told");
    describe_counter!("calldata_webhook_gaps_total", "How often events were dropped before a webhook was told of them");
    describe_gauge!("calldata_build_info", "1, with the version of the program");
    metrics::gauge!("calldata_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Collector::default().describe();
    Ok(handle)
}

/// Folds together what was measured, from time to time and whether anybody asks or not: what waits for that takes memory.
/// `look` is called each time, for what is only known when somebody looks.
pub async fn keep(counted: PrometheusHandle, look: impl Fn()) -> Infallible {
    let process = Collector::default();
    loop {
        look();
        process.collect();
        counted.run_upkeep();
        tokio::time::sleep(UPKEEP_INTERVAL).await;
    }
}

/// `/metrics`, `/livez` and `/readyz`.
pub fn routes(counted: PrometheusHandle, readiness: SharedReadiness) -> Router {
    let render = move || {
        let counted = counted.clone();
        async move { ([(header::CONTENT_TYPE, CONTENT_TYPE)], counted.render()) }
    };
    Router::new().route("/metrics", routing::get(render)).merge(health::routes(readiness))
}
