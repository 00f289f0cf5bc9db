//! Erasures that are not finished: which there are, and what is noted of many of them at once.

use std::collections::BTreeMap;

use calldata_core::{CallerKey, Erasure, StoreError, TenantId, Timestamp};
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, QueryResult, Statement, Value};

use crate::Database;
use crate::entity::erasure::{Column, Entity};
use crate::error::of_statement;
use crate::outbox::mark;
use crate::transact::Work;

/// Identifiers in one statement.
const MAX_IDS: usize = 200;

/// Which open erasures are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Open {
    /// Those that have something left to erase.
    Straggling,
    /// Those that have not, and were asked for at this moment or before.
    Ready(Timestamp),
}

/// What is noted: a column of these erasures, and its value or none.
struct Marked {
    by_tenant: BTreeMap<TenantId, Vec<String>>,
    column: Column,
    value: Option<Value>,
}

impl Database {
    /// Open erasures, each with how many sessions it erased. Tenants take turns, each with its oldest first, so that the many of one
    /// tenant keep nobody's out.
    pub(crate) async fn open_erasures(&self, which: Open, limit: u64) -> Result<Vec<(Erasure, u64)>, StoreError> {
        let engine = self.readers().get_database_backend();
        let mut values: Vec<Value> = Vec::new();
        if let Open::Ready(until) = which {
            values.push(until.epoch_ms().into());
        }
        values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
        let question = Statement::from_sql_and_values(engine, question(engine, which), values);
        let rows = self.read(async { self.readers().query_all_raw(question).await.map_err(of_statement) }).await?;
        rows.iter().map(to_erasure).collect()
    }

    /// Notes something of erasures of which nothing is known yet, or forgets what is, in one transaction.
    pub(crate) async fn mark_erasures(&self, erasures: &[Erasure], column: Column, value: Option<Value>) -> Result<(), StoreError> {
        if erasures.is_empty() {
            return Ok(());
        }
        let mut by_tenant: BTreeMap<TenantId, Vec<String>> = BTreeMap::new();
        for erasure in erasures {
            by_tenant.entry(erasure.tenant).or_default().push(erasure.id.clone());
        }
        // In one order, so that no two wait for each other.
        for ids in by_tenant.values_mut() {
            ids.sort_unstable();
        }
        let note: Work<Marked, ()> = |transaction, Marked { by_tenant, column, value }| {
            Box::pin(async move {
                for (tenant, ids) in by_tenant {
                    for some in ids.chunks(MAX_IDS) {
                        let mut note = Query::update()
                            .table(Entity)
                            .value(*column, value.clone().map_or(Expr::value(Option::<String>::None), Expr::value))
                            .and_where(Column::TenantId.eq(tenant.number()))
                            .and_where(Column::Id.is_in(some.iter().map(String::as_str)))
                            .take();
                        if value.is_some() {
                            note.and_where(column.is_null());
                        }
                        transaction.execute(&note).await.map_err(of_statement)?;
                    }
                }
                Ok(())
            })
        };
        self.writer().transact(&Marked { by_tenant, column, value }, note).await
    }
}

fn question(engine: DbBackend, which: Open) -> String {
    // SQLite, which has no statistics, would pass over all receipts that there are.
    let (index, open_index) =
        if engine == DbBackend::Postgres { ("", "") } else { (" INDEXED BY session_by_caller", " INDEXED BY erasure_open") };
    // A sum, for the engine would pass over all that the tenant has received until then.
    let straggler = format!(
        "EXISTS (SELECT 1 FROM session AS s{index} WHERE s.tenant_id = e.tenant_id AND s.caller_key = e.caller_key \
         AND s.received_first + 0 <= e.requested_at)"
    );
    let (wanted, limit) = match which {
        Open::Straggling => (format!("e.caller_key IS NOT NULL AND {straggler}"), mark(engine, 1)),
        Open::Ready(_) => (format!("e.requested_at <= {} AND (e.caller_key IS NULL OR NOT {straggler})", mark(engine, 1)), mark(engine, 2)),
    };
    format!(
        "SELECT tenant_id, id, caller_key, pseudonym, requested_at, sessions FROM (SELECT e.tenant_id, e.id, e.caller_key, e.pseudonym, \
         e.requested_at, e.sessions, ROW_NUMBER() OVER (PARTITION BY e.tenant_id ORDER BY e.requested_at, e.id) AS turn \
         FROM erasure AS e{open_index} WHERE e.purged_at IS NULL AND {wanted}) AS erasure ORDER BY turn, requested_at, id LIMIT {limit}"
    )
}

fn to_erasure(row: &QueryResult) -> Result<(Erasure, u64), StoreError> {
    let columns = ["tenant_id", "id", "caller_key", "pseudonym", "requested_at", "sessions"].map(String::from);
    let (tenant, id, caller, pseudonym, requested_at, sessions): (i64, String, Option<String>, String, i64, i64) =
        row.try_get_many("", &columns).map_err(of_statement)?;
    let (tenant, requested_at) = (TenantId::from_number(tenant), Timestamp::clamped(requested_at));
    let erasure = Erasure { id, tenant, caller: caller.map(CallerKey::known), pseudonym, requested_at };
    Ok((erasure, u64::try_from(sessions).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrated;

    #[tokio::test]
    async fn open_erasures_are_found_by_their_index_and_stragglers_by_their_caller() {
        let (_folder, database) = migrated().await;
        for which in [Open::Straggling, Open::Ready(Timestamp::clamped(7))] {
            let steps = database.plan(&question(DbBackend::Sqlite, which).replace('?', "1")).await;
            assert!(steps.iter().any(|step| step.contains("INDEX erasure_open")), "{steps:?}");
            let by_caller = "INDEX session_by_caller (tenant_id=? AND caller_key=?)";
            assert!(steps.iter().any(|step| step.contains(by_caller)), "{steps:?}");
        }
    }
}
