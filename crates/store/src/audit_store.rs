//! Who did what.

use async_trait::async_trait;
use calldata_core::audit::{Action, Entry, EntryFilter, EntryPlace};
use calldata_core::port::AuditStore;
use calldata_core::{KeyId, StoreError, TenantId, Timestamp};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Statement, Value,
};
use serde_json::json;

use crate::Database;
use crate::engine::Engine;
use crate::entity::audit::{Column, Entity, Model};
use crate::error::{Unreadable, of_statement};
use crate::transact::Work;

/// Entries that are dropped in one transaction.
const DROP_ROWS: u64 = 2_000;

/// Nothing is noted of a tenant that was deleted meanwhile.
const APPEND: &str = "INSERT INTO audit (tenant_id, at, id, key_id, action, caller, sessions) \
    SELECT tenant_id, at, id, key_id, action, caller, sessions FROM json_to_recordset($1::json) \
        AS entry (tenant_id bigint, at bigint, id bigint, key_id text, action int, caller text, sessions bigint) \
    WHERE EXISTS (SELECT FROM tenant WHERE tenant.id = entry.tenant_id)";

#[async_trait]
impl AuditStore for Database {
    async fn append_audit(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let rows: Vec<_> = entries.iter().map(Model::from).collect();
        if rows.is_empty() {
            return Ok(());
        }
        match self.hot() {
            Engine::File(file) => file.notes.write(rows).await,
            Engine::Server(_) => self.writer().transact(&rows, |transaction, rows| Box::pin(append(transaction, rows))).await,
        }
    }

    async fn audit(&self, tenant: TenantId, filter: &EntryFilter, after: Option<EntryPlace>, limit: u64) -> Result<Vec<Entry>, StoreError> {
        let EntryFilter { from, until, key, action, callers } = filter;
        let mut wanted = Condition::all().add(Column::TenantId.eq(tenant.number()));
        wanted = wanted.add_option(from.map(|from| Column::At.gte(from.epoch_ms())));
        wanted = wanted.add_option(until.map(|until| Column::At.lte(until.epoch_ms())));
        wanted = wanted.add_option(key.as_ref().map(|key| Column::KeyId.eq(key.as_str())));
        wanted = wanted.add_option(action.map(|action| Column::Action.eq(number_of(action))));
        if !callers.is_empty() {
            wanted = wanted.add(Column::Caller.is_in(callers.iter().map(String::as_str)));
        }
        if let Some(EntryPlace { at, id }) = after {
            let place = Expr::tuple([Expr::col(Column::At), Expr::col(Column::Id)]);
            wanted = wanted.add(place.lt(Expr::tuple([Expr::value(at.epoch_ms()), Expr::value(id)])));
        }
        let rows = Entity::find().filter(wanted).order_by_desc(Column::At).order_by_desc(Column::Id).limit(limit).all(self.readers());
        let rows = self.read(async { rows.await.map_err(of_statement) }).await?;
        rows.into_iter().map(to_entry).collect()
    }

    async fn drop_audit(&self, tenant: TenantId, until: Timestamp) -> Result<u64, StoreError> {
        let oldest = Entity::find().filter(Column::TenantId.eq(tenant.number())).order_by_asc(Column::At).limit(1).one(self.readers());
        let oldest = self.read(async { oldest.await.map_err(of_statement) }).await?;
        if oldest.is_none_or(|oldest| oldest.at > until.epoch_ms()) {
            return Ok(0);
        }
        let drop: Work<(TenantId, Timestamp), u64> = |transaction, (tenant, until)| {
            Box::pin(async move {
                let last = Entity::find()
                    .filter(Column::TenantId.eq(tenant.number()))
                    .filter(Column::At.lte(until.epoch_ms()))
                    .order_by_asc(Column::At)
                    .order_by_asc(Column::Id)
                    .limit(DROP_ROWS)
                    .all(transaction)
                    .await
                    .map_err(of_statement)?;
                let Some(last) = last.last() else { return Ok(0) };
                let place = Expr::tuple([Expr::col(Column::At), Expr::col(Column::Id)]);
                let delete = Query::delete()
                    .from_table(Entity)
                    .and_where(Column::TenantId.eq(tenant.number()))
                    .and_where(place.lte(Expr::tuple([Expr::value(last.at), Expr::value(last.id)])))
                    .take();
                Ok(transaction.execute(&delete).await.map_err(of_statement)?.rows_affected())
            })
        };
        self.writer().transact(&(tenant, until), drop).await
    }
}

fn number_of(action: Action) -> i32 {
    match action {
        Action::Read => 1,
        Action::Wrote => 2,
        Action::Exported => 3,
        Action::Erased => 4,
    }
}

impl From<&Entry> for Model {
    fn from(entry: &Entry) -> Self {
        let Entry { id, at, tenant, key, action, caller, sessions } = entry;
        Self {
            tenant_id: tenant.number(),
            at: at.epoch_ms(),
            id: *id,
            key_id: key.as_str().to_owned(),
            action: number_of(*action),
            caller: caller.clone(),
            sessions: i64::try_from(*sessions).unwrap_or(i64::MAX),
        }
    }
}

/// On a server, in one statement whose text is the same for any number of rows, so that it is planned once.
async fn append(transaction: &DatabaseTransaction, rows: &[Model]) -> Result<(), StoreError> {
    let rows: Vec<_> = rows
        .iter()
        .map(|Model { tenant_id, at, id, key_id, action, caller, sessions }| {
            json!({ "tenant_id": tenant_id, "at": at, "id": id, "key_id": key_id, "action": action, "caller": caller, "sessions": sessions })
        })
        .collect();
    let rows = Statement::from_sql_and_values(transaction.get_database_backend(), APPEND, [Value::from(json!(rows).to_string())]);
    transaction.execute_raw(rows).await.map_err(of_statement).map(drop)
}

fn to_entry(row: Model) -> Result<Entry, StoreError> {
    let Model { tenant_id, at, id, key_id, action, caller, sessions } = row;
    let unreadable = |column| Unreadable { table: "audit", column };
    Ok(Entry {
        id,
        at: Timestamp::clamped(at),
        tenant: TenantId::from_number(tenant_id),
        key: KeyId::new(&key_id).map_err(|_| unreadable("key_id"))?,
        action: Action::ALL.into_iter().find(|known| number_of(*known) == action).ok_or_else(|| unreadable("action"))?,
        caller,
        sessions: u64::try_from(sessions).unwrap_or_default(),
    })
}
