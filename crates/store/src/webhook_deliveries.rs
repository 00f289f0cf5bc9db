//! What is on its way to webhooks.
//!
//! Whatever decides which delivery of a session is the first holds the webhook's row meanwhile, so that no two decide differently.

use std::collections::HashSet;

use calldata_core::event::{Event, EventKind, Position};
use calldata_core::port::{Lease, Outcome, Settled};
use calldata_core::webhook::{DeadLetter, Delivery, DeliveryId, DeliveryNumber, Failure, WebhookKey};
use calldata_core::{Epoch, SessionId, StoreError, TenantId, Timestamp};
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, Order, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect,
};

use crate::entity::webhook;
use crate::entity::webhook_delivery::{Column, Entity};
use crate::epoch;
use crate::error::{Unreadable, of_statement};
use crate::transact::{Work, Writer};
use crate::webhook_row::{key_of, of_event, to_dead_letter, to_delivery};
use crate::webhook_store::{disable, this};

/// How many deliveries a statement drops: others write in between.
const DROP_BATCH: u64 = 500;
/// How many sessions a statement names.
const SESSIONS: usize = 500;

/// What waits or was given up for that webhook.
fn of_webhook(key: &WebhookKey) -> Condition {
    Condition::all().add(Column::TenantId.eq(key.tenant.number())).add(Column::WebhookId.eq(key.id.as_str()))
}

fn one(key: &WebhookKey, number: i64) -> Condition {
    of_webhook(key).add(Column::Number.eq(number))
}

/// What takes up events.
struct TakeUp<'a> {
    key: &'a WebhookKey,
    from: Position,
    to: Position,
    events: &'a [Event],
    now: Timestamp,
}

/// See [`calldata_core::WebhookStore::take_up`].
pub(crate) async fn take_up(
    writer: &Writer,
    key: &WebhookKey,
    from: Position,
    to: Position,
    events: &[Event],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let take_up: Work<TakeUp<'_>, bool> = |transaction, given| {
        Box::pin(async move {
            let TakeUp { key, from, to, events, now } = given;
            let as_thought = Condition::all()
                .add(webhook::Column::Disabled.is_null())
                .add(webhook::Column::TakenUpCommit.eq(from.commit))
                .add(webhook::Column::TakenUpPlace.eq(from.place));
            let epoch = epoch::current(transaction).await?;
            let Some(last) = move_on(transaction, key, as_thought, *to, events).await? else { return Ok(false) };
            insert(transaction, key, (epoch, last), events, *now).await?;
            Ok(true)
        })
    };
    writer.transact(&TakeUp { key, from, to, events, now }, take_up).await
}

/// Takes up events within a transaction that holds the webhook's row, also where it is disabled.
pub(crate) async fn append(
    transaction: &DatabaseTransaction,
    key: &WebhookKey,
    epoch: Epoch,
    to: Position,
    events: &[Event],
    now: Timestamp,
) -> Result<(), StoreError> {
    match move_on(transaction, key, Condition::all(), to, events).await? {
        Some(last) => insert(transaction, key, (epoch, last), events, now).await,
        None => Ok(()),
    }
}

