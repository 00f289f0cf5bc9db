//! Settings: a flag wins over the environment, the environment over the file, the file over the default.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use calldata_http::origins::Origin;
use calldata_http::source::Network;
use calldata_http::{Limits, Origins, TrustedProxies};
use calldata_store::Url;
use clap::builder::FalseyValueParser;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use secrecy::SecretString;
use serde::Deserialize;

use crate::Failure;
use crate::server::{DEFAULT_DRAIN, DEFAULT_MAX_CONNECTIONS, Options, Tls};

const DEFAULT_FILE: &str = "calldata.toml";
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
    /// Leave the schema as it is
    #[arg(long, global = true, env = "CALLDATA_NO_MIGRATE", value_parser = FalseyValueParser::new(), help_heading = "Settings")]
    pub no_migrate: bool,
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
    /// How many seconds a stop waits for requests under way [default: 10]
    #[arg(long, global = true, env = "CALLDATA_DRAIN_S", value_name = "S", help_heading = "Settings")]
    pub drain_s: Option<u64>,
    /// The most connections at a time [default: 10000]
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
    /// What is logged: error, warn, info, debug, or a filter [default: info]
    #[arg(long, global = true, env = "CALLDATA_LOG", value_name = "FILTER", help_heading = "Settings")]
    pub log: Option<String>,
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
    /// Where a flag and the environment give the same secret in two ways, by itself and in a file, the flag wins.
    pub(crate) fn prefer_flags(&mut self, given: &ArgMatches) {
        let hidden = |own: &str, by: &str| {
            given.value_source(own) == Some(ValueSource::EnvVariable) && given.value_source(by) == Some(ValueSource::CommandLine)
        };
        let pairs = [
            ("database_url", "database_url_file", &mut self.database_url, &mut self.database_url_file),
            ("token_secret", "token_secret_file", &mut self.token_secret, &mut self.token_secret_file),
            ("previous_token_secret", "previous_token_secret_file", &mut self.previous_token_secret, &mut self.previous_token_secret_file),
        ];
        for (name, name_of_file, secret, file) in pairs {
            if hidden(name, name_of_file) {
                *secret = None;
            }
            if hidden(name_of_file, name) {
                *file = None;
            }
        }
    }

    /// Adds what the settings file says to what flags and environment say.
    ///
    /// # Errors
    /// When the file cannot be read or says something unknown.
    pub fn with_file(self) -> Result<Self, Failure> {
        let path = self.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.config.is_none() => return Ok(self),
            Err(error) => return Err(Failure::because(format!("the settings file {} cannot be read", path.display()), &error)),
        };
        let file: Self = toml::from_str(&text).map_err(|error| {
            // The whole error would show the line, which may hold a secret.
            let line = error.span().map_or(0, |span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
            Failure::new(format!("the settings file {}, line {line}: {}", path.display(), error.message()))
        })?;
        Ok(self.or(file))
    }

    fn or(self, file: Self) -> Self {
        let Self {
            config,
            listen,
            admin_listen,
            database_url,
            database_url_file,
            no_migrate,
            token_secret,
            token_secret_file,
            previous_token_secret,
            previous_token_secret_file,
            max_body_bytes,
            deadline_ms,
            max_requests,
            tenant_rate,
            drain_s,
            max_connections,
            tls_certificate,
            tls_key,
            trusted_proxy,
            cors_origin,
            log,
        } = self;
        // A secret and the file that holds it are one setting: whichever comes from the higher place hides both of the lower.
        let pair = |own: (Option<Secret>, Option<PathBuf>), below| if own.0.is_some() || own.1.is_some() { own } else { below };
        let (database_url, database_url_file) = pair((database_url, database_url_file), (file.database_url, file.database_url_file));
        let (token_secret, token_secret_file) = pair((token_secret, token_secret_file), (file.token_secret, file.token_secret_file));
        let (previous_token_secret, previous_token_secret_file) =
            pair((previous_token_secret, previous_token_secret_file), (file.previous_token_secret, file.previous_token_secret_file));
        Self {
            config,
            listen: listen.or(file.listen),
            admin_listen: admin_listen.or(file.admin_listen),
            database_url,
            database_url_file,
            no_migrate: no_migrate || file.no_migrate,
            token_secret,
            token_secret_file,
            previous_token_secret,
            previous_token_secret_file,
            max_body_bytes: max_body_bytes.or(file.max_body_bytes),
            deadline_ms: deadline_ms.or(file.deadline_ms),
            max_requests: max_requests.or(file.max_requests),
            tenant_rate: tenant_rate.or(file.tenant_rate),
            drain_s: drain_s.or(file.drain_s),
            max_connections: max_connections.or(file.max_connections),
            tls_certificate: tls_certificate.or(file.tls_certificate),
            tls_key: tls_key.or(file.tls_key),
            trusted_proxy: if trusted_proxy.is_empty() { file.trusted_proxy } else { trusted_proxy },
            cors_origin: if cors_origin.is_empty() { file.cors_origin } else { cors_origin },
            log: log.or(file.log),
        }
    }

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

    /// How large requests may be and how long answers may take.
    pub fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            body_bytes: self.max_body_bytes.unwrap_or(default.body_bytes),
            deadline: self.deadline_ms.map_or(default.deadline, Duration::from_millis),
            requests: self.max_requests.map_or(default.requests, NonZeroUsize::get),
            tenant_rate: self.tenant_rate,
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
            tls,
            ..Options::default()
        })
    }

    /// What is logged.
    pub fn log(&self) -> &str {
        self.log.as_deref().unwrap_or(DEFAULT_LOG)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_default() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, "listen = \"127.0.0.1:1\"\ndrain-s = 3\ndatabase-url = \"sqlite://from-file.db\"\nmax-body-bytes = 7\n")
            .unwrap();
        let flags = Settings { config: Some(path), listen: "127.0.0.1:2".parse().ok(), ..Settings::default() };
        let settings = flags.with_file().unwrap();
        assert_eq!(settings.listen().port(), 2);
        assert_eq!((settings.drain(), settings.limits().body_bytes), (Duration::from_secs(3), 7));
        assert_eq!(settings.database().unwrap().file(), Some(Path::new("from-file.db")));
        let defaults = Settings::default();
        assert_eq!((defaults.listen().to_string().as_str(), defaults.log()), (DEFAULT_LISTEN, DEFAULT_LOG));
        assert_eq!(defaults.limits().deadline, Duration::from_millis(2_900));
    }

    #[test]
    fn what_is_wrong_in_the_file_is_named_without_showing_its_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, "listen = \"127.0.0.1:1\"\ntoken-secrets = \"hush\"\n").unwrap();
        let failure = Settings { config: Some(path), ..Settings::default() }.with_file().unwrap_err().to_string();
        assert!(failure.contains("line 2") && failure.contains("token-secrets") && !failure.contains("hush"), "{failure}");
        let missing = Settings { config: Some("/no/such/file".into()), ..Settings::default() };
        assert!(missing.with_file().unwrap_err().to_string().contains("cannot be read"));
    }

    #[test]
    fn secrets_come_from_files_and_are_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("url");
        std::fs::write(&path, "postgres://u:hush@db/x\n").unwrap();
        let settings = Settings { database_url_file: Some(path.clone()), ..Settings::default() };
        assert!(settings.database().unwrap().file().is_none());
        let both = Settings { database_url: Some("sqlite://x".into()), ..settings };
        assert!(both.database().unwrap_err().to_string().contains("keep one"));
        let token = Settings { token_secret: Some("hush".into()), ..Settings::default() };
        assert!(!format!("{token:?}").contains("hush"));
        assert!(Settings { database_url: Some("mysql://x".into()), ..Settings::default() }.database().is_err());
    }
    #[test]
    fn lists_of_a_flag_hide_those_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, "trusted-proxy = [\"10.0.0.0/8\", \"::1\"]\ncors-origin = [\"https://a.example\"]\nmax-connections = 7\n")
            .unwrap();
        let of_file = Settings { config: Some(path.clone()), ..Settings::default() }.with_file().unwrap();
        assert_eq!((of_file.trusted_proxy.len(), of_file.cors_origin.len()), (2, 1));
        assert_eq!(of_file.server().unwrap().max_connections.get(), 7);
        let flag = Settings { config: Some(path.clone()), trusted_proxy: vec!["192.0.2.1".parse().unwrap()], ..Settings::default() };
        assert_eq!(flag.with_file().unwrap().trusted_proxy, ["192.0.2.1".parse().unwrap()]);
        for wrong in ["trusted-proxy = [\"proxy\"]", "cors-origin = [\"*\"]", "max-connections = 0"] {
            std::fs::write(&path, wrong).unwrap();
            assert!(Settings { config: Some(path.clone()), ..Settings::default() }.with_file().is_err(), "{wrong}");
        }
    }
}
