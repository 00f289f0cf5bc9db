//! The open loop: requests are due at a fixed rate, whether the server keeps up or not.
//!
//! A latency counts from the moment at which its request was due, so that a server that stalls does not hide how many would have waited
//! (coordinated omission). Each connection is a thread that sleeps until its next request is due: at such rates that is cheaper and more
//! exact than a runtime's timer, which counts whole milliseconds.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::load::Tally;
use crate::work::Work;
use crate::{Result, wire};

/// The longest that an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// One answer.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When it was due, from the beginning.
    pub due: Duration,
    /// From then until it was there.
    pub latency: Duration,
}

/// What was counted, and every answer by itself.
type Answered = (Tally, Vec<Sample>);

/// A load that goes on until it is stopped.
pub struct Paced {
    stop: Arc<AtomicBool>,
    began: Instant,
    threads: Vec<std::thread::JoinHandle<Result<Answered>>>,
}

impl Paced {
    /// Starts that many requests a second over so many connections.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub fn start(address: SocketAddr, rate: u32, connections: u32, work: &dyn Fn(usize) -> Box<dyn Work>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let every = Duration::from_secs(1) * connections / rate.max(1);
        // All connections are there before the first request is due.
        let began = Instant::now() + Duration::from_millis(100);
        let mut threads = Vec::new();
        for number in 0..connections {
            let first = began + Duration::from_secs(1) * number / rate.max(1);
            let (stop, work) = (Arc::clone(&stop), work(usize::try_from(number)?));
            let run = move || connection(address, &stop, began, first, every, work);
            threads.push(std::thread::Builder::new().name("paced".into()).stack_size(256 * 1024).spawn(run)?);
        }
        Ok(Self { stop, began, threads })
    }

    /// How long it has been running.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Ends it; all answers, by the time at which they were due.
    ///
    /// # Errors
    /// When a connection broke, or an answer could not be read.
    pub fn stop(self) -> Result<Answered> {
        self.stop.store(true, Ordering::Relaxed);
        let (mut tally, mut samples) = (Tally::new()?, Vec::new());
        for thread in self.threads {
            let (its_tally, its_samples) = thread.join().map_err(|_| "the load generator panicked")??;
            tally.add(&its_tally)?;
            samples.extend(its_samples);
        }
        samples.sort_by_key(|sample| sample.due);
        Ok((tally, samples))
    }
}

fn connection(
    address: SocketAddr,
    stop: &AtomicBool,
    began: Instant,
    first: Instant,
    every: Duration,
    mut work: Box<dyn Work>,
) -> Result<Answered> {
    // Sleeps end within a microsecond of when they should, not within the usual fifty.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000))?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (mut tally, mut samples, mut buffer) = (Tally::new()?, Vec::new(), vec![0; 64 * 1024]);
    let mut due = first;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let Some(request) = work.next() else { break };
        stream.write_all(request)?;
        let mut filled = 0;
        loop {
            let read = stream.read(buffer.get_mut(filled..).unwrap_or_default())?;
            if read == 0 {
                return Err("the server closed a connection, or an answer is too long".into());
            }
            filled += read;
            let Some((answer, _)) = wire::answer(buffer.get(..filled).unwrap_or_default())? else { continue };
            let latency = due.elapsed();
            tally.count(work.check(&answer), &answer, Some(latency));
            samples.push(Sample { due: due - began, latency });
            break;
        }
        due += every;
    }
    // What was due and could not even be sent has waited until now, at least.
    let stopped = Instant::now();
    while due < stopped {
        samples.push(Sample { due: due.saturating_duration_since(began), latency: stopped - due });
        due += every;
    }
    Ok((tally, samples))
}

/// The latency below which this share of the answers came that were due in that time.
pub fn quantile(samples: &[Sample], share: f64, within: std::ops::Range<Duration>) -> Option<Duration> {
    let mut latencies: Vec<_> = samples.iter().filter(|sample| within.contains(&sample.due)).map(|sample| sample.latency).collect();
    latencies.sort_unstable();
    let last = latencies.len().checked_sub(1)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
    let at = (last as f64 * share).round() as usize;
    latencies.get(at).copied()
}
