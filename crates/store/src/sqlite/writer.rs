//! Writing sessions into a file, many in one transaction.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use calldata_core::port::Written;
use calldata_core::replay;
use calldata_core::{EventKind, Pseudonyms, SessionId, StoreError, Timestamp};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use tokio::sync::{Notify, watch};

use super::connection::open;
use super::notes::{Bundle, Mode, Note, Notes};
use crate::connection::SQLITE_BUSY_TIMEOUT;
use crate::engine::Pen;
use crate::entity::audit;
use crate::entity::session::Model;
use crate::error::{is_failed_sync, of_file_commit, of_file_statement};
use crate::memory::{Change, Memory};
use crate::outbox::number_of;
use crate::session_writes::{Identity, Row, shared, taken};
use crate::transact::RecognisedBy;

macro_rules! insert_row {
    () => {
        "INSERT INTO session (tenant_id, id, call_id, caller, caller_key, country_code, cti_call_key, conversation_key, intent_key,
        received_first, received_last, started_at, source, replay_digest, content, conversation, fields, turns, answers, details)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20) "
    };
}

/// Pages of the log after which somebody beside the writer is told to write them back into the database. Few: commits that come meanwhile
/// wait for the disk to take them; see docs/adr/0014.
pub(crate) const PAGES_TO_WRITE_BACK: u32 = 250;
/// The pages of the log after which a commit does it itself: writers never paused for long enough that the log could begin anew. Little is
/// left by then.
const MAX_LOG_PAGES: u32 = 4_000;

const INSERT: &str = concat!(insert_row!(), "ON CONFLICT (tenant_id, replay_digest) WHERE replay_digest IS NOT NULL DO NOTHING");
const REFRESH: &str = "UPDATE session SET received_last = max(received_last, ?3)
    WHERE tenant_id = ?1 AND replay_digest = ?2 AND received_first >= ?4 RETURNING id";
const GIVE_UP: &str = "UPDATE session SET replay_digest = NULL WHERE tenant_id = ?1 AND replay_digest = ?2 AND received_first < ?3";
const FIRST_RECEIPT: &str = "SELECT received_first FROM session WHERE tenant_id = ?1 AND id = ?2";
const LAST_RECEIPT: &str = "SELECT at FROM last_receipt";
// Without RETURNING, for which the engine makes a table for the time of the statement: that cost more than a row.
const RECEIVED: &str = "UPDATE last_receipt SET at = max(at, ?1), commit_no = commit_no + 1";
const COMMIT_NO: &str = "SELECT commit_no, EXISTS (SELECT 1 FROM tombstone) FROM last_receipt";
const IS_ERASED: &str = "SELECT 1 FROM tombstone WHERE tenant_id = ?1 AND seal = ?2 AND until >= ?3";
const TELL: &str = "INSERT INTO event (tenant_id, commit_no, place, kind, session_id, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
/// Nothing is noted of a tenant that was deleted meanwhile.
macro_rules! note {
    () => {
        "INSERT INTO audit (tenant_id, at, id, key_id, action, caller, sessions) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
        WHERE EXISTS (SELECT 1 FROM tenant WHERE tenant.id = ?1) "
    };
}

const APPEND_NOTE: &str = concat!(note!(), "ON CONFLICT DO NOTHING");
const GATHER_NOTE: &str = concat!(note!(), "ON CONFLICT (tenant_id, at, id) DO UPDATE SET sessions = sessions + excluded.sessions");
const FIND_NOTE: &str = "SELECT at, id FROM audit INDEXED BY audit_by_caller WHERE tenant_id = ?1 AND caller = ?2 AND at BETWEEN ?3 AND ?4
    AND key_id = ?5 AND action = ?6 ORDER BY at, id LIMIT 1";
