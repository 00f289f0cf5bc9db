//! Which place wins.

use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::{Problem, Secret, Settings, file, reference};
use crate::Failure;

const DEFAULT_FILE: &str = "calldata.toml";

/// Where a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The command line.
    Flag,
    /// The environment.
    Environment,
    /// The file of settings.
    File,
}

/// A setting as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Where.
    pub place: Place,
    /// In these words; those of a secret are left out.
    pub text: Option<String>,
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

    /// Notes what flags and the environment give.
    pub(crate) fn note_given(&mut self, matches: &ArgMatches) {
        for setting in reference::all() {
            let place = match matches.value_source(&setting.id) {
                Some(ValueSource::CommandLine) => Place::Flag,
                Some(ValueSource::EnvVariable) => Place::Environment,
                _ => continue,
            };
            let words = matches.get_raw(&setting.id).into_iter().flatten().map(|word| word.to_string_lossy().into_owned());
            let text = (!setting.is_secret()).then(|| words.collect::<Vec<_>>().join(","));
            self.given.insert(setting.name, Given { place, text });
        }
    }

    /// Adds what the settings file says to what flags and environment say.
    ///
    /// # Errors
    /// When the file cannot be read or says something unknown.
    pub fn with_file(self) -> Result<Self, Failure> {
        let (path, settings, problems) = self.read_file()?;
        let Some(first) = problems.first() else { return Ok(settings) };
        let more = match problems.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more; see config check)"),
        };
        Err(Failure::new(format!("the settings file {}, {first}{more}", path.display())))
    }

    /// The same with all that is wrong with the file, whose path comes first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read_file(self) -> Result<(PathBuf, Self, Vec<Problem>), Failure> {
        let path = self.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
        let text = match std::fs::read(&path) {
            // What is no text is a mistake on its line, like any other.
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.config.is_none() => return Ok((path, self, Vec::new())),
            Err(error) => return Err(Failure::because(format!("the settings file {} cannot be read", path.display()), &error)),
        };
        let (of_file, problems) = file::read(&text);
        let mut settings = self.or(of_file);
        // Of a secret and the file that holds it, one is in effect.
        for secret in ["database-url", "token-secret", "previous-token-secret"] {
            let file = format!("{secret}-file");
            for (above, below) in [(secret, file.as_str()), (&file, secret)] {
                let place = |name: &str| settings.given.get(name).map(|given| given.place);
                if place(above).is_some_and(|place| place != Place::File) && place(below) == Some(Place::File) {
                    settings.given.remove(below);
                }
            }
        }
        Ok((path, settings, problems))
    }

    /// These, and what `file` says beside them.
    pub(super) fn or(self, file: Self) -> Self {
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
            memory_budget,
            tenant_rate,
            drain_s,
            max_connections,
            tls_certificate,
            tls_key,
            trusted_proxy,
            cors_origin,
            webhook_allow,
            webhook_deny,
            webhook_host,
            docs,
            core_dumps,
            log,
            log_format,
            otlp_endpoint,
            otlp_share,
            given,
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
            no_migrate: no_migrate.or(file.no_migrate),
            token_secret,
            token_secret_file,
            previous_token_secret,
            previous_token_secret_file,
            max_body_bytes: max_body_bytes.or(file.max_body_bytes),
            deadline_ms: deadline_ms.or(file.deadline_ms),
            max_requests: max_requests.or(file.max_requests),
            memory_budget: memory_budget.or(file.memory_budget),
            tenant_rate: tenant_rate.or(file.tenant_rate),
            drain_s: drain_s.or(file.drain_s),
            max_connections: max_connections.or(file.max_connections),
            tls_certificate: tls_certificate.or(file.tls_certificate),
            tls_key: tls_key.or(file.tls_key),
            trusted_proxy: if trusted_proxy.is_empty() { file.trusted_proxy } else { trusted_proxy },
            cors_origin: if cors_origin.is_empty() { file.cors_origin } else { cors_origin },
            webhook_allow: if webhook_allow.is_empty() { file.webhook_allow } else { webhook_allow },
            webhook_deny: if webhook_deny.is_empty() { file.webhook_deny } else { webhook_deny },
            webhook_host: if webhook_host.is_empty() { file.webhook_host } else { webhook_host },
            docs: docs.or(file.docs),
            core_dumps: core_dumps.or(file.core_dumps),
            log: log.or(file.log),
            log_format: log_format.or(file.log_format),
            otlp_endpoint: otlp_endpoint.or(file.otlp_endpoint),
            otlp_share: otlp_share.or(file.otlp_share),
            given: file.given.into_iter().chain(given).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::time::Duration;

    use crate::settings::{DEFAULT_LISTEN, DEFAULT_LOG};

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
