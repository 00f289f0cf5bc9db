//! Opening a database, and proving that it keeps its promises.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sea_orm::sqlx::Connection as _;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, DbErr, SqlxError};
use secrecy::{ExposeSecret, SecretString};

use crate::database::{Database, Doubt, Pool, Pools};
use crate::elsewhere::Elsewhere;
use crate::postgres::Server;

/// How long a request waits for a connection to a file, which is to say for its turn.
pub(crate) const SQLITE_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long for one to a server, making it included. An attempt that was begun while the network was gone is lost, and stands in the way
/// of the next one for so long.
pub(crate) const POSTGRES_ACQUIRE_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long a writer waits for another process to finish its write.
pub(crate) const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the upkeep of the log waits for readers; writers wait meanwhile.
const SQLITE_KEEPER_TIMEOUT: Duration = Duration::from_millis(40);
const SQLITE_READERS: u32 = 8;
const POSTGRES_CONNECTIONS: u32 = 10;
/// Where one is used at a time. A connection that comes back is asked by the pool whether it is well, without a time-out: one whose server
/// goes away at that moment keeps its place until the operating system gives it up, after a quarter of an hour.
const POSTGRES_ONE_AND_SPARES: u32 = 4;
/// Shorter than the time in which a client is answered, so that a statement does not outlive its request.
const POSTGRES_STATEMENT_TIMEOUT: Duration = Duration::from_millis(2_500);
const POSTGRES_UPKEEP_TIMEOUT: Duration = Duration::from_mins(10);
const POSTGRES_IDLE_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// What is acknowledged is durable, also where the server's default is not to wait for the disk. A setting that waits for more than the
/// disk is left as it is.
pub(crate) const DURABLE_COMMIT: &str =
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";
/// A connection that nobody used for so long is asked whether it is well.
pub(crate) const POSTGRES_IDLE: Duration = Duration::from_secs(5);
/// And it has so long to say so.
pub(crate) const POSTGRES_PING_TIMEOUT: Duration = Duration::from_millis(500);
/// Versions before this one can damage a database whose log is reset while it is read.
const MIN_SQLITE: (u32, u32, u32) = (3, 51, 3);

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
        let writer = sqlite(path, 1, SQLITE_BUSY_TIMEOUT).await?;
        check_sqlite(&writer.connection).await?;
        let readers = sqlite(path, SQLITE_READERS, SQLITE_BUSY_TIMEOUT).await?;
        let keeper = sqlite(path, 1, SQLITE_KEEPER_TIMEOUT).await?;
        let probe = sqlite(path, 1, SQLITE_BUSY_TIMEOUT).await?;
        let pools = Pools { writers: writer, readers, probe, keeper };
        Self::in_file(pools, path, half(SQLITE_READERS)).map_err(OpenError::NoThread)
    }

    async fn open_postgres(url: &SecretString) -> Result<Self, OpenError> {
        let server = Server::parse(url.expose_secret()).map_err(OpenError::Unreachable)?;
        let pool = postgres(url, POSTGRES_CONNECTIONS, POSTGRES_STATEMENT_TIMEOUT).await?;
        let alone = async || postgres(url, POSTGRES_ONE_AND_SPARES, POSTGRES_STATEMENT_TIMEOUT).await;
        let pools = Pools {
            writers: pool.clone(),
            readers: pool.clone(),
            probe: alone().await?,
            keeper: postgres(url, POSTGRES_ONE_AND_SPARES, POSTGRES_UPKEEP_TIMEOUT).await?,
        };
        let elsewhere = Elsewhere::on_server(pool.connection, alone().await?.connection);
        Ok(Self::on_server(pools, alone().await?, &server, elsewhere, half(POSTGRES_CONNECTIONS)))
    }
}

/// How many of these readers one tenant may keep busy.
fn half(readers: u32) -> usize {
    usize::try_from(readers / 2).unwrap_or(1)
}

fn options(url: &str, connections: u32, acquire_timeout: Duration) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    // Statements are not logged: what they are about is nobody's business.
    // None is kept open by the pool itself: whoever is thrown away would be replaced by an attempt that may hang for minutes where the
    // server is gone without a word, and hold the place in the pool meanwhile.
    options.max_connections(connections).min_connections(0).acquire_timeout(acquire_timeout).connect_timeout(acquire_timeout);
    options.sqlx_logging(false).record_stmt_in_spans(false);
    options
}