const REPLACE: &str = concat!(
    insert_row!(),
    "ON CONFLICT (tenant_id, id) DO UPDATE SET call_id = excluded.call_id, caller = excluded.caller, caller_key = excluded.caller_key,
    country_code = excluded.country_code, cti_call_key = excluded.cti_call_key, conversation_key = excluded.conversation_key,
    intent_key = excluded.intent_key, received_first = excluded.received_first, received_last = excluded.received_last,
    started_at = excluded.started_at, source = excluded.source, replay_digest = excluded.replay_digest, content = excluded.content,
    conversation = excluded.conversation, fields = excluded.fields, turns = excluded.turns, answers = excluded.answers,
    details = excluded.details"
);

/// Notes that are written in a commit of their own, where no sessions arrive.
const NOTES_ALONE: usize = 256;

/// The one who writes sessions, and notes along with them.
pub(crate) struct FileWriter {
    pub(crate) file: PathBuf,
    pub(crate) pen: Pen,
    pub(crate) sync_failed: watch::Sender<bool>,
    pub(crate) memory: Arc<Memory>,
    /// Told when the log is to be written back.
    pub(crate) log_is_long: Arc<Notify>,
    pub(crate) recognised_by: RecognisedBy,
    pub(crate) notes: Arc<Notes>,
    /// None after a failure: what the engine did with its transaction then need not be known.
    pub(crate) connection: Option<Connection>,
}

impl FileWriter {
    /// The same with its connection, which is what memory stands on, also where nobody writes. One that cannot be made now is made later.
    pub(crate) fn connected(mut self) -> Self {
        self.connection = self.connect().ok();
        self
    }

    /// Stores rows in one transaction; the results are in their order, and a row that fails by itself fails alone. Along with them go notes
    /// that wait, no more than there are rows, or than a few. Blocks the thread.
    pub(crate) async fn write(&mut self, rows: Vec<Row>) -> Vec<Result<Written, StoreError>> {
        let _pen = Arc::clone(&self.pen).lock_owned().await;
        let bundles = self.notes.take(if rows.is_empty() { NOTES_ALONE } else { rows.len() });
        let outcome = if *self.sync_failed.borrow() {
            Err(StoreError::Busy("the disk failed, the process ends".into()))
        } else {
            self.transact(&rows, &bundles).inspect_err(|error| self.failed(error))
        };
        match outcome {
            Ok((results, noted)) => {
                for (bundle, noted) in bundles.into_iter().zip(noted) {
                    bundle.done(noted);
                }
                results
            }
            Err(error) => {
                for bundle in bundles {
                    bundle.done(Err(shared(&error)));
                }
                rows.iter().map(|_| Err(shared(&error))).collect()
            }
        }
    }

    fn failed(&mut self, error: &StoreError) {
        self.connection = None;
        // Without a connection, nothing keeps the file from being another one.
        self.memory.forget();
        if is_failed_sync(error) {
            self.sync_failed.send_replace(true);
        } else if matches!(error, StoreError::NoRoom(_)) {
            self.empty_log();
        }
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let connection = open(&self.file, SQLITE_BUSY_TIMEOUT, &[("secure_delete", 1)])?;
        // The log is there once something was read.
        connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))?;
        self.memory.reopened();
        Ok(connection)
    }

    /// Writes the log back into the database, after which it begins anew: on a full disk that is the room there is.
    fn empty_log(&mut self) {
        if let Ok(connection) = self.connect() {
            self.end_log(&connection);
            self.connection = Some(connection);
        }
    }

    /// # Errors
    /// When all of it failed; the connection is of no more use then.
    fn transact(&mut self, rows: &[Row], bundles: &[Bundle]) -> Result<(Vec<Result<Written, StoreError>>, Noted), StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().map_err(of_file_statement)?,
        };
        // At once: a transaction that takes the write lock later cannot wait for it.
        execute(&connection, "BEGIN IMMEDIATE").map_err(of_file_statement)?;
        // From here to the commit nobody else changes the file.
        let before = self.memory.mark();
        if !self.memory.is_as_of(before) {
            self.memory.begin(before, last_receipt(&connection));
        }
        let results = write_all(&connection, rows, self.recognised_by.get())?;
        let noted = bundles.iter().map(|bundle| note_all(&connection, &bundle.notes)).collect::<Result<_, _>>()?;
        execute(&connection, "COMMIT").map_err(of_file_commit)?;
        self.memory.committed(before, rows.iter().zip(&results).filter_map(|(row, result)| change(row, result.as_ref().ok()?)));
        let results = results.into_iter().map(|result| result.map(Stored::into_written)).collect();
        let log = self.memory.log();
        if log.pages >= MAX_LOG_PAGES {
            self.end_log(&connection);
        } else if log.to_write_back >= PAGES_TO_WRITE_BACK {
            self.log_is_long.notify_one();
        }
        self.connection = Some(connection);
        Ok((results, noted))
    }

    /// Writes the rest of the log back, so that the next commit begins it anew. Nobody else writes meanwhile. What was committed stays so,
    /// but a flush that fails is noticed: the engine would do this by itself, and keep that to itself.
    fn end_log(&self, connection: &Connection) {
        let written = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).map_err(of_file_statement);
        if let Err(error) = written {
            if is_failed_sync(&error) {
                self.sync_failed.send_replace(true);
            }
            tracing::debug!(error = &error as &dyn std::error::Error, "the log could not be written back");
        }
    }
}

