//! A connection with the settings that durability stands on.

use std::path::Path;
use std::time::Duration;

use rusqlite::ffi::{Error as Failure, SQLITE_MISUSE};
use rusqlite::{Connection, OpenFlags};

const FULL: i64 = 2;
/// Prepared statements that a connection keeps; there are fewer.
const STATEMENTS: usize = 64;

/// Opens a file that is there. The settings are those of the pools' connections (`crate::connection`), and read back as there.
///
/// # Errors
/// When it cannot be opened, or does not take the settings.
pub(crate) fn open(file: &Path, busy_timeout: Duration, settings: &[(&str, i64)]) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(busy_timeout)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |found| found.get(0))?;
    // The engine writes the log back by itself where it is long, and tells nobody when that fails.
    for (name, value) in [("synchronous", FULL), ("foreign_keys", 1), ("wal_autocheckpoint", 0)].iter().chain(settings) {
        connection.pragma_update(None, name, value)?;
    }
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |found| found.get(0))?;
    if mode != "wal" || synchronous != FULL {
        return Err(rusqlite::Error::SqliteFailure(Failure::new(SQLITE_MISUSE), Some("the file is not as durable as it must be".into())));
    }
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}