async fn sqlite(path: &Path, connections: u32, busy_timeout: Duration) -> Result<Pool, OpenError> {
    let doubt = Doubt::default();
    let in_doubt = doubt.clone();
    let file = path.to_owned();
    let mut options = options("sqlite://calldata", connections, SQLITE_ACQUIRE_TIMEOUT);
    options.map_sqlx_sqlite_opts(move |sqlite| {
        sqlite
            .filename(&file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(busy_timeout)
            .pragma("secure_delete", "ON")
    });
    // After a COMMIT that failed, the engine has rolled back and the driver does not know: its next "transaction" would be a
    // savepoint inside one that never commits. Such a connection is thrown away, and so is one whose pool is in doubt.
    options.map_sqlx_sqlite_pool_opts(move |pool| {
        let in_doubt = in_doubt.clone();
        pool.after_release(move |connection, known| {
            let in_doubt = in_doubt.is_about(known.age);
            Box::pin(async move {
                connection.ping().await?;
                Ok(!in_doubt && !connection.is_in_transaction())
            })
        })
    });
    let connection = sea_orm::Database::connect(options).await.map_err(OpenError::Unreachable)?;
    Ok(Pool { connection, doubt })
}

/// Reads back what durability stands on.
async fn check_sqlite(connection: &DatabaseConnection) -> Result<(), OpenError> {
    const FULL: &str = "2";
    for (setting, needed) in [("journal_mode", "wal"), ("synchronous", FULL), ("foreign_keys", "1"), ("secure_delete", "1")] {
        let found = read_one(connection, &format!("SELECT CAST({setting} AS TEXT) AS found FROM pragma_{setting}")).await?;
        if found != needed {
            return Err(OpenError::Setting { setting, found, needed });
        }
    }
    let version = read_one(connection, "SELECT sqlite_version() AS found").await?;
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let parts = (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if parts < MIN_SQLITE {
        return Err(OpenError::Setting { setting: "sqlite_version", found: version, needed: "3.51.3 or newer" });
    }
    Ok(())
}

async fn read_one(connection: &DatabaseConnection, statement: &str) -> Result<String, OpenError> {
    let statement = sea_orm::Statement::from_string(connection.get_database_backend(), statement);
    let row = connection.query_one_raw(statement).await.map_err(OpenError::Unreachable)?;
    row.and_then(|row| row.try_get("", "found").ok()).ok_or(OpenError::Setting {
        setting: "pragma",
        found: "nothing".into(),
        needed: "an answer",
    })
}

async fn postgres(url: &SecretString, connections: u32, statement_timeout: Duration) -> Result<Pool, OpenError> {
    let doubt = Doubt::default();
    let in_doubt = doubt.clone();
    let mut options = options(url.expose_secret(), connections, POSTGRES_ACQUIRE_TIMEOUT);
    options.statement_timeout(statement_timeout).set_application_name("calldata-gateway");
    let idle_in_doubt = doubt.clone();
    options.test_before_acquire(false);
    options.map_sqlx_postgres_before_acquire(move |connection, known| {
        let doubt = idle_in_doubt.clone();
        Box::pin(async move {
            // One that stalled takes all of its age with it: each of them would cost somebody a time-out.
            if doubt.is_about(known.age) {
                return Err(in_doubt_error());
            }
            if known.idle_for < POSTGRES_IDLE {
                return Ok(true);
            }
            match tokio::time::timeout(POSTGRES_PING_TIMEOUT, connection.ping()).await {
                Ok(answered) => answered.map(|()| true),
                Err(_) => {
                    doubt.raise();
                    Err(in_doubt_error())
                }
            }
        })
    });
    // What a vanished gateway left behind is rolled back, and frees its locks.
    let idle_ms = POSTGRES_IDLE_TRANSACTION_TIMEOUT.as_millis().to_string();
    // To compile a plan takes longer than any of ours does.
    options.map_sqlx_postgres_opts(move |postgres| {
        postgres.options([("idle_in_transaction_session_timeout", idle_ms.as_str()), ("jit", "off")])
    });
    // A connection that may have stalled is closed without a word: asking it whether it is well could take for ever.
    options.map_sqlx_postgres_pool_opts(move |pool| {
        let in_doubt = in_doubt.clone();
        let pool = pool.after_connect(|connection, _| {
            Box::pin(async move { sea_orm::sqlx::Executor::execute(connection, DURABLE_COMMIT).await.map(drop) })
        });
        pool.after_release(move |connection, known| {
            let in_doubt = in_doubt.is_about(known.age);
            Box::pin(async move {
                if in_doubt {
                    return Err(in_doubt_error());
                }
                // The pool asks as well, and would wait for ever. Where there are many, that costs one of them now and then; where one is
                // used at a time, it is worth asking first.
                if connections <= POSTGRES_ONE_AND_SPARES {
                    let answered = tokio::time::timeout(POSTGRES_PING_TIMEOUT, connection.ping()).await;
                    answered.unwrap_or_else(|_| Err(in_doubt_error()))?;
                }
                Ok(true)
            })
        })
    });
    let connection = sea_orm::Database::connect(options).await.map_err(OpenError::Unreachable)?;
    Ok(Pool { connection, doubt })
}

fn in_doubt_error() -> SqlxError {
    SqlxError::Io(io::Error::other("the connection is in doubt"))
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
