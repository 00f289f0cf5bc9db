//! Exports of all sessions, in each form: until the first byte, until the last one, and in how much memory.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::Result;
use crate::contender::Contender;
use crate::harness::Harness;
use crate::names::KEY;
use crate::sets::throughput::cold;

/// The forms, and the lines of each that are no session.
const FORMS: [(&str, u64); 3] = [("sessions", 0), ("csv", 1), ("vcon", 0)];
/// How long the server may say nothing.
const SILENCE: Duration = Duration::from_secs(60);

pub(super) fn run(harness: &mut Harness) -> Result {
    let filling = cold(harness);
    for contender in harness.gateways() {
        let store = harness.shared_store(contender, filling)?;
        for (form, besides) in FORMS {
            one(harness, contender, store.as_ref(), form, filling.count() + besides)?;
        }
    }
    Ok(())
}

fn one(harness: &mut Harness, contender: Contender, store: Option<&crate::stores::Store>, form: &str, expected: u64) -> Result {
    let server = harness.start(contender, store)?;
    let before = server.memory()?;
    let Exported { first_byte, whole, lines, bytes } = export(server.address, form)?;
    let after = server.memory()?;
    server.stop()?;
    if lines != expected {
        let example = format!("{lines} lines instead of {expected}");
        harness.results.wrong(&format!("export-{form}"), contender, 1, Some(example));
    }
    let grown_mb = after.peak_kb.saturating_sub(before.resident_kb) as f64 / 1_000.0;
    let (first_ms, seconds) = (first_byte.as_secs_f64() * 1e3, whole.as_secs_f64());
    println!(
        "  export         {contender:<17} {form}: {lines} lines, {:.0} MB; the first byte after {first_ms:.0} ms, all after {seconds:.1} s, {grown_mb:.0} MB more memory",
        bytes as f64 / 1e6
    );
    harness.results.figure(&format!("export-first-byte-ms/{contender}"), first_ms);
    harness.results.figure(&format!("export-{form}-seconds/{contender}"), seconds);
    harness.results.figure(&format!("export-memory-mb/{contender}"), grown_mb);
    Ok(())
}

struct Exported {
    first_byte: Duration,
    whole: Duration,
    lines: u64,
    bytes: u64,
}

/// By HTTP/1.0, in which the body ends with the connection; the lines tell whether it is whole.
fn export(address: SocketAddr, form: &str) -> Result<Exported> {
    let began = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let request = format!("GET /v1/sessions:export?format={form} HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = BufReader::with_capacity(1 << 16, stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if answer.read_line(&mut head)? == 0 {
            return Err("the export ends within its head".into());
        }
    }
    if !head.starts_with("HTTP/1.0 200") && !head.starts_with("HTTP/1.1 200") {
        return Err(format!("the export is refused: {head}").into());
    }
    answer.fill_buf()?;
    let first_byte = began.elapsed();
    let (mut lines, mut bytes, mut last) = (0, 0, b'\n');
    let mut part = vec![0; 1 << 16];
    loop {
        let read = answer.read(&mut part)?;
        let Some(read) = part.get(..read).filter(|read| !read.is_empty()) else { break };
        lines += u64::try_from(memchr::memchr_iter(b'\n', read).count())?;
        bytes += u64::try_from(read.len())?;
        last = read.last().copied().unwrap_or(last);
    }
    if last != b'\n' {
        return Err("the export ends within a line".into());
    }
    Ok(Exported { first_byte, whole: began.elapsed(), lines, bytes })
}
