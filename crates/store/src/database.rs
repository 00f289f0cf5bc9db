//! An open database: who writes, who reads, and what happens when either fails.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use calldata_core::{StoreError, TenantId};
use sea_orm::{
    AccessMode, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, IsolationLevel, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::elsewhere::Elsewhere;
use crate::error::{is_conflict, is_failed_sync, is_transport, of_commit, of_statement};
use crate::group_commit::GroupCommit;
use crate::postgres::{Server, SharedReads, WriteLine};
use crate::read_turns::ReadTurns;
use crate::upkeep::VACUUM_INTERVAL;

/// How often a transaction that lost a conflict with another one is made again.
const MAX_RETRIES: u32 = 5;
/// The longest pause before the first of them; each further one may take twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(8);
/// How long a server may take for a whole transaction, or for a query. SQLite has no such limit: its calls cannot be abandoned.
pub(crate) const SERVER_TIMEOUT: Duration = Duration::from_millis(2_500);
/// A query that was given up after this time may have hung.
const SUSPICIOUS: Duration = Duration::from_secs(1);

/// An open database. Clones share it.
#[derive(Clone, Debug)]
pub struct Database {
    pools: Pools,
    sync_failed: watch::Sender<bool>,
    group_commit: Arc<GroupCommit>,
    elsewhere: Arc<Elsewhere>,
    vacuumed: Arc<Mutex<Option<Instant>>>,
    turns: Arc<ReadTurns>,
    /// Where there is a server.
    shared_reads: Option<Arc<SharedReads>>,
}

/// Connections by what they are for.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    /// The one connection of the group commit.
    pub(crate) line: Pool,
    /// For everything else that writes; SQLite knows one writer, so it is the same one there.
    pub(crate) writers: Pool,
    /// For everything that only reads.
    pub(crate) readers: Pool,
    /// For readiness, which must not wait for requests.
    pub(crate) probe: Pool,
    /// For upkeep, which takes its time.
    pub(crate) keeper: Pool,
}

/// Connections that are opened when they are needed and thrown away when they are in doubt.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) connection: DatabaseConnection,
    pub(crate) doubt: Doubt,
}

/// When the connections that a pool then had were last found to be broken, or perhaps so.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doubt(Arc<Mutex<Option<Instant>>>);

impl Doubt {
    pub(crate) fn raise(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection of this age was there already when the doubt arose.
    pub(crate) fn is_about(&self, age: Duration) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|raised| raised.elapsed() <= age)
    }
}

impl Database {
    pub(crate) fn of(pools: Pools, elsewhere: Elsewhere, reads_of_each: usize, server: Option<&Server>) -> Self {
        let sync_failed = watch::Sender::new(false);
        let group_commit = Arc::new(GroupCommit::start(Writer {
            pool: pools.line.clone(),
            sync_failed: sync_failed.clone(),
            line: server.map(|server| Arc::new(WriteLine::new(server))),
        }));
        Self {
            pools,
            sync_failed,
            group_commit,
            elsewhere: Arc::new(elsewhere),
            vacuumed: Arc::default(),
            turns: Arc::new(ReadTurns::new(reads_of_each)),
            shared_reads: server.map(SharedReads::start),
        }
    }

    pub(crate) fn readers(&self) -> &DatabaseConnection {
        &self.pools.readers.connection
    }

    /// Whether the database is a server that several machines may share.
    pub(crate) fn is_server(&self) -> bool {
        self.readers().get_database_backend() == DbBackend::Postgres
    }

    /// A connection that requests do not use.
    pub(crate) fn probe(&self) -> &DatabaseConnection {
        &self.pools.probe.connection
    }

    /// A connection for what takes its time.
    pub(crate) fn keeper(&self) -> &DatabaseConnection {
        &self.pools.keeper.connection
    }

    /// Lookups that share a statement; on a server.
    pub(crate) fn shared_reads(&self) -> Option<&SharedReads> {
        self.shared_reads.as_deref()
    }

    pub(crate) fn group_commit(&self) -> &GroupCommit {
        &self.group_commit
    }

    /// Whether the server was last vacuumed long enough ago; if so, it counts as vacuumed now.
    pub(crate) fn may_vacuum(&self) -> bool {
        let mut vacuumed = self.vacuumed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = vacuumed.is_none_or(|at| at.elapsed() >= VACUUM_INTERVAL);
        if is_due {
            *vacuumed = Some(Instant::now());
        }
        is_due
    }

    /// What instances tell each other.
    pub(crate) fn elsewhere(&self) -> &Elsewhere {
        &self.elsewhere
    }

    /// What writes in transactions of their own, beside the group commit.
    pub(crate) fn writer(&self) -> Writer {
        Writer { pool: self.pools.writers.clone(), sync_failed: self.sync_failed.clone(), line: None }
    }

