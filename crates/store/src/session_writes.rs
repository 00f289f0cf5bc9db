//! Writing sessions, many in one transaction.

use std::collections::{BTreeMap, HashMap, HashSet};

use calldata_core::port::{Same, Write, Written};
use calldata_core::replay::{self, ReplayDigest};
use calldata_core::{CallerKey, Scope, SessionId, StoreError, TenantId, Timestamp};
use sea_orm::sea_query::{Alias, CaseStatement, Expr, ExprTrait, OnConflict, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, Iden, IntoActiveModel, Iterable, QueryFilter, QuerySelect,
};

use crate::Database;
use crate::entity::session::{Column, Entity, Model};
use crate::error::{Unreadable, of_commit, of_statement};
use crate::row;

/// Rows in one statement; every row binds some twenty values, and engines bound their number.
const ROWS_PER_STATEMENT: usize = 500;

/// Which earlier session a write is about.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Identity {
    Digest(TenantId, [u8; 16]),
    Id(TenantId, SessionId),
}

impl Identity {
    fn of(write: &Write) -> Self {
        let tenant = write.scope.tenant();
        match write.same {
            Same::Digest(digest) => Self::Digest(tenant, *ReplayDigest::as_bytes(&digest)),
            Same::Id => Self::Id(tenant, write.id.clone()),
        }
    }
}

/// See [`calldata_core::SessionStore::write`].
pub(crate) async fn write(database: &Database, batch: Vec<Write>) -> Vec<Result<Written, StoreError>> {
    let identities: Vec<_> = batch.iter().map(Identity::of).collect();
    // Sorted, so that two instances that write the same sessions lock them in one order.
    let mut folded = BTreeMap::new();
    for (identity, write) in identities.iter().zip(batch) {
        let keeps_first = matches!(identity, Identity::Digest(..));
        if !(keeps_first && folded.contains_key(identity)) {
            folded.insert(identity.clone(), write);
        }
    }
    let mut outcomes = HashMap::new();
    match write_together(database, &folded).await {
        Ok(written) => outcomes.extend(written.into_iter().map(|(identity, written)| (identity, Ok(written)))),
        Err(error) if folded.len() == 1 => outcomes.extend(folded.into_keys().map(|identity| (identity, Err(shared(&error))))),
        Err(StoreError::Unconfirmed(error)) => {
            let error = StoreError::Unconfirmed(error);
            outcomes.extend(folded.into_keys().map(|identity| (identity, Err(shared(&error)))));
        }
        // One bad row fails alone: each gets a transaction of its own.
        Err(_) => {
            for (identity, write) in folded {
                let alone = BTreeMap::from([(identity.clone(), write)]);
                let outcome = write_together(database, &alone).await.and_then(|mut written| {
                    written.remove(&identity).ok_or_else(|| StoreError::Failed("a write was neither stored nor refused".into()))
                });
                outcomes.insert(identity, outcome);
            }
        }
    }
    let mut answered = HashSet::new();
    identities
        .into_iter()
        .map(|identity| match outcomes.get(&identity) {
            // The second of two writes of one session finds the first one there.
            Some(Ok(Written::Created(id))) if !answered.insert(identity) => Ok(Written::Updated(id.clone())),
            Some(Ok(written)) => Ok(written.clone()),
            Some(Err(error)) => Err(shared(error)),
            None => Err(StoreError::Failed("a write was neither stored nor refused".into())),
        })
        .collect()
}

/// The same error for another write that it befell.
fn shared(error: &StoreError) -> StoreError {
    let cause = || format!("{}", std::error::Error::source(error).unwrap_or(error)).into();
    match error {
        StoreError::Busy(_) => StoreError::Busy(cause()),
        StoreError::Unconfirmed(_) => StoreError::Unconfirmed(cause()),
        StoreError::Taken(what) => StoreError::Taken(what),
        StoreError::NoSuchTenant => StoreError::NoSuchTenant,
        StoreError::Failed(_) => StoreError::Failed(cause()),
    }
}

