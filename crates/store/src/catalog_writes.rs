//! Storing and changing single sessions, each request once.

use std::borrow::Cow;
use std::collections::HashMap;

use calldata_core::port::{Amend, Amended, Creation, Once, Same, Write};
use calldata_core::{EventKind, Pseudonyms, Scope, SessionId, StoreError, TenantId, Timestamp};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, IntoActiveModel, QueryFilter,
    QueryOrder, QuerySelect, Set,
};

use crate::Database;
use crate::entity::request_name;
use crate::entity::session::{Column, Entity, Model};
use crate::erasures::is_erased;
use crate::error::of_statement;
use crate::memory::Change;
use crate::outbox::{Told, tell};
use crate::row;
use crate::session_writes::{Row, insert_new};
use crate::transact::{Work, Writer};

/// Names that are forgotten in one transaction.
const FORGET_ROWS: u64 = 500;

/// What became of a request, and of which row.
type Done<T> = (T, Option<Stored>);

/// A row as it is stored now.
enum Stored {
    New(Box<Model>),
    /// Its call, caller, start and first receipt are what they were.
    Amended(Box<Model>),
    /// Anything of it may be another.
    Changed,
}

fn change<T>((_, stored): &Done<T>) -> Option<Change<'static>> {
    stored.as_ref().map(|stored| match stored {
        Stored::New(model) => Change::Created(Cow::Owned((**model).clone())),
        Stored::Amended(model) => Change::Amended(Cow::Owned((**model).clone())),
        Stored::Changed => Change::Anything,
    })
}

/// See [`calldata_core::port::Catalog::create`].
pub(crate) async fn create(database: &Database, write: Write, once: Option<Once>) -> Result<Creation, StoreError> {
    let create: Work<(Row, Option<Once>, Option<Pseudonyms>), Done<Creation>> =
        |transaction, (row, once, pseudonyms)| Box::pin(create_in(transaction, row, once.as_ref(), pseudonyms.as_ref()));
    let (tenant, row) = (write.scope.tenant(), Row::from(write));
    database.admit(tenant, row.bytes())?;
    let given = (row, once, database.recognised_by().get().cloned());
    let ((creation, _), _) = database.writer().transact_on_sessions(&given, create, change).await?;
    Ok(creation)
}

async fn create_in(
    transaction: &DatabaseTransaction,
    row: &Row,
    once: Option<&Once>,
    pseudonyms: Option<&Pseudonyms>,
) -> Result<Done<Creation>, StoreError> {
    let scope = row.scope;
    if let Some((once, pseudonyms)) = once.zip(pseudonyms)
        && is_erased(transaction, pseudonyms, scope.tenant(), &once.both(), row.model().received_last).await?
    {
        return Ok((Creation::Repeated(None), None));
    }
    if let Some(once) = once {
        match take_name(transaction, scope.tenant(), once, &row.id, row.told_at.unwrap_or(row.model().received_last)).await? {
            Name::Free => {}
            Name::OfAnother => return Ok((Creation::NameTaken, None)),
            Name::Done(id) => {
                let session = find(transaction, scope, &id, false).await?.map(row::to_session).transpose()?;
                return Ok((Creation::Repeated(session.map(Box::new)), None));
            }
        }
    }
    let mut written = HashMap::new();
    insert_new(transaction, &[row], &mut written).await?;
    if written.is_empty() {
        if let Some(once) = once {
            give_name_back(transaction, scope.tenant(), once).await?;
        }
        return Ok((Creation::IdTaken, None));
    }
    tell_of(transaction, scope, EventKind::Created, &row.id, row.told_at).await?;
    Ok((Creation::Created, Some(Stored::New(Box::new(row.model().clone())))))
}

async fn tell_of(
    transaction: &DatabaseTransaction,
    scope: Scope,
    kind: EventKind,
    session: &SessionId,
    at: Option<i64>,
) -> Result<(), StoreError> {
    tell(transaction, at.map(|at| Told { tenant: scope.tenant(), kind, session: session.clone(), at })).await
}

/// Whose a name is.
enum Name {
    /// It was nobody's, and is this request's now.
    Free,
    /// It is this request's, which was done before.
    Done(SessionId),
    /// It is another request's.
    OfAnother,
}

/// Two that take a name at once are told apart by the database: the second one waits for the first.
async fn take_name(
    transaction: &DatabaseTransaction,
    tenant: TenantId,
    once: &Once,
    session: &SessionId,
    done_at: i64,
) -> Result<Name, StoreError> {
    let name = request_name::ActiveModel {
        tenant_id: Set(tenant.number()),
        name: Set(once.name.to_vec()),
        request: Set(once.request.to_vec()),
        session_id: Set(session.as_str().to_owned()),
        done_at: Set(done_at),
    };
    let mut insert = sea_orm::QueryTrait::into_query(request_name::Entity::insert(name));
    insert.on_conflict(OnConflict::columns([request_name::Column::TenantId, request_name::Column::Name]).do_nothing().to_owned());
    if transaction.execute(&insert).await.map_err(of_statement)?.rows_affected() > 0 {
        return Ok(Name::Free);
    }
    let known = request_name::Entity::find_by_id((tenant.number(), once.name.to_vec())).one(transaction).await.map_err(of_statement)?;
    let known = known.filter(|known| known.request == once.request);
    Ok(known.and_then(|known| SessionId::new(&known.session_id).ok()).map_or(Name::OfAnother, Name::Done))
}

