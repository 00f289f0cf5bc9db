//! Settings: a flag wins over the environment, the environment over the file, the file over the default.

mod file;
pub mod reference;
mod size;
mod sources;
mod validation;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use calldata_http::memory_budget::{DEFAULT_MEMORY_BUDGET_BYTES, MIN_MEMORY_BUDGET_BYTES};
use calldata_http::origins::Origin;
use calldata_http::source::Network;
use calldata_http::{Limits, Origins, TrustedProxies};
use calldata_push::{EndpointPolicy, HostPattern};
use calldata_store::Url;
use clap::Args;
use clap::builder::FalseyValueParser;
use secrecy::SecretString;
use serde::Deserialize;

use crate::Failure;
use crate::documents::DocsAccess;
use crate::log::LogFormat;
use crate::memory_limit::memory_limit;
use crate::server::{DEFAULT_DRAIN, DEFAULT_MAX_CONNECTIONS, Options, Tls};
pub use file::Problem;
pub use size::Size;
pub use sources::{Given, Place};
pub use validation::{SettingsError, SettingsWarning};

const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
const DEFAULT_DATABASE_URL: &str = "sqlite://calldata.db";
const DEFAULT_LOG: &str = "info,sea_orm_migration=warn,sqlx::postgres::notice=warn";

