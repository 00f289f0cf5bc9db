//! The composition: all dialects over one store.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Method, header};
use axum::response::Response;
use axum::{Router, routing};
use bytes::Bytes;
use calldata_core::arrivals::WaitLimits;
use calldata_core::clock::ADOPTION;
use calldata_core::webhooks::Webhooks;
use calldata_core::{Audit, Clock, Directory, Eraser, Pseudonyms, Purge, SessionStore, Sessions, StoreError, Timekeeper};
use calldata_http::{Limits, MemoryBudget, Origins, Shared, Source, health, layers, trace};
pub use calldata_push::EndpointPolicy;
use calldata_push::{Deliverer, Ports, Sender};
use calldata_store::Database;
use oifde_api::{Oifde, TokenSecrets};
use sessions_api::Native;
use tokio::sync::mpsc;
use tower::{Service, ServiceExt, service_fn};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::description;
use crate::documents::{self, DocsAccess};
use crate::told::Told;
use crate::traces::Traced;

/// How long readiness waits for the database.
const READINESS_TIMEOUT: Duration = Duration::from_secs(2);

/// How often it is looked whether the database is still the one that it was: a server may be replaced by a replica, or by a restored one.
const EPOCH_INTERVAL: Duration = Duration::from_secs(1);

/// How long the end of the process waits for the log to be written back; what is in the log is found there by the next start.
const LAST_WRITE_BACK: Duration = Duration::from_secs(2);

/// Instances that share a server must agree on the time: what one of them stores, the other may not take for older than it is.
pub(crate) const MAX_CLOCK_DIFFERENCE_MS: i64 = 1_000;

/// A machine's clock that differs by more from the time that has passed has leapt ([`calldata_core::clock::TOLERANCE`]).
const TOLERANCE_MS: i64 = 2_000;

/// Everything that serves requests.
pub struct App {
    database: Database,
    shared: Shared,
    secrets: TokenSecrets,
    purge: Purge,
    eraser: Arc<Eraser>,
    audit: Arc<Audit>,
    webhooks: Arc<Webhooks>,
    deliverer: Arc<Deliverer>,
    readiness: health::SharedReadiness,
    timekeeper: Timekeeper,
}

impl App {
    /// Puts everything together over a database whose schema is up to date.
    ///
    /// # Errors
    /// When tenants and keys cannot be read.
    pub async fn new(
        database: Database,
        clock: Arc<dyn Clock>,
        limits: Limits,
        secrets: TokenSecrets,
        networks: EndpointPolicy,
    ) -> Result<Self, StoreError> {
        let store = Arc::new(database.clone());
        let directory = Directory::open(store.clone(), Arc::clone(&clock)).await?;
        let timekeeper = Timekeeper::begin(store.clone(), Arc::clone(&clock)).await;
        let purge = Purge::new(store.clone(), Arc::clone(&clock));
        let pseudonyms = Pseudonyms::new(&secrets.all());
        let audit = Audit::new(store.clone(), Arc::clone(&clock), pseudonyms.clone());
        let eraser = Eraser::new(store.clone(), Arc::clone(&clock), pseudonyms, Arc::clone(&audit));
        let allowed = networks.clone();
        let webhooks = Webhooks::new(store.clone(), store.clone(), Arc::clone(&clock), move |host| allowed.allow_host(host));
        let (webhook_store, outbox) = (store.clone(), store.clone());
        let store: Arc<dyn SessionStore> = if trace::is_observed() { Arc::new(Traced(store)) } else { store };
        let sessions = Sessions::audited(store, Arc::clone(&clock), WaitLimits::default(), Arc::clone(&audit));
        let lookup = Arc::new(Told { directory: Arc::clone(&directory), sessions: Arc::clone(&sessions) });
        let ports = Ports { webhooks: webhook_store, outbox, lookup, clock: Arc::clone(&clock) };
        let deliverer = Deliverer::new(ports, Sender::new(networks));
        let shared = Shared::new(directory, sessions, limits, Arc::clone(&clock));
        let readiness = readiness(&database, &clock);
        Ok(Self { database, shared, secrets, purge, eraser, audit, webhooks, deliverer, readiness, timekeeper })
    }

