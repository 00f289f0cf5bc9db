//! Queries for sessions. Each is one range of an index that the tenant leads.

use calldata_core::port::{Awaited, HistoryPage, HistoryQuery, StoredCaller};
use calldata_core::{CallId, CallerKey, Scope, Session, SessionId, StoreError, TenantId, Timestamp};
use sea_orm::{ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::Database;
use crate::database::begin_snapshot;
use crate::entity::session::{Column, Entity};
use crate::error::{Unreadable, of_statement};
use crate::row;
use crate::search_key::search_key;

/// This tenant's sessions that have not expired.
fn live(scope: Scope) -> Condition {
    Condition::all().add(Column::TenantId.eq(scope.tenant().number())).add(Column::ReceivedFirst.gt(scope.expired_until().epoch_ms()))
}

pub(crate) async fn newest(database: &Database, scope: Scope, call: &CallId, caller: &CallerKey) -> Result<Option<Session>, StoreError> {
    if holds_nul(caller) {
        return Ok(None);
    }
    let row = Entity::find()
        .filter(live(scope).add(Column::CallId.eq(call.as_str())).add(Column::CallerKey.eq(caller.as_str())))
        .order_by_desc(Column::ReceivedLast)
        .order_by_desc(Column::Id)
        .limit(1)
        .one(database.readers())
        .await
        .map_err(of_statement)?;
    row.map(row::to_session).transpose()
}

pub(crate) async fn has_call(database: &Database, scope: Scope, call: &CallId) -> Result<bool, StoreError> {
    let found = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(live(scope).add(Column::CallId.eq(call.as_str())))
        .limit(1)
        .into_tuple::<String>()
        .one(database.readers())
        .await
        .map_err(of_statement)?;
    Ok(found.is_some())
}

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

/// Total and page are of one moment, so that they agree with each other.
pub(crate) async fn history(database: &Database, scope: Scope, query: &HistoryQuery) -> Result<HistoryPage, StoreError> {
    let Some(wanted) = matching(scope, query) else { return Ok(HistoryPage::default()) };
    let snapshot = begin_snapshot(database.readers()).await.map_err(of_statement)?;
    let matching = Entity::find().filter(wanted);
    let total = matching.clone().count(&snapshot).await.map_err(of_statement)?;
    let rows = if query.offset < total {
        matching
            .order_by_desc(Column::StartedAt)
            .order_by_desc(Column::Id)
            .offset(query.offset)
            .limit(query.limit)
            .all(&snapshot)
            .await
            .map_err(of_statement)?
    } else {
        Vec::new()
    };
    snapshot.commit().await.map_err(of_statement)?;
    let sessions = rows.into_iter().map(row::to_session).collect::<Result<_, _>>()?;
    Ok(HistoryPage { total, sessions })
}

/// No stored caller does, and PostgreSQL refuses to be asked.
fn holds_nul(caller: &CallerKey) -> bool {
    caller.as_str().contains('\0')
}

/// `None` when nothing can match.
fn matching(scope: Scope, query: &HistoryQuery) -> Option<Condition> {
    let HistoryQuery { call_id, caller, cti_call_id, from, until, offset: _, limit: _ } = query;
    let mut wanted = live(scope);
    if let Some(call_id) = call_id {
        wanted = wanted.add(Column::CallId.eq(CallId::new(call_id).ok()?.as_str()));
    }
    if let Some(caller) = caller {
        if holds_nul(caller) {
            return None;
        }
        wanted = wanted.add(Column::CallerKey.eq(caller.as_str()));
    }
    if let Some(cti_call_id) = cti_call_id {
        wanted = wanted.add(Column::CtiCallKey.eq(search_key(cti_call_id)));
    }
    if let Some(from) = from {
        wanted = wanted.add(Column::StartedAt.gte(from.epoch_ms()));
    }
    if let Some(until) = until {
        wanted = wanted.add(Column::StartedAt.lte(until.epoch_ms()));
    }
    Some(wanted)
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
