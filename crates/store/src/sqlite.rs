//! What is asked of SQLite most, past the pools, by threads that each keep a connection of their own; and the pools themselves.
//! Everything else goes through sea-orm. A statement here is prepared once and costs a few microseconds; on the way through a pool it
//! would cost the way ten times as much as the statement (docs/performance.md).

pub(crate) mod connection;
pub(crate) mod history;
pub(crate) mod lookups;
pub(crate) mod notes;
pub(crate) mod pool;
pub(crate) mod readers;
pub(crate) mod scrub;
pub(crate) mod writer;

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::connection::FileState;

/// How many queries of the pool one tenant may have under way, of the six that there may be: others find a connection, and a core.
pub(crate) const READS_OF_EACH: usize = 2;

/// What is in a file, which is not changed.
///
/// # Errors
/// When it cannot be read, or is no database.
pub(crate) fn look(file: &Path) -> rusqlite::Result<FileState> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let tables: i64 = connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |found| found.get(0))?;
    let ours: i64 = connection.query_row("SELECT COUNT(*) FROM sqlite_schema WHERE name = 'seaql_migrations'", [], |found| found.get(0))?;
    Ok(match (tables, ours) {
        (0, _) => FileState::Empty,
        (_, 0) => FileState::Foreign,
        _ => FileState::Ours,
    })
}
