//! Lookups that share a statement, as writes share a commit: all that wait go to the server in one question.

use std::sync::Arc;
use std::time::Duration;

use calldata_core::{CallId, CallerKey, Scope, Session, StoreError, TenantId};
use sea_orm::sqlx::postgres::{PgBindIterExt as _, PgRow};
use sea_orm::sqlx::{self, Row as _};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::line::{Line, Server};
use super::of_driver;
use crate::database::SERVER_TIMEOUT;
use crate::entity::session::Model;
use crate::error::{is_transport, of_statement};
use crate::fair_queue::{Bounds, FairQueue, Load};
use crate::row;
use crate::session_writes::shared;

/// What may wait: more than requests may be under way.
const QUEUE: Bounds = Bounds { rows: 8_192, bytes: usize::MAX };
/// What shares a statement.
const TOGETHER: Bounds = Bounds { rows: 32, bytes: usize::MAX };
/// Who has waited longer was told that the gateway is busy.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// The newest session of each call and caller. The order is that of the index, backwards, so that one row is read for each.
/// What was last received before the horizon was first received before it: that ends the range, and nobody who has many expired sessions of
/// one call makes those wait who share the statement. Ten minutes are more than clocks of two instances may differ.
pub(super) const NEWEST: &str = "SELECT k.ord, s.* \
    FROM (SELECT unnest($1::bigint[]) AS t, unnest($2::text[]) AS c, unnest($3::text[]) AS u, unnest($4::bigint[]) AS h, \
        unnest($5::int[]) AS ord) k \
    CROSS JOIN LATERAL (SELECT id, caller, country_code, received_first, received_last, started_at, source, \
        content, conversation, fields, turns, answers, details FROM session \
        WHERE tenant_id = k.t AND call_id = k.c AND caller_key = k.u AND received_first > k.h \
            AND received_last > k.h - 600000 \
        ORDER BY received_last DESC, id DESC LIMIT 1) s";

/// Whether there is a session of each call, whoever the caller is. Ordered for the sake of the index alone, the only one in
/// which calls are.
pub(super) const HAS_CALL: &str = "SELECT k.ord \
    FROM (SELECT unnest($1::bigint[]) AS t, unnest($2::text[]) AS c, unnest($3::text[]) AS u, unnest($4::bigint[]) AS h, \
        unnest($5::int[]) AS ord) k \
    CROSS JOIN LATERAL (SELECT id FROM session WHERE tenant_id = k.t AND call_id = k.c AND received_first > k.h \
            AND received_last > k.h - 600000 \
        ORDER BY caller_key DESC, received_last DESC LIMIT 1) s";

/// Takes lookups in, and has tasks of its own that ask for them.
#[derive(Debug)]
pub(super) struct Lookups {
    queue: Arc<FairQueue<Job>>,
}

type Answer = Result<Option<PgRow>, StoreError>;

/// One lookup that waits.
struct Job {
    scope: Scope,
    call: String,
    caller: String,
    since: Instant,
    reply: oneshot::Sender<Answer>,
}

/// It names a caller.
impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a lookup of tenant {}", self.scope.tenant().number())
    }
}

impl Load for Job {
    fn tenant(&self) -> TenantId {
        self.scope.tenant()
    }

    fn rows(&self) -> usize {
        1
    }

    fn bytes(&self) -> usize {
        0
    }
}

impl Lookups {
    /// Starts tasks that ask `statement`, each on a line of its own; they end when this is dropped and nothing waits any more.
    pub(super) fn start(server: &Server, statement: &'static str, lines: usize) -> Self {
        let queue = Arc::new(FairQueue::new(QUEUE));
        for _ in 0..lines {
            let (waiting, server) = (Arc::clone(&queue), server.for_lookups());
            tokio::spawn(async move {
                // Whoever was in a batch that panics is told that there is no answer, and the next one goes on.
                while let Err(panic) = tokio::spawn(answer_all(Arc::clone(&waiting), Line::new(server.clone()), statement)).await {
                    if panic.is_cancelled() {
                        return;
                    }
                    tracing::error!("the lookups failed and begin anew");
                }
            });
        }
        Self { queue }
    }

    /// Has a lookup made together with what else waits, none of it longer than it must.
    pub(super) async fn ask(&self, scope: Scope, call: &CallId, caller: &str) -> Answer {
        let (reply, answer) = oneshot::channel();
        let job = Job { scope, call: call.as_str().to_owned(), caller: caller.to_owned(), since: Instant::now(), reply };
        if self.queue.push(job).is_err() {
            return Err(StoreError::Busy("too many lookups wait".into()));
        }
        answer.await.unwrap_or_else(|_| Err(StoreError::Busy("the lookup gave no answer".into())))
    }
}

