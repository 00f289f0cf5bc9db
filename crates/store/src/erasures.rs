//! Erasing what is known of a caller.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use calldata_core::port::{Erasures, WebhookStore as _};
use calldata_core::{CallerKey, Erasure, EventKind, Pseudonyms, Receipt, SessionId, StoreError, TenantId, Timestamp, purge, replay};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect,
    Select, Statement, Value,
};

use crate::Database;
use crate::entity::{erasure, request_name, session, tombstone};
use crate::error::{Unreadable, of_file_statement, of_statement};
use crate::memory::Change;
use crate::open_erasures::Open;
use crate::outbox::{Told, mark, number_of, tell};
use crate::session_deletes::text_bytes;
use crate::sqlite::scrub::scrub;
use crate::transact::Work;
use crate::webhook_deliveries::forget_in;

/// Sessions that are erased in one transaction; each has its pages overwritten.
const TOGETHER: u64 = 200;
/// How many bytes of text these may hold, the last one apart: all of it goes through the log, for which a nearly full disk has room.
const BYTES_TOGETHER: i64 = 1 << 20;
/// Events that are looked at, and deleted, at a time.
const EVENTS_TOGETHER: usize = 5_000;
/// Sessions whose deliveries are forgotten at a time.
const DELIVERIES_TOGETHER: usize = 200;

/// What is deleted may stand in any of these.
const VACUUM: [&str; 4] = ["VACUUM session", "VACUUM event", "VACUUM request_name", VACUUM_RECEIPTS];
const VACUUM_RECEIPTS: &str = "VACUUM erasure";

/// Whether anything was erased a short while ago.
pub(crate) async fn any_erased(transaction: &DatabaseTransaction) -> Result<bool, StoreError> {
    let any = tombstone::Entity::find().limit(1).one(transaction).await.map_err(of_statement)?;
    Ok(any.is_some())
}

/// Whether this is what is left of something that was erased, and is still remembered at `now`, in epoch milliseconds.
pub(crate) async fn is_erased(
    transaction: &DatabaseTransaction,
    pseudonyms: &Pseudonyms,
    tenant: TenantId,
    what: &[u8],
    now: i64,
) -> Result<bool, StoreError> {
    let seals: Vec<_> = pseudonyms.seals(tenant, what).collect();
    let known = tombstone::Entity::find()
        .filter(tombstone::Column::TenantId.eq(tenant.number()))
        .filter(tombstone::Column::Seal.is_in(seals))
        .filter(tombstone::Column::Until.gte(now))
        .one(transaction)
        .await
        .map_err(of_statement)?;
    Ok(known.is_some())
}

#[async_trait]
impl Erasures for Database {
    fn recognise_by(&self, pseudonyms: Pseudonyms) {
        // Whoever said so first has said the same.
        let _ = self.recognised_by().set(pseudonyms);
    }

    async fn begin_erasure(&self, erasure: &Erasure) -> Result<(), StoreError> {
        let begin: Work<erasure::Model, ()> = |transaction, row| {
            Box::pin(async move {
                let row = row.clone().into_active_model();
                erasure::Entity::insert(row).exec_without_returning(transaction).await.map_err(of_statement).map(drop)
            })
        };
        self.writer().transact(&of_erasure(erasure), begin).await
    }

