//! Pages of histories from a file.

use std::sync::Arc;

use calldata_core::port::{HistoryPage, HistoryQuery};
use calldata_core::{CallId, CallerKey, Scope, StoreError};
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use super::lookups::{columns, model};
use super::readers::Readers;
use crate::engine::Pen;
use crate::entity::session::Model;
use crate::memory::{Begun, MANY, MAX_PLACES, Mark, Memory, PLACES, Total};
use crate::row;
use crate::search_key::search_key;

/// How often it is tried to see the file in a state that is known, while others commit.
const TRIES: usize = 3;
const ROW: &str = concat!("SELECT ", columns!(), " FROM session WHERE rowid = ?");
const ALL_OF_CALLER: &str = "SELECT started_at, id, received_first FROM session INDEXED BY session_by_caller
    WHERE tenant_id = ?1 AND caller_key = ?2 AND received_first > ?3 ORDER BY started_at, id";

/// Who finds pages of histories in a file.
pub(crate) struct Histories {
    readers: Arc<Readers>,
    memory: Arc<Memory>,
    pen: Pen,
}

impl Histories {
    pub(crate) fn new(readers: Readers, memory: Arc<Memory>, pen: Pen) -> Self {
        Self { readers: Arc::new(readers), memory, pen }
    }

    /// See [`calldata_core::SessionStore::history`].
    pub(crate) async fn page(&self, scope: Scope, query: &HistoryQuery) -> Result<HistoryPage, StoreError> {
        let Some(wanted) = Wanted::of(scope, query) else { return Ok(HistoryPage::default()) };
        let caller = wanted.all_of.clone();
        let memory = Arc::clone(&self.memory);
        let found = self.readers.ask(scope.tenant(), move |connection| wanted.find(connection, &memory)).await?;
        if let Some(caller) = caller.filter(|_| found.is_worth_remembering) {
            let (readers, memory, pen) = (Arc::clone(&self.readers), Arc::clone(&self.memory), Arc::clone(&self.pen));
            // After the answer, and when it is the tenant's turn; without it the next answer takes as long as this one.
            tokio::spawn(
                async move { readers.ask(scope.tenant(), move |connection| count(connection, &memory, &pen, scope, &caller)).await },
            );
        }
        let sessions = found.rows.into_iter().map(row::to_session).collect::<Result<_, _>>()?;
        Ok(HistoryPage { total: found.total, sessions, is_cut: found.is_cut })
    }
}

/// A history query in SQL.
struct Wanted {
    scope: Scope,
    from_where: String,
    values: Vec<Value>,
    /// All sessions of this caller are wanted, and nothing else is asked for.
    all_of: Option<CallerKey>,
    offset: u64,
    limit: u64,
    max_bytes: Option<usize>,
}

struct Found {
    total: u64,
    rows: Vec<Model>,
    is_cut: bool,
    is_worth_remembering: bool,
}

impl Wanted {
    /// `None` when nothing can match.
    fn of(scope: Scope, query: &HistoryQuery) -> Option<Self> {
        let HistoryQuery { call_id, caller, cti_call_id, from, until, offset, limit, max_bytes } = query;
        let index = match (call_id, cti_call_id) {
            (Some(_), _) => "session_by_call",
            (None, Some(_)) => "session_by_cti_call",
            (None, None) => "session_by_caller",
        };
        let mut from_where = format!("FROM session INDEXED BY {index} WHERE tenant_id = ? AND received_first > ?");
        let mut values = vec![scope.tenant().number().into(), scope.expired_until().epoch_ms().into()];
        let mut and = |condition: &str, value: Value| {
            from_where.push_str(condition);
            values.push(value);
        };
        if let Some(call_id) = call_id {
            and(" AND call_id = ?", CallId::new(call_id).ok()?.as_str().to_owned().into());
        }
        if let Some(caller) = caller {
            and(" AND caller_key = ?", caller.as_str().to_owned().into());
        }
        if let Some(cti_call_id) = cti_call_id {
            and(" AND cti_call_key = ?", search_key(cti_call_id).into());
        }
        if let Some(from) = from {
            and(" AND started_at >= ?", from.epoch_ms().into());
        }
        if let Some(until) = until {
            and(" AND started_at <= ?", until.epoch_ms().into());
        }
        let is_all = call_id.is_none() && cti_call_id.is_none() && from.is_none() && until.is_none();
        let all_of = caller.clone().filter(|_| is_all);
        Some(Self { scope, from_where, values, all_of, offset: *offset, limit: *limit, max_bytes: *max_bytes })
    }

