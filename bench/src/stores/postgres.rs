//! Filling a database of the throwaway PostgreSQL, through `psql`.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::process::Stdio;

use crate::contender::Engine;
use crate::postgres::Postgres;
use crate::rows::{COLUMNS, DETAILS, Filling, Row, SOURCE};
use crate::stores::{PEER_INDEXES, peer_tables};
use crate::{Result, names};

/// Fills the table that the gateway has made; its indexes are made again afterwards. Statistics are gathered as autovacuum would.
pub(super) fn fill_gateway(server: &Postgres, database: &str, filling: Filling, now_ms: i64) -> Result {
    if filling.count() == 0 {
        return Ok(());
    }
    let tenant = server.ask(database, "SELECT id FROM tenant")?;
    let made = server.ask(
        database,
        "SELECT string_agg(indexdef || ';', ' ') FROM pg_indexes WHERE tablename = 'session' AND indexname NOT IN (SELECT conname FROM pg_constraint)",
    )?;
    let dropped = server.ask(
        database,
        "SELECT string_agg('DROP INDEX ' || indexname || ';', ' ') FROM pg_indexes WHERE tablename = 'session' AND indexname NOT IN (SELECT conname FROM pg_constraint)",
    )?;
    server.ask(database, &dropped)?;
    copy(server, database, &format!("session ({COLUMNS})"), filling, now_ms, |line, row| {
        let (call, caller, content) = (names::call(row.call), names::caller(row.caller), names::content(row.call));
        let Row { received_ms, id, digest, .. } = row;
        let digest = digest.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let (intent, fields) = (names::INTENT, names::FIELDS);
        writeln!(
            line,
            "{tenant}\t{id}\t{call}\t{caller}\t{caller}\t{intent}\t{received_ms}\t{received_ms}\t{received_ms}\t{SOURCE}\t\\\\x{digest}\t{content}\t{fields}\t{DETAILS}"
        )
    })?;
    server.ask(database, &made)?;
    settle(server, database)
}

/// Makes and fills the peers' tables.
pub(super) fn fill_peer(server: &Postgres, database: &str, filling: Filling, now_ms: i64) -> Result {
    server.ask(database, &peer_tables(Engine::Postgres))?;
    if filling.count() > 0 {
        copy(server, database, "call_data (tenant_id, call_id, caller, received_at, fields)", filling, now_ms, |line, row| {
            let fields = row.posted_fields();
            writeln!(line, "1\t{}\t{}\t{}\t{fields}", names::call(row.call), names::caller(row.caller), row.received_ms)
        })?;
        copy(server, database, "record (tenant_id, mobile, call_id, start_time, doc)", filling, now_ms, |line, row| {
            let document = row.document().replace('\\', "\\\\");
            writeln!(line, "1\t{}\t{}\t{}\t{document}", names::caller(row.caller), names::call(row.call), row.received_ms)
        })?;
    }
    server.ask(database, PEER_INDEXES)?;
    settle(server, database)
}

/// Sends rows, one a line.
fn copy(
    server: &Postgres,
    database: &str,
    into: &str,
    filling: Filling,
    now_ms: i64,
    line: impl Fn(&mut Vec<u8>, &Row) -> std::io::Result<()>,
) -> Result {
    let mut psql = server.psql(database);
    let mut child = psql.args(["-c", &format!("COPY {into} FROM STDIN")]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let mut input = BufWriter::new(child.stdin.take().ok_or("psql reads nothing")?);
    let mut bytes = Vec::new();
    for row in filling.rows(now_ms) {
        bytes.clear();
        line(&mut bytes, &row)?;
        input.write_all(&bytes)?;
    }
    drop(input);
    if child.wait()?.success() { Ok(()) } else { Err(format!("the rows of {into} were not taken").into()) }
}

fn settle(server: &Postgres, database: &str) -> Result {
    server.ask(database, "VACUUM ANALYZE")?;
    server.ask(database, "CHECKPOINT").map(drop)
}
