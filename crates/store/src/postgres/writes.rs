//! The group commit's statement: one text for any number of rows, and a transaction by itself.

use std::sync::atomic::{AtomicBool, Ordering};

use calldata_core::{SessionId, StoreError, TenantId, replay};
use futures_util::TryStreamExt as _;
use sea_orm::SqlxError;
use sea_orm::sqlx::error::BoxDynError;
use sea_orm::sqlx::postgres::{PgArguments, PgBindIterExt as _, PgDatabaseError, PgRow, PgSeverity};
use sea_orm::sqlx::{self, Arguments as _, Either, Executor as _, PgConnection, Row as _, SqlSafeStr as _};
use tokio::sync::Mutex;

use super::line::{Line, Server};
use super::of_driver;
use crate::database::SERVER_TIMEOUT;
use crate::error::{Unreadable, db_err, is_conflict, of_commit, of_statement};
use crate::session_writes::{Identity, Row};
use crate::transact::pause_before_retry;

/// PAR-P7: a row with the same digest that is young enough is refreshed. One that is too old lets neither happen, and is not among the
/// rows that come back. `$21` is the window. What becomes of each is told in the same statement, at `$22`: a row that was there before has
/// a transaction that locked it. Where anything was erased a short while ago, nothing is stored this way.
///
/// The functions stand where the columns do: in a FROM each would first be written to a store of its own.
const INSERT_OR_REFRESH: &str = "WITH stored AS (INSERT INTO session (tenant_id, id, call_id, caller, caller_key, country_code, cti_call_key, \
        conversation_key, intent_key, received_first, received_last, started_at, source, replay_digest, content, conversation, fields, \
        turns, answers, details) \
    SELECT unnest($1::bigint[]), unnest($2::text[]), unnest($3::text[]), unnest($4::text[]), unnest($5::text[]), unnest($6::text[]), \
        unnest($7::text[]), unnest($8::text[]), unnest($9::text[]), unnest($10::bigint[]), unnest($11::bigint[]), unnest($12::bigint[]), \
        unnest($13::int[]), unnest($14::bytea[]), unnest($15::text[]), unnest($16::text[]), unnest($17::text[]), unnest($18::text[]), \
        unnest($19::text[]), unnest($20::text[]) \
        WHERE NOT EXISTS (SELECT FROM tombstone) \
    ON CONFLICT (tenant_id, replay_digest) WHERE replay_digest IS NOT NULL \
    DO UPDATE SET received_last = GREATEST(session.received_last, excluded.received_last) \
        WHERE session.received_first >= excluded.received_first - $21::bigint \
    RETURNING tenant_id, id, replay_digest, xmax = 0 AS is_new), \
    told AS (INSERT INTO event (tenant_id, commit_no, place, kind, session_id, at) \
        SELECT tenant_id, pg_current_xact_id()::text::bigint, row_number() OVER (), CASE WHEN is_new THEN 1 ELSE 2 END, id, $22::bigint \
        FROM stored) \
    SELECT tenant_id, id, replay_digest FROM stored";

/// The line of the group commit.
#[derive(Debug)]
pub(crate) struct WriteLine(Mutex<Line>);

impl WriteLine {
    pub(crate) fn new(server: &Server) -> Self {
        Self(Mutex::new(Line::new(server.clone())))
    }

    /// Stores or refreshes rows that are told apart by their digest, in one transaction; again where it lost a conflict with another one.
    /// Rows of which an older one holds the digest are not stored, and not in the result.
    ///
    /// # Errors
    /// [`StoreError::Unconfirmed`] where they may have been stored; any other where none was.
    pub(crate) async fn insert_or_refresh(&self, rows: &[&Row]) -> Result<Vec<(Identity, SessionId)>, StoreError> {
        let mut retries = 0;
        loop {
            match self.attempt(rows).await {
                Err(error) if is_conflict(&error) && pause_before_retry(retries).await => retries += 1,
                stored => return stored?.iter().map(stored_row).collect(),
            }
        }
    }

    async fn attempt(&self, rows: &[&Row]) -> Result<Vec<PgRow>, StoreError> {
        let mut line = self.0.lock().await;
        let arguments = arguments(rows).map_err(StoreError::Failed)?;
        let sent = AtomicBool::new(false);
        match tokio::time::timeout(SERVER_TIMEOUT, ask(&mut line, arguments, &sent)).await {
            Ok(outcome) => outcome,
            Err(elapsed) => {
                line.doubt();
                Err(if sent.load(Ordering::Acquire) { StoreError::Unconfirmed(elapsed.into()) } else { StoreError::Busy(elapsed.into()) })
            }
        }
    }
}