    /// Total and page are of one moment, so that they agree with each other.
    fn find(self, connection: &Connection, memory: &Memory) -> rusqlite::Result<Found> {
        let (moment, mark) =
            if self.all_of.is_some() { known_moment(connection, memory)? } else { (connection.unchecked_transaction()?, None) };
        let known = mark.zip(self.all_of.as_ref()).and_then(|(mark, caller)| memory.total(mark, self.scope, caller));
        let total = match &known {
            Some(known) => known.count,
            None => {
                let count = format!("SELECT COUNT(*) {}", self.from_where);
                let count: i64 = moment.prepare_cached(&count)?.query_row(params_from_iter(&self.values), |found| found.get(0))?;
                u64::try_from(count).unwrap_or_default()
            }
        };
        let is_worth_remembering = known.is_none() && total >= MANY;
        let (rows, is_cut) = if self.offset < total { self.rows(&moment, total, known.as_ref())? } else { (Vec::new(), false) };
        Ok(Found { total, rows, is_cut, is_worth_remembering })
    }

    fn rows(mut self, connection: &Connection, total: u64, known: Option<&Total>) -> rusqlite::Result<(Vec<Model>, bool)> {
        let rest = total - self.offset;
        let limit = self.limit.min(rest);
        let (mut skip, mut order) = (self.offset, "DESC");
        // Beyond the middle it is nearer from the other end, and still nearer from a place on the way.
        if rest - limit < skip {
            (skip, order) = (rest - limit, "ASC");
        }
        let place = known.and_then(|known| known.place(rest - 1)).filter(|(_, rank)| rank - (rest - 1) < skip);
        if let Some(((start, id), rank)) = place {
            (skip, order) = (rank - (rest - 1), "DESC");
            self.from_where.push_str(" AND (started_at, id) <= (?, ?)");
            self.values.extend([(*start).into(), id.clone().into()]);
        }
        // The index alone is passed over. Sums, for the engine plans anew for every value of a bare parameter there.
        let page = format!("SELECT rowid {} ORDER BY started_at {order}, id {order} LIMIT ? + 0 OFFSET ? + 0", self.from_where);
        self.values.extend([limit, skip].map(|number| Value::from(i64::try_from(number).unwrap_or(i64::MAX))));
        let mut page = connection.prepare_cached(&page)?;
        let mut places = page.query_map(params_from_iter(&self.values), |found| found.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
        if order == "ASC" {
            places.reverse();
        }
        // One by one: a statement that sorts would hold all of them at once.
        let mut row = connection.prepare_cached(ROW)?;
        let (mut rows, mut bytes) = (Vec::with_capacity(places.len()), 0);
        for place in places {
            if self.max_bytes.is_some_and(|most| bytes >= most) {
                return Ok((rows, true));
            }
            let row = row.query_row([place], model)?;
            bytes += row.text_bytes();
            rows.push(row);
        }
        Ok((rows, false))
    }
}

/// A moment at which to read, and the state of the file then, where it is known.
fn known_moment<'c>(connection: &'c Connection, memory: &Memory) -> rusqlite::Result<(rusqlite::Transaction<'c>, Option<Mark>)> {
    let mut tries = TRIES;
    loop {
        let before = memory.mark();
        let moment = connection.unchecked_transaction()?;
        // The moment is that of the first read.
        moment.prepare_cached("SELECT at FROM last_receipt")?.exists([])?;
        let after = memory.mark();
        tries -= 1;
        if before == after || tries == 0 {
            return Ok((moment, after.filter(|_| before == after)));
        }
    }
}

/// Counts all sessions of a caller, to be remembered.
fn count(connection: &Connection, memory: &Memory, pen: &Pen, scope: Scope, caller: &CallerKey) -> rusqlite::Result<()> {
    let mut begun = memory.begin_total(scope, caller);
    if let Begun::NotKnown = begun {
        // Nobody has written here since another process did; while somebody writes, he will make it known.
        let Ok(_pen) = pen.try_lock() else { return Ok(()) };
        let (moment, Some(mark)) = known_moment(connection, memory)? else { return Ok(()) };
        let last = moment.query_row("SELECT at FROM last_receipt", [], |found| found.get(0))?;
        memory.begin(Some(mark), Some(last));
        drop(moment);
        begun = memory.begin_total(scope, caller);
    }
    if let Begun::Counting(mut counting) = begun {
        let (moment, mark) = known_moment(connection, memory)?;
        if mark == Some(counting.mark) {
            counting.counted = Some(count_at(&moment, scope, caller)?).filter(|total| total.count >= MANY);
        }
    }
    Ok(())
}

fn count_at(connection: &Connection, scope: Scope, caller: &CallerKey) -> rusqlite::Result<Total> {
    let mut statement = connection.prepare_cached(ALL_OF_CALLER)?;
    let mut found = statement.query(params![scope.tenant().number(), caller.as_str(), scope.expired_until().epoch_ms()])?;
    let (mut count, mut first_receipt, mut places, mut apart) = (0, i64::MAX, Vec::new(), PLACES);
    while let Some(row) = found.next()? {
        first_receipt = first_receipt.min(row.get(2)?);
        if count % apart == 0 {
            if places.len() == MAX_PLACES {
                apart *= 2;
                places.retain(|(_, rank)| rank % apart == 0);
            }
            places.push(((row.get(0)?, row.get(1)?), count));
        }
        count += 1;
    }
    Ok(Total { count, first_receipt, places: Arc::new(places) })
}
