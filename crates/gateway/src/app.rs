//! The composition: all dialects over one store.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header;
use axum::{Router, routing};
use calldata_core::arrivals::WaitLimits;
use calldata_core::{Clock, Directory, Sessions, StoreError};
use calldata_http::{Limits, Shared, health, layers};
use calldata_store::Database;
use oifde_api::TokenSecrets;
use tower::util::MapRequestLayer;
use tower::{Layer, Service};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::description;

/// How long readiness waits for the database.
const READINESS_TIMEOUT: Duration = Duration::from_secs(2);

/// Everything that serves requests.
pub struct App {
    database: Database,
    shared: Shared,
    secrets: TokenSecrets,
}

impl App {
    /// Puts everything together over a database whose schema is up to date.
    ///
    /// # Errors
    /// When tenants and keys cannot be read.
    pub async fn new(database: Database, clock: Arc<dyn Clock>, limits: Limits, secrets: TokenSecrets) -> Result<Self, StoreError> {
        let store = Arc::new(database.clone());
        let directory = Directory::open(store.clone(), Arc::clone(&clock)).await?;
        let sessions = Sessions::new(store, clock, WaitLimits::default());
        Ok(Self { database, shared: Shared { directory, sessions, limits }, secrets })
    }

    /// What stores and finds sessions.
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.shared.sessions
    }

    /// What recognises clients.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.shared.directory
    }

    /// Keeps tenants and keys up to date, and looks for what other instances stored, until the task is dropped.
    pub async fn keep(&self) {
        let sessions = &self.shared.sessions;
        let directory = Arc::clone(&self.shared.directory);
        let elsewhere = sessions.watch_elsewhere();
        let directory = directory.keep(|tenant| async move {
            // What other instances stored by the old default country until they noticed is found again as well.
            match sessions.rewrite_callers(&tenant).await {
                Ok(changed) => tracing::info!(changed, "callers rewritten after a change of the default country"),
                Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "callers could not be rewritten"),
            }
        });
        tokio::join!(elsewhere, directory);
    }

    /// The service that answers requests.
    pub fn service(
        &self,
    ) -> impl Service<Request, Response = axum::response::Response, Error = std::convert::Infallible, Future: Send> + Clone + Send + Sync + 'static
    {
        let dialects = parloa_api::router(self.shared.clone()).merge(oifde_api::router(self.shared.clone(), self.secrets.clone()));
        let router = layers::around(dialects.merge(health::routes(self.readiness())).merge(documents()));
        MapRequestLayer::new(parloa_api::normalise_path).layer(router)
    }

    fn readiness(&self) -> health::ReadinessCheck {
        let database = self.database.clone();
        Arc::new(move || {
            let database = database.clone();
            Box::pin(async move {
                match tokio::time::timeout(READINESS_TIMEOUT, database.pending_migrations()).await {
                    Err(_) => vec!["the database does not answer in time".into()],
                    Ok(Err(_)) => vec!["the database does not answer".into()],
                    Ok(Ok(0)) => Vec::new(),
                    Ok(Ok(pending)) => vec![format!("the schema is {pending} changes behind: calldata-gateway migrate up")],
                }
            })
        })
    }
}

/// The API description and a page that shows it, which needs nothing from elsewhere.
fn documents() -> Router {
    let mut router = Router::new();
    let mut urls = Vec::new();
    for (name, document) in description::documents() {
        let text: Arc<str> = description::text(&document).into();
        let path = if name == "gateway" { "/openapi.json".to_owned() } else { format!("/openapi/{name}.json") };
        urls.push(path.clone());
        let serve = move || {
            let text = Arc::clone(&text);
            async move { ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], text.to_string()) }
        };
        if name == "gateway" {
            router = router.route("/openapi/gateway.json", routing::get(serve.clone()));
        }
        router = router.route(&path, routing::get(serve));
    }
    urls.rotate_right(1);
    router.merge(SwaggerUi::new("/docs").config(Config::new(urls).validator_url("none")))
}
