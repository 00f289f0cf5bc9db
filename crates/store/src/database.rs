//! An open database: who writes, who reads, and what happens when either fails.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use calldata_core::{CallId, CallerKey, Scope, StoreError, TenantId};
use sea_orm::{AccessMode, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, IsolationLevel, TransactionTrait};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::elsewhere::Elsewhere;
use crate::engine::{Engine, InFile, OnServer};
use crate::error::is_failed_sync;
use crate::group_commit::GroupCommit;
use crate::pools::{Asked, Pool, Pools};
use crate::postgres::{Server, SharedReads};
use crate::quota::Quotas;
use crate::read_turns::ReadTurns;
use crate::transact::{RecognisedBy, Writer};
use crate::upkeep::VACUUM_INTERVAL;

/// How long a server may take for a whole transaction, or for a query. SQLite has no such limit: its calls cannot be abandoned.
pub(crate) const SERVER_TIMEOUT: Duration = Duration::from_millis(2_500);

/// An open database. Clones share it.
#[derive(Clone, Debug)]
pub struct Database {
    pools: Pools,
    engine: Engine,
    sync_failed: watch::Sender<bool>,
    group_commit: Arc<GroupCommit>,
    elsewhere: Arc<Elsewhere>,
    vacuumed: Arc<Mutex<Option<Instant>>>,
    recognised_by: RecognisedBy,
    quotas: Arc<Quotas>,
}

impl Database {
    pub(crate) fn on_server(pools: Pools, line: Pool, server: &Server, elsewhere: Elsewhere, reads_of_each: usize) -> Self {
        let sync_failed = watch::Sender::new(false);
        let recognised_by = RecognisedBy::default();
        let line = Writer::in_line(line, sync_failed.clone(), server, Arc::clone(&recognised_by));
        let engine = Engine::Server(OnServer { shared: SharedReads::start(server), turns: Arc::new(ReadTurns::new(reads_of_each)) });
        Self::of(pools, GroupCommit::to_server(line), engine, sync_failed, elsewhere, recognised_by)
    }

    pub(crate) fn in_file(pools: Pools, file: &Path) -> io::Result<Self> {
        let sync_failed = watch::Sender::new(false);
        let recognised_by = RecognisedBy::default();
        let (in_file, group_commit) = InFile::start(file, &pools.keeper, &sync_failed, &recognised_by)?;
        Ok(Self::of(pools, group_commit, Engine::File(in_file), sync_failed, Elsewhere::silent(), recognised_by))
    }

    fn of(
        pools: Pools,
        group_commit: GroupCommit,
        engine: Engine,
        sync_failed: watch::Sender<bool>,
        elsewhere: Elsewhere,
        recognised_by: RecognisedBy,
    ) -> Self {
        let (group_commit, elsewhere) = (Arc::new(group_commit), Arc::new(elsewhere));
        Self { pools, engine, sync_failed, group_commit, elsewhere, vacuumed: Arc::default(), recognised_by, quotas: Arc::default() }
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

    /// By what erased requests are recognised when they come again.
    pub(crate) fn recognised_by(&self) -> &RecognisedBy {
        &self.recognised_by
    }

    /// Whether a tenant may store so many bytes more; if so, they count as stored.
    ///
    /// # Errors
    /// When the disk is low, or the tenant has used its quota up.
    pub(crate) fn admit(&self, tenant: TenantId, bytes: usize) -> Result<(), StoreError> {
        if let Some(file) = self.file() {
            file.reserve.charge(bytes)?;
        }
        self.quotas.charge(tenant, bytes)
    }

    /// What tenants store, and may store.
    pub(crate) fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// What instances tell each other.
    pub(crate) fn elsewhere(&self) -> &Elsewhere {
        &self.elsewhere
    }

    /// What writes in transactions of their own, beside the group commit.
    pub(crate) fn writer(&self) -> Writer {
        Writer::of(self.pools.writers.clone(), self.file().cloned(), self.sync_failed.clone(), Arc::clone(&self.recognised_by))
    }

    /// Whether the newest session of that call and caller is answered from memory; see [`crate::memory`].
    pub fn remembers(&self, scope: Scope, call: &CallId, caller: &CallerKey) -> bool {
        self.file().is_some_and(|file| file.memory.newest(scope, call, caller).is_some())
    }

    /// Whether the number of that caller's sessions is known without counting them.
    pub fn remembers_total(&self, scope: Scope, caller: &CallerKey) -> bool {
        self.file().is_some_and(|file| file.memory.mark().is_some_and(|mark| file.memory.total(mark, scope, caller).is_some()))
    }

    /// Notes for the metrics how many connections each pool has, and how many of them are at work.
    pub fn note_connections(&self) {
        let Pools { writers, readers, probe, keeper } = &self.pools;
        for (name, pool) in [("writers", writers), ("readers", readers), ("probe", probe), ("keeper", keeper)] {
            let (open, idle) = pool.counts();
            for (state, count) in [("idle", idle), ("busy", open.saturating_sub(idle))] {
                metrics::gauge!("calldata_database_connections", "pool" => name, "state" => state).set(f64::from(count));
            }
        }
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
        let turns = match &self.engine {
            Engine::File(file) => &file.turns,
            Engine::Server(server) => &server.turns,
        };
        let turn = timeout(SERVER_TIMEOUT, turns.take(tenant)).await;
        let _turn = turn.map_err(|elapsed| StoreError::Busy(elapsed.into()))?;
        self.read(query).await
    }

    /// Gives up on a query that is not answered in time. Where a server was asked, the connection is thrown away.
    pub(crate) async fn read<T>(&self, query: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let mut query = pin!(query);
        // Declared after the query and so dropped before it, which is when its connection comes back.
        let mut asked = Asked::of(&self.pools.readers);
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
