//! Deleting sessions, a few at a time.

use std::time::Duration;

use calldata_core::port::Slice;
use calldata_core::{StoreError, TenantId, Timestamp};
use sea_orm::sea_query::{DeleteStatement, Expr, ExprTrait, Func, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Statement, Value,
};
use tokio::time::Instant;

use crate::Database;
use crate::directory_store::to_tenant;
use crate::entity::session::{Column, Entity};
use crate::entity::tenant;
use crate::error::of_statement;
use crate::memory::Change;
use crate::transact::{Work, Writer};
use crate::upkeep::SERVER_NOW_MS;

/// Held on PostgreSQL while a slice is deleted, so that one instance purges at a time. An arbitrary number.
const ADVISORY_LOCK: i64 = 0x0063_616c_6c70_7572;
/// How long a slice deletes; its commit comes on top. Whoever wants to write meanwhile waits that long.
const SLICE: Duration = Duration::from_millis(1);
/// What one statement of a slice deletes at most: every page is overwritten.
const STATEMENT_ROWS: u64 = 64;
const STATEMENT_BYTES: i64 = 512 << 10;

/// Deletes some of a tenant's sessions, of all or of those that were first received until then, in a transaction of its own, and returns
/// how many; 0 when none is left. Returns after a pause, in which others write.
pub(crate) async fn delete_some(writer: &Writer, tenant: TenantId, until: Option<Timestamp>) -> Result<u64, StoreError> {
    let delete: Work<(TenantId, Option<Timestamp>), u64> = |transaction, (tenant, until)| Box::pin(slice(transaction, *tenant, *until));
    let changes = |deleted: &u64| (*deleted > 0).then_some(Change::Anything);
    let (deleted, held) = writer.transact_on_sessions(&(tenant, until), delete, changes).await?;
    if deleted > 0 {
        tokio::time::sleep(held).await;
    }
    Ok(deleted)
}

/// Deletes for as long as others may be kept from writing; returns how many.
async fn slice(transaction: &DatabaseTransaction, tenant: TenantId, until: Option<Timestamp>) -> Result<u64, StoreError> {
    let began = Instant::now();
    let mut deleted = 0;
    loop {
        let some = oldest(transaction, tenant, until).await?;
        if some.is_empty() {
            return Ok(deleted);
        }
        let delete = delete(transaction.get_database_backend(), tenant, some, until);
        let gone = transaction.execute(&delete).await.map_err(of_statement)?.rows_affected();
        deleted += gone;
        if gone == 0 || began.elapsed() >= SLICE {
            return Ok(deleted);
        }
    }
}

/// Deletes these sessions, if they were first received until then: what was imported anew since it was chosen has a new life, and stays.
fn delete(engine: DbBackend, tenant: TenantId, chosen: Vec<Value>, until: Option<Timestamp>) -> DeleteStatement {
    let mut delete = Query::delete().from_table(Entity).and_where(key(engine).is_in(chosen)).take();
    // In a file nobody has written since. With anything besides the row's number, SQLite's planner finds it cheaper to pass over all that
    // the tenant has.
    if engine == DbBackend::Postgres {
        delete.and_where(Column::TenantId.eq(tenant.number()));
        if let Some(until) = until {
            delete.and_where(Column::ReceivedFirst.lte(until.epoch_ms()));
        }
    }
    delete
}

/// What a row is deleted by.
fn key(engine: DbBackend) -> Expr {
    if engine == DbBackend::Postgres { Expr::col(Column::Id) } else { Expr::cust("rowid") }
}

/// See [`calldata_core::SessionStore::purge`].
pub(crate) async fn purge(writer: &Writer, tenant: TenantId, now: Timestamp) -> Result<Option<Slice>, StoreError> {
    let purge: Work<(TenantId, Timestamp), Option<(u64, Timestamp)>> = |transaction, (tenant, now)| {
        Box::pin(async move {
            let Some(now) = may_purge(transaction, *now).await? else { return Ok(None) };
            // Held as it is until the slice is done: what a longer retention lets in must not be deleted by the shorter one.
            let stored = tenant::Entity::find_by_id(tenant.number()).lock_shared().one(transaction).await.map_err(of_statement)?;
            let Some(stored) = stored.map(to_tenant).transpose()? else { return Ok(Some((0, now))) };
            let until = stored.horizon(now);
            slice(transaction, *tenant, Some(until)).await.map(|deleted| Some((deleted, until)))
        })
    };
    let changes =
        |purged: &Option<(u64, Timestamp)>| purged.filter(|(deleted, _)| *deleted > 0).map(|(_, until)| Change::Deleted(until.epoch_ms()));
    let (purged, held) = writer.transact_on_sessions(&(tenant, now), purge, changes).await?;
    Ok(purged.map(|(deleted, _)| Slice { deleted, held }))
}

