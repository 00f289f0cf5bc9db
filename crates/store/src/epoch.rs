//! The epoch of a database: which history its event and message ids belong to, and how a restored database is recognised.
//!
//! A backup of a file is marked as a copy, and gets an epoch of its own when it is first opened, each time it is restored. A server tells
//! by itself which cluster, timeline, database and table an epoch belongs to: a dump that was restored, a database made from a template, a
//! replica that was promoted each differ in one of them.

use std::path::Path;

use calldata_core::event::{EventKind, Position};
use calldata_core::{Epoch, StoreError, Timestamp};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, QueryOrder, QueryResult, QuerySelect, Statement, Value};

use crate::Database;
use crate::entity::webhook;
use crate::error::{Unreadable, of_statement};
use crate::migration::ADVISORY_LOCK;
use crate::outbox::{event_of, mark};
use crate::webhook_deliveries::append;
use crate::webhook_row::key_of;

/// What binds the epoch of a file that is in use.
const FILE: &str = "file";
/// And that of a backup until it is first opened.
const COPY: &str = "copy";
/// Which cluster, database, table and timeline the epoch is in. A replica that was promoted may lack what the old primary had committed,
/// and gives the same numbers to something else.
const SERVER: &str = "concat_ws('/', (SELECT system_identifier FROM pg_control_system()), \
    (SELECT oid FROM pg_database WHERE datname = current_database()), 'database_epoch'::regclass::oid, \
    substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))";
/// Whether numbers in the database are ahead of those that its server hands out, which is so where it comes from another cluster.
const NUMBERS_FROM_ELSEWHERE: &str = "SELECT GREATEST((SELECT MAX(commit_no) FROM event), (SELECT MAX(taken_up_commit) FROM webhook), 0) \
    >= pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS found";
/// Events that are read at a time.
const EVENTS: i64 = 500;

/// Whose epoch the database has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Binding {
    /// Its own.
    Own,
    /// Its own, as far as is known: it was never looked at.
    Unknown,
    /// That of the database that it is a copy of.
    Foreign,
}

fn unreadable(column: &'static str) -> StoreError {
    Unreadable { table: "database_epoch", column }.into()
}

/// Reads the column `epoch` of a row.
pub(crate) fn epoch_of(row: &QueryResult) -> Result<Epoch, StoreError> {
    let text: String = row.try_get("", "epoch").map_err(of_statement)?;
    Epoch::parse(&text).ok_or_else(|| unreadable("epoch"))
}

async fn read(connection: &impl ConnectionTrait) -> Result<(Epoch, Binding), StoreError> {
    let engine = connection.get_database_backend();
    let here = if engine == DbBackend::Postgres { SERVER.to_owned() } else { format!("'{FILE}'") };
    let question = format!("SELECT epoch, bound_to = {here} AS is_own, bound_to = '' AS is_unknown FROM database_epoch");
    let row = connection.query_one_raw(Statement::from_string(engine, question)).await.map_err(of_statement)?;
    let row = row.ok_or_else(|| unreadable("id"))?;
    let (is_own, is_unknown): (bool, bool) = row.try_get_many("", &["is_own".into(), "is_unknown".into()]).map_err(of_statement)?;
    let binding = match (is_own, is_unknown) {
        (true, _) => Binding::Own,
        (false, true) => Binding::Unknown,
        (false, false) => Binding::Foreign,
    };
    Ok((epoch_of(&row)?, binding))
}

/// The epoch that what is numbered in this transaction belongs to.
///
/// # Errors
/// [`StoreError::Busy`] where the database was restored a moment ago and has no epoch of its own yet.
pub(crate) async fn current(transaction: &DatabaseTransaction) -> Result<Epoch, StoreError> {
    match read(transaction).await? {
        (epoch, Binding::Own) => Ok(epoch),
        (_, Binding::Unknown | Binding::Foreign) => Err(StoreError::Busy("the database was restored, and has no epoch yet".into())),
    }
}