    async fn erase_some(&self, erasure: &Erasure, received_until: Option<Timestamp>, now: Timestamp) -> Result<u64, StoreError> {
        type Given = (Erasure, Option<Timestamp>, Timestamp, Option<Pseudonyms>);
        let Some(caller) = &erasure.caller else { return Ok(0) };
        // Looked for without keeping anybody from writing: it is asked again and again, and mostly there is nothing.
        let any = of_caller(erasure.tenant, caller, received_until).limit(1).into_tuple::<ToErase>().one(self.readers());
        if self.read(async { any.await.map_err(of_statement) }).await?.is_none() {
            return Ok(0);
        }
        let erase: Work<Given, u64> = |transaction, (erasure, received_until, now, pseudonyms)| {
            Box::pin(erase_in(transaction, erasure, *received_until, *now, pseudonyms.as_ref()))
        };
        let given = (erasure.clone(), received_until, now, self.recognised_by().get().cloned());
        let changes = |erased: &u64| (*erased > 0).then_some(Change::Anything);
        let erased = match self.writer().transact_on_sessions(&given, erase, changes).await {
            Err(StoreError::NoRoom(_)) => {
                // On a full disk the log is the room there is.
                self.empty_log().await?;
                self.writer().transact_on_sessions(&given, erase, changes).await
            }
            erased => erased,
        };
        let (erased, _) = erased?;
        if erased > 0 {
            self.elsewhere().tell();
        }
        Ok(erased)
    }

    async fn erase_events(&self, erasures: &[Erasure]) -> Result<u64, StoreError> {
        let Some(erasure) = erasures.iter().min_by_key(|erasure| erasure.requested_at) else { return Ok(0) };
        // Looked for without keeping anybody from writing.
        let ids = self.erased_ids(erasure).await?;
        self.forget_deliveries_of(erasure, &ids).await?;
        let (mut erased, mut after) = (0, Some((0, 0)));
        while let Some(place) = after.filter(|_| !ids.is_empty()) {
            let (found, next) = self.events_about(erasure.tenant, &ids, place).await?;
            if !found.is_empty() {
                let delete: Work<(Erasure, Vec<EventPlace>), u64> =
                    |transaction, (erasure, places)| Box::pin(delete_events(transaction, erasure, places));
                erased += self.writer().transact(&(erasure.clone(), found), delete).await?;
            }
            after = next;
        }
        Ok(erased)
    }

    async fn note_invisible(&self, erasures: &[Erasure], at: Timestamp) -> Result<(), StoreError> {
        // It stays so, whatever is found later.
        self.mark_erasures(erasures, erasure::Column::InvisibleAt, Some(at.epoch_ms().into())).await
    }

    async fn wipe_now(&self) -> Result<bool, StoreError> {
        if let Some(in_file) = self.file() {
            let (file, pen, memory) = (in_file.file.clone(), Arc::clone(&in_file.pen), Arc::clone(&in_file.memory));
            let scrubbed = tokio::task::spawn_blocking(move || scrub(&file, &pen, &memory)).await;
            scrubbed.map_err(|error| StoreError::Failed(error.into()))?.map_err(of_file_statement)?;
            return self.wipe_deleted().await;
        }
        for statement in VACUUM {
            self.keeper().execute_unprepared(statement).await.map_err(of_statement)?;
        }
        Ok(true)
    }

    async fn wipe_receipts(&self) -> Result<bool, StoreError> {
        if self.file().is_some() {
            // The row itself was overwritten when it changed; the log still holds it as it was.
            return self.wipe_deleted().await;
        }
        self.keeper().execute_unprepared(VACUUM_RECEIPTS).await.map_err(of_statement)?;
        Ok(true)
    }

    async fn forget_callers(&self, erasures: &[Erasure]) -> Result<(), StoreError> {
        self.mark_erasures(erasures, erasure::Column::CallerKey, None).await
    }

    async fn end_erasures(&self, erasures: &[Erasure], at: Timestamp) -> Result<(), StoreError> {
        self.mark_erasures(erasures, erasure::Column::PurgedAt, Some(at.epoch_ms().into())).await
    }

    async fn straggling_erasures(&self, limit: u64) -> Result<Vec<Erasure>, StoreError> {
        let found = self.open_erasures(Open::Straggling, limit).await?;
        Ok(found.into_iter().map(|(erasure, _)| erasure).collect())
    }

    async fn ready_erasures(&self, requested_until: Timestamp, limit: u64) -> Result<Vec<(Erasure, u64)>, StoreError> {
        self.open_erasures(Open::Ready(requested_until), limit).await
    }