    /// What stores and finds sessions.
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.shared.sessions
    }

    /// What recognises clients.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.shared.directory
    }

    /// The bytes that requests and connections may hold.
    pub fn memory(&self) -> &MemoryBudget {
        &self.shared.memory
    }

    /// Writes down what is still to be written of who did what.
    pub async fn write_last(&self) {
        tokio::join!(self.directory().write_uses(), self.audit.end(), self.timekeeper.write_down());
    }

    /// Notes for the metrics how many connections there are to the database, and how much memory requests hold.
    pub fn note_connections(&self) {
        self.memory().report();
        self.database.note_connections();
    }

    /// Leaves a database in a file such that it is whole without its log, as far as nobody else uses it.
    pub async fn leave_in_order(&self) {
        match tokio::time::timeout(LAST_WRITE_BACK, self.database.empty_log()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "the log could not be written back"),
            Err(_) => tracing::warn!("the log could not be written back in time"),
        }
    }

    /// Completes when the disk failed in a way after which the process must end.
    pub async fn disk_failed(&self) {
        self.database.sync_failed().await;
    }

    /// Keeps tenants and keys up to date, looks for what other instances stored, and deletes what has expired, until the task is dropped.
    pub async fn keep(&self) {
        let Shared { sessions, directory, .. } = &self.shared;
        let (tell, mut moved) = mpsc::unbounded_channel();
        let look = Arc::clone(directory).keep(move |tenant| {
            // Nobody hears it where everything ends.
            let _ = tell.send(tenant);
        });
        let rewrite = async {
            while let Some(tenant) = moved.recv().await {
                // What other instances stored by the old default country until they noticed is found again as well.
                match sessions.rewrite_callers(&tenant).await {
                    Ok(changed) => tracing::info!(changed, "callers rewritten after a change of the default country"),
                    Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "callers could not be rewritten"),
                }
            }
        };
        let deliver = Arc::clone(&self.deliverer).keep(|| sessions.stored());
        let (watch, purge, erase) = (sessions.watch_elsewhere(), self.purge.keep(directory), self.eraser.keep());
        let audit = async { tokio::join!(self.audit.keep(), self.audit.keep_within_budget(directory)) };
        let quotas = self.database.keep_quotas(|| directory.tenants());
        tokio::join!(look, rewrite, watch, purge, erase, audit, quotas, deliver, self.timekeeper.keep(), self.keep_epoch());
    }

    /// Notices that the database was replaced while this process runs. A file is not: whoever replaces one stops the gateway.
    async fn keep_epoch(&self) {
        loop {
            tokio::time::sleep(EPOCH_INTERVAL).await;
            if let Err(error) = self.database.confirm_epoch().await {
                tracing::debug!(error = &error as &dyn std::error::Error, "the epoch of the database could not be confirmed");
            }
        }
    }

    /// The service that answers requests; pages of these origins may use it.
    pub fn service(
        &self,
        origins: &Origins,
        docs: DocsAccess,
    ) -> impl Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static {
        let shared = self.shared.clone();
        let oifde = Oifde::new(shared.clone(), self.secrets.clone());
        let (eraser, audit, webhooks) = (Arc::clone(&self.eraser), Arc::clone(&self.audit), Arc::clone(&self.webhooks));
        let native = Native::new(shared.clone(), self.secrets.all(), eraser, audit, webhooks);
        let dialects = parloa_api::router(shared.clone()).merge(oifde_api::router(oifde.clone())).merge(sessions_api::router(native));
        let documents = if docs == DocsAccess::On { documents() } else { Router::new() };
        let router = layers::around(dialects.merge(health::routes(self.readiness())).merge(documents), origins);
        let ways = Arc::new(Ways { router, shared, oifde, origins: origins.clone() });
        service_fn(move |request| Arc::clone(&ways).answer(request))
    }

    /// Finds out what keeps the gateway from serving; one and the same wherever it is asked.
    pub fn readiness(&self) -> health::SharedReadiness {
        self.readiness.clone()
    }
}

