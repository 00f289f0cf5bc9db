//! Writing sessions, many in one transaction.

use std::collections::{BTreeMap, HashMap, HashSet};

use calldata_core::port::{Same, Write, Written};
use calldata_core::replay::{self, ReplayDigest};
use calldata_core::{CallerKey, EventKind, Pseudonyms, Scope, SessionId, StoreError, TenantId, Timestamp};
use sea_orm::sea_query::{Alias, CaseStatement, Expr, ExprTrait, OnConflict, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, Iden, IntoActiveModel, Iterable, QueryFilter, QuerySelect,
    TransactionTrait,
};

use crate::entity::session::{Column, Entity, Model};
use crate::erasures;
use crate::error::{Unreadable, of_statement};
use crate::memory::Change;
use crate::outbox::{Told, tell};
use crate::postgres::WriteLine;
use crate::row;
use crate::transact::{Work, Writer};

/// Rows in one statement; every row binds some twenty values, and engines bound their number.
const ROWS_PER_STATEMENT: usize = 500;

/// Rows with a savepoint each in one transaction.
const SAVEPOINTS: usize = 64;

/// Which earlier session a write is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Identity {
    Digest(TenantId, [u8; 16]),
    Id(TenantId, SessionId),
    /// None may have this identifier.
    New(TenantId, SessionId),
}

/// A write, ready to be stored.
#[derive(Debug)]
pub(crate) struct Row {
    identity: Identity,
    pub(crate) id: SessionId,
    pub(crate) scope: Scope,
    pub(crate) start_told: bool,
    /// In epoch milliseconds; `None` where nobody is told.
    pub(crate) told_at: Option<i64>,
    pub(crate) model: Model,
}

impl From<Write> for Row {
    fn from(write: Write) -> Self {
        let tenant = write.scope.tenant();
        let identity = match write.same {
            Same::Digest(digest) => Identity::Digest(tenant, *ReplayDigest::as_bytes(&digest)),
            Same::Id => Identity::Id(tenant, write.id.clone()),
            Same::None => Identity::New(tenant, write.id.clone()),
        };
        let (id, scope, start_told) = (write.id.clone(), write.scope, write.details.started_at.is_some());
        let told_at = write.told_at.map(Timestamp::epoch_ms);
        Self { identity, id, scope, start_told, told_at, model: row::of_write(write) }
    }
}

impl Row {
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What is stored of it.
    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// About how much text it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.model.text_bytes()
    }
}

/// Stores rows in one transaction; the results are in their order. Two of one session are folded into one, and a row that fails by
/// itself fails alone.
pub(crate) async fn write(writer: &Writer, rows: Vec<Row>) -> Vec<Result<Written, StoreError>> {
    let identities: Vec<_> = rows.iter().map(|row| row.identity.clone()).collect();
    // Sorted, so that two instances that write the same sessions lock them in one order.
    let mut folded = BTreeMap::new();
    for row in rows {
        let keeps_first = matches!(row.identity, Identity::Digest(..) | Identity::New(..));
        if !(keeps_first && folded.contains_key(&row.identity)) {
            folded.insert(row.identity.clone(), row);
        }
    }
    let rows: Vec<_> = folded.values().collect();
    let outcomes = match writer.line() {
        Some(line) => on_line(line, writer, rows).await,
        None => together(writer, &rows).await,
    };
    answers(identities, &outcomes)
}

/// What one statement cannot store is stored the long way: sessions of which an older one holds the digest, those that are told apart by
/// their identifier, and all of them for a while after something was erased.
async fn on_line(line: &WriteLine, writer: &Writer, rows: Vec<&Row>) -> Outcomes {
    let (by_digest, mut rest): (Vec<&Row>, Vec<&Row>) = rows.into_iter().partition(|row| matches!(row.identity, Identity::Digest(..)));
    let mut outcomes = Outcomes::new();
    if !by_digest.is_empty() {
        match line.insert_or_refresh(&by_digest).await {
            Ok(stored) => {
                let ids: HashMap<_, _> = by_digest.iter().map(|row| (&row.identity, &row.id)).collect();
                outcomes.extend(stored.into_iter().map(|(identity, id)| {
                    let created = ids.get(&identity) == Some(&&id);
                    (identity, Ok(if created { Written::Created(id) } else { Written::Updated(id) }))
                }));
                rest.extend(by_digest.into_iter().filter(|row| !outcomes.contains_key(&row.identity)));
            }
            Err(error) => outcomes = failed(writer, &by_digest, &error).await,
        }
    }
    if !rest.is_empty() {
        outcomes.extend(together(writer, &rest).await);
    }
    outcomes
}

