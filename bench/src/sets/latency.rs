//! Latency at 1 000 requests a second, which is far below what any of the servers can do.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::contender::Contender;
use crate::harness::{Harness, Works};
use crate::names::RECENT;
use crate::paced::{Paced, quantile};
use crate::rows::Filling;
use crate::server::Server;
use crate::sets::throughput::fetches;
use crate::work::Chosen;
use crate::{Error, Result};

/// Requests a second.
pub(super) const RATE: u32 = 1_000;
/// What is not counted at first.
const WARM_UP: Duration = Duration::from_millis(500);
/// What a commit of a few rows appends to a log, about.
const APPENDED: [u8; 4096] = [0x55; 4096];
const FLUSHES: usize = 1_000;

/// Fetches of recent sessions, then posts.
pub(super) fn run(harness: &mut Harness) -> Result {
    let racers = std::iter::once(Contender::Bare).chain(harness.gateways()).collect::<Vec<_>>();
    let recent = harness.options.recent;
    let rounds = if harness.options.short { 1 } else { harness.options.rounds };
    for round in 0..rounds {
        let flush = flush_p99(harness.folder.path(), harness.options.short)?;
        println!("  {:<28} round {round}: 4 KiB appended and fdatasync: p99 {:.0} µs", "disk", flush * 1e6);
        harness.results.figure("fdatasync-p99-us", flush * 1e6);
        let mut bare = (0.0, 0.0);
        for contender in racers.clone() {
            let store = harness.fresh_store(contender, Filling::default())?;
            let server = harness.start(contender, store.as_ref())?;
            if contender != Contender::Bare {
                harness.post_recent(&server)?;
            }
            let r = paced(harness, "latency-r", contender, &server, &fetches(contender, Chosen::Own(RECENT, recent), round))?;
            let posts = harness.posts();
            let w = paced(harness, "latency-w", contender, &server, &posts)?;
            server.stop()?;
            if contender == Contender::Bare {
                bare = (w, r);
            } else {
                harness.results.figure(&format!("latency-w-over-bare-and-flush/{contender}"), w / (bare.0 + flush));
                harness.results.figure(&format!("latency-r-over-bare/{contender}"), r / bare.1);
            }
        }
    }
    Ok(())
}

/// The p99 in seconds.
fn paced(harness: &mut Harness, set: &str, contender: Contender, server: &Server, work: Works<'_>) -> Result<f64> {
    let connections = u32::try_from(harness.options.connections)?;
    let length = WARM_UP + harness.options.measure * if harness.options.short { 2 } else { 4 };
    let load = Paced::start(server.address, RATE, connections, work)?;
    std::thread::sleep(length);
    let (tally, samples) = load.stop()?;
    if tally.wrong > 0 {
        harness.results.wrong(set, contender, tally.wrong, tally.wrong_example);
    }
    let share = |share| quantile(&samples, share, WARM_UP..length).map(|took| took.as_secs_f64()).ok_or("nothing was answered");
    let (p50, p99, p999) = (share(0.5)?, share(0.99)?, share(0.999)?);
    println!(
        "  {set:<10} {contender:<17} at {RATE}/s: p50 {:>6.0}  p99 {:>6.0}  p99.9 {:>6.0} µs of {} answers (misses {}, wrong {})",
        p50 * 1e6,
        p99 * 1e6,
        p999 * 1e6,
        samples.len(),
        tally.misses,
        tally.wrong
    );
    for (name, value) in [("p50", p50), ("p99", p99), ("p999", p999)] {
        harness.results.figure(&format!("{set}-{name}-us/{contender}"), value * 1e6);
    }
    Ok(p99)
}

/// The p99 of what every durable commit waits for at least, in seconds.
fn flush_p99(folder: &Path, short: bool) -> Result<f64> {
    let path = folder.join("flush");
    let mut file = File::create(&path)?;
    let mut took = Vec::new();
    for _ in 0..if short { FLUSHES / 2 } else { FLUSHES } {
        let began = Instant::now();
        file.write_all(&APPENDED)?;
        file.sync_data()?;
        took.push(began.elapsed());
    }
    std::fs::remove_file(path)?;
    took.sort_unstable();
    took.get(took.len() * 99 / 100).map(Duration::as_secs_f64).ok_or_else(|| Error::from("nothing was written"))
}