async fn ask(line: &mut Line, arguments: PgArguments, sent: &AtomicBool) -> Result<Vec<PgRow>, StoreError> {
    let mut open = line.take().await.map_err(of_statement)?;
    // Apart from its execution, so that nothing that fails until here is in doubt.
    open.connection.prepare(INSERT_OR_REFRESH.into_sql_str()).await.map_err(of_driver)?;
    sent.store(true, Ordering::Release);
    let outcome = commit(&mut open.connection, arguments).await;
    if matches!(outcome, Ok(_) | Err(StoreError::Taken(_) | StoreError::NoSuchTenant | StoreError::Busy(_) | StoreError::NoRoom(_))) {
        line.keep(open);
    }
    outcome
}

/// The server says first what the statement did, then commits, and then says that it is ready. So the rows are stored when it is ready and
/// not before; and an error is one of the statement until the statement is done, and one of the commit after that.
async fn commit(connection: &mut PgConnection, arguments: PgArguments) -> Result<Vec<PgRow>, StoreError> {
    let (mut stored, mut is_done) = (Vec::new(), false);
    let mut told = connection.fetch_many(sqlx::query_with(INSERT_OR_REFRESH, arguments));
    loop {
        match told.try_next().await {
            Ok(Some(Either::Right(row))) => stored.push(row),
            Ok(Some(Either::Left(_))) => is_done = true,
            Ok(None) if is_done => return Ok(stored),
            Ok(None) => return Err(StoreError::Unconfirmed("the server did not say what became of the statement".into())),
            Err(error) if !is_done && is_rolled_back(&error) => return Err(of_driver(error)),
            Err(error) => return Err(of_commit(db_err(error))),
        }
    }
}

/// Whether the server itself says that the statement failed, and goes on. A word that ends the connection says nothing about the rows.
fn is_rolled_back(error: &SqlxError) -> bool {
    let SqlxError::Database(error) = error else { return false };
    error.try_downcast_ref::<PgDatabaseError>().is_some_and(|error| error.severity() == PgSeverity::Error)
}

fn stored_row(row: &PgRow) -> Result<(Identity, SessionId), StoreError> {
    // They are stored, only nobody can tell which is which.
    let unreadable = |column| StoreError::Unconfirmed(Unreadable { table: "session", column }.into());
    let tenant = row.try_get::<i64, _>(0).map_err(|_| unreadable("tenant_id"))?;
    let id = row.try_get::<&str, _>(1).ok().and_then(|id| SessionId::new(id).ok()).ok_or_else(|| unreadable("id"))?;
    let digest = row.try_get::<&[u8], _>(2).ok().and_then(|digest| digest.try_into().ok()).ok_or_else(|| unreadable("replay_digest"))?;
    Ok((Identity::Digest(TenantId::from_number(tenant), digest), id))
}

/// A column each.
fn arguments(rows: &[&Row]) -> Result<PgArguments, BoxDynError> {
    let models = || rows.iter().map(|row| row.model());
    let window_ms = i64::try_from(replay::WINDOW.as_millis()).unwrap_or(i64::MAX);
    let mut arguments = PgArguments::default();
    arguments.reserve(22, rows.iter().map(|row| row.bytes() + 400).sum());
    arguments.add(models().map(|row| row.tenant_id).bind_iter())?;
    arguments.add(models().map(|row| row.id.as_str()).bind_iter())?;
    arguments.add(models().map(|row| row.call_id.as_str()).bind_iter())?;
    arguments.add(models().map(|row| row.caller.as_str()).bind_iter())?;
    arguments.add(models().map(|row| row.caller_key.as_str()).bind_iter())?;
    arguments.add(models().map(|row| row.country_code.as_deref()).bind_iter())?;
    arguments.add(models().map(|row| row.cti_call_key.as_deref()).bind_iter())?;
    arguments.add(models().map(|row| row.conversation_key.as_deref()).bind_iter())?;
    arguments.add(models().map(|row| row.intent_key.as_deref()).bind_iter())?;
    arguments.add(models().map(|row| row.received_first).bind_iter())?;
    arguments.add(models().map(|row| row.received_last).bind_iter())?;
    arguments.add(models().map(|row| row.started_at).bind_iter())?;
    arguments.add(models().map(|row| row.source).bind_iter())?;
    arguments.add(models().map(|row| row.replay_digest.as_deref()).bind_iter())?;
    arguments.add(models().map(|row| row.content.as_deref()).bind_iter())?;
    arguments.add(models().map(|row| row.conversation.as_deref()).bind_iter())?;
    arguments.add(models().map(|row| row.fields.as_str()).bind_iter())?;
    arguments.add(models().map(|row| row.turns.as_deref()).bind_iter())?;
    arguments.add(models().map(|row| row.answers.as_deref()).bind_iter())?;
    arguments.add(models().map(|row| row.details.as_deref()).bind_iter())?;
    arguments.add(window_ms)?;
    arguments.add(rows.iter().filter_map(|row| row.told_at).max().unwrap_or_default())?;
    Ok(arguments)
}
