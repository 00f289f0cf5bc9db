//! Writing in transactions, beside the group commit and, on a server, for it.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use calldata_core::{Pseudonyms, StoreError};
use sea_orm::{DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode, TransactionOptions, TransactionTrait};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::connection::SQLITE_ACQUIRE_TIMEOUT;
use crate::database::SERVER_TIMEOUT;
use crate::engine::InFile;
use crate::error::{is_conflict, is_failed_sync, is_transport, of_commit, of_statement};
use crate::memory::Change;
use crate::pools::Pool;
use crate::postgres::{Server, WriteLine};
use crate::sqlite::writer::PAGES_TO_WRITE_BACK;

/// How often a transaction that lost a conflict with another one is made again.
const MAX_RETRIES: u32 = 5;
/// The longest pause before the first of them; each further one may take twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(8);

/// What is done in a transaction, with what it is given; it may be done more than once.
pub(crate) type Work<D, T> = for<'t> fn(&'t DatabaseTransaction, &'t D) -> Working<'t, T>;
/// What it changes of sessions that may be in memory.
pub(crate) type Changes<T> = fn(&T) -> Option<Change<'static>>;
pub(crate) type Working<'t, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 't>>;

/// By what erased requests are recognised when they come again; known from when somebody serves.
pub(crate) type RecognisedBy = Arc<OnceLock<Pseudonyms>>;

/// Writes in transactions.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pool: Pool,
    file: Option<InFile>,
    sync_failed: watch::Sender<bool>,
    line: Option<Arc<WriteLine>>,
    recognised_by: RecognisedBy,
}

/// Pauses before a transaction is made again that lost a conflict with another one; false where that was done often enough.
pub(crate) async fn pause_before_retry(retries: u32) -> bool {
    if retries >= MAX_RETRIES {
        return false;
    }
    let pause = FIRST_PAUSE * 2_u32.pow(retries);
    tokio::time::sleep(pause.mul_f64(rand::random())).await;
    true
}

impl Writer {
    /// Writes in transactions of its own.
    pub(crate) fn of(pool: Pool, file: Option<InFile>, sync_failed: watch::Sender<bool>, recognised_by: RecognisedBy) -> Self {
        Self { pool, file, sync_failed, line: None, recognised_by }
    }

    /// Writes for the group commit on a server, which has a connection of its own besides.
    pub(crate) fn in_line(pool: Pool, sync_failed: watch::Sender<bool>, server: &Server, recognised_by: RecognisedBy) -> Self {
        Self { pool, file: None, sync_failed, line: Some(Arc::new(WriteLine::new(server))), recognised_by }
    }

    /// By what erased requests are recognised, as far as that is known.
    pub(crate) fn pseudonyms(&self) -> Option<Pseudonyms> {
        self.recognised_by.get().cloned()
    }

    /// The line of the group commit, which is one on a server only.
    pub(crate) fn line(&self) -> Option<&WriteLine> {
        self.line.as_deref()
    }

    /// Does `work` with what is `given` in a transaction; again where it lost a conflict with another one. On SQLite the transaction
    /// takes the write lock at once: one that took it later could not wait for it. Changes no session.
    ///
    /// # Errors
    /// Those of the work; [`StoreError::Unconfirmed`] where the transaction may have been committed.
    pub(crate) async fn transact<D: Sync + ?Sized, T>(&self, given: &D, work: Work<D, T>) -> Result<T, StoreError> {
        self.transact_on_sessions(given, work, |_| None).await.map(|(done, _)| done)
    }

    /// The same, of what changes sessions as `changes` says; with how long others had to wait for it.
    pub(crate) async fn transact_on_sessions<D: Sync + ?Sized, T>(
        &self,
        given: &D,
        work: Work<D, T>,
        changes: Changes<T>,
    ) -> Result<(T, Duration), StoreError> {
        let mut retries = 0;
        loop {
            match self.attempt(given, work, changes).await {
                Err(error) if is_conflict(&error) && pause_before_retry(retries).await => retries += 1,
                outcome => return outcome,
            }
        }
    }

    /// Begins a transaction that takes as long as it needs.
    pub(crate) async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        let options =
            TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate), ..TransactionOptions::default() };
        self.pool.connection.begin_with_options(options).await
    }

    async fn attempt<D: Sync + ?Sized, T>(&self, given: &D, work: Work<D, T>, changes: Changes<T>) -> Result<(T, Duration), StoreError> {
        self.refuse_after_failed_sync()?;
        let committing = AtomicBool::new(false);
        let outcome = self.in_time(self.run(given, work, changes, &committing), &committing).await;
        if let Err(error) = &outcome {
            if is_failed_sync(error) {
                self.sync_failed.send_replace(true);
            }
            if matches!(error, StoreError::Unconfirmed(_) | StoreError::NoRoom(_)) || is_transport(error) {
                self.pool.doubt.raise();
            }
        }
        outcome
    }

    async fn run<D: Sync + ?Sized, T>(
        &self,
        given: &D,
        work: Work<D, T>,
        changes: Changes<T>,
        committing: &AtomicBool,
    ) -> Result<(T, Duration), StoreError> {
        let _pen = match &self.file {
            Some(file) => Some(timeout(SQLITE_ACQUIRE_TIMEOUT, file.pen.lock()).await.map_err(|elapsed| StoreError::Busy(elapsed.into()))?),
            None => None,
        };
        let transaction = self.begin().await.map_err(of_statement)?;
        // Once more: the flush may have failed while this waited for its turn.
        self.refuse_after_failed_sync()?;
        let began = Instant::now();
        let before = self.file.as_ref().and_then(|file| file.memory.mark());
        match work(&transaction, given).await {
            Ok(done) => {
                committing.store(true, Ordering::Release);
                transaction.commit().await.map_err(of_commit)?;
                if let Some(file) = &self.file {
                    file.memory.committed(before, changes(&done).into_iter());
                    if file.memory.log().to_write_back >= PAGES_TO_WRITE_BACK {
                        file.log_is_long.notify_one();
                    }
                }
                Ok((done, began.elapsed()))
            }
            Err(error) => {
                if let Err(failed) = transaction.rollback().await {
                    // Whatever it was about to change is not committed; the connection is of no more use.
                    self.pool.doubt.raise();
                    tracing::debug!(error = &failed as &dyn std::error::Error, "a rollback failed");
                }
                Err(error)
            }
        }
    }

    fn refuse_after_failed_sync(&self) -> Result<(), StoreError> {
        if *self.sync_failed.borrow() { Err(StoreError::Busy("the disk failed, the process ends".into())) } else { Ok(()) }
    }

    async fn in_time<T>(&self, attempt: impl Future<Output = Result<T, StoreError>>, committing: &AtomicBool) -> Result<T, StoreError> {
        if self.pool.connection.get_database_backend() != DbBackend::Postgres {
            return attempt.await;
        }
        let mut attempt = pin!(attempt);
        match timeout(SERVER_TIMEOUT, &mut attempt).await {
            Ok(outcome) => outcome,
            Err(elapsed) => {
                // Before the attempt is dropped and its connection comes back.
                self.pool.doubt.raise();
                let committing = committing.load(Ordering::Acquire);
                Err(if committing { StoreError::Unconfirmed(elapsed.into()) } else { StoreError::Busy(elapsed.into()) })
            }
        }
    }
}
