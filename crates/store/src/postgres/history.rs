//! A history in one statement, and so of one moment: how many sessions match, and a page of them.

use std::fmt::Write as _;

use calldata_core::port::{HistoryPage, HistoryQuery};
use calldata_core::{CallId, Scope, StoreError};
use futures_util::TryStreamExt;
use sea_orm::DatabaseConnection;
use sea_orm::sqlx::error::BoxDynError;
use sea_orm::sqlx::postgres::{PgArguments, PgRow};
use sea_orm::sqlx::{self, Arguments as _, AssertSqlSafe, Row as _};

use super::of_driver;
use crate::entity::session::Model;
use crate::row;
use crate::search_key::search_key;

/// See [`calldata_core::SessionStore::history`].
pub(crate) async fn history(readers: &DatabaseConnection, scope: Scope, query: &HistoryQuery) -> Result<HistoryPage, StoreError> {
    let Some(Asked { statement, arguments }) = asked(scope, query).map_err(StoreError::Failed)? else {
        return Ok(HistoryPage::default());
    };
    // As they come, so that no more of them are here than may be.
    let mut rows = sqlx::query_with(AssertSqlSafe(statement), arguments).fetch(readers.get_postgres_connection_pool());
    let (mut page, mut bytes) = (HistoryPage::default(), 0);
    while let Some(row) = rows.try_next().await.map_err(of_driver)? {
        let total: i64 = row.try_get(0).map_err(of_driver)?;
        page.total = total.try_into().unwrap_or(0);
        if query.max_bytes.is_some_and(|most| bytes >= most) {
            page.is_cut = true;
            break;
        }
        // A total without a page comes with a row of nothing.
        if row.try_get::<Option<&str>, _>(1).is_ok_and(|id| id.is_some()) {
            let model = model(&row, scope).map_err(of_driver)?;
            bytes += model.text_bytes();
            page.sessions.push(row::to_session(model)?);
        }
    }
    Ok(page)
}

struct Asked {
    statement: String,
    arguments: PgArguments,
}

/// The statement and what it is asked with; `None` when nothing can match. Its text depends on what is given and on nothing else, so that
/// the server reads each of them once.
fn asked(scope: Scope, query: &HistoryQuery) -> Result<Option<Asked>, BoxDynError> {
    let HistoryQuery { call_id, caller, cti_call_id, from, until, offset, limit, max_bytes: _ } = query;
    let mut arguments = PgArguments::default();
    for number in [bounded(*offset), bounded(*limit), scope.tenant().number(), scope.expired_until().epoch_ms()] {
        arguments.add(number)?;
    }
    let mut wanted = String::from("tenant_id = $3 AND received_first > $4");
    if let Some(call_id) = call_id {
        let Ok(call_id) = CallId::new(call_id) else { return Ok(None) };
        arguments.add(call_id.as_str())?;
        write!(wanted, " AND call_id = ${}", arguments.len())?;
    }
    if let Some(caller) = caller {
        // No stored caller holds it, and the server refuses to be asked.
        if caller.as_str().contains('\0') {
            return Ok(None);
        }
        arguments.add(caller.as_str())?;
        write!(wanted, " AND caller_key = ${}", arguments.len())?;
    }
    if let Some(cti_call_id) = cti_call_id {
        arguments.add(search_key(cti_call_id))?;
        write!(wanted, " AND cti_call_key = ${}", arguments.len())?;
    }
    for (bound, sign) in [(from, ">="), (until, "<=")] {
        if let Some(bound) = bound {
            arguments.add(bound.epoch_ms())?;
            write!(wanted, " AND started_at {sign} ${}", arguments.len())?;
        }
    }
    Ok(Some(Asked { statement: statement(&wanted), arguments }))
}

/// The ends of a page are found in an index, without the rows: those that are passed over are many and never looked at. From the middle
/// on they are passed over from the other end. `$1` is the offset and `$2` the limit.
fn statement(wanted: &str) -> String {
    format!(
        "WITH matching AS MATERIALIZED (SELECT count(*) AS total FROM session WHERE {wanted}), \
        page AS MATERIALIZED ( \
            (SELECT id FROM session WHERE {wanted} AND $1::bigint <= (SELECT total FROM matching) / 2 \
            ORDER BY started_at DESC, id DESC OFFSET $1::bigint LIMIT $2::bigint) \
            UNION ALL \
            (SELECT id FROM session WHERE {wanted} AND $1::bigint > (SELECT total FROM matching) / 2 \
                AND $1::bigint < (SELECT total FROM matching) \
            ORDER BY started_at, id OFFSET greatest((SELECT total FROM matching) - $1::bigint - $2::bigint, 0) \
            LIMIT greatest(least($2::bigint, (SELECT total FROM matching) - $1::bigint), 0))) \
        SELECT matching.total, s.id, s.call_id, s.caller, s.caller_key, s.country_code, s.received_first, s.received_last, s.started_at, \
            s.source, s.content, s.conversation, s.fields, s.turns, s.answers, s.details \
        FROM matching LEFT JOIN (page JOIN session s ON s.tenant_id = $3 AND s.id = page.id) ON true \
        ORDER BY s.started_at DESC, s.id DESC"
    )
}

/// No table holds more; and two of them can be added to each other.
fn bounded(number: u64) -> i64 {
    i64::try_from(number.min(1 << 62)).unwrap_or_default()
}

fn model(row: &PgRow, scope: Scope) -> Result<Model, sqlx::Error> {
    Ok(Model {
        tenant_id: scope.tenant().number(),
        id: row.try_get(1)?,
        call_id: row.try_get(2)?,
        caller: row.try_get(3)?,
        caller_key: row.try_get(4)?,
        country_code: row.try_get(5)?,
        cti_call_key: None,
        conversation_key: None,
        intent_key: None,
        received_first: row.try_get(6)?,
        received_last: row.try_get(7)?,
        started_at: row.try_get(8)?,
        source: row.try_get(9)?,
        replay_digest: None,
        content: row.try_get(10)?,
        conversation: row.try_get(11)?,
        fields: row.try_get(12)?,
        turns: row.try_get(13)?,
        answers: row.try_get(14)?,
        details: row.try_get(15)?,
    })
}
