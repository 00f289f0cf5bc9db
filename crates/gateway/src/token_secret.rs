//! The secret that tokens are signed with (OIF-A2).

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use calldata_store::Url;
use oifde_api::TokenSecrets;
use secrecy::SecretString;

use crate::Failure;
use crate::settings::Settings;

/// The secrets of the settings; with SQLite, a secret of its own in a file beside the database where none is set. Several instances
/// on PostgreSQL must share one, so there it is demanded.
pub(crate) fn token_secrets(settings: &Settings, database: &Url) -> Result<TokenSecrets, Failure> {
    let (current, previous) = settings.token_secrets()?;
    let current = match (current, database.file()) {
        (Some(secret), _) => secret,
        (None, Some(file)) => beside(file)?,
        (None, None) => return Err(demanded()),
    };
    checked(current, previous)
}

/// Whether there can be such secrets; none is made.
///
/// # Errors
/// When they are too short, cannot be read, or are missing where they have to be given.
pub(crate) fn check(settings: &Settings, database: &Url) -> Result<(), Failure> {
    let (current, previous) = settings.token_secrets()?;
    let current = match (current, database.file()) {
        (Some(current), _) => current,
        (None, None) => return Err(demanded()),
        (None, Some(file)) if beside_name(file).exists() => beside(file)?,
        // One of this length is made.
        (None, Some(_)) => "0".repeat(64).into(),
    };
    checked(current, previous).map(drop)
}

fn checked(current: SecretString, previous: Option<SecretString>) -> Result<TokenSecrets, Failure> {
    TokenSecrets::new(current, previous).map_err(|error| Failure::new(format!("{error}; see --token-secret")))
}

fn demanded() -> Failure {
    Failure::new(
        "a token secret is needed with PostgreSQL, the same for all instances: set CALLDATA_TOKEN_SECRET or CALLDATA_TOKEN_SECRET_FILE \
         (for one: openssl rand -hex 32)",
    )
}

fn beside_name(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".token-secret");
    path.into()
}

fn beside(database: &Path) -> Result<SecretString, Failure> {
    let path = beside_name(database);
    read_or_create(&path)
        .map_err(|error| Failure::because(format!("the token secret in {} cannot be read or made", path.display()), &error))
}

fn read_or_create(path: &Path) -> io::Result<SecretString> {
    match std::fs::read_to_string(path) {
        Ok(text) => return Ok(text.trim_end().into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Written under another name first, readable by its owner alone: nobody can see half of it, and of two that start at once one wins.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    let secret = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
    writeln!(file, "{secret}")?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(secret.into()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(std::fs::read_to_string(path)?.trim_end().into()),
        Err(error) => Err(error.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn oif_a2_a_secret_is_made_once_and_readable_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("calldata.db");
        let made = beside(&database).unwrap();
        assert_eq!(made.expose_secret().len(), 64);
        assert_eq!(beside(&database).unwrap().expose_secret(), made.expose_secret());
        let mode = std::fs::metadata(folder.path().join("calldata.db.token-secret")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn oif_a2_postgresql_demands_a_secret() {
        let postgres = Url::parse("postgres://db/x").unwrap();
        let demanded = token_secrets(&Settings::default(), &postgres).unwrap_err().to_string();
        assert!(demanded.contains("CALLDATA_TOKEN_SECRET"), "{demanded}");
        let with = |secret: &str| Settings { token_secret: Some(secret.into()), ..Settings::default() };
        assert!(token_secrets(&with("short"), &postgres).unwrap_err().to_string().contains("32 bytes"));
        assert!(token_secrets(&with(&"x".repeat(32)), &postgres).is_ok());
    }
}
