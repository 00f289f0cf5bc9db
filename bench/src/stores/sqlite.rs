//! Filling a SQLite file with the engine that the gateway uses.

use std::path::Path;

use rusqlite::Connection;

use crate::rows::{COLUMNS, DETAILS, Filling, Row, SOURCE};
use crate::stores::{PEER_INDEXES, peer_tables};
use crate::{Result, contender::Engine, names};

/// Whether the file is damaged by a crash while it is filled does not matter: it is made anew.
const FAST: &str = "PRAGMA synchronous = OFF; PRAGMA cache_size = -500000; PRAGMA temp_store = FILE; PRAGMA threads = 2;";

/// Fills the table that the gateway has made. Its indexes are made again afterwards, which is much faster; no statistics are gathered, for
/// the gateway does not gather any.
pub(super) fn fill_gateway(file: &Path, filling: Filling, now_ms: i64) -> Result {
    if filling.count() == 0 {
        return Ok(());
    }
    let mut connection = Connection::open(file)?;
    connection.execute_batch(FAST)?;
    let tenant: i64 = connection.query_row("SELECT id FROM tenant", (), |row| row.get(0))?;
    let indexes = indexes(&connection)?;
    let transaction = connection.transaction()?;
    for (name, _) in &indexes {
        transaction.execute_batch(&format!("DROP INDEX {name}"))?;
    }
    {
        let mut insert =
            transaction.prepare(&format!("INSERT INTO session ({COLUMNS}) VALUES (?1,?2,?3,?4,?4,?5,?6,?6,?6,?7,?8,?9,?10,?11)"))?;
        for row in filling.rows(now_ms) {
            let (call, caller, content) = (names::call(row.call), names::caller(row.caller), names::content(row.call));
            let Row { received_ms, id, digest, .. } = row;
            insert.execute((
                tenant,
                id,
                call,
                caller,
                names::INTENT,
                received_ms,
                SOURCE,
                digest.as_slice(),
                content,
                names::FIELDS,
                DETAILS,
            ))?;
        }
    }
    for (_, statement) in &indexes {
        transaction.execute_batch(statement)?;
    }
    transaction.commit()?;
    settle(&connection, file)
}

/// The indexes of the session table that can be dropped, with the statements that made them.
fn indexes(connection: &Connection) -> Result<Vec<(String, String)>> {
    let mut select =
        connection.prepare("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'session' AND sql IS NOT NULL")?;
    let rows = select.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<std::result::Result<_, _>>()?)
}

/// Makes and fills the peers' tables.
pub(super) fn fill_peer(file: &Path, filling: Filling, now_ms: i64) -> Result {
    let mut connection = Connection::open(file)?;
    connection.execute_batch("PRAGMA journal_mode = WAL;")?;
    connection.execute_batch(FAST)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(&peer_tables(Engine::Sqlite))?;
    {
        let mut call =
            transaction.prepare("INSERT INTO call_data (tenant_id, call_id, caller, received_at, fields) VALUES (1,?1,?2,?3,?4)")?;
        let mut record = transaction.prepare("INSERT INTO record (tenant_id, mobile, call_id, start_time, doc) VALUES (1,?1,?2,?3,?4)")?;
        for row in filling.rows(now_ms) {
            call.execute((names::call(row.call), names::caller(row.caller), row.received_ms, row.posted_fields()))?;
            record.execute((names::caller(row.caller), names::call(row.call), row.received_ms, row.document()))?;
        }
    }
    transaction.execute_batch(PEER_INDEXES)?;
    transaction.commit()?;
    connection.execute_batch("ANALYZE")?;
    settle(&connection, file)
}

/// Everything into the file, and the file onto the disk, so that nobody pays for it while something is measured.
fn settle(connection: &Connection, file: &Path) -> Result {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))?;
    std::fs::File::open(file)?.sync_all()?;
    Ok(())
}