/// Inserts the deliveries of events; the last one has that number.
async fn insert(
    transaction: &DatabaseTransaction,
    key: &WebhookKey,
    (epoch, last): (Epoch, i64),
    events: &[Event],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut waiting = waiting(transaction, key, events).await?;
    let first = last + 1 - count(events);
    let rows = (first..).zip(events).map(|(number, event)| {
        // The first of its session is due, all others wait for it.
        let waits = !waiting.insert(event.session.as_str().to_owned());
        of_event(key, (epoch, number), event, now, waits).into_active_model()
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        Entity::insert_many(rows).exec_without_returning(transaction).await.map_err(of_statement)?;
    }
    Ok(())
}

/// Notes that the events were taken up, and returns the number of the last delivery; `None` where the webhook is not `as_thought`, for
/// somebody else took them up.
async fn move_on(
    transaction: &DatabaseTransaction,
    key: &WebhookKey,
    as_thought: Condition,
    to: Position,
    events: &[Event],
) -> Result<Option<i64>, StoreError> {
    use webhook::Column;
    let move_on = Query::update()
        .table(webhook::Entity)
        .values([
            (Column::TakenUpCommit, to.commit.into()),
            (Column::TakenUpPlace, to.place.into()),
            (Column::LastNumber, Expr::col(Column::LastNumber).add(count(events))),
        ])
        .cond_where(this(key).add(as_thought))
        .take();
    if transaction.execute(&move_on).await.map_err(of_statement)?.rows_affected() == 0 {
        return Ok(None);
    }
    let moved = webhook::Entity::find().filter(this(key)).one(transaction).await.map_err(of_statement)?;
    moved.map(|row| Some(row.last_number)).ok_or_else(|| Unreadable { table: "webhook", column: "last_number" }.into())
}

fn count(events: &[Event]) -> i64 {
    i64::try_from(events.len()).unwrap_or(i64::MAX)
}

/// Which sessions of these events something waits for already.
async fn waiting(transaction: &DatabaseTransaction, key: &WebhookKey, events: &[Event]) -> Result<HashSet<String>, StoreError> {
    let mut waiting = HashSet::new();
    for some in events.chunks(SESSIONS) {
        let sessions = some.iter().map(|event| event.session.as_str());
        let rows: Vec<String> = Entity::find()
            .select_only()
            .column(Column::SessionId)
            .distinct()
            .filter(of_webhook(key).add(Column::DiedAt.is_null()).add(Column::SessionId.is_in(sessions)))
            .into_tuple()
            .all(transaction)
            .await
            .map_err(of_statement)?;
        waiting.extend(rows);
    }
    Ok(waiting)
}

/// See [`calldata_core::WebhookStore::due`].
pub(crate) async fn due(
    connection: &impl ConnectionTrait,
    key: &WebhookKey,
    now: Timestamp,
    limit: u64,
) -> Result<Vec<Delivery>, StoreError> {
    let due = Entity::find().filter(of_webhook(key).add(Column::NextAt.lte(now.epoch_ms())));
    let rows = due.order_by_asc(Column::NextAt).order_by_asc(Column::Number).limit(limit).all(connection).await.map_err(of_statement)?;
    rows.into_iter().map(to_delivery).collect()
}

/// See [`calldata_core::WebhookStore::settle`].
pub(crate) async fn settle(writer: &Writer, lease: &Lease, settled: &[Settled], now: Timestamp) -> Result<bool, StoreError> {
    let settle: Work<(&Lease, &[Settled], Timestamp), bool> = |transaction, (lease, settled, now)| {
        Box::pin(async move {
            let Lease { key, holder } = lease;
            let held = this(key).add(webhook::Column::Holder.eq(holder));
            let still = Expr::col(webhook::Column::HeldUntil);
            let hold = Query::update().table(webhook::Entity).value(webhook::Column::HeldUntil, still).cond_where(held).take();
            if transaction.execute(&hold).await.map_err(of_statement)?.rows_affected() == 0 {
                return Ok(false);
            }
            for one in *settled {
                settle_one(transaction, key, one, *now).await?;
            }
            Ok(true)
        })
    };
    writer.transact(&(lease, settled, now), settle).await
}

async fn settle_one(transaction: &DatabaseTransaction, key: &WebhookKey, settled: &Settled, now: Timestamp) -> Result<(), StoreError> {
    let Settled { number, session, attempts, outcome } = settled;
    let that = || one(key, number.number()).add(Column::DiedAt.is_null());
    let note = async |next_at: Option<Timestamp>, died_at: Option<Timestamp>, failure: &Failure| {
        let note = Query::update()
            .table(Entity)
            .values([
                (Column::Attempts, i32::try_from(*attempts).unwrap_or(i32::MAX).into()),
                (Column::NextAt, next_at.map(Timestamp::epoch_ms).into()),
                (Column::DiedAt, died_at.map(Timestamp::epoch_ms).into()),
                (Column::LastFailure, failure.to_string().into()),
            ])
            .cond_where(that())
            .take();
        transaction.execute(&note).await.map_err(of_statement).map(drop)
    };
    match outcome {
        Outcome::Done => {
            Entity::delete_many().filter(that()).exec(transaction).await.map_err(of_statement)?;
        }
        Outcome::PutOff { until, failure } => return note(Some(*until), None, failure).await,
        Outcome::Dead(failure) => note(None, Some(now), failure).await?,
        Outcome::Gone(failure) => {
            disable(transaction, key).await?;
            return note(Some(now), None, failure).await;
        }
    }
    let_first_go(transaction, key, session.as_str(), now).await
}

/// Makes the first delivery of a session due, where none of them is.
async fn let_first_go(transaction: &DatabaseTransaction, key: &WebhookKey, session: &str, now: Timestamp) -> Result<(), StoreError> {
    let waiting = of_webhook(key).add(Column::SessionId.eq(session)).add(Column::DiedAt.is_null());
    let first: Option<(i64, Option<i64>)> = Entity::find()
        .select_only()
        .columns([Column::Number, Column::NextAt])
        .filter(waiting)
        .order_by(Expr::col(Column::NextAt).is_null(), Order::Asc)
        .order_by_asc(Column::Number)
        .into_tuple()
        .one(transaction)
        .await
        .map_err(of_statement)?;
    let Some((number, None)) = first else { return Ok(()) };
    let go = Query::update().table(Entity).value(Column::NextAt, now.epoch_ms()).cond_where(one(key, number)).take();
    transaction.execute(&go).await.map_err(of_statement).map(drop)
}

/// See [`calldata_core::WebhookStore::dead_letters`].
pub(crate) async fn dead(
    connection: &impl ConnectionTrait,
    key: &WebhookKey,
    after: DeliveryNumber,
    limit: u64,
) -> Result<Vec<DeadLetter>, StoreError> {
    let dead = Entity::find().filter(of_webhook(key).add(Column::DiedAt.is_not_null()).add(Column::Number.gt(after.number())));
    let rows = dead.order_by_asc(Column::Number).limit(limit).all(connection).await.map_err(of_statement)?;
    rows.into_iter().map(to_dead_letter).collect()
}

/// See [`calldata_core::WebhookStore::replay`].
pub(crate) async fn replay(
    writer: &Writer,
    key: &WebhookKey,
    which: Option<DeliveryId>,
    now: Timestamp,
    limit: u64,
) -> Result<u64, StoreError> {
    type Given<'a> = (&'a WebhookKey, Option<DeliveryId>, Timestamp, u64);
    let replay: Work<Given<'_>, u64> = |transaction, (key, which, now, limit)| {
        Box::pin(async move {
            webhook::Entity::find().filter(this(key)).lock_exclusive().one(transaction).await.map_err(of_statement)?;
            let mut dead = of_webhook(key).add(Column::DiedAt.lte(now.epoch_ms()));
            if let Some(DeliveryId { epoch, number }) = which {
                let of_epoch = epoch.map_or(Column::Epoch.is_null(), |epoch| Column::Epoch.eq(epoch.to_string()));
                dead = dead.add(Column::Number.eq(number.number())).add(of_epoch);
            }
            let dead =
                Entity::find().filter(dead).order_by_asc(Column::Number).limit(*limit).all(transaction).await.map_err(of_statement)?;
            for row in &dead {
                let alive = Query::update()
                    .table(Entity)
                    .values([
                        (Column::Attempts, 0.into()),
                        (Column::Since, now.epoch_ms().into()),
                        (Column::NextAt, None::<i64>.into()),
                        (Column::DiedAt, None::<i64>.into()),
                        (Column::LastFailure, None::<String>.into()),
                    ])
                    .cond_where(one(key, row.number))
                    .take();
                transaction.execute(&alive).await.map_err(of_statement)?;
                let_first_go(transaction, key, &row.session_id, *now).await?;
            }
            Ok(dead.len() as u64)
        })
    };
    writer.transact(&(key, which, now, limit), replay).await
}