/// Carries a statement out that is prepared once a connection.
fn execute(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}

/// What became of each bundle of notes.
type Noted = Vec<Result<(), StoreError>>;

/// Gives the first error, where some notes could not be written; the others are.
///
/// # Errors
/// When all of the transaction failed, and not only notes.
fn note_all(connection: &Connection, notes: &[Note]) -> Result<Result<(), StoreError>, StoreError> {
    let mut outcome = Ok(());
    for note in notes {
        match write_note(connection, note).map_err(of_file_statement) {
            Err(error) if !fails_alone(connection, &error) => return Err(error),
            noted => outcome = outcome.and(noted),
        }
    }
    Ok(outcome)
}

fn write_note(connection: &Connection, Note { row, mode }: &Note) -> rusqlite::Result<()> {
    let audit::Model { tenant_id, at, id, key_id, action, caller, sessions } = row;
    let (statement, place) = match mode {
        Mode::Append => (APPEND_NOTE, None),
        Mode::Gather => (GATHER_NOTE, None),
        Mode::GatherWithin(from, to) => {
            let mut find = connection.prepare_cached(FIND_NOTE)?;
            let found = find.query_row(params![tenant_id, caller, from, to, key_id, action], |found| Ok((found.get(0)?, found.get(1)?)));
            (GATHER_NOTE, found.optional()?)
        }
    };
    let (at, id) = place.unwrap_or((*at, *id));
    connection.prepare_cached(statement)?.execute(params![tenant_id, at, id, key_id, action, caller, sessions]).map(drop)
}

/// Whether the engine took back what one statement did, and nothing else.
fn fails_alone(connection: &Connection, error: &StoreError) -> bool {
    matches!(error, StoreError::Failed(_) | StoreError::NoSuchTenant | StoreError::Taken(_)) && !connection.is_autocommit()
}

/// When the newest row of all was last received; `None` where that cannot be known.
fn last_receipt(connection: &Connection) -> Option<i64> {
    connection.prepare_cached(LAST_RECEIPT).ok()?.query_row([], |found| found.get(0)).ok()
}

/// What became of a row that is stored.
enum Stored {
    /// Nothing had its identity.
    New(SessionId),
    /// It took the place of one that had expired.
    InPlace(SessionId),
    /// It is an earlier one, which was refreshed.
    Refreshed(SessionId),
    /// It took the place of an earlier one.
    Replaced(SessionId),
    /// It is an earlier one, which was erased; nothing is stored.
    Erased,
}

impl Stored {
    fn into_written(self) -> Written {
        match self {
            Self::New(id) | Self::InPlace(id) => Written::Created(id),
            Self::Refreshed(id) | Self::Replaced(id) => Written::Updated(id),
            Self::Erased => Written::Erased,
        }
    }

    fn told(&self) -> Option<(EventKind, &SessionId)> {
        match self {
            Self::New(id) | Self::InPlace(id) => Some((EventKind::Created, id)),
            Self::Refreshed(id) | Self::Replaced(id) => Some((EventKind::Updated, id)),
            Self::Erased => None,
        }
    }
}

