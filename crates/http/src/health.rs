//! Whether the process lives, and whether it can serve.

mod shared;

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

pub use shared::SharedReadiness;

/// Finds out what keeps the gateway from serving; empty when nothing does.
pub type ReadinessCheck = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Vec<String>> + Send>> + Send + Sync>;

/// Whether the gateway can serve.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// Whether requests can be answered.
    #[schema(example = true)]
    ready: bool,
    /// What stands in the way.
    #[schema(example = json!([]))]
    reasons: Vec<String>,
}

/// `/livez` and `/readyz`.
pub fn routes(readiness: SharedReadiness) -> Router {
    Router::new().route("/livez", routing::get(livez)).route("/readyz", routing::get(readyz)).with_state(readiness)
}

/// The process lives; nothing else is asked, the database least of all.
#[utoipa::path(
    get, path = "/livez", operation_id = "live", tag = "health", summary = "Whether the process lives",
    description = "The process lives; nothing else is asked, the database least of all.",
    responses((status = 200, description = "It does.", body = Alive)),
)]
async fn livez() -> Json<Alive> {
    Json(Alive { alive: true })
}

/// The process lives.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Alive {
    /// Always true.
    #[schema(example = true)]
    alive: bool,
}

/// The database answers and its schema is up to date.
#[utoipa::path(
    get, path = "/readyz", operation_id = "ready", tag = "health", summary = "Whether requests can be answered",
    description = "The database answers and its schema is up to date. Checked at most once a second, however many ask.",
    responses(
        (status = 200, description = "They can.", body = Readiness),
        (status = 503, description = "They cannot; the reasons say what stands in the way.", body = Readiness),
    ),
)]
async fn readyz(State(readiness): State<SharedReadiness>) -> Response {
    let reasons = readiness.reasons().await.to_vec();
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, reasons })).into_response()
}

/// What the health endpoints look like.
#[derive(Debug, OpenApi)]
#[openapi(paths(livez, readyz), components(schemas(Alive, Readiness)), tags((name = "health", description = "How the gateway is")))]
pub struct Description;