/// The check behind readiness.
fn readiness(database: &Database, clock: &Arc<dyn Clock>) -> health::SharedReadiness {
    let (database, clock) = (database.clone(), Arc::clone(clock));
    health::SharedReadiness::new(Arc::new(move || {
        let (database, clock) = (database.clone(), Arc::clone(&clock));
        Box::pin(async move {
            tokio::time::timeout(READINESS_TIMEOUT, obstacles(&database, &*clock))
                .await
                .unwrap_or_else(|_| vec!["the database does not answer in time".into()])
        })
    }))
}

/// The ways that a request may take.
struct Ways {
    router: Router,
    shared: Shared,
    oifde: Oifde,
    origins: Origins,
}

impl Ways {
    async fn answer(self: Arc<Self>, request: Request) -> Result<Response, Infallible> {
        let request = parloa_api::normalise_path(request);
        let Self { router, shared, oifde, origins } = &*self;
        // What comes thousands of times a second needs no router to be found; what is odd about it, the router knows how to answer.
        let direct = origins.is_empty();
        let posts = *request.method() == Method::POST;
        let source = request.extensions().get::<Source>().copied();
        Ok(match (request.uri().path(), source) {
            (parloa_api::PATH, _) if direct && (posts || *request.method() == Method::GET) => {
                layers::around_one(origins, parloa_api::PATH, request, |request| parloa_api::answer(shared, request)).await
            }
            (oifde_api::HISTORY_PATH, Some(source)) if direct && posts => {
                layers::around_one(origins, oifde_api::HISTORY_PATH, request, |request| oifde.history(source, request)).await
            }
            _ => router.clone().oneshot(request).await?,
        })
    }
}

/// What keeps the gateway from serving.
async fn obstacles(database: &Database, clock: &dyn Clock) -> Vec<String> {
    let mut obstacles = Vec::new();
    match database.pending_migrations().await {
        Err(_) => return vec!["the database does not answer".into()],
        Ok(0) => {}
        Ok(pending) => obstacles.push(format!("the schema is {pending} changes behind: calldata-gateway migrate up")),
    }
    let ahead = clock.standing().ahead_ms;
    if ahead.abs() > TOLERANCE_MS {
        let direction = if ahead > 0 { "ahead of" } else { "behind" };
        obstacles.push(format!(
            "this machine's clock is {} s {direction} the time that has passed since it was believed: set the time; if it keeps to that \
             for {} s, it is adopted",
            (ahead.abs() + 500) / 1_000,
            ADOPTION.as_secs(),
        ));
    }
    match database.clock_ahead_ms(|| clock.now()).await {
        Err(_) => obstacles.push("the database does not tell the time".into()),
        Ok(Some((ahead_ms, uncertain_ms))) if ahead_ms.abs() - uncertain_ms > MAX_CLOCK_DIFFERENCE_MS => {
            let direction = if ahead_ms > 0 { "ahead of" } else { "behind" };
            obstacles.push(format!("this machine's clock is {} ms {direction} the database server's: set the time", ahead_ms.abs()));
        }
        Ok(_) => {}
    }
    obstacles
}

/// The API description and a page that shows it, which needs nothing from elsewhere.
pub(crate) fn documents() -> Router {
    let mut router = Router::new();
    let mut urls = Vec::new();
    for (name, document) in description::documents() {
        let text = Bytes::from(description::text(&document));
        let path = if name == "gateway" { "/openapi.json".to_owned() } else { format!("/openapi/{name}.json") };
        urls.push(path.clone());
        let serve = move || {
            // Shared: however many clients ask, and take it or not, it is in memory once.
            let text = text.clone();
            async move { ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], text) }
        };
        if name == "gateway" {
            router = router.route("/openapi/gateway.json", routing::get(serve.clone()));
        }
        router = router.route(&path, routing::get(serve));
    }
    urls.rotate_right(1);
    router.merge(documents::with_policy(SwaggerUi::new("/docs").config(Config::new(urls).validator_url("none")).into()))
}
