//! Sessions one by one and as lists. Each list is one range of an index that the tenant leads.

use std::fmt::Write as _;

use async_trait::async_trait;
use calldata_core::catalog::{Filter, Listed, Listing, Order, Place};
use calldata_core::port::{Amend, Amended, Catalog, Creation, Once, Write};
use calldata_core::{Scope, Session, SessionId, StoreError, Timestamp};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, Statement, Value};

use crate::entity::session::{Entity, Model};
use crate::error::of_statement;
use crate::outbox::mark;
use crate::search_key::search_key;
use crate::{Database, catalog_writes, row};

/// How many bytes of text a row holds; the same as [`Model::text_bytes`].
const SIZE: &str = "octet_length(call_id) + octet_length(caller) + octet_length(fields) + coalesce(octet_length(content), 0) \
    + coalesce(octet_length(conversation), 0) + coalesce(octet_length(turns), 0) + coalesce(octet_length(answers), 0) \
    + coalesce(octet_length(details), 0)";

#[async_trait]
impl Catalog for Database {
    async fn find(&self, scope: Scope, id: &SessionId) -> Result<Option<Session>, StoreError> {
        let mut wanted = Wanted::of(self.engine_kind(), scope);
        wanted.and("id = ", id.as_str());
        let question = wanted.statement(&format!("SELECT * FROM session WHERE {}", wanted.conditions), &[]);
        let rows = self.ask(scope, question).await?;
        rows.into_iter().next().map(row::to_session).transpose()
    }

    async fn list(&self, scope: Scope, listing: &Listing<'_>) -> Result<Listed, StoreError> {
        let Listing { filter, order, after, limit, max_bytes } = listing;
        let Some(mut wanted) = Wanted::filtered(self.engine_kind(), scope, filter) else { return Ok(Listed::default()) };
        let (sign, direction) = match order {
            Order::NewestFirst => ("<", "DESC"),
            Order::OldestFirst => (">", "ASC"),
        };
        if let Some(place) = after {
            wanted.after(sign, place);
        }
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (index, conditions) = (wanted.index(filter), &wanted.conditions);
        let [limit_mark, tenant_mark, bytes_mark] = [1, 2, 3].map(|n| mark(self.engine_kind(), wanted.values.len() + n));
        // Lengths are read without the texts. The join is told its order, for SQLite has no statistics to choose by.
        let question = format!(
            "WITH wanted AS (SELECT id, started_at, {SIZE} AS size FROM session{index} WHERE {conditions} \
                ORDER BY started_at {direction}, id {direction} LIMIT {limit_mark}), \
            page AS (SELECT id, started_at, sum(size) OVER (ORDER BY started_at {direction}, id {direction}) - size AS before FROM wanted) \
            SELECT session.* FROM page CROSS JOIN session WHERE session.tenant_id = {tenant_mark} AND session.id = page.id \
                AND page.before < {bytes_mark} ORDER BY page.started_at {direction}, page.id {direction}"
        );
        let bytes = number(u64::try_from(*max_bytes).unwrap_or(u64::MAX));
        let values = [number(*limit).into(), scope.tenant().number().into(), bytes.into()];
        let rows = self.ask(scope, wanted.statement(&question, &values)).await?;
        let is_cut = rows.iter().map(Model::text_bytes).sum::<usize>() >= *max_bytes;
        Ok(Listed { sessions: rows.into_iter().map(row::to_session).collect::<Result<_, _>>()?, is_cut })
    }

    async fn count(&self, scope: Scope, filter: &Filter) -> Result<u64, StoreError> {
        let Some(wanted) = Wanted::filtered(self.engine_kind(), scope, filter) else { return Ok(0) };
        let question = format!("SELECT COUNT(*) AS number FROM session{} WHERE {}", wanted.index(filter), wanted.conditions);
        let question = wanted.statement(&question, &[]);
        let counted = self.in_turn(scope, async { self.readers().query_one_raw(question).await.map_err(of_statement) }).await?;
        let number: Option<i64> = counted.map(|row| row.try_get("", "number")).transpose().map_err(of_statement)?;
        Ok(number.and_then(|number| u64::try_from(number).ok()).unwrap_or_default())
    }

    async fn create(&self, write: Write, once: Option<Once>) -> Result<Creation, StoreError> {
        catalog_writes::create(self, write, once).await
    }

    async fn amend(&self, scope: Scope, id: &SessionId, now: Timestamp, once: Option<Once>, amend: Amend) -> Result<Amended, StoreError> {
        catalog_writes::amend(self, scope, id, now, once, amend).await
    }

    async fn forget_names(&self, until: Timestamp) -> Result<u64, StoreError> {
        // Without a transaction that writes, where there is nothing to forget.
        let oldest = Statement::from_string(self.engine_kind(), "SELECT MIN(done_at) AS done_at FROM request_name");
        let oldest = self.read(async { self.readers().query_one_raw(oldest).await.map_err(of_statement) }).await?;
        let oldest: Option<Option<i64>> = oldest.map(|row| row.try_get("", "done_at")).transpose().map_err(of_statement)?;
        if oldest.flatten().is_none_or(|oldest| oldest > until.epoch_ms()) {
            return Ok(0);
        }
        catalog_writes::forget_names(&self.writer(), until).await
    }
}

