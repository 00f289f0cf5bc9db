//! An open database: who writes, who reads, and what happens when either fails.

use std::fmt;
use std::io;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use calldata_core::{CallId, CallerKey, Scope, StoreError, TenantId};
use sea_orm::{
    AccessMode, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, IsolationLevel, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::connection::SQLITE_ACQUIRE_TIMEOUT;
use crate::elsewhere::Elsewhere;
use crate::error::{is_conflict, is_failed_sync, is_transport, of_commit, of_statement};
use crate::group_commit::GroupCommit;
use crate::memory::{Change, Memory};
use crate::postgres::{Server, SharedReads, WriteLine};
use crate::read_turns::ReadTurns;
use crate::sqlite::history::Histories;
use crate::sqlite::lookups::Lookups;
use crate::sqlite::readers::Readers;
use crate::sqlite::writer::FileWriter;
use crate::upkeep::{VACUUM_INTERVAL, write_back};

/// How often a transaction that lost a conflict with another one is made again.
const MAX_RETRIES: u32 = 5;
/// The longest pause before the first of them; each further one may take twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(8);
/// How long a server may take for a whole transaction, or for a query. SQLite has no such limit: its calls cannot be abandoned.
pub(crate) const SERVER_TIMEOUT: Duration = Duration::from_millis(2_500);
/// A query that was given up after this time may have hung.
const SUSPICIOUS: Duration = Duration::from_secs(1);

/// What each thread that reads keeps of the file.
const LOOKUP_CACHE_KIB: i64 = 4 << 10;
const HISTORY_CACHE_KIB: i64 = 2 << 10;

/// How often memory is looked through for what has been there for long.
const DROP_OLD_INTERVAL: Duration = Duration::from_secs(30);

/// An open database. Clones share it.
#[derive(Clone, Debug)]
pub struct Database {
    pools: Pools,
    engine: Engine,
    sync_failed: watch::Sender<bool>,
    group_commit: Arc<GroupCommit>,
    elsewhere: Arc<Elsewhere>,
    vacuumed: Arc<Mutex<Option<Instant>>>,
    turns: Arc<ReadTurns>,
}

/// Whoever writes into the file holds it. The engine has a lock of its own, for which one waits by looking again and again.
pub(crate) type Pen = Arc<tokio::sync::Mutex<()>>;

/// What a database in a file has and one on a server has not.
#[derive(Clone)]
pub(crate) struct InFile {
    pub(crate) pen: Pen,
    pub(crate) memory: Arc<Memory>,
    pub(crate) lookups: Arc<Lookups>,
    pub(crate) histories: Arc<Histories>,
    _write_back: Arc<Task>,
}

/// A task that ends with whoever it works for.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Who answers what is asked most, past the pools.
#[derive(Clone, Debug)]
pub(crate) enum Engine {
    File(InFile),
    Server(Arc<SharedReads>),
}

impl fmt::Debug for InFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InFile")
    }
}