/// What can be set. Every name is a flag, with `CALLDATA_` in front an environment variable, and a key of the file.
#[expect(clippy::doc_markdown, reason = "these texts are the help on a terminal")]
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// A file of settings [default: calldata.toml, where it exists]
    #[arg(long, global = true, env = "CALLDATA_CONFIG", value_name = "FILE", help_heading = "Settings")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Where the API listens [default: 127.0.0.1:8080]
    #[arg(long, global = true, env = "CALLDATA_LISTEN", value_name = "ADDR", help_heading = "Settings")]
    pub listen: Option<SocketAddr>,
    /// Where metrics are served [default: nowhere]
    #[arg(long, global = true, env = "CALLDATA_ADMIN_LISTEN", value_name = "ADDR", help_heading = "Settings")]
    pub admin_listen: Option<SocketAddr>,
    /// The database, sqlite://FILE or postgres://… [default: sqlite://calldata.db]
    #[arg(long, global = true, env = "CALLDATA_DATABASE_URL", hide_env_values = true, value_name = "URL", help_heading = "Settings")]
    pub database_url: Option<Secret>,
    /// A file that holds the database URL
    #[arg(long, global = true, env = "CALLDATA_DATABASE_URL_FILE", value_name = "FILE", help_heading = "Settings")]
    pub database_url_file: Option<PathBuf>,
    /// Leave the schema as it is [default: false]
    #[arg(
        long,
        global = true,
        env = "CALLDATA_NO_MIGRATE",
        value_name = "BOOL",
        value_parser = FalseyValueParser::new(),
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        help_heading = "Settings"
    )]
    pub no_migrate: Option<bool>,
    /// Signs OIFDE tokens, at least 32 bytes [default with SQLite: a file beside the database, made at the first start]
    #[arg(long, global = true, env = "CALLDATA_TOKEN_SECRET", hide_env_values = true, value_name = "SECRET", help_heading = "Settings")]
    pub token_secret: Option<Secret>,
    /// A file that holds the token secret
    #[arg(long, global = true, env = "CALLDATA_TOKEN_SECRET_FILE", value_name = "FILE", help_heading = "Settings")]
    pub token_secret_file: Option<PathBuf>,
    /// The token secret of before a rotation, still accepted
    #[arg(
        long,
        global = true,
        env = "CALLDATA_PREVIOUS_TOKEN_SECRET",
        hide_env_values = true,
        value_name = "SECRET",
        help_heading = "Settings"
    )]
    pub previous_token_secret: Option<Secret>,
    /// A file that holds the token secret of before a rotation
    #[arg(long, global = true, env = "CALLDATA_PREVIOUS_TOKEN_SECRET_FILE", value_name = "FILE", help_heading = "Settings")]
    pub previous_token_secret_file: Option<PathBuf>,
    /// The largest request body in bytes [default: 1048576]
    #[arg(long, global = true, env = "CALLDATA_MAX_BODY_BYTES", value_name = "BYTES", help_heading = "Settings")]
    pub max_body_bytes: Option<usize>,
    /// After how many milliseconds an answer is given in any case [default: 2900]
    #[arg(long, global = true, env = "CALLDATA_DEADLINE_MS", value_name = "MS", help_heading = "Settings")]
    pub deadline_ms: Option<u64>,
    /// How many requests may be under way at a time; one tenant has at most half of them [default: 1024]
    #[arg(long, global = true, env = "CALLDATA_MAX_REQUESTS", value_name = "N", help_heading = "Settings")]
    pub max_requests: Option<NonZeroUsize>,
    /// How many requests a second each tenant may send [default: as many as it likes]
    #[arg(long, global = true, env = "CALLDATA_TENANT_RATE", value_name = "N", help_heading = "Settings")]
    pub tenant_rate: Option<NonZeroU32>,
    /// How many bytes all requests and connections may hold in memory, such as 128MiB [default: half of what the process may use]
    #[arg(long, global = true, env = "CALLDATA_MEMORY_BUDGET", value_name = "SIZE", help_heading = "Settings")]
    pub memory_budget: Option<Size>,
    /// How many seconds a stop waits for requests under way [default: 10]
    #[arg(long, global = true, env = "CALLDATA_DRAIN_S", value_name = "S", help_heading = "Settings")]
    pub drain_s: Option<u64>,
    /// The most connections at a time; of one address at most half without a key, and three quarters in all [default: 10000]
    #[arg(long, global = true, env = "CALLDATA_MAX_CONNECTIONS", value_name = "N", help_heading = "Settings")]
    pub max_connections: Option<NonZeroUsize>,
    /// A file with the certificate to show, and those it was signed with (PEM): serves TLS
    #[arg(long, global = true, env = "CALLDATA_TLS_CERTIFICATE", value_name = "FILE", help_heading = "Settings")]
    pub tls_certificate: Option<PathBuf>,
    /// A file with the private key of the certificate (PEM)
    #[arg(long, global = true, env = "CALLDATA_TLS_KEY", value_name = "FILE", help_heading = "Settings")]
    pub tls_key: Option<PathBuf>,
    /// A proxy whose X-Forwarded-For or Forwarded is believed, an address or a network; may be repeated, or a list with commas
    #[arg(long, global = true, env = "CALLDATA_TRUSTED_PROXY", value_delimiter = ',', value_name = "NET", help_heading = "Settings")]
    pub trusted_proxy: Vec<Network>,
    /// The origin of web pages that may use the API, https://…; may be repeated, or a list with commas [default: none]
    #[arg(long, global = true, env = "CALLDATA_CORS_ORIGIN", value_delimiter = ',', value_name = "ORIGIN", help_heading = "Settings")]
    pub cors_origin: Vec<Origin>,
    /// A network besides the internet that webhooks may be sent to, or an address; may be repeated, or a list with commas [default: none]
    #[arg(long, global = true, env = "CALLDATA_WEBHOOK_ALLOW", value_delimiter = ',', value_name = "NET", help_heading = "Settings")]
    pub webhook_allow: Vec<Network>,
    /// A network that webhooks may never be sent to, or an address, whatever allows it; may be repeated, or a list with commas [default: none]
    #[arg(long, global = true, env = "CALLDATA_WEBHOOK_DENY", value_delimiter = ',', value_name = "NET", help_heading = "Settings")]
    pub webhook_deny: Vec<Network>,
    /// The only hosts that webhooks may be sent to, a name or *.example.com; may be repeated, or a list with commas [default: all]
    #[arg(long, global = true, env = "CALLDATA_WEBHOOK_HOST", value_delimiter = ',', value_name = "HOST", help_heading = "Settings")]
    pub webhook_host: Vec<String>,
    /// Where the API description and the page that shows it are served: on with the API, admin with the metrics, or off [default: on]
    #[arg(
        long,
        global = true,
        env = "CALLDATA_DOCS",
        value_name = "WHERE",
        value_enum,
        hide_possible_values = true,
        help_heading = "Settings"
    )]
    pub docs: Option<DocsAccess>,
    /// Let the system write the memory of the process into a file when it crashes, and debuggers read it: for debugging [default: false]
    #[arg(
        long,
        global = true,
        env = "CALLDATA_CORE_DUMPS",
        value_name = "BOOL",
        value_parser = FalseyValueParser::new(),
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        help_heading = "Settings"
    )]
    pub core_dumps: Option<bool>,
    /// What is logged: error, warn, info, debug, or a filter [default: info]
    #[arg(long, global = true, env = "CALLDATA_LOG", value_name = "FILTER", help_heading = "Settings")]
    pub log: Option<String>,
    /// How lines of the log look: plain or json [default: plain]
    #[arg(
        long,
        global = true,
        env = "CALLDATA_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        hide_possible_values = true,
        help_heading = "Settings"
    )]
    pub log_format: Option<LogFormat>,
    /// Where a collector takes traces by OTLP over HTTP, http://HOST:4318; without TLS, so a collector nearby [default: nowhere]
    #[arg(long, global = true, env = "CALLDATA_OTLP_ENDPOINT", hide_env_values = true, value_name = "ADDRESS", help_heading = "Settings")]
    pub otlp_endpoint: Option<String>,
    /// Which share of requests begins a trace, 0 to 1; those within a trace that is wanted are always in it [default: 1]
    #[arg(long, global = true, env = "CALLDATA_OTLP_SHARE", value_name = "SHARE", value_parser = a_share, help_heading = "Settings")]
    #[serde(deserialize_with = "read_share")]
    pub otlp_share: Option<f64>,
    /// What was given where, for those who want to know.
    #[arg(skip)]
    #[serde(skip)]
    pub(crate) given: BTreeMap<String, Given>,
}