async fn write_together(database: &Database, writes: &BTreeMap<Identity, Write>) -> Result<HashMap<Identity, Written>, StoreError> {
    let (by_digest, by_id): (Vec<_>, Vec<_>) = writes.values().partition(|write| matches!(write.same, Same::Digest(_)));
    let transaction = database.begin().await.map_err(of_statement)?;
    let mut written = HashMap::new();
    for chunk in by_digest.chunks(ROWS_PER_STATEMENT) {
        insert_or_refresh(&transaction, chunk, &mut written).await?;
    }
    for chunk in by_id.chunks(ROWS_PER_STATEMENT) {
        insert_or_replace(&transaction, chunk, &mut written).await?;
    }
    transaction.commit().await.map_err(of_commit)?;
    Ok(written)
}

/// PAR-P7: a row with the same digest that is young enough is refreshed; one that is too old gives its digest up.
async fn insert_or_refresh(
    transaction: &DatabaseTransaction,
    writes: &[&Write],
    written: &mut HashMap<Identity, Written>,
) -> Result<(), StoreError> {
    let mut rest = writes.to_vec();
    for _ in 0..2 {
        let earliest = |write: &Write| write.received_first.minus(replay::WINDOW).epoch_ms();
        let statement = insert(&rest, conflict_on_digest());
        for row in transaction.query_all(&statement).await.map_err(of_statement)? {
            let (tenant, id, digest): (i64, String, Option<Vec<u8>>) =
                row.try_get_many("", &["tenant_id".into(), "id".into(), "replay_digest".into()]).map_err(of_statement)?;
            let unreadable = |column| Unreadable { table: "session", column };
            let id = SessionId::new(&id).map_err(|_| unreadable("id"))?;
            let digest = digest.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| unreadable("replay_digest"))?;
            let identity = Identity::Digest(TenantId::from_number(tenant), digest);
            let created = rest.iter().any(|write| write.id == id && Identity::of(write) == identity);
            written.insert(identity, if created { Written::Created(id) } else { Written::Updated(id) });
        }
        rest.retain(|write| !written.contains_key(&Identity::of(write)));
        if rest.is_empty() {
            return Ok(());
        }
        for write in &rest {
            let Same::Digest(digest) = write.same else { continue };
            let give_up = Query::update()
                .table(Entity)
                .value(Column::ReplayDigest, Option::<Vec<u8>>::None)
                .and_where(Column::TenantId.eq(write.scope.tenant().number()))
                .and_where(Column::ReplayDigest.eq(digest.as_bytes().to_vec()))
                .and_where(Column::ReceivedFirst.lt(earliest(write)))
                .take();
            transaction.execute(&give_up).await.map_err(of_statement)?;
        }
    }
    Err(StoreError::Busy("the same post arrived too often at once".into()))
}

fn conflict_on_digest() -> OnConflict {
    let stored = |column: Column| Expr::col((Entity, column));
    let newer = CaseStatement::new()
        .case(stored(Column::ReceivedLast).gt(excluded(Column::ReceivedLast)), stored(Column::ReceivedLast))
        .finally(excluded(Column::ReceivedLast));
    let window_ms = i64::try_from(replay::WINDOW.as_millis()).unwrap_or(i64::MAX);
    OnConflict::columns([Column::TenantId, Column::ReplayDigest])
        .target_and_where(Expr::col(Column::ReplayDigest).is_not_null())
        .value(Column::ReceivedLast, newer)
        .action_and_where(stored(Column::ReceivedFirst).gte(excluded(Column::ReceivedFirst).sub(window_ms)))
        .to_owned()
}