impl Database {
    /// Gives the database an epoch of its own where it is a copy or was restored; true when it did. Cheap where there is nothing to do.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn confirm_epoch(&self) -> Result<bool, StoreError> {
        match read(self.probe()).await? {
            (_, Binding::Own) => Ok(false),
            (_, Binding::Unknown | Binding::Foreign) => self.begin_epoch(false).await,
        }
    }

    /// Begins a new epoch: ids of events and messages from before are refused from now on, and none of them is used again.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn renew_epoch(&self) -> Result<(), StoreError> {
        self.begin_epoch(true).await.map(drop)
    }

    async fn begin_epoch(&self, always: bool) -> Result<bool, StoreError> {
        let transaction = self.writer().begin().await.map_err(of_statement)?;
        let is_server = self.is_server();
        if is_server {
            // Of two instances that start at the same time, the second one finds it done.
            let lock = format!("SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({ADVISORY_LOCK})");
            transaction.execute_unprepared(&lock).await.map_err(of_statement)?;
        }
        let (_, binding) = read(&transaction).await?;
        let renew = match binding {
            _ if always => true,
            Binding::Own => return Ok(false),
            Binding::Unknown => is_server && is_from_elsewhere(&transaction).await?,
            Binding::Foreign => true,
        };
        let here = if is_server { SERVER.to_owned() } else { format!("'{FILE}'") };
        let new = if renew { format!(", epoch = '{}', unprefixed_until = NULL", Epoch::random()) } else { String::new() };
        let update = format!("UPDATE database_epoch SET bound_to = {here}{new}");
        transaction.execute_unprepared(&update).await.map_err(of_statement)?;
        // After it: what is numbered now may have had other numbers in the history that the database comes from.
        if renew && is_server {
            renumber(&transaction).await?;
        }
        transaction.commit().await.map_err(of_statement)?;
        if renew && !always {
            tracing::warn!("this database is a copy or was restored: event ids of before are refused, and new ones begin");
        }
        Ok(renew)
    }
}

async fn is_from_elsewhere(transaction: &DatabaseTransaction) -> Result<bool, StoreError> {
    let question = Statement::from_string(DbBackend::Postgres, NUMBERS_FROM_ELSEWHERE);
    let row = transaction.query_one_raw(question).await.map_err(of_statement)?;
    row.map_or(Ok(false), |row| row.try_get("", "found").map_err(of_statement))
}

/// On a server, commits have the numbers of its transactions, which begin anew in another cluster. So that no webhook waits for numbers that
/// come again much later, or passes over those that came already: what it has not taken up becomes deliveries, and it goes on after the
/// present end.
async fn renumber(transaction: &DatabaseTransaction) -> Result<(), StoreError> {
    // Waits for those who are writing, so that no event of theirs is missed.
    transaction.execute_unprepared("LOCK TABLE event IN ACCESS EXCLUSIVE MODE").await.map_err(of_statement)?;
    take_up_all(transaction).await?;
    let end = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1";
    let last = i64::MAX;
    let statements = format!(
        "INSERT INTO event_floor (tenant_id, commit_no, place) SELECT DISTINCT tenant_id, {end}, {last} FROM event \
         ON CONFLICT (tenant_id) DO NOTHING; \
         UPDATE event_floor SET commit_no = {end}, place = {last}; \
         DELETE FROM event; \
         UPDATE webhook SET taken_up_commit = {end}, taken_up_place = {last}, holder = NULL, held_until = 0"
    );
    transaction.execute_unprepared(&statements).await.map(drop).map_err(of_statement)
}

/// Makes deliveries of all events that no webhook has taken up, for those that are disabled as well.
pub(crate) async fn take_up_all(transaction: &DatabaseTransaction) -> Result<(), StoreError> {
    let engine = transaction.get_database_backend();
    let webhooks = webhook::Entity::find().order_by_asc(webhook::Column::TenantId).order_by_asc(webhook::Column::Id);
    let (epoch, _) = read(transaction).await?;
    for row in webhooks.lock_exclusive().all(transaction).await.map_err(of_statement)? {
        let key = key_of(&row)?;
        let kinds: Vec<_> = row.kinds.split(',').filter_map(EventKind::parse).collect();
        let mut after = Position { commit: row.taken_up_commit, place: row.taken_up_place };
        loop {
            let [one, two, three, four] = [1, 2, 3, 4].map(|n| mark(engine, n));
            let question = format!(
                "SELECT commit_no, place, kind, session_id, at FROM event WHERE tenant_id = {one} AND (commit_no, place) > ({two}, {three}) \
                 ORDER BY commit_no, place LIMIT {four}"
            );
            let values: [Value; 4] = [row.tenant_id.into(), after.commit.into(), after.place.into(), EVENTS.into()];
            let rows = transaction.query_all_raw(Statement::from_sql_and_values(engine, question, values)).await.map_err(of_statement)?;
            let mut events = rows.iter().map(event_of).collect::<Result<Vec<_>, _>>()?;
            let Some(last) = events.last() else { break };
            let now: Timestamp = last.at;
            after = last.position;
            events.retain(|event| kinds.contains(&event.kind));
            append(transaction, &key, epoch, after, &events, now).await?;
        }
    }
    Ok(())
}

/// Marks a backup that was just written as a copy, with an epoch of its own. One of a schema without epochs is left as it is: it gets
/// one with its schema.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn mark_as_copy(file: &Path) -> rusqlite::Result<()> {
    let connection = rusqlite::Connection::open(file)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let has_epoch: bool =
        connection.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'database_epoch')", [], |found| found.get(0))?;
    if has_epoch {
        let update = "UPDATE database_epoch SET epoch = ?1, bound_to = ?2, unprefixed_until = NULL";
        connection.execute(update, (Epoch::random().to_string(), COPY))?;
    }
    connection.close().map_err(|(_, error)| error)
}