impl Drop for Lookups {
    fn drop(&mut self) {
        self.queue.close();
    }
}

async fn answer_all(queue: Arc<FairQueue<Job>>, mut line: Line, statement: &'static str) {
    while let Some(mut jobs) = queue.take(TOGETHER).await {
        // Nobody listens any more where a request was given up.
        jobs.retain(|job| !job.reply.is_closed());
        let (jobs, late): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.since.elapsed() < PATIENCE);
        for job in late {
            let _ = job.reply.send(Err(StoreError::Busy("the lookup waited too long".into())));
        }
        if jobs.is_empty() {
            continue;
        }
        // Where it is one of them that fails, the others must not suffer.
        for job in answer(&mut line, statement, jobs).await {
            answer(&mut line, statement, vec![job]).await;
        }
    }
}

/// Asks and answers; gives back those that are to be asked for one by one, because all of them failed together.
async fn answer(line: &mut Line, statement: &'static str, jobs: Vec<Job>) -> Vec<Job> {
    let outcome = match tokio::time::timeout(SERVER_TIMEOUT, ask_again(line, statement, &jobs)).await {
        Ok(outcome) => outcome,
        Err(elapsed) => {
            line.doubt();
            Err(StoreError::Busy(elapsed.into()))
        }
    };
    match outcome {
        Ok(rows) => {
            let mut waiting: Vec<_> = jobs.into_iter().map(|job| Some(job.reply)).collect();
            for row in rows {
                let place = row.try_get::<i32, _>(0).ok().and_then(|place| usize::try_from(place).ok());
                if let Some(reply) = place.and_then(|place| waiting.get_mut(place)?.take()) {
                    let _ = reply.send(Ok(Some(row)));
                }
            }
            for reply in waiting.into_iter().flatten() {
                let _ = reply.send(Ok(None));
            }
        }
        Err(StoreError::Failed(_)) if jobs.len() > 1 => return jobs,
        Err(error) => {
            for job in jobs {
                let _ = job.reply.send(Err(shared(&error)));
            }
        }
    }
    Vec::new()
}

/// A kept connection may have been closed by the server since it was last used. Nothing is lost by asking again, once, on a new one.
async fn ask_again(line: &mut Line, statement: &'static str, jobs: &[Job]) -> Result<Vec<PgRow>, StoreError> {
    let is_old = line.is_open();
    match ask(line, statement, jobs).await {
        Err(error) if is_old && is_transport(&error) => ask(line, statement, jobs).await,
        outcome => outcome,
    }
}

async fn ask(line: &mut Line, statement: &'static str, jobs: &[Job]) -> Result<Vec<PgRow>, StoreError> {
    let mut open = line.take().await.map_err(of_statement)?;
    let rows = sqlx::query(statement)
        .bind(jobs.iter().map(|job| job.scope.tenant().number()).bind_iter())
        .bind(jobs.iter().map(|job| job.call.as_str()).bind_iter())
        .bind(jobs.iter().map(|job| job.caller.as_str()).bind_iter())
        .bind(jobs.iter().map(|job| job.scope.expired_until().epoch_ms()).bind_iter())
        .bind((0_i32..).zip(jobs).map(|(place, _)| place).bind_iter())
        .fetch_all(&mut open.connection)
        .await
        .map_err(of_driver)?;
    line.keep(open);
    Ok(rows)
}

/// The session of a row of [`NEWEST`].
pub(super) fn session(row: &PgRow, scope: Scope, call: &CallId, caller: &CallerKey) -> Result<Session, StoreError> {
    let model = || -> Result<Model, sqlx::Error> {
        Ok(Model {
            tenant_id: scope.tenant().number(),
            id: row.try_get(1)?,
            call_id: call.as_str().to_owned(),
            caller: row.try_get(2)?,
            caller_key: caller.as_str().to_owned(),
            country_code: row.try_get(3)?,
            cti_call_key: None,
            conversation_key: None,
            intent_key: None,
            received_first: row.try_get(4)?,
            received_last: row.try_get(5)?,
            started_at: row.try_get(6)?,
            source: row.try_get(7)?,
            replay_digest: None,
            content: row.try_get(8)?,
            conversation: row.try_get(9)?,
            fields: row.try_get(10)?,
            turns: row.try_get(11)?,
            answers: row.try_get(12)?,
            details: row.try_get(13)?,
        })
    };
    row::to_session(model().map_err(of_driver)?)
}
