//! Queries for sessions. Each is one range of an index that the tenant leads.

use calldata_core::port::{Awaited, StoredCaller};
use calldata_core::{CallId, CallerKey, SessionId, StoreError, TenantId, Timestamp};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::Database;
use crate::entity::session::{Column, Entity};
use crate::error::{Unreadable, of_statement};

/// One range of the index for each of them.
pub(crate) async fn last_receipts(database: &Database, awaited: &[Awaited]) -> Result<Vec<(Awaited, Timestamp)>, StoreError> {
    let any = awaited.iter().filter(|awaited| !holds_nul(&awaited.caller)).fold(Condition::any(), |any, awaited| {
        let one = Condition::all()
            .add(Column::TenantId.eq(awaited.tenant.number()))
            .add(Column::CallId.eq(awaited.call.as_str()))
            .add(Column::CallerKey.eq(awaited.caller.as_str()));
        any.add(one)
    });
    if any.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(i64, String, String, i64)> = Entity::find()
        .select_only()
        .columns([Column::TenantId, Column::CallId, Column::CallerKey])
        .column_as(Column::ReceivedLast.max(), "received_last")
        .filter(any)
        .group_by(Column::TenantId)
        .group_by(Column::CallId)
        .group_by(Column::CallerKey)
        .into_tuple()
        .all(database.readers())
        .await
        .map_err(of_statement)?;
    let receipts = rows.into_iter().map(|(tenant, call, caller, received)| {
        let call = CallId::new(&call).map_err(|_| Unreadable { table: "session", column: "call_id" })?;
        let awaited = Awaited { tenant: TenantId::from_number(tenant), call, caller: CallerKey::known(caller) };
        Ok((awaited, Timestamp::clamped(received)))
    });
    receipts.collect()
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