/// OIF-R2: a row with the same identifier is replaced and keeps its first receipt, unless it has expired.
async fn insert_or_replace(
    transaction: &DatabaseTransaction,
    writes: &[&Write],
    written: &mut HashMap<Identity, Written>,
) -> Result<(), StoreError> {
    let mut known = HashSet::new();
    let mut by_scope: BTreeMap<TenantId, (Scope, Vec<&Write>)> = BTreeMap::new();
    for write in writes {
        by_scope.entry(write.scope.tenant()).or_insert_with(|| (write.scope, Vec::new())).1.push(write);
    }
    for (scope, writes) in by_scope.values() {
        let ids = writes.iter().map(|write| write.id.as_str());
        let found: Vec<String> = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::TenantId.eq(scope.tenant().number()))
            .filter(Column::ReceivedFirst.gt(scope.expired_until().epoch_ms()))
            .filter(Column::Id.is_in(ids))
            .into_tuple()
            .all(transaction)
            .await
            .map_err(of_statement)?;
        known.extend(found.into_iter().map(|id| (scope.tenant(), id)));
        let (told, untold): (Vec<&Write>, Vec<&Write>) = writes.iter().partition(|write| write.details.started_at.is_some());
        // A session whose start is not told began with its first receipt, which is the kept one.
        for (writes, kept) in [(told, &[Column::ReceivedFirst][..]), (untold, &[Column::ReceivedFirst, Column::StartedAt][..])] {
            if !writes.is_empty() {
                transaction.execute(&insert(&writes, conflict_on_id(*scope, kept))).await.map_err(of_statement)?;
            }
        }
    }
    for write in writes {
        let id = write.id.clone();
        let known = known.contains(&(write.scope.tenant(), id.as_str().to_owned()));
        written.insert(Identity::of(write), if known { Written::Updated(id) } else { Written::Created(id) });
    }
    Ok(())
}

/// `kept` are the columns that get the first receipt of the session that is replaced.
fn conflict_on_id(scope: Scope, kept: &[Column]) -> OnConflict {
    let first = Expr::col((Entity, Column::ReceivedFirst));
    let kept_first =
        CaseStatement::new().case(first.clone().gt(scope.expired_until().epoch_ms()), first).finally(excluded(Column::ReceivedFirst));
    let is_replaced =
        |column: &Column| !matches!(column, Column::TenantId | Column::Id) && !kept.iter().any(|kept| kept.unquoted() == column.unquoted());
    let mut conflict = OnConflict::columns([Column::TenantId, Column::Id]);
    conflict.update_columns(Column::iter().filter(is_replaced));
    conflict.values(kept.iter().map(|column| (*column, kept_first.clone().into()))).to_owned()
}

/// The value that the row would have had.
fn excluded(column: Column) -> Expr {
    Expr::col((Alias::new("excluded"), Alias::new(column.unquoted())))
}

fn insert(writes: &[&Write], conflict: OnConflict) -> sea_orm::sea_query::InsertStatement {
    let rows: Vec<_> = writes.iter().map(|write| Model::into_active_model(row::of_write((*write).clone()))).collect();
    let mut statement = sea_orm::QueryTrait::into_query(Entity::insert_many(rows));
    statement.on_conflict(conflict);
    statement.returning(Query::returning().columns([Column::TenantId, Column::Id, Column::ReplayDigest]));
    statement
}

/// See [`calldata_core::SessionStore::set_caller_keys`].
pub(crate) async fn set_caller_keys(database: &Database, tenant: TenantId, keys: Vec<(SessionId, CallerKey)>) -> Result<(), StoreError> {
    let transaction = database.begin().await.map_err(of_statement)?;
    for (id, key) in keys {
        let update = Query::update()
            .table(Entity)
            .value(Column::CallerKey, key.as_str())
            .and_where(Column::TenantId.eq(tenant.number()))
            .and_where(Column::Id.eq(id.as_str()))
            .take();
        transaction.execute(&update).await.map_err(of_statement)?;
    }
    transaction.commit().await.map_err(of_commit)
}

/// Sessions first received at this moment or before.
pub(crate) fn received_until(until: Timestamp) -> Condition {
    Condition::all().add(Column::ReceivedFirst.lte(until.epoch_ms()))
}

/// Deletes up to `limit` of a tenant's sessions that meet a condition, in a transaction of its own; returns how many.
pub(crate) async fn delete(database: &Database, tenant: TenantId, which: Condition, limit: u64) -> Result<u64, StoreError> {
    let of_tenant = Column::TenantId.eq(tenant.number());
    let some = Query::select().column(Column::Id).from(Entity).and_where(of_tenant.clone()).cond_where(which).limit(limit).take();
    let delete = Query::delete().from_table(Entity).and_where(of_tenant).and_where(Column::Id.in_subquery(some)).take();
    let transaction = database.begin().await.map_err(of_statement)?;
    let deleted = transaction.execute(&delete).await.map_err(of_statement)?.rows_affected();
    transaction.commit().await.map_err(of_commit)?;
    Ok(deleted)
}