/// A setting that is not shown.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "String")]
pub struct Secret(SecretString);

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Settings {
    /// Where the database is.
    ///
    /// # Errors
    /// When the URL is of no known kind, or its file cannot be read.
    pub fn database(&self) -> Result<Url, Failure> {
        let url = secret(self.database_url.as_ref(), self.database_url_file.as_deref())?.unwrap_or_else(|| DEFAULT_DATABASE_URL.into());
        Url::parse(secrecy::ExposeSecret::expose_secret(&url)).map_err(|error| Failure::new(format!("{error}; see --database-url")))
    }

    /// The secret that tokens are signed with, and the one of before a rotation.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn token_secrets(&self) -> Result<(Option<SecretString>, Option<SecretString>), Failure> {
        let current = secret(self.token_secret.as_ref(), self.token_secret_file.as_deref())?;
        let previous = secret(self.previous_token_secret.as_ref(), self.previous_token_secret_file.as_deref())?;
        Ok((current, previous))
    }

    /// Where the API listens.
    ///
    /// # Panics
    /// Never: the default is an address.
    pub fn listen(&self) -> SocketAddr {
        self.listen.unwrap_or_else(|| DEFAULT_LISTEN.parse().expect("the default is an address"))
    }

    /// Whether the schema is left as it is.
    pub fn no_migrate(&self) -> bool {
        self.no_migrate.unwrap_or(false)
    }

    /// How large requests may be and how long answers may take.
    pub fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            body_bytes: self.max_body_bytes.unwrap_or(default.body_bytes),
            deadline: self.deadline_ms.map_or(default.deadline, Duration::from_millis),
            requests: self.max_requests.map_or(default.requests, NonZeroUsize::get),
            tenant_rate: self.tenant_rate,
            memory_bytes: self.memory_budget.map_or_else(default_memory_budget, Size::bytes),
            batch: default.batch,
        }
    }

    /// How long a stop waits for requests under way.
    pub fn drain(&self) -> Duration {
        self.drain_s.map_or(DEFAULT_DRAIN, Duration::from_secs)
    }

    /// How to serve.
    ///
    /// # Errors
    /// When the certificate or its key is missing or cannot be read.
    pub fn server(&self) -> Result<Options, Failure> {
        let tls = match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(Tls::load(certificate.clone(), key.clone())?),
            (None, None) => None,
            (Some(_), None) => return Err(Failure::new("there is a certificate and no private key; see --tls-key")),
            (None, Some(_)) => return Err(Failure::new("there is a private key and no certificate; see --tls-certificate")),
        };
        Ok(Options {
            drain: self.drain(),
            max_connections: self.max_connections.unwrap_or(DEFAULT_MAX_CONNECTIONS),
            proxies: TrustedProxies::new(self.trusted_proxy.clone()),
            origins: Origins::new(self.cors_origin.clone()),
            docs: self.docs(),
            tls,
            ..Options::default()
        })
    }

    /// Where the API description is served.
    pub fn docs(&self) -> DocsAccess {
        self.docs.unwrap_or_default()
    }

    /// Whether the memory of the process may be dumped.
    pub fn core_dumps(&self) -> bool {
        self.core_dumps.unwrap_or(false)
    }

    /// Where webhooks may be sent.
    ///
    /// # Errors
    /// When a host is none, or what is allowed is denied altogether.
    pub fn webhook_policy(&self) -> Result<EndpointPolicy, Failure> {
        let hosts = self
            .webhook_host
            .iter()
            .map(|host| host.parse::<HostPattern>().map_err(|error| Failure::new(format!("{host:?} {error}; see --webhook-host"))));
        let hosts = hosts.collect::<Result<_, _>>()?;
        let allowed = self.webhook_allow.iter().map(|network| (*network).into()).collect();
        let denied = self.webhook_deny.iter().map(|network| (*network).into()).collect();
        let policy = EndpointPolicy::new(allowed).denying(denied).only_hosts(hosts);
        match policy.contradiction() {
            Some(network) => Err(Failure::new(format!("webhooks are allowed to {network} and denied to all of it; see --webhook-deny"))),
            None => Ok(policy),
        }
    }

    /// Where traces are sent.
    ///
    /// # Errors
    /// When it is no such address.
    pub fn otlp_endpoint(&self) -> Result<Option<&str>, Failure> {
        let Some(endpoint) = self.otlp_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty()) else { return Ok(None) };
        let uri = endpoint.parse::<axum::http::Uri>().ok();
        let plain =
            |uri: &axum::http::Uri| uri.scheme_str() == Some("http") && uri.authority().is_some_and(|to| !to.as_str().contains('@'));
        if uri.is_some_and(|uri| plain(&uri)) {
            return Ok(Some(endpoint));
        }
        Err(Failure::new("the address of the collector has to be http://HOST:PORT, without a name and password; see --otlp-endpoint"))
    }

    /// What is logged.
    pub fn log(&self) -> &str {
        self.log.as_deref().unwrap_or(DEFAULT_LOG)
    }
}

/// Half of what the process may use: the other half is for the program, its caches and the engine.
fn default_memory_budget() -> usize {
    memory_limit().map_or(DEFAULT_MEMORY_BUDGET_BYTES, |limit| (limit / 2).max(MIN_MEMORY_BUDGET_BYTES))
}

fn a_share(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or("a number from 0 to 1")
}

fn read_share<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let share = f64::deserialize(deserializer)?;
    if (0.0..=1.0).contains(&share) { Ok(Some(share)) } else { Err(serde::de::Error::custom("not from 0 to 1")) }
}

/// A secret that is given, or in a file.
fn secret(given: Option<&Secret>, file: Option<&Path>) -> Result<Option<SecretString>, Failure> {
    let Some(path) = file else { return Ok(given.map(|secret| secret.0.clone())) };
    if given.is_some() {
        return Err(Failure::new(format!("a secret is given both by itself and in the file {}; keep one of them", path.display())));
    }
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::because(format!("the file {} cannot be read", path.display()), &error))?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).into()))
}