fn change<'r>(row: &'r Row, stored: &'r Stored) -> Option<Change<'r>> {
    match stored {
        Stored::New(_) => Some(Change::Created(Cow::Borrowed(&row.model))),
        Stored::Refreshed(id) => Some(Change::Refreshed(&row.model, id.as_str())),
        Stored::InPlace(_) | Stored::Replaced(_) => Some(Change::Anything),
        Stored::Erased => None,
    }
}

/// Notes the newest receipt of a transaction; gives the transaction's number, and whether anything was erased of late.
fn begun(connection: &Connection, last: i64) -> rusqlite::Result<(i64, bool)> {
    connection.prepare_cached(RECEIVED)?.execute([last])?;
    connection.prepare_cached(COMMIT_NO)?.query_row([], |found| Ok((found.get(0)?, found.get(1)?)))
}

fn write_all(
    connection: &Connection,
    rows: &[Row],
    pseudonyms: Option<&Pseudonyms>,
) -> Result<Vec<Result<Stored, StoreError>>, StoreError> {
    let Some(last) = rows.iter().map(|row| row.model.received_last).max() else { return Ok(Vec::new()) };
    let (commit_no, any_erased) = begun(connection, last).map_err(of_file_statement)?;
    let pseudonyms = pseudonyms.filter(|_| any_erased);
    let mut statements = Statements::of(connection).map_err(of_file_statement)?;
    let mut results = Vec::with_capacity(rows.len());
    for (place, row) in (1_i64..).zip(rows) {
        results.push(match statements.write(row, pseudonyms).map_err(of_file_statement) {
            Err(error) if fails_alone(connection, &error) => Err(error),
            Err(error) => return Err(error),
            Ok(Outcome::Stored(stored)) => {
                statements.tell(row, &stored, commit_no, place).map_err(of_file_statement)?;
                Ok(stored)
            }
            Ok(Outcome::IdTaken) => Err(taken()),
            Ok(Outcome::TooOften) => Err(StoreError::Busy("the same post arrived too often at once".into())),
        });
    }
    Ok(results)
}

enum Outcome {
    Stored(Stored),
    /// Another session has the identifier.
    IdTaken,
    /// Others hold the digest, one after another.
    TooOften,
}

/// What is asked for each row. Prepared once a connection.
struct Statements<'c> {
    connection: &'c Connection,
    insert: CachedStatement<'c>,
    tell: CachedStatement<'c>,
}