async fn give_name_back(transaction: &DatabaseTransaction, tenant: TenantId, once: &Once) -> Result<(), StoreError> {
    let name = (tenant.number(), once.name.to_vec());
    request_name::Entity::delete_by_id(name).exec(transaction).await.map_err(of_statement).map(drop)
}

async fn find(transaction: &DatabaseTransaction, scope: Scope, id: &SessionId, to_change: bool) -> Result<Option<Model>, StoreError> {
    let mut select = Entity::find()
        .filter(Column::TenantId.eq(scope.tenant().number()))
        .filter(Column::Id.eq(id.as_str()))
        .filter(Column::ReceivedFirst.gt(scope.expired_until().epoch_ms()));
    if to_change && transaction.get_database_backend() == DbBackend::Postgres {
        select = select.lock_exclusive();
    }
    select.one(transaction).await.map_err(of_statement)
}

/// What is to be changed, and how.
struct Asked {
    scope: Scope,
    id: SessionId,
    now: Timestamp,
    once: Option<Once>,
    amend: Amend,
    pseudonyms: Option<Pseudonyms>,
}

/// See [`calldata_core::port::Catalog::amend`].
pub(crate) async fn amend(
    database: &Database,
    scope: Scope,
    id: &SessionId,
    now: Timestamp,
    once: Option<Once>,
    amend: Amend,
) -> Result<Amended, StoreError> {
    let amend_in: Work<Asked, Done<Amended>> = |transaction, asked| Box::pin(amend_in(transaction, asked));
    // What it becomes is not known yet; what is over the quota by then is refused the next time.
    database.admit(scope.tenant(), 0)?;
    let asked = Asked { scope, id: id.clone(), now, once, amend, pseudonyms: database.recognised_by().get().cloned() };
    let ((amended, _), _) = database.writer().transact_on_sessions(&asked, amend_in, change).await?;
    Ok(amended)
}

async fn amend_in(transaction: &DatabaseTransaction, asked: &Asked) -> Result<Done<Amended>, StoreError> {
    let Asked { scope, id, now, once, amend, pseudonyms } = asked;
    let Some(before) = find(transaction, *scope, id, true).await? else {
        let was_done = match once.as_ref().zip(pseudonyms.as_ref()) {
            Some((once, known_by)) => is_erased(transaction, known_by, scope.tenant(), &once.both(), now.epoch_ms()).await?,
            None => false,
        };
        return Ok((if was_done { Amended::Erased } else { Amended::NoSuchSession }, None));
    };
    let session = row::to_session(before.clone())?;
    if let Some(once) = once {
        match take_name(transaction, scope.tenant(), once, id, now.epoch_ms()).await? {
            Name::Free => {}
            Name::Done(of) if of == *id => return Ok((Amended::Repeated(Box::new(session)), None)),
            Name::Done(_) | Name::OfAnother => return Ok((Amended::NameTaken, None)),
        }
    }
    let Some(details) = amend(&session) else {
        if let Some(once) = once {
            give_name_back(transaction, scope.tenant(), once).await?;
        }
        return Ok((Amended::Left(Box::new(session)), None));
    };
    let received_last = session.received_last.max(*now);
    let write = Write {
        scope: *scope,
        id: id.clone(),
        received_first: session.received_first,
        received_last,
        details,
        same: Same::Id,
        told_at: Some(*now),
    };
    // The post that it came of is the same one when it comes again.
    let after = Model { replay_digest: before.replay_digest.clone(), ..row::of_write(write) };
    let changed = after.clone().into_active_model().reset_all();
    Entity::update(changed).validate().map_err(of_statement)?.exec(transaction).await.map_err(of_statement)?;
    tell_of(transaction, *scope, EventKind::Updated, id, Some(now.epoch_ms())).await?;
    let place = |row: &Model| (row.call_id.clone(), row.caller_key.clone(), row.started_at, row.received_first);
    let is_where_it_was = place(&before) == place(&after);
    let session = row::to_session(after.clone())?;
    let stored = if is_where_it_was { Stored::Amended(Box::new(after)) } else { Stored::Changed };
    Ok((Amended::Changed(Box::new(session)), Some(stored)))
}

/// See [`calldata_core::port::Catalog::forget_names`].
pub(crate) async fn forget_names(writer: &Writer, until: Timestamp) -> Result<u64, StoreError> {
    let forget: Work<Timestamp, u64> = |transaction, until| {
        Box::pin(async move {
            let old = request_name::Entity::find()
                .filter(request_name::Column::DoneAt.lte(until.epoch_ms()))
                .order_by_asc(request_name::Column::DoneAt)
                .limit(FORGET_ROWS)
                .all(transaction)
                .await
                .map_err(of_statement)?;
            for name in &old {
                let key = (name.tenant_id, name.name.clone());
                request_name::Entity::delete_by_id(key).exec(transaction).await.map_err(of_statement)?;
            }
            Ok(u64::try_from(old.len()).unwrap_or(u64::MAX))
        })
    };
    writer.transact(&until, forget).await
}