async fn together(writer: &Writer, rows: &[&Row]) -> Outcomes {
    let given = Given { rows, pseudonyms: writer.pseudonyms() };
    match writer.transact(&given, |transaction, given| Box::pin(write_together(transaction, given.rows, given.pseudonyms.as_ref()))).await {
        Ok(written) => written.into_iter().map(|(identity, written)| (identity, Ok(written))).collect(),
        Err(error) => failed(writer, rows, &error).await,
    }
}

/// Rows that are stored together, and by what it is recognised which of them must not be.
struct Given<'r> {
    rows: &'r [&'r Row],
    pseudonyms: Option<Pseudonyms>,
}

/// What befell the whole transaction befell each of them; where it was a row, the others must not suffer.
async fn failed(writer: &Writer, rows: &[&Row], error: &StoreError) -> Outcomes {
    match error {
        StoreError::Failed(_) | StoreError::NoSuchTenant | StoreError::Taken(_) if rows.len() > 1 => apart(writer, rows).await,
        error => rows.iter().map(|row| (row.identity.clone(), Err(shared(error)))).collect(),
    }
}

type Outcomes = HashMap<Identity, Result<Written, StoreError>>;

/// Transactions again, in which each row has a savepoint to fall back to; a few rows in each, for every savepoint is a question to the
/// server and an answer.
async fn apart(writer: &Writer, rows: &[&Row]) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for some in rows.chunks(SAVEPOINTS) {
        outcomes.extend(some_apart(writer, some).await);
    }
    outcomes
}

