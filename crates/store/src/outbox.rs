//! Telling what happened to sessions, in the transactions in which it happens, and handing it out.
//!
//! On SQLite one transaction writes at a time, and counts the commits. On PostgreSQL several do, and one that began earlier may be committed
//! later: what is handed out lies below the oldest one that is still open.

use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use calldata_core::port::{Events, Outbox, OutboxEnd};
use calldata_core::{Event, EventKind, Position, SessionId, StoreError, TenantId, Timestamp};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, QueryResult, Statement, Value};

use crate::Database;
use crate::epoch::epoch_of;
use crate::error::{Unreadable, of_statement};
use crate::transact::Work;

/// Events that are dropped in one transaction.
const DROP_ROWS: i64 = 1_000;
/// Events in one statement; each binds some values, and engines bound their number.
const TOLD_PER_STATEMENT: usize = 1_000;

/// The last place within a commit that was given to anything. Whatever one transaction tells, in however many pieces, has its order by it.
static PLACES: AtomicI64 = AtomicI64::new(0);

/// The number of the present commit, on either engine.
const COUNT_COMMIT: &str = "UPDATE last_receipt SET commit_no = commit_no + 1 RETURNING commit_no";
const NUMBER_OF_COMMIT: &str = "SELECT pg_current_xact_id()::text::bigint AS commit_no";
/// The last commit before which no other one is still to come.
const LAST_COMMIT: &str = "SELECT commit_no, epoch, unprefixed_until FROM last_receipt, database_epoch";
const LAST_CERTAIN_COMMIT: &str = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1 AS commit_no, epoch, unprefixed_until \
     FROM database_epoch";

/// What happened to a session.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) tenant: TenantId,
    pub(crate) kind: EventKind,
    pub(crate) session: SessionId,
    /// When, in epoch milliseconds.
    pub(crate) at: i64,
}

/// Tells what a transaction did.
pub(crate) async fn tell(transaction: &DatabaseTransaction, told: impl IntoIterator<Item = Told>) -> Result<(), StoreError> {
    let told: Vec<_> = told.into_iter().collect();
    if told.is_empty() {
        return Ok(());
    }
    let engine = transaction.get_database_backend();
    let number = number(transaction, if engine == DbBackend::Postgres { NUMBER_OF_COMMIT } else { COUNT_COMMIT }).await?;
    let mut place = PLACES.fetch_add(i64::try_from(told.len()).unwrap_or(i64::MAX), Ordering::Relaxed);
    for some in told.chunks(TOLD_PER_STATEMENT) {
        let mut rows = Vec::with_capacity(some.len());
        let mut values: Vec<Value> = Vec::with_capacity(some.len() * 6);
        for Told { tenant, kind, session, at } in some {
            place += 1;
            let marks: Vec<_> = (1..=6).map(|n| mark(engine, values.len() + n)).collect();
            rows.push(format!("({})", marks.join(", ")));
            let row: [Value; 6] =
                [tenant.number().into(), number.into(), place.into(), number_of(*kind).into(), session.as_str().into(), (*at).into()];
            values.extend(row);
        }
        let insert = format!("INSERT INTO event (tenant_id, commit_no, place, kind, session_id, at) VALUES {}", rows.join(", "));
        transaction.execute_raw(Statement::from_sql_and_values(engine, insert, values)).await.map_err(of_statement)?;
    }
    Ok(())
}

/// What stands for the value of that number, counted from 1.
pub(crate) fn mark(engine: DbBackend, number: usize) -> String {
    if engine == DbBackend::Postgres { format!("${number}") } else { "?".to_owned() }
}

pub(crate) fn number_of(kind: EventKind) -> i32 {
    match kind {
        EventKind::Created => 1,
        EventKind::Updated => 2,
        EventKind::Erased => 3,
    }
}

fn kind_of(number: i32) -> Option<EventKind> {
    EventKind::ALL.into_iter().find(|kind| number_of(*kind) == number)
}

async fn number(connection: &impl ConnectionTrait, question: &str) -> Result<i64, StoreError> {
    let question = Statement::from_string(connection.get_database_backend(), question);
    let row = connection.query_one_raw(question).await.map_err(of_statement)?;
    let number = row.map(|row| row.try_get("", "commit_no")).transpose().map_err(of_statement)?;
    number.ok_or_else(|| Unreadable { table: "last_receipt", column: "commit_no" }.into())
}

pub(crate) fn event_of(row: &QueryResult) -> Result<Event, StoreError> {
    let unreadable = |column| Unreadable { table: "event", column };
    let (commit, place, kind): (i64, i64, i32) =
        row.try_get_many("", &["commit_no".into(), "place".into(), "kind".into()]).map_err(of_statement)?;
    let (session, at): (String, i64) = row.try_get_many("", &["session_id".into(), "at".into()]).map_err(of_statement)?;
    Ok(Event {
        position: Position { commit, place },
        kind: kind_of(kind).ok_or_else(|| unreadable("kind"))?,
        session: SessionId::new(&session).map_err(|_| unreadable("session_id"))?,
        at: Timestamp::clamped(at),
    })
}

fn position(row: &QueryResult) -> Result<Position, StoreError> {
    let (commit, place) = row.try_get_many("", &["commit_no".into(), "place".into()]).map_err(of_statement)?;
    Ok(Position { commit, place })
}

