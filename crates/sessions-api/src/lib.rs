//! The native interface `/v1`: everything that neither dialect can say.
//!
//! Rooms: [`visit`] is what every request passes, [`client`] recognises who asks, [`problem`] holds the words for what went wrong,
//! [`resource`] writes sessions and their tags, [`accepted`] knows which shape is wanted, [`query`] and [`cursor`] read what a list is asked
//! for, [`once`] names requests that must not be done twice, [`shapes`] describes bodies. Each operation has a file. Arrows: http,
//! interchange, core.
//!
//! To add an operation: a file with its handler, a route here, a line in the description.

mod accepted;
mod amend;
mod audit;
mod batch;
mod callers;
mod client;
mod create;
mod cursor;
mod events;
mod export;
mod get;
mod id;
mod list;
mod once;
mod problem;
mod query;
mod reading;
mod refusals;
mod resource;
mod shapes;
mod visit;
mod webhooks;

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use calldata_core::webhooks::Webhooks;
use calldata_core::{Audit, Eraser};
use calldata_http::Shared;
use secrecy::SecretString;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::cursor::Cursors;
use crate::problem::{Code, Problem};

/// What stands behind the operations.
#[derive(Clone)]
pub struct Native {
    shared: Shared,
    cursors: Cursors,
    eraser: Arc<Eraser>,
    audit: Arc<Audit>,
    webhooks: Arc<Webhooks>,
}

impl Native {
    /// The interface over what is shared. The first of the `secrets` signs what clients bring back, every one of them is accepted.
    pub fn new(shared: Shared, secrets: Vec<SecretString>, eraser: Arc<Eraser>, audit: Arc<Audit>, webhooks: Arc<Webhooks>) -> Self {
        Self { shared, cursors: Cursors::new(secrets), eraser, audit, webhooks }
    }
}

/// The routes of the interface.
pub fn router(native: Native) -> Router {
    Router::new()
        .route("/v1/sessions", routing::get(list::list).post(create::create).fallback(other_method))
        .route("/v1/sessions:batch", routing::post(batch::batch).fallback(other_method))
        .route("/v1/sessions:export", routing::get(export::export).fallback(other_method))
        .route("/v1/sessions/{id}", routing::get(get::get).put(amend::replace).fallback(other_method))
        .route("/v1/sessions/{id}/turns", routing::post(amend::append).fallback(other_method))
        .route("/v1/calls", routing::get(list::list_calls).fallback(other_method))
        .route("/v1/callers:export", routing::post(callers::export).fallback(other_method))
        .route("/v1/callers:erase", routing::post(callers::erase).fallback(other_method))
        .route("/v1/erasures/{id}", routing::get(callers::receipt).fallback(other_method))
        .route("/v1/audit", routing::get(audit::audit).fallback(other_method))
        .route("/v1/webhooks", routing::get(webhooks::list).post(webhooks::create).fallback(other_method))
        .route(
            "/v1/webhooks/{id}",
            routing::get(webhooks::get).delete(webhooks::delete).post(webhooks::act).fallback(webhooks::other_method),
        )
        .route("/v1/webhooks/{id}/deadLetters", routing::get(webhooks::dead_letters).fallback(other_method))
        .route("/v1/webhooks/{id}/deadLetters:replay", routing::post(webhooks::replay).fallback(other_method))
        .route("/v1/events", routing::get(events::events).fallback(other_method))
        .route("/v1", routing::any(nothing))
        .route("/v1/", routing::any(nothing))
        .route("/v1/{*rest}", routing::any(nothing))
        .with_state(native)
}

async fn nothing(_: Request) -> Response {
    Problem::new(Code::NotFound, "there is nothing at this path; see /docs").into_response()
}

async fn other_method(_: Request) -> Response {
    Problem::other_method().into_response()
}

/// The description of the interface.
pub fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sessions (native interface)",
        description = "What was learned during calls, whichever dialect brought it: stored, listed, exported. JSON in camelCase, times in RFC \
            3339, problems as `application/problem+json` with a stable `code`. All of it is ours.",
    ),
    paths(create::create, list::list, get::get, amend::replace, amend::append, batch::batch, export::export, list::list_calls, events::events,
        callers::export, callers::erase, callers::receipt, audit::audit, webhooks::create, webhooks::list, webhooks::get, webhooks::delete, webhooks::rotate_secret,
        webhooks::enable, webhooks::dead_letters, webhooks::replay),
    components(schemas(
        shapes::SessionResource, shapes::RecordingResource, shapes::TurnResource, shapes::AnswerResource, shapes::AdditionsResource,
        shapes::SessionPage, shapes::CallResource, shapes::CallPage, batch::BatchResult, events::EventResource,
        events::EventData, callers::CallerRequest, callers::CallerExport, callers::ReceiptResource, audit::AuditEntry, audit::AuditPage, webhooks::NewWebhook,
        webhooks::WebhookResource, webhooks::WebhookList, webhooks::DeadLetterResource, webhooks::DeadLetterPage, webhooks::Replayed, problem::ProblemDocument, problem::Code,
    )),
    modifiers(&SecuritySchemes),
    tags(
        (name = "sessions", description = "Store, list and change sessions (native interface)"),
        (name = "callers", description = "What is known of a person (native interface)"),
        (name = "webhooks", description = "Be told of what happens to sessions (native interface)"),
        (name = "events", description = "Follow what happens to sessions (native interface)"),
    ),
)]
struct Description;

struct SecuritySchemes;

impl Modify for SecuritySchemes {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let about = "An access key. One that several tenants brought along is sent as Basic, with the client id as user name.";
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(about)).build();
        description.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}