    /// Completes when the disk failed to make something durable that was handed to it. What it holds then is known to nobody: the
    /// process must end, and the next one recovers from the log. Until it does, every write is refused.
    pub async fn sync_failed(&self) {
        let mut failed = self.sync_failed.subscribe();
        if failed.wait_for(|failed| *failed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Notices a flush that failed outside of the writers.
    pub(crate) fn note(&self, error: &StoreError) {
        if is_failed_sync(error) {
            self.sync_failed.send_replace(true);
        }
    }

    /// A query for a tenant, which begins when it is the tenant's turn; otherwise as [`Database::read`].
    pub(crate) async fn read_for<T>(&self, tenant: TenantId, query: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let turn = tokio::time::timeout(SERVER_TIMEOUT, self.turns.take(tenant)).await;
        let _turn = turn.map_err(|elapsed| StoreError::Busy(elapsed.into()))?;
        self.read(query).await
    }

    /// Gives up on a query that is not answered in time. Where a server was asked, the connection is thrown away.
    pub(crate) async fn read<T>(&self, query: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let mut query = pin!(query);
        // Declared after the query and so dropped before it, which is when its connection comes back.
        let mut asked = Asked { pool: &self.pools.readers, at: Instant::now(), answered: false };
        let outcome = tokio::time::timeout(SERVER_TIMEOUT, &mut query).await;
        asked.answered = outcome.is_ok();
        outcome.unwrap_or_else(|elapsed| Err(StoreError::Busy(elapsed.into())))
    }
}

/// Begins a transaction in which everything is read as of one moment. SQLite's are so by themselves.
pub(crate) async fn begin_snapshot(readers: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    match readers.get_database_backend() {
        DbBackend::Postgres => readers.begin_with_config(Some(IsolationLevel::RepeatableRead), Some(AccessMode::ReadOnly)).await,
        _ => readers.begin().await,
    }
}

/// A query under way. One that is given up after a while, by us or because its client is gone, may hang in a connection that has
/// stalled.
struct Asked<'a> {
    pool: &'a Pool,
    at: Instant,
    answered: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let is_server = self.pool.connection.get_database_backend() == DbBackend::Postgres;
        if is_server && !self.answered && self.at.elapsed() >= SUSPICIOUS {
            self.pool.doubt.raise();
        }
    }
}

/// What is done in a transaction, with what it is given; it may be done more than once.
pub(crate) type Work<D, T> = for<'t> fn(&'t DatabaseTransaction, &'t D) -> Working<'t, T>;
pub(crate) type Working<'t, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 't>>;

/// Writes in transactions.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pool: Pool,
    sync_failed: watch::Sender<bool>,
    line: Option<Arc<WriteLine>>,
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
    /// The line of the group commit, which is one on a server only.
    pub(crate) fn line(&self) -> Option<&WriteLine> {
        self.line.as_deref()
    }

    /// Does `work` with what is `given` in a transaction; again where it lost a conflict with another one. On SQLite the transaction takes the write lock
    /// at once: one that took it later could not wait for it.
    ///
    /// # Errors
    /// Those of the work; [`StoreError::Unconfirmed`] where the transaction may have been committed.
    pub(crate) async fn transact<D: Sync + ?Sized, T>(&self, given: &D, work: Work<D, T>) -> Result<T, StoreError> {
        self.transact_timed(given, work).await.map(|(done, _)| done)
    }

    /// The same, with how long others had to wait for it.
    pub(crate) async fn transact_timed<D: Sync + ?Sized, T>(&self, given: &D, work: Work<D, T>) -> Result<(T, Duration), StoreError> {
        let mut retries = 0;
        loop {
            match self.attempt(given, work).await {
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

    async fn attempt<D: Sync + ?Sized, T>(&self, given: &D, work: Work<D, T>) -> Result<(T, Duration), StoreError> {
        self.refuse_after_failed_sync()?;
        let committing = AtomicBool::new(false);
        let outcome = self.in_time(self.run(given, work, &committing), &committing).await;
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

    async fn run<D: Sync + ?Sized, T>(&self, given: &D, work: Work<D, T>, committing: &AtomicBool) -> Result<(T, Duration), StoreError> {
        let transaction = self.begin().await.map_err(of_statement)?;
        // Once more: the flush may have failed while this waited for its turn.
        self.refuse_after_failed_sync()?;
        let began = Instant::now();
        match work(&transaction, given).await {
            Ok(done) => {
                committing.store(true, Ordering::Release);
                transaction.commit().await.map_err(of_commit)?;
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
        match tokio::time::timeout(SERVER_TIMEOUT, &mut attempt).await {
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