#[async_trait]
impl Outbox for Database {
    async fn events(&self, tenant: TenantId, after: Position, limit: u64) -> Result<Events, StoreError> {
        let engine = self.readers().get_database_backend();
        let certain = match engine {
            DbBackend::Postgres => " AND commit_no < pg_snapshot_xmin(pg_current_snapshot())::text::bigint",
            _ => "",
        };
        let [one, two, three, four] = [1, 2, 3, 4].map(|n| mark(engine, n));
        // In one statement, so that the epoch is that of the positions, whoever else changes it.
        let question = format!(
            "SELECT epoch, commit_no, place, kind, session_id, at FROM database_epoch LEFT JOIN (\
             SELECT commit_no, place, kind, session_id, at FROM event WHERE tenant_id = {one} AND (commit_no, place) > ({two}, {three}){certain} \
             ORDER BY commit_no, place LIMIT {four}) AS following ON TRUE ORDER BY commit_no, place"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let values: [Value; 4] = [tenant.number().into(), after.commit.into(), after.place.into(), limit.into()];
        let question = Statement::from_sql_and_values(engine, question, values);
        let rows = self.read(async { self.readers().query_all_raw(question).await.map_err(of_statement) }).await?;
        let epoch = epoch_of(rows.first().ok_or(Unreadable { table: "database_epoch", column: "id" })?)?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            // Without events there is one row all the same, with the epoch alone.
            if row.try_get::<Option<i64>>("", "commit_no").map_err(of_statement)?.is_some() {
                events.push(event_of(row)?);
            }
        }
        Ok(Events { epoch, events })
    }

    async fn end(&self) -> Result<OutboxEnd, StoreError> {
        let question = if self.is_server() { LAST_CERTAIN_COMMIT } else { LAST_COMMIT };
        let question = Statement::from_string(self.readers().get_database_backend(), question);
        let row = self.read(async { self.readers().query_one_raw(question).await.map_err(of_statement) }).await?;
        let row = row.ok_or(Unreadable { table: "database_epoch", column: "id" })?;
        let commit = row.try_get("", "commit_no").map_err(of_statement)?;
        let unprefixed_until: Option<i64> = row.try_get("", "unprefixed_until").map_err(of_statement)?;
        Ok(OutboxEnd {
            epoch: epoch_of(&row)?,
            position: Position::end_of(commit),
            unprefixed_until: unprefixed_until.map(Position::end_of),
        })
    }

    async fn dropped_until(&self, tenant: TenantId) -> Result<Position, StoreError> {
        let engine = self.readers().get_database_backend();
        let question = format!("SELECT commit_no, place FROM event_floor WHERE tenant_id = {}", mark(engine, 1));
        let question = Statement::from_sql_and_values(engine, question, [tenant.number().into()]);
        let floor = self.read(async { self.readers().query_one_raw(question).await.map_err(of_statement) }).await?;
        floor.as_ref().map_or(Ok(Position::default()), position)
    }

    async fn drop_events(&self, tenant: TenantId, until: Timestamp) -> Result<u64, StoreError> {
        // Without a transaction that writes, where there is nothing to drop.
        let engine = self.readers().get_database_backend();
        let oldest = format!("SELECT at FROM event WHERE tenant_id = {} ORDER BY commit_no, place LIMIT 1", mark(engine, 1));
        let oldest = Statement::from_sql_and_values(engine, oldest, [tenant.number().into()]);
        let oldest = self.read(async { self.readers().query_one_raw(oldest).await.map_err(of_statement) }).await?;
        let at: Option<i64> = oldest.map(|row| row.try_get("", "at")).transpose().map_err(of_statement)?;
        if at.is_none_or(|at| at > until.epoch_ms()) {
            return Ok(0);
        }
        let drop: Work<(TenantId, Timestamp), u64> = |transaction, (tenant, until)| Box::pin(drop_some(transaction, *tenant, *until));
        self.writer().transact(&(tenant, until), drop).await
    }
}

/// The oldest, up to the first that is not old enough.
async fn drop_some(transaction: &DatabaseTransaction, tenant: TenantId, until: Timestamp) -> Result<u64, StoreError> {
    let engine = transaction.get_database_backend();
    let [one, two, three] = [1, 2, 3].map(|n| mark(engine, n));
    let oldest = format!("SELECT commit_no, place, at FROM event WHERE tenant_id = {one} ORDER BY commit_no, place LIMIT {two}");
    let oldest = Statement::from_sql_and_values(engine, oldest, [tenant.number().into(), DROP_ROWS.into()]);
    let oldest = transaction.query_all_raw(oldest).await.map_err(of_statement)?;
    let mut last = None;
    for row in &oldest {
        let at: i64 = row.try_get("", "at").map_err(of_statement)?;
        if at > until.epoch_ms() {
            break;
        }
        last = Some(position(row)?);
    }
    let Some(last) = last else { return Ok(0) };
    let values: [Value; 3] = [tenant.number().into(), last.commit.into(), last.place.into()];
    let delete = format!("DELETE FROM event WHERE tenant_id = {one} AND (commit_no, place) <= ({two}, {three})");
    let delete = Statement::from_sql_and_values(engine, delete, values.clone());
    let dropped = transaction.execute_raw(delete).await.map_err(of_statement)?.rows_affected();
    let floor = format!(
        "INSERT INTO event_floor (tenant_id, commit_no, place) VALUES ({one}, {two}, {three}) \
         ON CONFLICT (tenant_id) DO UPDATE SET commit_no = excluded.commit_no, place = excluded.place"
    );
    transaction.execute_raw(Statement::from_sql_and_values(engine, floor, values)).await.map_err(of_statement)?;
    Ok(dropped)
}