    async fn receipt(&self, tenant: TenantId, id: &str) -> Result<Option<Receipt>, StoreError> {
        let row = erasure::Entity::find_by_id((tenant.number(), id.to_owned())).one(self.readers());
        Ok(self.read(async { row.await.map_err(of_statement) }).await?.map(to_receipt))
    }

    async fn forget_erased(&self, now: Timestamp) -> Result<u64, StoreError> {
        let over = tombstone::Column::Until.lt(now.epoch_ms());
        let any = tombstone::Entity::find().filter(over.clone()).limit(1).one(self.readers());
        if self.read(async { any.await.map_err(of_statement) }).await?.is_none() {
            return Ok(0);
        }
        let forget: Work<Timestamp, u64> = |transaction, now| {
            Box::pin(async move {
                let forget = Query::delete().from_table(tombstone::Entity).and_where(tombstone::Column::Until.lt(now.epoch_ms())).take();
                Ok(transaction.execute(&forget).await.map_err(of_statement)?.rows_affected())
            })
        };
        self.writer().transact(&now, forget).await
    }
}

/// Commit and place of an event.
type EventPlace = (i64, i64);

/// A session that is to be erased: its identifier, its digest, when it was first received, and its bytes.
type ToErase = (String, Option<Vec<u8>>, i64, i64);

async fn erase_in(
    transaction: &DatabaseTransaction,
    erasure: &Erasure,
    received_until: Option<Timestamp>,
    now: Timestamp,
    pseudonyms: Option<&Pseudonyms>,
) -> Result<u64, StoreError> {
    use session::Column;
    let tenant = erasure.tenant;
    let Some(caller) = &erasure.caller else { return Ok(0) };
    let mut sessions = of_caller(tenant, caller, received_until);
    if transaction.get_database_backend() == DbBackend::Postgres {
        // Another instance may erase the same ones at this moment: only one of them is to count and to tell.
        sessions = sessions.lock_exclusive();
    }
    let mut sessions: Vec<ToErase> = sessions.into_tuple().all(transaction).await.map_err(of_statement)?;
    let mut room = BYTES_TOGETHER;
    sessions.retain(|(.., bytes)| {
        let fits = room > 0;
        room -= bytes;
        fits
    });
    if sessions.is_empty() {
        return Ok(0);
    }
    let ids: Vec<_> = sessions.iter().map(|(id, ..)| id.clone()).collect();
    let names = request_name::Entity::find()
        .filter(request_name::Column::TenantId.eq(tenant.number()))
        .filter(request_name::Column::SessionId.is_in(ids.clone()))
        .all(transaction)
        .await
        .map_err(of_statement)?;
    let posts = sessions.iter().filter_map(|(_, digest, first, _)| Some((digest.clone()?, *first, replay::WINDOW)));
    // With what was asked for: another request under the same name is another one.
    let names = names.iter().map(|name| ([&name.name[..], &name.request[..]].concat(), name.done_at, purge::NAME_RETENTION));
    for (what, since, window) in posts.chain(names) {
        let until = Timestamp::clamped(since).plus(window);
        if let Some(pseudonyms) = pseudonyms.filter(|_| until >= now) {
            seal(transaction, pseudonyms, tenant, &what, until).await?;
        }
    }
    for statement in [
        Query::delete()
            .from_table(request_name::Entity)
            .and_where(request_name::Column::TenantId.eq(tenant.number()))
            .and_where(request_name::Column::SessionId.is_in(ids.clone()))
            .take(),
        Query::delete()
            .from_table(session::Entity)
            .and_where(Column::TenantId.eq(tenant.number()))
            .and_where(Column::Id.is_in(ids.clone()))
            .take(),
    ] {
        transaction.execute(&statement).await.map_err(of_statement)?;
    }
    let unreadable = |_| Unreadable { table: "session", column: "id" };
    let told: Vec<_> = ids.iter().map(|id| SessionId::new(id).map_err(unreadable)).collect::<Result<_, _>>()?;
    // What was given up is listed, and what waits would be sent.
    forget_in(transaction, tenant, &told, now).await?;
    let told = told.into_iter().map(|session| Told { tenant, kind: EventKind::Erased, session, at: now.epoch_ms() });
    tell(transaction, told).await?;
    let erased = u64::try_from(ids.len()).unwrap_or(u64::MAX);
    count(transaction, erasure, erasure::Column::Sessions, erased).await?;
    Ok(erased)
}

