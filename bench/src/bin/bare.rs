//! A bare axum that reads what it is sent and answers constants of the usual size: as fast as anything of this kind can be on a machine.

use std::io::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Query;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use calldata_bench::names;
use clap::Parser;
use serde::Deserialize;
use tikv_jemallocator::Jemalloc;

/// The gateway's.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

#[derive(Parser)]
struct Cli {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: std::net::SocketAddr,
}

/// What is fetched, read and not used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "reading it is the work")]
struct Fetch {
    client_id: String,
    code: String,
    caller: String,
    callid: String,
    time_limit: Option<u64>,
}

fn main() -> calldata_bench::Result {
    let cli = Cli::parse();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(cli.listen).await?;
        println!("listening on http://{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        Ok(axum::serve(listener, router()).await?)
    })
}

fn router() -> Router {
    let record: Arc<str> = a_record().into();
    let fetch = move |Query(fetch): Query<Fetch>| {
        std::hint::black_box(&fetch);
        let record = Arc::clone(&record);
        async move { json(record.to_string()) }
    };
    let page: Arc<str> = a_page(names::RECORDS_A_USER).into();
    let history = move |body: Bytes| {
        let page = Arc::clone(&page);
        async move { if parses(&body) { json(page.to_string()) } else { StatusCode::BAD_REQUEST.into_response() } }
    };
    let store = async |body: Bytes| {
        if parses(&body) { json(r#"{"choice":"success","output":{}}"#) } else { StatusCode::BAD_REQUEST.into_response() }
    };
    Router::new()
        .route("/api/CallData", get(fetch).post(store))
        .route("/oifde/rest/api/queryRecordHistory", post(history))
        .route("/livez", get(async || "ok"))
}

/// Whether that is JSON; all of it is read into memory.
fn parses(body: &[u8]) -> bool {
    std::hint::black_box(serde_json::from_slice::<serde_json::Value>(body)).is_ok()
}

fn json(body: impl Into<axum::body::Body>) -> Response {
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], body.into()).into_response()
}

/// A record as long as one that the gateway answers. Its call is the one that stands for all others in the generator.
fn a_record() -> String {
    let (caller, call, content) = (names::caller(1_234_567_890), names::call(2_345_678_901), names::content(2_345_678_901));
    let rest = names::FIELDS.trim_start_matches('{');
    format!(r#"{{"caller":"{caller}","callid":"{call}","timestamp":"2026-11-20T20:43:16.175Z","content":{content},{rest}"#)
}

/// A page of records as long as one that the gateway answers.
fn a_page(records: u64) -> String {
    let (caller, call) = (names::caller(1_234_567_890), names::call(2_345_678_901));
    let data = format!(r#"{{"content":{},{}"#, names::content(2_345_678_901), names::FIELDS.trim_start_matches('{')).replace('"', "\\\"");
    let record = format!(
        r#"{{"logId":"01a1fe21-6ac9-7209-b313-e2c4990cde8d","tenantId":"{}","callSorId":"{caller}","callId":"{call}","ctiCallId":null,"callingNumber":"{caller}","calledNumber":"","startTime":1795264965321,"lastUpdateTime":1795264965321,"flowInstId":"","dialogType":"1","callData":"{data}","businessInfo":null,"businessInfoStr":"","recordDetials":[],"qaRecords":[]}}"#,
        names::CLIENT
    );
    let list = vec![record; usize::try_from(records).unwrap_or(0)].join(",");
    format!(r#"{{"errorCode":0,"errorMsg":"Success","total":{records},"recordList":[{list}]}}"#)
}
