//! The hot paths in one process, without sockets, so that their instructions can be counted.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, header};
use calldata_core::key::{AccessKey, SecretHash};
use calldata_core::{Clock, DirectoryStore, KeyId, Scopes, SystemClock, Tenant};
use calldata_gateway::app::{App, EndpointPolicy};
use calldata_gateway::documents::DocsAccess;
use calldata_http::{Limits, Origins, Source};
use calldata_store::{Database, Direction, Url};
use oifde_api::TokenSecrets;
use tower::{Service, ServiceExt};

use crate::names::{self, CLIENT, KEY};
use crate::rows::Filling;
use crate::wire::Answer;
use crate::work::{Chosen, Fetches, Histories, Page, Posts, Verdict, Work, users};
use crate::{Result, stores};

/// What is in the database before.
const FILLING: Filling = Filling { expired: 0, ordinary: 2_000, heavy: 0, recent: 0 };
/// How many sessions the process posts before it fetches them.
const RECENT: u64 = 200;

/// Everything takes fifty times as long while it is counted.
const DEADLINE: Duration = Duration::from_mins(10);

/// A path through the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum HotPath {
    /// A post
    W,
    /// A fetch of what this process has stored
    RRecent,
    /// A fetch of what an earlier process has stored
    RCold,
    /// The 20 records of a user
    Q,
}

impl HotPath {
    /// All of them, by the names of their figures.
    pub const ALL: [(&str, Self); 4] = [("w", Self::W), ("r-recent", Self::RRecent), ("r-cold", Self::RCold), ("q", Self::Q)];

    /// A few requests and many; what the many cost more is what requests cost.
    pub fn few_and_many(self) -> (u32, u32) {
        match self {
            Self::W => (100, 400),
            Self::RRecent | Self::RCold => (50, 250),
            Self::Q => (20, 100),
        }
    }

    fn work(self) -> Box<dyn Work> {
        match self {
            Self::W => Box::new(Posts::new(names::POSTED, 1, names::HEAVY)),
            Self::RRecent => Box::new(Fetches::new(Chosen::Own(names::RECENT, RECENT), 1)),
            Self::RCold => Box::new(Fetches::new(Chosen::Shared(FILLING.ordinary), 1)),
            Self::Q => {
                let size = names::RECORDS_A_USER;
                Box::new(Histories::new(Page { first_user: 0, users: users(FILLING.ordinary), number: 1, size, total: size }, 1))
            }
        }
    }
}

/// Makes a database file with a tenant, a key and rows.
///
/// # Errors
/// When it cannot be made.
pub fn prepare(file: &Path) -> Result {
    let now = SystemClock::default().now();
    let tenant = Tenant::new("Bench", CLIENT, CLIENT, now);
    let key = AccessKey {
        id: KeyId::random(),
        tenant: tenant.id,
        hash: SecretHash::of(KEY),
        scopes: Scopes::READ_WRITE,
        created_at: now,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let database = open(file).await?;
        database.migrate(Direction::Up).await?;
        database.create_tenant(&tenant).await?;
        database.create_key(&key).await?;
        Result::Ok(())
    })?;
    drop(runtime);
    stores::fill_file(file, FILLING, now.epoch_ms())
}

async fn open(file: &Path) -> Result<Database> {
    Ok(Database::open(&Url::parse(&format!("sqlite://{}", file.display()))?).await?)
}

/// Sends that many requests down a path, one after another, and checks the answers.
///
/// # Errors
/// When an answer is wrong.
pub fn run(path: HotPath, requests: u32, file: &Path) -> Result {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let secrets = TokenSecrets::new("a token secret for measuring, 32 bytes or more".into(), None)?;
        let limits = Limits { deadline: DEADLINE, ..Limits::default() };
        let app = App::new(open(file).await?, Arc::new(SystemClock::default()), limits, secrets, EndpointPolicy::default()).await?;
        let service = app.service(&Origins::default(), DocsAccess::default());
        if path == HotPath::RRecent {
            let mut posts = Posts::new(names::RECENT, 1, names::RECENT + RECENT);
            for _ in 0..RECENT {
                ask(&service, &mut posts).await?;
            }
        }
        let mut work = path.work();
        for _ in 0..requests {
            ask(&service, &mut *work).await?;
        }
        // Who asked is written down a second later at most: a part of what a request costs.
        app.write_last().await;
        Ok(())
    })
}

async fn ask<S>(service: &S, work: &mut dyn Work) -> Result
where
    S: Service<Request, Response = axum::response::Response, Error = std::convert::Infallible> + Clone,
{
    let request = request(work.next().ok_or("nothing to ask")?)?;
    let answer = match service.clone().oneshot(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await?;
    match work.check(&Answer { status, body: &body }) {
        Verdict::Right => Ok(()),
        Verdict::Miss | Verdict::Wrong => Err(format!("a wrong answer: {status} {}", String::from_utf8_lossy(&body)).into()),
    }
}

/// The request that these bytes are, as the gateway's own front hands it on.
fn request(bytes: &[u8]) -> Result<Request> {
    let text = std::str::from_utf8(bytes)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or("a request without an end")?;
    let mut line = head.split(' ');
    let method = Method::from_bytes(line.next().unwrap_or_default().as_bytes())?;
    let mut request = Request::new(Body::from(body.to_owned()));
    *request.method_mut() = method;
    *request.uri_mut() = line.next().unwrap_or_default().parse()?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1"));
    if !body.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    request.extensions_mut().insert(Source(std::net::Ipv4Addr::LOCALHOST.into()));
    Ok(request)
}