/// Some of a caller's sessions, of all or of those that were received until then.
fn of_caller(tenant: TenantId, caller: &CallerKey, received_until: Option<Timestamp>) -> Select<session::Entity> {
    use session::Column;
    // A sum, for the engine would pass over all that the tenant has received until then.
    let received = received_until.map(|until| Expr::col(Column::ReceivedFirst).add(0).lte(until.epoch_ms()));
    session::Entity::find()
        .select_only()
        .columns([Column::Id, Column::ReplayDigest, Column::ReceivedFirst])
        .expr_as(text_bytes(), "bytes")
        .filter(Column::TenantId.eq(tenant.number()))
        .filter(Column::CallerKey.eq(caller.as_str()))
        .filter(Condition::all().add_option(received))
        .limit(TOGETHER)
}

async fn seal(
    transaction: &DatabaseTransaction,
    pseudonyms: &Pseudonyms,
    tenant: TenantId,
    what: &[u8],
    until: Timestamp,
) -> Result<(), StoreError> {
    let row = tombstone::Model { tenant_id: tenant.number(), seal: pseudonyms.seal(tenant, what), until: until.epoch_ms() };
    let mut insert = sea_orm::QueryTrait::into_query(tombstone::Entity::insert(row.into_active_model()));
    let columns = [tombstone::Column::TenantId, tombstone::Column::Seal];
    insert.on_conflict(OnConflict::columns(columns).update_column(tombstone::Column::Until).to_owned());
    transaction.execute(&insert).await.map_err(of_statement).map(drop)
}

async fn count(transaction: &DatabaseTransaction, erasure: &Erasure, what: erasure::Column, more: u64) -> Result<(), StoreError> {
    let count = Query::update()
        .table(erasure::Entity)
        .value(what, Expr::col(what).add(i64::try_from(more).unwrap_or(i64::MAX)))
        .and_where(erasure::Column::TenantId.eq(erasure.tenant.number()))
        .and_where(erasure::Column::Id.eq(erasure.id.as_str()))
        .take();
    transaction.execute(&count).await.map_err(of_statement).map(drop)
}

async fn delete_events(transaction: &DatabaseTransaction, erasure: &Erasure, places: &[EventPlace]) -> Result<u64, StoreError> {
    let engine = transaction.get_database_backend();
    let [one, two, three] = [1, 2, 3].map(|n| mark(engine, n));
    let delete = format!("DELETE FROM event WHERE tenant_id = {one} AND commit_no = {two} AND place = {three}");
    let mut erased = 0;
    for (commit_no, place) in places {
        let values: [Value; 3] = [erasure.tenant.number().into(), (*commit_no).into(), (*place).into()];
        let delete = Statement::from_sql_and_values(engine, delete.as_str(), values);
        erased += transaction.execute_raw(delete).await.map_err(of_statement)?.rows_affected();
    }
    count(transaction, erasure, erasure::Column::Events, erased).await?;
    Ok(erased)
}

impl Database {
    /// What webhooks were to be told of these sessions, but that they were erased.
    async fn forget_deliveries_of(&self, erasure: &Erasure, ids: &HashSet<String>) -> Result<(), StoreError> {
        let sessions: Vec<_> = ids.iter().filter_map(|id| SessionId::new(id).ok()).collect();
        for some in sessions.chunks(DELIVERIES_TOGETHER) {
            self.forget_deliveries(erasure.tenant, some, erasure.requested_at).await?;
        }
        Ok(())
    }

