//! From the database's errors to the port's.

use calldata_core::StoreError;
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

/// The error of a statement; whatever it was about to change is rolled back.
pub(crate) fn of_statement(error: DbErr) -> StoreError {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => return StoreError::Taken("the name"),
        Some(SqlErr::ForeignKeyConstraintViolation(_)) => return StoreError::NoSuchTenant,
        _ => {}
    }
    if is_passing(&error) { StoreError::Busy(error.into()) } else { StoreError::Failed(error.into()) }
}

/// The error of a COMMIT, which may have happened all the same.
pub(crate) fn of_commit(error: DbErr) -> StoreError {
    StoreError::Unconfirmed(error.into())
}

/// Whether the same statement may succeed later: no connection, no time, a conflict with somebody else, no room.
fn is_passing(error: &DbErr) -> bool {
    match error {
        DbErr::ConnectionAcquire(ConnAcquireErr::Timeout | ConnAcquireErr::ConnectionClosed) | DbErr::Conn(_) => true,
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => match &**error {
            SqlxError::Io(_) | SqlxError::PoolTimedOut | SqlxError::PoolClosed | SqlxError::WorkerCrashed => true,
            SqlxError::Database(database) => database.code().is_some_and(|code| is_passing_code(&code)),
            _ => false,
        },
        _ => false,
    }
}

/// `SQLSTATE` classes of PostgreSQL and result codes of SQLite, whose low byte is the primary one.
fn is_passing_code(code: &str) -> bool {
    const SQLITE_BUSY: u32 = 5;
    const SQLITE_LOCKED: u32 = 6;
    const SQLITE_FULL: u32 = 13;
    if code.len() == 5 {
        // Serialisation failures and deadlocks, connections, resources, operator intervention.
        return matches!(code, "40001" | "40P01") || ["08", "53", "57"].iter().any(|class| code.starts_with(class));
    }
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, SQLITE_BUSY | SQLITE_LOCKED | SQLITE_FULL))
}

#[cfg(test)]
mod tests {
    use super::is_passing_code;

    #[test]
    fn codes_that_pass_by_themselves() {
        for passing in ["40001", "40P01", "08006", "53100", "57P01", "57014", "5", "6", "13", "261", "517"] {
            assert!(is_passing_code(passing), "{passing}");
        }
        for lasting in ["23505", "22021", "42P01", "1", "19", "2067", ""] {
            assert!(!is_passing_code(lasting), "{lasting}");
        }
    }
}