async fn some_apart(writer: &Writer, rows: &[&Row]) -> Outcomes {
    let one_by_one: Work<Given<'_>, Outcomes> = |transaction, given| {
        Box::pin(async move {
            let mut outcomes = Outcomes::new();
            for row in given.rows {
                let savepoint = transaction.begin().await.map_err(of_statement)?;
                match write_together(&savepoint, &[row], given.pseudonyms.as_ref()).await {
                    Ok(written) => {
                        savepoint.commit().await.map_err(of_statement)?;
                        outcomes.extend(written.into_iter().map(|(identity, written)| (identity, Ok(written))));
                    }
                    Err(error @ (StoreError::Failed(_) | StoreError::NoSuchTenant | StoreError::Taken(_))) => {
                        savepoint.rollback().await.map_err(of_statement)?;
                        outcomes.insert(row.identity.clone(), Err(error));
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(outcomes)
        })
    };
    match writer.transact(&Given { rows, pseudonyms: writer.pseudonyms() }, one_by_one).await {
        Ok(outcomes) => outcomes,
        Err(error) => rows.iter().map(|row| (row.identity.clone(), Err(shared(&error)))).collect(),
    }
}

fn answers(identities: Vec<Identity>, outcomes: &Outcomes) -> Vec<Result<Written, StoreError>> {
    let mut answered = HashSet::new();
    identities
        .into_iter()
        .map(|identity| match outcomes.get(&identity) {
            // The second of two writes of one session finds the first one there.
            Some(Ok(Written::Created(id))) if !answered.insert(identity.clone()) => match identity {
                Identity::New(..) => Err(taken()),
                Identity::Digest(..) | Identity::Id(..) => Ok(Written::Updated(id.clone())),
            },
            Some(Ok(written)) => Ok(written.clone()),
            Some(Err(error)) => Err(shared(error)),
            None if matches!(identity, Identity::New(..)) => Err(taken()),
            None => Err(StoreError::Failed("a write was neither stored nor refused".into())),
        })
        .collect()
}

/// Another session has that identifier.
pub(crate) fn taken() -> StoreError {
    StoreError::Taken("the identifier")
}

/// The same error for another write that it befell.
pub(crate) fn shared(error: &StoreError) -> StoreError {
    let cause = || format!("{}", std::error::Error::source(error).unwrap_or(error)).into();
    match error {
        StoreError::Busy(_) => StoreError::Busy(cause()),
        StoreError::NoRoom(_) => StoreError::NoRoom(cause()),
        StoreError::OverQuota => StoreError::OverQuota,
        StoreError::Unconfirmed(_) => StoreError::Unconfirmed(cause()),
        StoreError::Taken(what) => StoreError::Taken(what),
        StoreError::NoSuchTenant => StoreError::NoSuchTenant,
        StoreError::Failed(_) => StoreError::Failed(cause()),
    }
}

async fn write_together(
    transaction: &DatabaseTransaction,
    rows: &[&Row],
    pseudonyms: Option<&Pseudonyms>,
) -> Result<HashMap<Identity, Written>, StoreError> {
    let (mut by_digest, others): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| matches!(row.identity, Identity::Digest(..)));
    let (by_id, new): (Vec<&Row>, Vec<&Row>) = others.into_iter().partition(|row| matches!(row.identity, Identity::Id(..)));
    let mut written = HashMap::new();
    if let Some(pseudonyms) = pseudonyms {
        take_erased(transaction, pseudonyms, &mut by_digest, &mut written).await?;
    }
    for chunk in by_digest.chunks(ROWS_PER_STATEMENT) {
        insert_or_refresh(transaction, chunk, &mut written).await?;
    }
    for chunk in by_id.chunks(ROWS_PER_STATEMENT) {
        insert_or_replace(transaction, chunk, &mut written).await?;
    }
    for chunk in new.chunks(ROWS_PER_STATEMENT) {
        insert_new(transaction, chunk, &mut written).await?;
    }
    tell(transaction, rows.iter().filter_map(|row| told(row, written.get(&row.identity)?))).await?;
    Ok(written)
}

/// Takes those out whose session was erased: nothing of it may be stored again.
async fn take_erased(
    transaction: &DatabaseTransaction,
    pseudonyms: &Pseudonyms,
    rows: &mut Vec<&Row>,
    written: &mut HashMap<Identity, Written>,
) -> Result<(), StoreError> {
    if !erasures::any_erased(transaction).await? {
        return Ok(());
    }
    for row in rows.iter() {
        let Identity::Digest(tenant, digest) = &row.identity else { continue };
        if erasures::is_erased(transaction, pseudonyms, *tenant, digest, row.model.received_last).await? {
            written.insert(row.identity.clone(), Written::Erased);
        }
    }
    rows.retain(|row| !written.contains_key(&row.identity));
    Ok(())
}

fn told(row: &Row, written: &Written) -> Option<Told> {
    let at = row.told_at?;
    let (kind, session) = match written {
        Written::Created(id) => (EventKind::Created, id.clone()),
        Written::Updated(id) => (EventKind::Updated, id.clone()),
        Written::Erased => return None,
    };
    Some(Told { tenant: row.scope.tenant(), kind, session, at })
}

/// A row that has the identifier of a live session is not stored, and not among what is written.
pub(crate) async fn insert_new(
    transaction: &DatabaseTransaction,
    rows: &[&Row],
    written: &mut HashMap<Identity, Written>,
) -> Result<(), StoreError> {
    let mut by_scope: BTreeMap<TenantId, (Scope, Vec<&Row>)> = BTreeMap::new();
    for row in rows {
        by_scope.entry(row.scope.tenant()).or_insert_with(|| (row.scope, Vec::new())).1.push(row);
    }
    for (scope, rows) in by_scope.values() {
        let is_replaced = |column: &Column| !matches!(column, Column::TenantId | Column::Id);
        let conflict = OnConflict::columns([Column::TenantId, Column::Id])
            .update_columns(Column::iter().filter(is_replaced))
            .action_and_where(Expr::col((Entity, Column::ReceivedFirst)).lte(scope.expired_until().epoch_ms()))
            .to_owned();
        for stored in transaction.query_all(&insert(rows, conflict)).await.map_err(of_statement)? {
            let id: String = stored.try_get("", "id").map_err(of_statement)?;
            let id = SessionId::new(&id).map_err(|_| Unreadable { table: "session", column: "id" })?;
            written.insert(Identity::New(scope.tenant(), id.clone()), Written::Created(id));
        }
    }
    Ok(())
}

/// PAR-P7: a row with the same digest that is young enough is refreshed; one that is too old gives its digest up.
async fn insert_or_refresh(
    transaction: &DatabaseTransaction,
    rows: &[&Row],
    written: &mut HashMap<Identity, Written>,
) -> Result<(), StoreError> {
    let mut rest = rows.to_vec();
    for _ in 0..2 {
        let ids: HashMap<_, _> = rest.iter().map(|row| (&row.identity, &row.id)).collect();
        let statement = insert(&rest, conflict_on_digest());
        for row in transaction.query_all(&statement).await.map_err(of_statement)? {
            let (tenant, id, digest): (i64, String, Option<Vec<u8>>) =
                row.try_get_many("", &["tenant_id".into(), "id".into(), "replay_digest".into()]).map_err(of_statement)?;
            let unreadable = |column| Unreadable { table: "session", column };
            let id = SessionId::new(&id).map_err(|_| unreadable("id"))?;
            let digest = digest.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| unreadable("replay_digest"))?;
            let identity = Identity::Digest(TenantId::from_number(tenant), digest);
            let created = ids.get(&identity) == Some(&&id);
            written.insert(identity, if created { Written::Created(id) } else { Written::Updated(id) });
        }
        rest.retain(|row| !written.contains_key(&row.identity));
        if rest.is_empty() {
            return Ok(());
        }
        for row in &rest {
            let Identity::Digest(tenant, digest) = &row.identity else { continue };
            let give_up = Query::update()
                .table(Entity)
                .value(Column::ReplayDigest, Option::<Vec<u8>>::None)
                .and_where(Column::TenantId.eq(tenant.number()))
                .and_where(Column::ReplayDigest.eq(digest.to_vec()))
                .and_where(Column::ReceivedFirst.lt(Timestamp::clamped(row.model.received_first).minus(replay::WINDOW).epoch_ms()))
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
    rows: &[&Row],
    written: &mut HashMap<Identity, Written>,
) -> Result<(), StoreError> {
    let mut known = HashSet::new();
    let mut by_scope: BTreeMap<TenantId, (Scope, Vec<&Row>)> = BTreeMap::new();
    for row in rows {
        by_scope.entry(row.scope.tenant()).or_insert_with(|| (row.scope, Vec::new())).1.push(row);
    }
    for (scope, rows) in by_scope.values() {
        let ids = rows.iter().map(|row| row.id.as_str());
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
        let (told, untold): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.start_told);
        // A session whose start is not told began with its first receipt, which is the kept one.
        for (rows, kept) in [(told, &[Column::ReceivedFirst][..]), (untold, &[Column::ReceivedFirst, Column::StartedAt][..])] {
            if !rows.is_empty() {
                transaction.execute(&insert(&rows, conflict_on_id(*scope, kept))).await.map_err(of_statement)?;
            }
        }
    }
    for row in rows {
        let id = row.id.clone();
        let known = known.contains(&(row.scope.tenant(), id.as_str().to_owned()));
        written.insert(row.identity.clone(), if known { Written::Updated(id) } else { Written::Created(id) });
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

fn insert(rows: &[&Row], conflict: OnConflict) -> sea_orm::sea_query::InsertStatement {
    let rows: Vec<_> = rows.iter().map(|row| row.model.clone().into_active_model()).collect();
    let mut statement = sea_orm::QueryTrait::into_query(Entity::insert_many(rows));
    statement.on_conflict(conflict);
    statement.returning(Query::returning().columns([Column::TenantId, Column::Id, Column::ReplayDigest]));
    statement
}

/// See [`calldata_core::SessionStore::set_caller_keys`].
pub(crate) async fn set_caller_keys(writer: &Writer, tenant: TenantId, keys: Vec<(SessionId, CallerKey)>) -> Result<(), StoreError> {
    let set: Work<(TenantId, Vec<(SessionId, CallerKey)>), ()> = |transaction, (tenant, keys)| {
        Box::pin(async move {
            for (id, key) in keys {
                let update = Query::update()
                    .table(Entity)
                    .value(Column::CallerKey, key.as_str())
                    // It was one of the caller as compared then: the same post again is compared otherwise now.
                    .value(Column::ReplayDigest, Option::<Vec<u8>>::None)
                    .and_where(Column::TenantId.eq(tenant.number()))
                    .and_where(Column::Id.eq(id.as_str()))
                    .take();
                transaction.execute(&update).await.map_err(of_statement)?;
            }
            Ok(())
        })
    };
    writer.transact_on_sessions(&(tenant, keys), set, |()| Some(Change::Anything)).await.map(|((), _)| ())
}
