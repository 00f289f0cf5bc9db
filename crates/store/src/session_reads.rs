//! Queries for sessions. Each is one range of an index that the tenant leads.

use calldata_core::port::{Awaited, StoredCaller};
use calldata_core::{CallerKey, SessionId, StoreError, TenantId, Timestamp};
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement, UnionType};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::Database;
use crate::entity::session::{Column, Entity};
use crate::error::{Unreadable, of_statement};

/// When a session of each of them was last received; of those that have none, nothing.
pub(crate) async fn last_receipts(database: &Database, awaited: &[Awaited]) -> Result<Vec<(Awaited, Timestamp)>, StoreError> {
    let Some(looks) = looks(awaited) else { return Ok(Vec::new()) };
    let rows = database.readers().query_all(&looks).await.map_err(of_statement)?;
    let receipts = rows.iter().map(|row| {
        let (number, received): (i64, Option<i64>) = row.try_get_many("", &["number".into(), "received".into()]).map_err(of_statement)?;
        let awaited = usize::try_from(number).ok().and_then(|number| awaited.get(number));
        Ok(awaited.zip(received).map(|(awaited, received)| (awaited.clone(), Timestamp::clamped(received))))
    });
    receipts.filter_map(Result::transpose).collect()
}

/// One look at the end of an index's range for each of them. As so many selects: of one with many conditions, SQLite's planner makes a
/// pass over all that a tenant has.
fn looks(awaited: &[Awaited]) -> Option<SelectStatement> {
    let looks = (0_i64..).zip(awaited).filter(|(_, awaited)| !holds_nul(&awaited.caller)).map(|(number, awaited)| {
        Query::select()
            .expr_as(Expr::val(number).cast_as("bigint"), "number")
            .expr_as(Column::ReceivedLast.max(), "received")
            .from(Entity)
            .and_where(Column::TenantId.eq(awaited.tenant.number()))
            .and_where(Column::CallId.eq(awaited.call.as_str()))
            .and_where(Column::CallerKey.eq(awaited.caller.as_str()))
            .take()
    });
    looks.reduce(|mut all, look| all.union(UnionType::All, look).take())
}

/// No stored caller does, and PostgreSQL refuses to be asked.
fn holds_nul(caller: &CallerKey) -> bool {
    caller.as_str().contains('\0')
}

pub(crate) async fn callers(
    database: &Database,
    tenant: TenantId,
    after: Option<&SessionId>,
    limit: u64,
) -> Result<Vec<StoredCaller>, StoreError> {
    let mut of_tenant = Condition::all().add(Column::TenantId.eq(tenant.number()));
    if let Some(after) = after {
        of_tenant = of_tenant.add(Column::Id.gt(after.as_str()));
    }
    let rows: Vec<(String, String, Option<String>, String)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::Caller, Column::CountryCode, Column::CallerKey])
        .filter(of_tenant)
        .order_by_asc(Column::Id)
        .limit(limit)
        .into_tuple()
        .all(database.readers())
        .await
        .map_err(of_statement)?;
    rows.into_iter()
        .map(|(id, spelling, country_code, key)| {
            let id = SessionId::new(&id).map_err(|_| Unreadable { table: "session", column: "id" })?;
            Ok(StoredCaller { id, spelling, country_code, key: CallerKey::known(key) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrated;
    use calldata_core::{CallId, Country};

    #[tokio::test]
    async fn each_awaited_session_is_looked_for_in_its_own_range() {
        let (_folder, database) = migrated().await;
        let awaited = |call: &str| Awaited {
            tenant: TenantId::from_number(1),
            call: CallId::new(call).unwrap(),
            caller: CallerKey::of("110", Country::GERMANY),
        };
        let looks = looks(&[awaited("a"), awaited("b"), awaited("c")]).unwrap();
        let steps = database.plan(&looks.to_string(sea_orm::sea_query::SqliteQueryBuilder)).await;
        let ranges = steps
            .iter()
            .filter(|step| *step == "SEARCH session USING COVERING INDEX session_by_call (tenant_id=? AND call_id=? AND caller_key=?)");
        assert_eq!(ranges.count(), 3, "{steps:?}");
        assert!(!steps.iter().any(|step| step.ends_with("(tenant_id=?)") || step.starts_with("SCAN")), "{steps:?}");
    }
}
