//! A connection with the settings that durability stands on.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// Prepared statements that a connection keeps; there are fewer.
const STATEMENTS: usize = 64;

/// Opens a file that is there. The settings are those of the pools' connections (`crate::connection`), where they are also read back.
///
/// # Errors
/// When it cannot be opened, or does not take the settings.
pub(crate) fn open(file: &Path, busy_timeout: Duration, settings: &[(&str, i64)]) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(busy_timeout)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    for (name, value) in [("synchronous", 2), ("foreign_keys", 1)].iter().chain(settings) {
        connection.pragma_update(None, name, value)?;
    }
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}
