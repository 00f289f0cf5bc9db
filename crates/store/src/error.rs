//! From the database's errors to the port's.

use calldata_core::StoreError;
use rusqlite::ffi::{SQLITE_CONSTRAINT_FOREIGNKEY, SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE};
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, SqlErr, SqlxError};

/// A stored value that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("column {column} of {table} holds something unreadable")]
pub(crate) struct Unreadable {
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
}

impl From<Unreadable> for StoreError {
    fn from(unreadable: Unreadable) -> Self {
        StoreError::Failed(unreadable.into())
    }
}

/// The driver's errors as those of the layer above it, which are sorted here.
pub(crate) fn db_err(error: SqlxError) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}

/// The error of a statement; whatever it was about to change is rolled back.
pub(crate) fn of_statement(error: DbErr) -> StoreError {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => return StoreError::Taken("the name"),
        Some(SqlErr::ForeignKeyConstraintViolation(_)) => return StoreError::NoSuchTenant,
        _ => {}
    }
    match kind(&error) {
        Kind::NoRoom => StoreError::NoRoom(error.into()),
        Kind::Conflict | Kind::Passing | Kind::Transport | Kind::FailedSync => StoreError::Busy(error.into()),
        Kind::Lasting => StoreError::Failed(error.into()),
    }
}

/// The error of a COMMIT, which may have happened all the same, unless the engine says why it has not.
pub(crate) fn of_commit(error: DbErr) -> StoreError {
    match kind(&error) {
        Kind::NoRoom => StoreError::NoRoom(error.into()),
        Kind::Conflict => StoreError::Busy(error.into()),
        Kind::Passing | Kind::Transport | Kind::FailedSync | Kind::Lasting => StoreError::Unconfirmed(error.into()),
    }
}

/// The same of a statement of our own on a file.
pub(crate) fn of_file_statement(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error().map(|failure| failure.extended_code) {
        Some(SQLITE_CONSTRAINT_UNIQUE | SQLITE_CONSTRAINT_PRIMARYKEY) => return StoreError::Taken("the name"),
        Some(SQLITE_CONSTRAINT_FOREIGNKEY) => return StoreError::NoSuchTenant,
        _ => {}
    }
    match kind_of_file_error(&error) {
        Kind::NoRoom => StoreError::NoRoom(error.into()),
        Kind::Conflict | Kind::Passing | Kind::Transport | Kind::FailedSync => StoreError::Busy(error.into()),
        Kind::Lasting => StoreError::Failed(error.into()),
    }
}

/// The same of a COMMIT of our own on a file.
pub(crate) fn of_file_commit(error: rusqlite::Error) -> StoreError {
    match kind_of_file_error(&error) {
        Kind::NoRoom => StoreError::NoRoom(error.into()),
        Kind::Conflict => StoreError::Busy(error.into()),
        Kind::Passing | Kind::Transport | Kind::FailedSync | Kind::Lasting => StoreError::Unconfirmed(error.into()),
    }
}

/// Whether a transaction lost against another one and can simply be made again.
pub(crate) fn is_conflict(error: &StoreError) -> bool {
    kind_of_cause(error) == Some(Kind::Conflict)
}

/// Whether the connection failed, or the file below it.
pub(crate) fn is_transport(error: &StoreError) -> bool {
    matches!(kind_of_cause(error), Some(Kind::Transport | Kind::FailedSync))
}

/// Whether the disk failed to make durable what it was handed.
pub(crate) fn is_failed_sync(error: &StoreError) -> bool {
    kind_of_cause(error) == Some(Kind::FailedSync)
}

fn kind_of_cause(error: &StoreError) -> Option<Kind> {
    match error {
        StoreError::Busy(cause) | StoreError::NoRoom(cause) | StoreError::Unconfirmed(cause) | StoreError::Failed(cause) => {
            let of_file = || cause.downcast_ref::<rusqlite::Error>().map(kind_of_file_error);
            cause.downcast_ref::<DbErr>().map(kind).or_else(of_file)
        }
        StoreError::Taken(_) | StoreError::NoSuchTenant | StoreError::OverQuota => None,
    }
}