/// Sessions first received at this moment or before.
fn received_until(until: Timestamp) -> Condition {
    Condition::all().add(Column::ReceivedFirst.lte(until.epoch_ms()))
}

/// How many bytes of text a session has.
pub(crate) fn text_bytes() -> Expr {
    let text = [Column::Content, Column::Conversation, Column::Fields, Column::Turns, Column::Answers, Column::Details];
    let bytes = text.into_iter().fold(Expr::value(0), |sum, column| {
        sum.add(Func::coalesce([Func::cust("octet_length").arg(Expr::col(column)).into(), Expr::value(0)]))
    });
    bytes.cast_as("bigint")
}

/// The oldest sessions that one statement may delete, at least one.
async fn oldest(transaction: &DatabaseTransaction, tenant: TenantId, until: Option<Timestamp>) -> Result<Vec<Value>, StoreError> {
    let engine = transaction.get_database_backend();
    let select = Entity::find()
        .select_only()
        .expr_as(key(engine), "key")
        .expr_as(text_bytes(), "bytes")
        .filter(Column::TenantId.eq(tenant.number()))
        .filter(until.map_or(Condition::all(), received_until))
        .order_by_asc(Column::ReceivedFirst)
        .limit(STATEMENT_ROWS);
    let rows: Vec<(Value, i64)> = if engine == DbBackend::Postgres {
        let rows: Vec<(String, i64)> = select.into_tuple().all(transaction).await.map_err(of_statement)?;
        rows.into_iter().map(|(id, bytes)| (id.into(), bytes)).collect()
    } else {
        let rows: Vec<(i64, i64)> = select.into_tuple().all(transaction).await.map_err(of_statement)?;
        rows.into_iter().map(|(number, bytes)| (number.into(), bytes)).collect()
    };
    let mut room = STATEMENT_BYTES;
    let fitting = rows.into_iter().take_while(|(_, bytes)| {
        let fits = room > 0;
        room -= bytes;
        fits
    });
    Ok(fitting.map(|(key, _)| key).collect())
}

/// The moment to purge by, which is not ahead of the server's own; `None` where another instance is purging.
async fn may_purge(transaction: &DatabaseTransaction, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    if transaction.get_database_backend() != DbBackend::Postgres {
        // The write lock is all that is needed, and the clock is the same.
        return Ok(Some(now));
    }
    let question = format!("SELECT pg_try_advisory_xact_lock({ADVISORY_LOCK}) AS locked, {SERVER_NOW_MS} AS now_ms");
    let row = transaction.query_one_raw(Statement::from_string(DbBackend::Postgres, question)).await.map_err(of_statement)?;
    let told: Option<(bool, i64)> =
        row.map(|row| row.try_get_many("", &["locked".into(), "now_ms".into()])).transpose().map_err(of_statement)?;
    Ok(told.filter(|(locked, _)| *locked).map(|(_, now_ms)| now.min(Timestamp::clamped(now_ms))))
}

/// See [`calldata_core::SessionStore::count_received_until`].
pub(crate) async fn count(database: &Database, tenant: TenantId, until: Timestamp) -> Result<u64, StoreError> {
    let expired = Entity::find().filter(Column::TenantId.eq(tenant.number())).filter(received_until(until));
    expired.count(database.readers()).await.map_err(of_statement)
}

/// See [`calldata_core::SessionStore::last_arrival`].
pub(crate) async fn last_arrival(database: &Database, tenant: TenantId) -> Result<Option<Timestamp>, StoreError> {
    let newest: Option<Option<i64>> = Entity::find()
        .select_only()
        .column_as(Column::ReceivedFirst.max(), "received_first")
        .filter(Column::TenantId.eq(tenant.number()))
        .into_tuple()
        .one(database.readers())
        .await
        .map_err(of_statement)?;
    Ok(newest.flatten().map(Timestamp::clamped))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrated;
    use sea_orm::sea_query::SqliteQueryBuilder;

    #[tokio::test]
    async fn sessions_are_deleted_by_their_numbers_and_not_looked_for_among_all_that_have_expired() {
        let (_folder, database) = migrated().await;
        let delete = delete(DbBackend::Sqlite, TenantId::from_number(1), vec![1.into(), 2.into()], Some(Timestamp::clamped(7)));
        let steps = database.plan(&delete.to_string(SqliteQueryBuilder)).await;
        assert_eq!(steps, ["SEARCH session USING INTEGER PRIMARY KEY (rowid=?)"]);
    }
}
