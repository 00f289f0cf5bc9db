//! Opening a database, and proving that it keeps its promises.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sea_orm::{ConnectOptions, DbErr};
use secrecy::{ExposeSecret, SecretString};

use crate::database::Database;
use crate::elsewhere::Elsewhere;
use crate::pools::Pools;
use crate::postgres::{self, Server};
use crate::sqlite;

/// How long a request waits for a connection to a file, which is to say for its turn.
pub(crate) const SQLITE_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long for one to a server, making it included. An attempt that was begun while the network was gone is lost, and stands in the way
/// of the next one for so long.
pub(crate) const POSTGRES_ACQUIRE_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long a writer waits for another process to finish its write.
pub(crate) const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the upkeep of the log waits for readers; writers wait meanwhile.
const SQLITE_KEEPER_TIMEOUT: Duration = Duration::from_millis(40);
const SQLITE_READERS: u32 = 6;
const POSTGRES_CONNECTIONS: u32 = 10;
/// How many of them one tenant may keep busy with queries.
const READS_OF_EACH: usize = 5;
/// Where one is used at a time. A connection that comes back is asked by the pool whether it is well, without a time-out: one whose server
/// goes away at that moment keeps its place until the operating system gives it up, after a quarter of an hour.
pub(crate) const POSTGRES_ONE_AND_SPARES: u32 = 4;
/// Shorter than the time in which a client is answered, so that a statement does not outlive its request.
const POSTGRES_STATEMENT_TIMEOUT: Duration = Duration::from_millis(2_500);
const POSTGRES_UPKEEP_TIMEOUT: Duration = Duration::from_mins(10);
/// Where a database is: `sqlite://FILE` or `postgres://…`.
#[derive(Clone)]
pub struct Url(Place);

#[derive(Clone)]
enum Place {
    Sqlite(PathBuf),
    Postgres(SecretString),
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is of neither kind.
    #[error("the database URL must begin with sqlite:// or postgres://")]
    UnknownUrl,
    /// A database in memory would lose what was acknowledged.
    #[error("the database URL must name a file")]
    NoFile,
    /// The database file cannot be created or opened.
    #[error("the database file {path} cannot be opened")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The database does not answer.
    #[error("the database cannot be reached")]
    Unreachable(#[source] DbErr),
    /// The system gives no thread.
    #[error("no thread can be started")]
    NoThread(#[source] io::Error),
    /// The engine does not keep a promise that it was asked to.
    #[error("the database engine has {setting} = {found}, needed is {needed}")]
    Setting {
        /// Which promise.
        setting: &'static str,
        /// What it says.
        found: String,
        /// What is needed.
        needed: &'static str,
    },
}

/// What is in a database file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// Nothing yet.
    Empty,
    /// A database of the gateway.
    Ours,
    /// Another program's.
    Foreign,
}

impl Url {
    /// Reads a database URL.
    ///
    /// # Errors
    /// When it is of no known kind.
    pub fn parse(url: &str) -> Result<Self, OpenError> {
        if let Some(path) = url.strip_prefix("sqlite://") {
            if path.is_empty() || path.starts_with(':') || path.contains('?') {
                return Err(OpenError::NoFile);
            }
            return Ok(Self(Place::Sqlite(path.into())));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self(Place::Postgres(url.into())));
        }
        Err(OpenError::UnknownUrl)
    }

    /// What is in the file, which is only read; a server's is not looked at.
    ///
    /// # Errors
    /// When it is there and cannot be read, or is no database.
    pub fn look(&self) -> Result<FileState, rusqlite::Error> {
        match &self.0 {
            Place::Sqlite(path) => sqlite::look(path),
            Place::Postgres(_) => Ok(FileState::Ours),
        }
    }

    /// The database file; `None` for a server.
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Place::Sqlite(path) => Some(path),
            Place::Postgres(_) => None,
        }
    }
}

