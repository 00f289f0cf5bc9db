//! Posts at a steady rate while the gateway deletes what has expired.
//!
//! It is the running server's own purge that is measured, as in production: it looks for what has expired every ten seconds and begins
//! with its first look. The command `purge` would be another process at another pace. What it has deleted is read from the server's
//! metrics. The last row is fresh, or the purge would mistrust its clock.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::contender::Contender;
use crate::harness::Harness;
use crate::paced::{Paced, quantile};
use crate::rows::Filling;
use crate::sets::latency::RATE;
use crate::{Result, wire};

/// What is not counted at first.
const WARM_UP: Duration = Duration::from_secs(1);
/// How often the metrics are read.
const LOOK: Duration = Duration::from_millis(100);
/// After the last deletion the files are wiped, which belongs to it.
const WIPE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(1_200);

pub(super) fn run(harness: &mut Harness) -> Result {
    for contender in harness.few_gateways() {
        one(harness, contender)?;
    }
    Ok(())
}

fn one(harness: &mut Harness, contender: Contender) -> Result {
    let expired = harness.options.expired;
    // As many again stay, so that the purge has to leave something alone.
    let filling = Filling { expired, ordinary: expired, heavy: 0, recent: 1 };
    let store = harness.fresh_store(contender, filling)?;
    let server = harness.start_with_metrics(contender, store.as_ref())?;
    let metrics = server.metrics.ok_or("the server has no metrics")?;
    let posts = harness.posts();
    let load = Paced::start(server.address, RATE, u32::try_from(harness.options.connections)?, &posts)?;
    let begin = loop {
        std::thread::sleep(LOOK);
        if purged(metrics)? > 0 {
            break load.elapsed().saturating_sub(LOOK);
        }
        if load.elapsed() > PATIENCE {
            return Err("the purge does not begin".into());
        }
    };
    while purged(metrics)? < expired {
        if load.elapsed() > PATIENCE {
            return Err(format!("the purge takes longer than {} s: {} are gone", PATIENCE.as_secs(), purged(metrics)?).into());
        }
        std::thread::sleep(LOOK);
    }
    let took = load.elapsed().saturating_sub(begin);
    std::thread::sleep(WIPE);
    let end = load.elapsed();
    let (tally, samples) = load.stop()?;
    server.stop()?;
    if tally.wrong > 0 {
        harness.results.wrong("purge", contender, tally.wrong, tally.wrong_example);
    }
    let p99 = |within| quantile(&samples, 0.99, within).map(|p99| p99.as_secs_f64() * 1e6).ok_or("nothing was answered");
    let (before, during) = (p99(WARM_UP..begin)?, p99(begin..end)?);
    println!(
        "  purge          {contender:<17} {expired} of {} sessions gone in {:.1} s; W p99 at {RATE}/s: {before:.0} µs before, {during:.0} µs during (wrong {})",
        filling.count(),
        took.as_secs_f64(),
        tally.wrong
    );
    harness.results.figure(&format!("purge-seconds/{contender}"), took.as_secs_f64());
    harness.results.figure(&format!("purge-p99-before-us/{contender}"), before);
    harness.results.figure(&format!("purge-p99-during-us/{contender}"), during);
    harness.results.figure(&format!("purge-p99-ratio/{contender}"), during / before);
    Ok(())
}

/// How many sessions the server says that it has purged.
fn purged(metrics: SocketAddr) -> Result<u64> {
    let mut stream = TcpStream::connect(metrics)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(&wire::get("/metrics"))?;
    let (mut bytes, mut part) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let read = stream.read(&mut part)?;
        bytes.extend_from_slice(part.get(..read).unwrap_or_default());
        if let Some((answer, _)) = wire::answer(&bytes)? {
            let text = std::str::from_utf8(answer.body)?;
            let count = text.lines().find_map(|line| line.strip_prefix("calldata_purged_sessions_total "));
            return Ok(count.map_or(Ok(0), str::parse)?);
        }
        if read == 0 {
            return Err("the metrics end early".into());
        }
    }
}
