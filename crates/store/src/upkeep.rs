//! Keeping a database in shape: what is deleted must be gone from its files, and clocks must agree.

use std::sync::Arc;
use std::time::Duration;

use calldata_core::{StoreError, Timestamp};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement, sqlx};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::Database;
use crate::error::{db_err, is_failed_sync, of_statement};

/// For how long readers are waited for before the log is emptied another time.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);
/// Between two times of writing the log back.
const WRITE_BACK_PAUSE: Duration = Duration::from_millis(20);
/// How often a server is made to vacuum, which costs it a pass over every index.
pub(crate) const VACUUM_INTERVAL: Duration = Duration::from_mins(10);

/// PostgreSQL's clock, in epoch milliseconds.
pub(crate) const SERVER_NOW_MS: &str = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT";

/// Writes the log of a file back into the database whenever it is long, beside those who write: only what they commit meanwhile is left to
/// them. Until the task is dropped.
pub(crate) async fn write_back(keeper: DatabaseConnection, log_is_long: Arc<Notify>, sync_failed: watch::Sender<bool>) {
    loop {
        log_is_long.notified().await;
        if let Err(error) = keeper.execute_unprepared("PRAGMA wal_checkpoint(PASSIVE)").await.map_err(of_statement) {
            if is_failed_sync(&error) {
                sync_failed.send_replace(true);
            }
            tracing::debug!(error = &error as &dyn std::error::Error, "the log could not be written back");
        }
        tokio::time::sleep(WRITE_BACK_PAUSE).await;
    }
}

impl Database {
    /// Makes what was deleted unreadable in the files: on SQLite, pages are overwritten when rows go, and the log that still holds
    /// them is emptied here; on PostgreSQL, dead rows are vacuumed, but not soon again. False where readers kept the log from being
    /// emptied, or it is too soon.
    ///
    /// # Errors
    /// When the database does not do it.
    pub async fn wipe_deleted(&self) -> Result<bool, StoreError> {
        if self.is_server() {
            if !self.may_vacuum() {
                return Ok(false);
            }
            self.keeper().execute_unprepared("VACUUM session").await.map_err(of_statement)?;
            return Ok(true);
        }
        let began = Instant::now();
        loop {
            // First all that can be moved without making anybody wait, then the little that is left.
            for mode in ["PASSIVE", "TRUNCATE"] {
                if self.checkpoint(mode).await.map_err(of_statement).inspect_err(|error| self.note(error))? && mode == "TRUNCATE" {
                    return Ok(true);
                }
            }
            if began.elapsed() > PATIENCE {
                return Ok(false);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Writes all of a file's log back into the database, and empties it; where others read or write meanwhile, as much of that as can be.
    /// Nothing on a server.
    ///
    /// # Errors
    /// When the database does not do it.
    pub async fn empty_log(&self) -> Result<(), StoreError> {
        if !self.is_server() {
            self.checkpoint("TRUNCATE").await.map_err(of_statement).inspect_err(|error| self.note(error))?;
        }
        Ok(())
    }

    async fn checkpoint(&self, mode: &str) -> Result<bool, DbErr> {
        let sql = sqlx::AssertSqlSafe(format!("PRAGMA wal_checkpoint({mode})"));
        // First, so that nobody waits for the connection together with those who write.
        let mut connection = self.keeper().get_sqlite_connection_pool().acquire().await.map_err(db_err)?;
        let file = self.file();
        let _pen = match file {
            Some(file) if mode == "TRUNCATE" => Some(file.pen.lock().await),
            _ => None,
        };
        let before = file.and_then(|file| file.memory.mark());
        let told = sqlx::query_scalar::<_, i32>(sql).fetch_one(&mut *connection).await;
        if let Some(file) = file {
            file.memory.log_emptied(before);
        }
        // The first column says whether somebody was in the way.
        told.map(|busy| busy == 0).map_err(db_err)
    }

    /// By how many milliseconds a clock is ahead of the server's, within `±` the second number; `None` where there is no server.
    ///
    /// # Errors
    /// When the server does not tell.
    pub async fn clock_ahead_ms(&self, now: impl Fn() -> Timestamp) -> Result<Option<(i64, i64)>, StoreError> {
        if !self.is_server() {
            return Ok(None);
        }
        let question = format!("SELECT {SERVER_NOW_MS} AS now_ms");
        let began = (now().epoch_ms(), Instant::now());
        let row = self.probe().query_one_raw(Statement::from_string(DbBackend::Postgres, question)).await.map_err(of_statement)?;
        let took_ms = i64::try_from(began.1.elapsed().as_millis()).unwrap_or(i64::MAX);
        let theirs_ms: Option<i64> = row.map(|row| row.try_get("", "now_ms")).transpose().map_err(of_statement)?;
        // They read theirs somewhere between the question and the answer.
        Ok(theirs_ms.map(|theirs_ms| (began.0 + took_ms / 2 - theirs_ms, took_ms / 2 + 1)))
    }
}
