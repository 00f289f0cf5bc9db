//! Who did what.

use async_trait::async_trait;
use calldata_core::audit::{Action, Entry, EntryFilter, EntryPlace, GatheredEntry, Unwritten};
use calldata_core::port::AuditStore;
use calldata_core::{KeyId, StoreError, TenantId, Timestamp};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    Select, Statement, Value,
};
use serde_json::json;

use crate::Database;
use crate::disk_reserve::no_room;
use crate::engine::Engine;
use crate::entity::audit::{Column, Entity, Model};
use crate::error::{Unreadable, of_statement};
use crate::transact::Work;

/// Entries that are dropped in one transaction.
const DROP_ROWS: u64 = 2_000;

/// An entry may be elsewhere in its hour, where the index by caller finds it. Nothing is noted of a tenant that was deleted meanwhile.
const GATHER: &str = "INSERT INTO audit (tenant_id, at, id, key_id, action, caller, sessions) \
    SELECT entry.tenant_id, COALESCE(known.at, entry.at), COALESCE(known.id, entry.id), entry.key_id, entry.action, entry.caller, \
        entry.sessions \
    FROM json_to_recordset($1::json) AS entry (tenant_id bigint, at bigint, id bigint, key_id text, action int, caller text, \
        sessions bigint, may_be_elsewhere bool, hour_from bigint, hour_to bigint) \
    LEFT JOIN LATERAL (SELECT a.at, a.id FROM audit AS a WHERE entry.may_be_elsewhere AND a.tenant_id = entry.tenant_id \
        AND a.caller = entry.caller COLLATE \"C\" AND a.at BETWEEN entry.hour_from AND entry.hour_to AND a.key_id = entry.key_id COLLATE \"C\" \
        AND a.action = entry.action ORDER BY a.at, a.id LIMIT 1) AS known ON TRUE \
    WHERE EXISTS (SELECT FROM tenant WHERE tenant.id = entry.tenant_id) \
    ORDER BY entry.tenant_id, entry.caller \
    ON CONFLICT (tenant_id, at, id) DO UPDATE SET sessions = audit.sessions + excluded.sessions";

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
        if self.is_disk_low() && entries.iter().any(|entry| entry.action != Action::Erased) {
            return Err(no_room());
        }
        match self.hot() {
            Engine::File(file) => file.notes.append(rows).await,
            Engine::Server(_) => self.writer().transact(&rows, |transaction, rows| Box::pin(append(transaction, rows))).await,
        }
    }

    async fn gather_audit(&self, entries: Vec<GatheredEntry>) -> Vec<Unwritten> {
        if entries.is_empty() {
            return Vec::new();
        }
        if self.is_disk_low() {
            return vec![Unwritten { entries: entries.into_iter().map(|gathered| gathered.entry).collect(), error: no_room() }];
        }
        match self.hot() {
            Engine::File(file) => file.notes.gather(entries).await,
            Engine::Server(_) => {
                let gather: Work<[GatheredEntry], ()> = |transaction, entries| Box::pin(gather(transaction, entries));
                match self.writer().transact(&entries[..], gather).await {
                    Ok(()) => Vec::new(),
                    Err(error) => vec![Unwritten { entries: entries.into_iter().map(|gathered| gathered.entry).collect(), error }],
                }
            }
        }
    }

    async fn count_audit(&self, tenant: TenantId) -> Result<u64, StoreError> {
        PaginatorTrait::count(Entity::find().filter(Column::TenantId.eq(tenant.number())), self.keeper()).await.map_err(of_statement)
    }

    async fn drop_oldest_audit(&self, tenant: TenantId, most: u64) -> Result<u64, StoreError> {
        let drop: Work<(TenantId, u64), u64> = |transaction, (tenant, most)| {
            Box::pin(async move {
                let of_tenant = Entity::find().filter(Column::TenantId.eq(tenant.number()));
                drop_oldest_in(transaction, *tenant, of_tenant, Ord::min(*most, DROP_ROWS)).await
            })
        };
        self.writer().transact(&(tenant, most), drop).await
    }

    async fn audit(&self, tenant: TenantId, filter: &EntryFilter, after: Option<EntryPlace>, limit: u64) -> Result<Vec<Entry>, StoreError> {
        let EntryFilter { from, until, key, action, callers } = filter;
        let mut wanted = Condition::all().add(Column::TenantId.eq(tenant.number()));
        if let Some((from, gathered_from)) = from.zip(filter.gathered_from()) {
            // What is gathered stands for the rest of its hour.
            let gathered = Action::ALL.into_iter().filter(|action| action.is_gathered()).map(number_of);
            wanted = wanted.add(Column::At.gte(gathered_from.epoch_ms()));
            wanted = wanted.add(Condition::any().add(Column::At.gte(from.epoch_ms())).add(Column::Action.is_in(gathered)));
        }
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
                let old = Entity::find().filter(Column::TenantId.eq(tenant.number())).filter(Column::At.lte(until.epoch_ms()));
                drop_oldest_in(transaction, *tenant, old, DROP_ROWS).await
            })
        };
        self.writer().transact(&(tenant, until), drop).await
    }
}

/// Drops the oldest of a tenant's entries that are meant, so many at most.
async fn drop_oldest_in(transaction: &DatabaseTransaction, tenant: TenantId, meant: Select<Entity>, most: u64) -> Result<u64, StoreError> {
    let oldest: Vec<(i64, i64)> = meant
        .select_only()
        .columns([Column::At, Column::Id])
        .order_by_asc(Column::At)
        .order_by_asc(Column::Id)
        .limit(most)
        .into_tuple()
        .all(transaction)
        .await
        .map_err(of_statement)?;
    let Some((at, id)) = oldest.last().copied() else { return Ok(0) };
    let place = Expr::tuple([Expr::col(Column::At), Expr::col(Column::Id)]);
    let delete = Query::delete()
        .from_table(Entity)
        .and_where(Column::TenantId.eq(tenant.number()))
        .and_where(place.lte(Expr::tuple([Expr::value(at), Expr::value(id)])))
        .take();
    Ok(transaction.execute(&delete).await.map_err(of_statement)?.rows_affected())
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

async fn gather(transaction: &DatabaseTransaction, entries: &[GatheredEntry]) -> Result<(), StoreError> {
    let rows: Vec<_> = entries
        .iter()
        .map(|gathered| {
            let Model { tenant_id, at, id, key_id, action, caller, sessions } = Model::from(&gathered.entry);
            let (hour_from, hour_to) = gathered.hour_ms();
            json!({
                "tenant_id": tenant_id, "at": at, "id": id, "key_id": key_id, "action": action, "caller": caller, "sessions": sessions,
                "may_be_elsewhere": gathered.may_be_elsewhere, "hour_from": hour_from, "hour_to": hour_to,
            })
        })
        .collect();
    let rows = Statement::from_sql_and_values(transaction.get_database_backend(), GATHER, [Value::from(json!(rows).to_string())]);
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