/// What an error of the database means for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Another transaction won; this one was rolled back.
    Conflict,
    /// The disk is full.
    NoRoom,
    /// No time, no connection, a lock that somebody holds: the same may succeed later.
    Passing,
    /// The connection broke, or reading or writing a file failed.
    Transport,
    /// What was written could not be made durable.
    FailedSync,
    /// The same would fail again.
    Lasting,
}

fn kind(error: &DbErr) -> Kind {
    match error {
        DbErr::ConnectionAcquire(ConnAcquireErr::Timeout | ConnAcquireErr::ConnectionClosed) => Kind::Passing,
        DbErr::Conn(_) => Kind::Transport,
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => match &**error {
            SqlxError::Io(_) | SqlxError::WorkerCrashed => Kind::Transport,
            SqlxError::PoolTimedOut | SqlxError::PoolClosed => Kind::Passing,
            SqlxError::Database(database) => database.code().map_or(Kind::Lasting, |code| kind_of_code(&code)),
            _ => Kind::Lasting,
        },
        _ => Kind::Lasting,
    }
}

fn kind_of_file_error(error: &rusqlite::Error) -> Kind {
    error.sqlite_error().and_then(|failure| u32::try_from(failure.extended_code).ok()).map_or(Kind::Lasting, kind_of_sqlite)
}

fn kind_of_code(code: &str) -> Kind {
    // PostgreSQL's have five characters, SQLite's are short numbers.
    if code.len() == 5 { kind_of_sqlstate(code) } else { code.parse().map_or(Kind::Lasting, kind_of_sqlite) }
}

fn kind_of_sqlstate(code: &str) -> Kind {
    match code {
        // Serialisation failure and deadlock.
        "40001" | "40P01" => Kind::Conflict,
        "53100" => Kind::NoRoom,
        // The operator ended it, or the server is not up yet.
        "57P01" | "57P02" | "57P03" | "57P05" => Kind::Transport,
        // Connections, resources, other interventions.
        _ if code.starts_with("08") => Kind::Transport,
        _ if code.starts_with("53") || code.starts_with("57") => Kind::Passing,
        _ => Kind::Lasting,
    }
}

fn kind_of_sqlite(code: u32) -> Kind {
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    const IOERR: u32 = 10;
    const FULL: u32 = 13;
    const CANTOPEN: u32 = 14;
    const IOERR_FSYNC: u32 = IOERR | 4 << 8;
    const IOERR_DIR_FSYNC: u32 = IOERR | 5 << 8;
    // The low byte of a code is the primary one.
    match (code, code & 0xff) {
        (IOERR_FSYNC | IOERR_DIR_FSYNC, _) => Kind::FailedSync,
        (_, BUSY | LOCKED) => Kind::Passing,
        (_, IOERR | CANTOPEN) => Kind::Transport,
        (_, FULL) => Kind::NoRoom,
        _ => Kind::Lasting,
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, kind_of_code};

    #[test]
    fn what_codes_of_both_engines_mean() {
        for (code, kind) in [
            ("40001", Kind::Conflict),
            ("40P01", Kind::Conflict),
            ("53100", Kind::NoRoom),
            ("13", Kind::NoRoom),
            ("53300", Kind::Passing),
            ("57014", Kind::Passing),
            ("5", Kind::Passing),
            ("517", Kind::Passing),
            ("262", Kind::Passing),
            ("08006", Kind::Transport),
            ("57P01", Kind::Transport),
            ("778", Kind::Transport),
            ("14", Kind::Transport),
            ("1034", Kind::FailedSync),
            ("1290", Kind::FailedSync),
            ("23505", Kind::Lasting),
            ("22021", Kind::Lasting),
            ("42P01", Kind::Lasting),
            ("1", Kind::Lasting),
            ("2067", Kind::Lasting),
            ("", Kind::Lasting),
        ] {
            assert_eq!(kind_of_code(code), kind, "{code}");
        }
    }
}