    /// Of which sessions it was told that they were erased, since an erasure began.
    async fn erased_ids(&self, erasure: &Erasure) -> Result<HashSet<String>, StoreError> {
        let engine = self.keeper().get_database_backend();
        let [tenant, kind, since] = [1, 2, 3].map(|n| mark(engine, n));
        let question = format!("SELECT session_id FROM event WHERE tenant_id = {tenant} AND kind = {kind} AND at >= {since}");
        let values: [Value; 3] =
            [erasure.tenant.number().into(), number_of(EventKind::Erased).into(), erasure.requested_at.epoch_ms().into()];
        let rows = self.keeper().query_all_raw(Statement::from_sql_and_values(engine, question, values)).await.map_err(of_statement)?;
        rows.iter().map(|row| row.try_get("", "session_id").map_err(of_statement)).collect()
    }

    /// Where events about these sessions stand, among the next ones after a place, and where to look on. That they were erased stays told.
    async fn events_about(
        &self,
        tenant: TenantId,
        ids: &HashSet<String>,
        after: EventPlace,
    ) -> Result<(Vec<EventPlace>, Option<EventPlace>), StoreError> {
        let engine = self.keeper().get_database_backend();
        let [one, two, three, four] = [1, 2, 3, 4].map(|n| mark(engine, n));
        let next = format!(
            "SELECT commit_no, place, kind, session_id FROM event WHERE tenant_id = {one} AND (commit_no, place) > ({two}, {three}) \
             ORDER BY commit_no, place LIMIT {four}"
        );
        let limit = i64::try_from(EVENTS_TOGETHER).unwrap_or(i64::MAX);
        let values: [Value; 4] = [tenant.number().into(), after.0.into(), after.1.into(), limit.into()];
        let rows = self.keeper().query_all_raw(Statement::from_sql_and_values(engine, next, values)).await.map_err(of_statement)?;
        let (mut found, mut last) = (Vec::new(), None);
        for row in &rows {
            let columns = ["commit_no".into(), "place".into(), "kind".into(), "session_id".into()];
            let (commit_no, place, kind, id): (i64, i64, i32, String) = row.try_get_many("", &columns).map_err(of_statement)?;
            last = Some((commit_no, place));
            if kind != number_of(EventKind::Erased) && ids.contains(&id) {
                found.push((commit_no, place));
            }
        }
        Ok((found, last.filter(|_| rows.len() == EVENTS_TOGETHER)))
    }
}

fn of_erasure(erasure: &Erasure) -> erasure::Model {
    let Erasure { id, tenant, caller, pseudonym, requested_at } = erasure;
    erasure::Model {
        tenant_id: tenant.number(),
        id: id.clone(),
        caller_key: caller.as_ref().map(|caller| caller.as_str().to_owned()),
        pseudonym: pseudonym.clone(),
        sessions: 0,
        events: 0,
        requested_at: requested_at.epoch_ms(),
        invisible_at: None,
        purged_at: None,
    }
}

fn to_receipt(row: erasure::Model) -> Receipt {
    let erasure::Model { tenant_id: _, id, caller_key: _, pseudonym, sessions, events, requested_at, invisible_at, purged_at } = row;
    Receipt {
        id,
        pseudonym,
        sessions: u64::try_from(sessions).unwrap_or_default(),
        events: u64::try_from(events).unwrap_or_default(),
        requested_at: Timestamp::clamped(requested_at),
        invisible_at: invisible_at.map(Timestamp::clamped),
        purged_at: purged_at.map(Timestamp::clamped),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrated;
    use calldata_core::Country;
    use sea_orm::sea_query::SqliteQueryBuilder;

    #[tokio::test]
    async fn the_sessions_of_a_caller_are_found_by_the_caller_and_not_among_all_that_there_are() {
        let (_folder, database) = migrated().await;
        let select = of_caller(TenantId::from_number(1), &CallerKey::of("110", Country::GERMANY), Some(Timestamp::clamped(7)));
        let steps = database.plan(&sea_orm::QueryTrait::into_query(select).to_string(SqliteQueryBuilder)).await;
        assert_eq!(steps, ["SEARCH session USING INDEX session_by_caller (tenant_id=? AND caller_key=?)"]);
    }
}
