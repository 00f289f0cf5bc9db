//! The whole gateway, served on a port of its own, by a clock that tests move.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use calldata_core::{Directory, DirectoryStore, ManualClock, Scopes, Sessions, Tenant};
use calldata_gateway::app::{App, EndpointPolicy};
use calldata_gateway::server;
pub use calldata_gateway::server::{Options, Patience};
use calldata_http::Limits;
use calldata_store::Database;
use oifde_api::TokenSecrets;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::builders::{a_clock, a_key, a_tenant};
use crate::client::{Answer, Client};
use crate::engine::TestDatabase;
use crate::events::Events;

/// What tokens are signed with in tests; two gateways with this secret are two instances.
const TOKEN_SECRET: &str = "a token secret for tests, 32 bytes or more";
/// How long a stop waits for requests under way.
const DRAIN: Duration = Duration::from_secs(5);

/// A gateway that serves.
pub struct Gateway {
    /// Where it serves.
    pub address: SocketAddr,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// A client that checks every answer against the API description.
    pub client: Client,
    database: Database,
    sessions: Arc<Sessions>,
    directory: Arc<Directory>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

impl Gateway {
    /// A gateway over a database, at [`crate::builders::start`].
    ///
    /// # Panics
    /// When it cannot serve.
    pub async fn start(database: &TestDatabase) -> Self {
        Self::start_with(database.database().clone(), Arc::new(a_clock()), Limits::default()).await
    }

    /// A gateway with everything given; a second one over the same database is a second instance.
    ///
    /// # Panics
    /// When it cannot serve.
    pub async fn start_with(database: Database, clock: Arc<ManualClock>, limits: Limits) -> Self {
        Self::start_as(database, clock, limits, Options { drain: DRAIN, ..Options::default() }).await
    }

    /// A gateway that serves in another way than it does by default.
    ///
    /// # Panics
    /// When it cannot serve.
    pub async fn start_served(database: &TestDatabase, options: Options) -> Self {
        Self::start_as(database.database().clone(), Arc::new(a_clock()), Limits::default(), options).await
    }

    async fn start_as(database: Database, clock: Arc<ManualClock>, limits: Limits, options: Options) -> Self {
        let secrets = TokenSecrets::new(TOKEN_SECRET.into(), None).expect("the secret is long enough");
        let here = EndpointPolicy::new(vec!["127.0.0.0/8".parse().expect("this is a network")]);
        let app = App::new(database.clone(), clock.clone(), limits, secrets, here).await.expect("the directory can be read");
        let listener = server::listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (sessions, directory) = (Arc::clone(app.sessions()), Arc::clone(app.directory()));
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(async move {
            let stopped = async { stopped.await.unwrap_or(()) };
            server::serve(&app, listener, options, stopped).await.expect("serving does not fail");
        });
        Self { address, clock, client: Client::new(address), database, sessions, directory, stop: Some(stop), served }
    }

    /// A tenant with a key that reads and writes.
    ///
    /// # Panics
    /// When it cannot be stored.
    pub async fn a_tenant(&self, client_id: &str) -> Account {
        self.add(a_tenant(client_id)).await
    }

    /// This tenant with a key that reads and writes; the secret is `secret-of-` and the client id.
    ///
    /// # Panics
    /// When it cannot be stored.
    pub async fn add(&self, tenant: Tenant) -> Account {
        self.database.create_tenant(&tenant).await.expect("the tenant can be added");
        let secret = format!("secret-of-{}", tenant.client_id);
        self.a_key(&tenant, &secret, Scopes::READ_WRITE).await;
        Account { tenant, key: secret, client: self.client.clone() }
    }

    /// An account of another instance over the same database, at this one.
    pub fn account(&self, elsewhere: &Account) -> Account {
        Account { client: self.client.clone(), ..elsewhere.clone() }
    }

    /// The same account with a key that may do everything; the secret is `admin-of-` and the client id.
    ///
    /// # Panics
    /// When it cannot be stored.
    pub async fn as_admin(&self, account: &Account) -> Account {
        let secret = format!("admin-of-{}", account.tenant.client_id);
        self.a_key(&account.tenant, &secret, Scopes { admin: true, ..Scopes::READ_WRITE }).await;
        Account { key: secret, ..account.clone() }
    }

    /// A further key of a tenant.
    ///
    /// # Panics
    /// When it cannot be stored.
    pub async fn a_key(&self, tenant: &Tenant, secret: &str, scopes: Scopes) {
        let key = calldata_core::key::AccessKey { scopes, ..a_key(tenant, secret) };
        self.database.create_key(&key).await.expect("the key can be added");
    }