impl<'c> Statements<'c> {
    fn of(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self { connection, insert: connection.prepare_cached(INSERT)?, tell: connection.prepare_cached(TELL)? })
    }

    fn write(&mut self, row: &Row, pseudonyms: Option<&Pseudonyms>) -> rusqlite::Result<Outcome> {
        match row.identity() {
            Identity::Digest(_, digest) if self.is_erased(row, digest, pseudonyms)? => Ok(Outcome::Stored(Stored::Erased)),
            Identity::Digest(_, digest) => self.insert_or_refresh(row, digest),
            Identity::Id(..) => self.insert_or_replace(row).map(Outcome::Stored),
            Identity::New(..) => self.insert_new(row),
        }
    }

    /// Whether the session that a post is of was erased, so that nothing of it may be stored again.
    fn is_erased(&self, row: &Row, digest: &[u8; 16], pseudonyms: Option<&Pseudonyms>) -> rusqlite::Result<bool> {
        let Some(pseudonyms) = pseudonyms else { return Ok(false) };
        let mut erased = self.connection.prepare_cached(IS_ERASED)?;
        for seal in pseudonyms.seals(row.scope.tenant(), digest) {
            if erased.exists(params![row.model.tenant_id, seal, row.model.received_last])? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn tell(&mut self, row: &Row, stored: &Stored, commit_no: i64, place: i64) -> rusqlite::Result<()> {
        let Some((at, (kind, id))) = row.told_at.zip(stored.told()) else { return Ok(()) };
        self.tell.execute(params![row.model.tenant_id, commit_no, place, number_of(kind), id.as_str(), at]).map(drop)
    }

    /// PAR-P7: a row with the same digest that is young enough is refreshed; one that is too old gives its digest up.
    fn insert_or_refresh(&mut self, row: &Row, digest: &[u8; 16]) -> rusqlite::Result<Outcome> {
        if insert(&mut self.insert, &row.model)? {
            return Ok(Outcome::Stored(Stored::New(row.id.clone())));
        }
        let Model { tenant_id, received_first, received_last, .. } = &row.model;
        let oldest = Timestamp::clamped(*received_first).minus(replay::WINDOW).epoch_ms();
        let refreshed: Option<String> = self
            .connection
            .prepare_cached(REFRESH)?
            .query_row(params![tenant_id, digest, received_last, oldest], |found| found.get(0))
            .optional()?;
        if let Some(id) = refreshed.and_then(|id| SessionId::new(&id).ok()) {
            return Ok(Outcome::Stored(Stored::Refreshed(id)));
        }
        self.connection.prepare_cached(GIVE_UP)?.execute(params![tenant_id, digest, oldest])?;
        let stored = insert(&mut self.insert, &row.model)?;
        Ok(if stored { Outcome::Stored(Stored::New(row.id.clone())) } else { Outcome::TooOften })
    }

    /// When the session of that identifier was first received, and whether it is live.
    fn first_receipt(&self, row: &Row) -> rusqlite::Result<Option<(i64, bool)>> {
        let Model { tenant_id, id, .. } = &row.model;
        let first: Option<i64> =
            self.connection.prepare_cached(FIRST_RECEIPT)?.query_row(params![tenant_id, id], |found| found.get(0)).optional()?;
        Ok(first.map(|first| (first, first > row.scope.expired_until().epoch_ms())))
    }

    /// OIF-R2: a row with the same identifier is replaced and keeps its first receipt, unless it has expired.
    fn insert_or_replace(&mut self, row: &Row) -> rusqlite::Result<Stored> {
        let earlier = self.first_receipt(row)?;
        let mut model = row.model.clone();
        if let Some((kept, true)) = earlier {
            model.received_first = kept;
            // A session whose start is not told began with its first receipt.
            model.started_at = if row.start_told { model.started_at } else { kept };
        }
        insert(&mut self.connection.prepare_cached(REPLACE)?, &model)?;
        let id = row.id.clone();
        Ok(match earlier {
            None => Stored::New(id),
            Some((_, false)) => Stored::InPlace(id),
            Some((_, true)) => Stored::Replaced(id),
        })
    }

    /// A row with the identifier of a live session is not stored.
    fn insert_new(&mut self, row: &Row) -> rusqlite::Result<Outcome> {
        let stored = match self.first_receipt(row)? {
            Some((_, true)) => return Ok(Outcome::IdTaken),
            Some((_, false)) => Stored::InPlace(row.id.clone()),
            None => Stored::New(row.id.clone()),
        };
        insert(&mut self.connection.prepare_cached(REPLACE)?, &row.model)?;
        Ok(Outcome::Stored(stored))
    }
}

/// Whether the row was stored.
fn insert(statement: &mut CachedStatement<'_>, model: &Model) -> rusqlite::Result<bool> {
    let Model {
        tenant_id,
        id,
        call_id,
        caller,
        caller_key,
        country_code,
        cti_call_key,
        conversation_key,
        intent_key,
        received_first,
        received_last,
        started_at,
        source,
        replay_digest,
        content,
        conversation,
        fields,
        turns,
        answers,
        details,
    } = model;
    let stored = statement.execute(params![
        tenant_id,
        id,
        call_id,
        caller,
        caller_key,
        country_code,
        cti_call_key,
        conversation_key,
        intent_key,
        received_first,
        received_last,
        started_at,
        source,
        replay_digest,
        content,
        conversation,
        fields,
        turns,
        answers,
        details,
    ])?;
    Ok(stored > 0)
}
