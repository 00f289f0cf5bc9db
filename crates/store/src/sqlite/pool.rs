//! Connections to a file through sea-orm.

use std::path::Path;
use std::time::Duration;

use sea_orm::sqlx::Connection as _;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectionTrait, DatabaseConnection};

use crate::connection::{OpenError, SQLITE_ACQUIRE_TIMEOUT, options};
use crate::pools::{Doubt, Pool};

/// Versions before this one can damage a database whose log is reset while it is read.
const MIN_VERSION: (u32, u32, u32) = (3, 51, 3);

/// So many connections, which wait so long for another process to finish its write.
///
/// # Errors
/// When the file cannot be opened.
pub(crate) async fn pool(path: &Path, connections: u32, busy_timeout: Duration) -> Result<Pool, OpenError> {
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
            // The engine would write the log back by itself, and tell nobody when that fails.
            .pragma("wal_autocheckpoint", "0")
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
///
/// # Errors
/// When it is not as it has to be.
pub(crate) async fn check(connection: &DatabaseConnection) -> Result<(), OpenError> {
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
    if parts < MIN_VERSION {
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