/// A server's URL may hold a password.
impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Place::Postgres(_) => f.write_str("postgres://…"),
        }
    }
}

impl Database {
    /// Opens a database; a SQLite file is created, readable by its owner alone, when there is none. A task of its own writes sessions
    /// from now on; it ends when the last clone is dropped.
    ///
    /// # Errors
    /// When it cannot be reached, or does not keep its promises.
    pub async fn open(url: &Url) -> Result<Self, OpenError> {
        match &url.0 {
            Place::Sqlite(path) => Self::open_sqlite(path).await,
            Place::Postgres(url) => Self::open_postgres(url).await,
        }
    }

    async fn open_sqlite(path: &Path) -> Result<Self, OpenError> {
        // The engine gives its log and index files the mode of the database file.
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| OpenError::File { path: path.to_owned(), source })?;
        let writer = sqlite::pool::pool(path, 1, SQLITE_BUSY_TIMEOUT).await?;
        sqlite::pool::check(&writer.connection).await?;
        let readers = sqlite::pool::pool(path, SQLITE_READERS, SQLITE_BUSY_TIMEOUT).await?;
        let keeper = sqlite::pool::pool(path, 1, SQLITE_KEEPER_TIMEOUT).await?;
        let probe = sqlite::pool::pool(path, 1, SQLITE_BUSY_TIMEOUT).await?;
        let pools = Pools { writers: writer, readers, probe, keeper };
        Self::in_file(pools, path).map_err(OpenError::NoThread)
    }

    async fn open_postgres(url: &SecretString) -> Result<Self, OpenError> {
        let server = Server::parse(url.expose_secret()).map_err(OpenError::Unreachable)?;
        let pool = postgres::pool::pool(url, POSTGRES_CONNECTIONS, POSTGRES_STATEMENT_TIMEOUT).await?;
        let alone = async || postgres::pool::pool(url, POSTGRES_ONE_AND_SPARES, POSTGRES_STATEMENT_TIMEOUT).await;
        let pools = Pools {
            writers: pool.clone(),
            readers: pool.clone(),
            probe: alone().await?,
            keeper: postgres::pool::pool(url, POSTGRES_ONE_AND_SPARES, POSTGRES_UPKEEP_TIMEOUT).await?,
        };
        let elsewhere = Elsewhere::on_server(pool.connection, alone().await?.connection);
        Ok(Self::on_server(pools, alone().await?, &server, elsewhere, READS_OF_EACH))
    }
}

/// What both engines' pools have in common.
pub(crate) fn options(url: &str, connections: u32, acquire_timeout: Duration) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    // Statements are not logged: what they are about is nobody's business.
    // None is kept open by the pool itself: whoever is thrown away would be replaced by an attempt that may hang for minutes where the
    // server is gone without a word, and hold the place in the pool meanwhile.
    options.max_connections(connections).min_connections(0).acquire_timeout(acquire_timeout).connect_timeout(acquire_timeout);
    options.sqlx_logging(false).record_stmt_in_spans(false);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_both_engines_and_nothing_else() {
        assert_eq!(Url::parse("sqlite://calldata.db").unwrap().file(), Some(Path::new("calldata.db")));
        assert_eq!(Url::parse("sqlite:///var/lib/calldata.db").unwrap().file(), Some(Path::new("/var/lib/calldata.db")));
        let postgres = Url::parse("postgres://user:hush@db/calldata").unwrap();
        assert_eq!(postgres.file(), None);
        assert_eq!(format!("{postgres:?}"), "postgres://…");
        for bad in ["mysql://x", "", "calldata.db", "sqlite:calldata.db"] {
            assert!(matches!(Url::parse(bad), Err(OpenError::UnknownUrl)), "{bad}");
        }
        for memory in ["sqlite://", "sqlite://:memory:", "sqlite://x?mode=memory"] {
            assert!(matches!(Url::parse(memory), Err(OpenError::NoFile)), "{memory}");
        }
    }
}