    /// What stores and finds sessions, for what no dialect can do.
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// Looks for changed tenants and keys at once, as the gateway does every second.
    ///
    /// # Panics
    /// When they cannot be read.
    pub async fn look(&self) {
        self.directory.look().await.expect("the directory can be read");
    }

    /// Its database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Stops it as SIGTERM does, and waits until it has stopped.
    ///
    /// # Panics
    /// When it failed while it served.
    pub async fn stop(mut self) {
        self.begin_to_stop();
        self.served.await.expect("serving ends in order");
    }

    /// Asks it to stop, as SIGTERM does.
    pub fn begin_to_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Nobody listens any more where it has stopped by itself.
            let _ = stop.send(());
        }
    }
}

/// A tenant, its key, and the requests that its systems make.
#[derive(Clone)]
pub struct Account {
    /// The tenant, as it was added.
    pub tenant: Tenant,
    /// A secret that reads and writes.
    pub key: String,
    client: Client,
}

impl Account {
    /// `POST /api/CallData` with this input, as a bot does.
    ///
    /// # Panics
    /// When there is no answer, or one that the API description does not allow.
    pub async fn post(&self, input: &str) -> Answer {
        self.post_body(format!(r#"{{"input":{input}}}"#)).await
    }

    /// `POST /api/CallData` with this body.
    ///
    /// # Panics
    /// When there is no answer, or one that the API description does not allow.
    pub async fn post_body(&self, body: impl Into<Vec<u8>>) -> Answer {
        let path = format!("/api/CallData?clientId={}", self.tenant.client_id);
        self.client.request("POST", &path, &[("x-functions-key", &self.key), ("content-type", "application/json")], body.into()).await
    }

    /// `GET /api/CallData` with these parameters (`caller=…&callid=…`).
    ///
    /// # Panics
    /// When there is no answer, or one that the API description does not allow.
    pub async fn get(&self, parameters: &str) -> Answer {
        let path = format!("/api/CallData?clientId={}&code={}&{parameters}", self.tenant.client_id, self.key);
        self.client.request("GET", &path, &[], Vec::new()).await
    }

    /// `queryRecordHistory` with these parameters (`"userMobile":"…"`), by the tenant's key.
    ///
    /// # Panics
    /// When there is no answer, or one that the API description does not allow.
    pub async fn history(&self, parameters: &str) -> Answer {
        self.history_with(&self.key, parameters).await
    }

    /// `queryRecordHistory` with these parameters, by this token.
    ///
    /// # Panics
    /// When there is no answer, or one that the API description does not allow.
    pub async fn history_with(&self, token: &str, parameters: &str) -> Answer {
        let more = if parameters.is_empty() { "" } else { "," };
        let body = format!(r#"{{"tenantId":"{}","authToken":"{token}"{more}{parameters}}}"#, self.tenant.oifde_id);
        self.client.request("POST", "/oifde/rest/api/queryRecordHistory", &[], body.into_bytes()).await
    }

    /// `queryHistory` of this user, by the tenant's key.
    ///
    /// # Panics
    /// When there is no answer, or one that the API description does not allow.
    pub async fn latest_call(&self, user: &str) -> Answer {
        let (tenant, key) = (&self.tenant.oifde_id, &self.key);
        let body = format!(r#"{{"tenantId":"{tenant}","params":{{"userMobile":"{user}"}},"authToken":"{key}"}}"#);
        self.client.request("POST", "/oifde/rest/api/queryHistory", &[], body.into_bytes()).await
    }

    /// `gettoken` with this secret.
    ///
    /// # Panics
    /// When there is no answer, or one that the API description does not allow.
    pub async fn gettoken(&self, secret: &str) -> Answer {
        let body = format!(r#"{{"appKey":"{}","appSecret":"{secret}"}}"#, self.tenant.oifde_id);
        self.client.request("POST", "/oifde/rest/api/gettoken", &[], body.into_bytes()).await
    }

    /// A request to the native interface (`/sessions?limit=1`), by the tenant's key.
    ///
    /// # Panics
    /// When there is no answer, or one that the API description does not allow.
    pub async fn native(&self, method: &str, path: &str, body: &str) -> Answer {
        self.native_with(method, path, &[], body).await
    }

    /// The same with further headers.
    ///
    /// # Panics
    /// When there is no answer, or one that the API description does not allow.
    pub async fn native_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        let headers: Vec<_> = [("authorization", bearer.as_str())].into_iter().chain(headers.iter().copied()).collect();
        self.client.request(method, &format!("/v1{path}"), &headers, body.into()).await
    }

    /// Follows the tenant's events, after the one with this id or from now on.
    ///
    /// # Panics
    /// When they cannot be followed.
    pub async fn follow(&self, last_event_id: Option<&str>) -> Events {
        self.client.follow(&self.key, last_event_id).await
    }
}