/// See [`calldata_core::WebhookStore::forget_deliveries`].
pub(crate) async fn forget(writer: &Writer, tenant: TenantId, sessions: &[SessionId], now: Timestamp) -> Result<u64, StoreError> {
    let forget: Work<(TenantId, &[SessionId], Timestamp), u64> =
        |transaction, (tenant, sessions, now)| Box::pin(forget_in(transaction, *tenant, sessions, *now));
    writer.transact(&(tenant, sessions, now), forget).await
}

/// The same beside something else.
pub(crate) async fn forget_in(
    transaction: &DatabaseTransaction,
    tenant: TenantId,
    sessions: &[SessionId],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let of_tenant = webhook::Entity::find().filter(webhook::Column::TenantId.eq(tenant.number()));
    // In one order, so that no two wait for each other.
    let rows = of_tenant.order_by_asc(webhook::Column::Id).lock_exclusive().all(transaction).await.map_err(of_statement)?;
    let mut forgotten = 0;
    for row in rows {
        let key = key_of(&row)?;
        for some in sessions.chunks(SESSIONS) {
            let about = of_webhook(&key)
                .add(Column::SessionId.is_in(some.iter().map(SessionId::as_str)))
                .add(Column::Kind.ne(EventKind::Erased.name()));
            let gone = Entity::delete_many().filter(about).exec(transaction).await.map_err(of_statement)?.rows_affected;
            forgotten += gone;
            for session in some.iter().filter(|_| gone > 0) {
                let_first_go(transaction, &key, session.as_str(), now).await?;
            }
        }
    }
    Ok(forgotten)
}

/// Drops some of a webhook's deliveries; returns how many, and 0 when none is left.
pub(crate) async fn drop_some(writer: &Writer, key: &WebhookKey, which: Condition) -> Result<u64, StoreError> {
    let drop: Work<(&WebhookKey, Condition), u64> = |transaction, (key, which)| {
        Box::pin(async move {
            let some = some(key, which.clone());
            let dropped = Query::delete().from_table(Entity).cond_where(of_webhook(key).add(Column::Number.in_subquery(some))).take();
            transaction.execute(&dropped).await.map(|done| done.rows_affected()).map_err(of_statement)
        })
    };
    writer.transact(&(key, which), drop).await
}

/// The numbers of some.
fn some(key: &WebhookKey, which: Condition) -> SelectStatement {
    let mut some = Query::select().column(Column::Number).from(Entity).cond_where(of_webhook(key).add(which)).take();
    some.order_by(Column::Number, Order::Asc).limit(DROP_BATCH).take()
}

/// For how many sessions something waits.
pub(crate) async fn count_waiting(connection: &impl ConnectionTrait) -> Result<u64, StoreError> {
    Entity::find().filter(Column::NextAt.is_not_null()).count(connection).await.map_err(of_statement)
}