impl Database {
    fn engine_kind(&self) -> DbBackend {
        self.readers().get_database_backend()
    }

    async fn ask(&self, scope: Scope, question: Statement) -> Result<Vec<Model>, StoreError> {
        self.in_turn(scope, async { Entity::find().from_raw_sql(question).all(self.readers()).await.map_err(of_statement) }).await
    }

    /// A query for a tenant, when it is its turn.
    async fn in_turn<T>(&self, scope: Scope, query: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.read_for(scope.tenant(), query).await
    }
}

/// What is wanted, in SQL.
struct Wanted {
    engine: DbBackend,
    conditions: String,
    values: Vec<Value>,
}

impl Wanted {
    /// All live sessions of a tenant.
    fn of(engine: DbBackend, scope: Scope) -> Self {
        let mut wanted = Self { engine, conditions: String::new(), values: Vec::new() };
        wanted.and("tenant_id = ", scope.tenant().number());
        wanted.and("received_first > ", scope.expired_until().epoch_ms());
        wanted
    }

    /// Those of them that match; `None` where none can.
    fn filtered(engine: DbBackend, scope: Scope, filter: &Filter) -> Option<Self> {
        let Filter { call_id, caller, cti_call_id, conversation, intent, from, until, received_until, text: _ } = filter;
        let mut wanted = Self::of(engine, scope);
        if let Some(call_id) = call_id {
            wanted.and("call_id = ", call_id.as_str());
        }
        if let Some(caller) = caller {
            // No stored caller holds it, and PostgreSQL refuses to be asked.
            if caller.as_str().contains('\0') {
                return None;
            }
            wanted.and("caller_key = ", caller.as_str());
        }
        let keys = [("cti_call_key = ", cti_call_id), ("conversation_key = ", conversation), ("intent_key = ", intent)];
        for (condition, text) in keys {
            if let Some(text) = text {
                wanted.and(condition, search_key(text));
            }
        }
        for (condition, moment) in [("started_at >= ", from), ("started_at <= ", until), ("received_first <= ", received_until)] {
            if let Some(moment) = moment {
                wanted.and(condition, moment.epoch_ms());
            }
        }
        Some(wanted)
    }

    fn and(&mut self, condition: &str, value: impl Into<Value>) {
        if !self.conditions.is_empty() {
            self.conditions.push_str(" AND ");
        }
        self.conditions.push_str(condition);
        self.conditions.push_str(&self.next());
        self.values.push(value.into());
    }

    /// Beyond a place.
    fn after(&mut self, sign: &str, place: &Place) {
        let [start, id] = [1, 2].map(|n| mark(self.engine, self.values.len() + n));
        // Writing to a string does not fail.
        let _ = write!(self.conditions, " AND (started_at, id) {sign} ({start}, {id})");
        self.values.extend([place.started.epoch_ms().into(), place.id.as_str().into()]);
    }

    /// What stands for the next value.
    fn next(&self) -> String {
        mark(self.engine, self.values.len() + 1)
    }

    /// Which index SQLite takes, which has no statistics to choose by.
    fn index(&self, filter: &Filter) -> &'static str {
        if self.engine == DbBackend::Postgres {
            return "";
        }
        match filter {
            Filter { call_id: Some(_), .. } => " INDEXED BY session_by_call",
            Filter { cti_call_id: Some(_), .. } => " INDEXED BY session_by_cti_call",
            Filter { conversation: Some(_), .. } => " INDEXED BY session_by_conversation",
            Filter { caller: Some(_), .. } => " INDEXED BY session_by_caller",
            _ => " INDEXED BY session_by_start",
        }
    }

    fn statement(&self, question: &str, more: &[Value]) -> Statement {
        Statement::from_sql_and_values(self.engine, question, self.values.iter().chain(more).cloned())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::migrated;
    use crate::sqlite::READS_OF_EACH;
    use calldata_core::Tenant;

    #[tokio::test]
    async fn a_tenant_whose_reads_are_all_under_way_in_a_file_waits_and_another_does_not() {
        let (_folder, database) = migrated().await;
        let now = Timestamp::clamped(1_700_000_000_000);
        let [one, other] = ["one", "other"].map(|name| Tenant::new(name, name, name, now).scope(now));
        let id = SessionId::new("s").unwrap();
        let mut held = Vec::new();
        for _ in 0..READS_OF_EACH {
            held.push(database.file().unwrap().turns.take(one.tenant()).await);
        }
        let mut waiting = pin!(database.find(one, &id));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let (filter, order) = (Filter::default(), Order::NewestFirst);
        database.find(other, &id).await.unwrap();
        database.list(other, &Listing { filter: &filter, order, after: None, limit: 1, max_bytes: 1_000 }).await.unwrap();
        assert_eq!(database.count(other, &filter).await.unwrap(), 0);
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "it waits for its own");
        drop(held);
        waiting.await.unwrap();
    }
}