/// Connections by what they are for.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    /// For everything that writes beside the group commit.
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
    pub(crate) fn on_server(pools: Pools, line: Pool, server: &Server, elsewhere: Elsewhere, reads_of_each: usize) -> Self {
        let sync_failed = watch::Sender::new(false);
        let line = Writer { pool: line, file: None, sync_failed: sync_failed.clone(), line: Some(Arc::new(WriteLine::new(server))) };
        let engine = Engine::Server(SharedReads::start(server));
        Self::of(pools, GroupCommit::to_server(line), engine, sync_failed, elsewhere, reads_of_each)
    }

    pub(crate) fn in_file(pools: Pools, file: &Path, reads_of_each: usize) -> io::Result<Self> {
        let sync_failed = watch::Sender::new(false);
        let pen = Arc::new(tokio::sync::Mutex::new(()));
        let memory = Arc::new(Memory::of(file));
        let kept = Arc::downgrade(&memory);
        tokio::spawn(async move {
            while let Some(memory) = kept.upgrade() {
                memory.drop_old();
                drop(memory);
                tokio::time::sleep(DROP_OLD_INTERVAL).await;
            }
        });
        let log_is_long = Arc::new(Notify::new());
        let write_back = tokio::spawn(write_back(pools.keeper.connection.clone(), Arc::clone(&log_is_long), sync_failed.clone()));
        let group_commit = {
            let (file, pen, sync_failed, memory) = (file.to_owned(), Arc::clone(&pen), sync_failed.clone(), Arc::clone(&memory));
            GroupCommit::to_file(move || {
                FileWriter::new(file.clone(), Arc::clone(&pen), sync_failed.clone(), Arc::clone(&memory), Arc::clone(&log_is_long))
            })?
        };
        let lookups = Lookups::new(Readers::start("lookups", file, LOOKUP_CACHE_KIB)?, Arc::clone(&memory));
        let histories = Histories::new(Readers::start("histories", file, HISTORY_CACHE_KIB)?, Arc::clone(&memory), Arc::clone(&pen));
        let in_file = InFile {
            pen,
            memory,
            lookups: Arc::new(lookups),
            histories: Arc::new(histories),
            _write_back: Arc::new(Task(write_back.abort_handle())),
        };
        Ok(Self::of(pools, group_commit, Engine::File(in_file), sync_failed, Elsewhere::silent(), reads_of_each))
    }

    fn of(
        pools: Pools,
        group_commit: GroupCommit,
        engine: Engine,
        sync_failed: watch::Sender<bool>,
        elsewhere: Elsewhere,
        reads_of_each: usize,
    ) -> Self {
        Self {
            pools,
            engine,
            sync_failed,
            group_commit: Arc::new(group_commit),
            elsewhere: Arc::new(elsewhere),
            vacuumed: Arc::default(),
            turns: Arc::new(ReadTurns::new(reads_of_each)),
        }
    }

    pub(crate) fn readers(&self) -> &DatabaseConnection {
        &self.pools.readers.connection
    }

    /// Whether the database is a server that several machines may share.
    pub(crate) fn is_server(&self) -> bool {
        self.readers().get_database_backend() == DbBackend::Postgres
    }

    /// What a database in a file has; `None` on a server.
    pub(crate) fn file(&self) -> Option<&InFile> {
        match &self.engine {
            Engine::File(file) => Some(file),
            Engine::Server(_) => None,
        }
    }

    /// Who answers what is asked most.
    pub(crate) fn hot(&self) -> &Engine {
        &self.engine
    }

    /// A connection that requests do not use.
    pub(crate) fn probe(&self) -> &DatabaseConnection {
        &self.pools.probe.connection
    }

    /// A connection for what takes its time.
    pub(crate) fn keeper(&self) -> &DatabaseConnection {
        &self.pools.keeper.connection
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
        Writer { pool: self.pools.writers.clone(), file: self.file().cloned(), sync_failed: self.sync_failed.clone(), line: None }
    }

    /// Whether the newest session of that call and caller is answered from memory; see [`crate::memory`].
    pub fn remembers(&self, scope: Scope, call: &CallId, caller: &CallerKey) -> bool {
        self.file().is_some_and(|file| file.memory.newest(scope, call, caller).is_some())
    }

    /// Whether the number of that caller's sessions is known without counting them.
    pub fn remembers_total(&self, scope: Scope, caller: &CallerKey) -> bool {
        self.file().is_some_and(|file| file.memory.mark().is_some_and(|mark| file.memory.total(mark, scope, caller).is_some()))
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
        let turn = timeout(SERVER_TIMEOUT, self.turns.take(tenant)).await;
        let _turn = turn.map_err(|elapsed| StoreError::Busy(elapsed.into()))?;
        self.read(query).await
    }

    /// Gives up on a query that is not answered in time. Where a server was asked, the connection is thrown away.
    pub(crate) async fn read<T>(&self, query: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let mut query = pin!(query);
        // Declared after the query and so dropped before it, which is when its connection comes back.
        let mut asked = Asked { pool: &self.pools.readers, at: Instant::now(), answered: false };
        let outcome = timeout(SERVER_TIMEOUT, &mut query).await;
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
/// What it changes of sessions that may be in memory.
pub(crate) type Changes<T> = fn(&T) -> Option<Change<'static>>;
pub(crate) type Working<'t, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 't>>;

/// Writes in transactions.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pool: Pool,
    file: Option<InFile>,
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
    /// at once: one that took it later could not wait for it. Changes no session.
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
