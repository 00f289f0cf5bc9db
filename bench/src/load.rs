//! The closed loop: every connection sends its next request as soon as the last one is answered.
//!
//! The generator shares the machine's cores with what it measures, so it must be cheap: a thread or two, each with a runtime of its own,
//! no allocation a request, one write and one read a request. Its own processor time is measured too.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wire;
use crate::work::{Verdict, Work};
use crate::{Result, processes};

/// How long the last answers are waited for after the end.
const PATIENCE: Duration = Duration::from_secs(30);

/// How hard and how long.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Connections at a time.
    pub connections: usize,
    /// Threads of the generator.
    pub threads: usize,
    /// What is not counted, first.
    pub warm_up: Duration,
    /// What is counted.
    pub measure: Duration,
}

/// What was counted.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Right answers, hits where something was fetched.
    pub right: u64,
    /// Answers that nothing was found.
    pub misses: u64,
    /// Answers that are wrong, also before and after what is counted.
    pub wrong: u64,
    /// The first wrong answer.
    pub wrong_example: Option<String>,
    /// Latencies in nanoseconds.
    pub latency: Histogram<u64>,
}

impl Tally {
    /// Nothing yet.
    ///
    /// # Errors
    /// None, with these bounds.
    pub fn new() -> Result<Self> {
        let latency = Histogram::new_with_bounds(1_000, 120_000_000_000, 3)?;
        Ok(Self { right: 0, misses: 0, wrong: 0, wrong_example: None, latency })
    }

    /// Counts an answer, as one of those that are measured or only as one that must be right.
    pub fn count(&mut self, verdict: Verdict, answer: &wire::Answer<'_>, latency: Option<Duration>) {
        if let Some(latency) = latency {
            self.latency.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        }
        match verdict {
            Verdict::Right => self.right += u64::from(latency.is_some()),
            Verdict::Miss => self.misses += u64::from(latency.is_some()),
            Verdict::Wrong => {
                self.wrong += 1;
                self.wrong_example.get_or_insert_with(|| {
                    let shown = answer.body.get(..300).unwrap_or(answer.body);
                    format!("{} {}", answer.status, String::from_utf8_lossy(shown))
                });
            }
        }
    }

    pub(crate) fn add(&mut self, other: &Self) -> Result {
        self.right += other.right;
        self.misses += other.misses;
        self.wrong += other.wrong;
        self.wrong_example = self.wrong_example.take().or_else(|| other.wrong_example.clone());
        Ok(self.latency.add(&other.latency)?)
    }

    /// The latency below which this share of the answers came, in microseconds.
    pub fn quantile_us(&self, share: f64) -> f64 {
        self.latency.value_at_quantile(share) as f64 / 1_000.0
    }
}

/// What a run gave.
#[derive(Clone, Debug)]
pub struct Run {
    /// What was counted.
    pub tally: Tally,
    /// How long it was counted for.
    pub elapsed: Duration,
    /// The generator's own processor time meanwhile.
    pub client_cpu: Duration,
    /// The processor time of what was measured.
    pub server_cpu: Duration,
}

/// When counting begins and ends.
#[derive(Clone, Copy)]
struct Window {
    begin: Instant,
    end: Instant,
}

/// Runs a closed loop; `work` makes what each connection does, `server_cpu` tells the processor time used so far.
///
/// # Errors
/// When a connection breaks, or an answer cannot be read.
pub fn closed(
    address: SocketAddr,
    plan: Plan,
    work: &dyn Fn(usize) -> Box<dyn Work>,
    server_cpu: &dyn Fn() -> Result<Duration>,
) -> Result<Run> {
    let begin = Instant::now() + plan.warm_up;
    let window = Window { begin, end: begin + plan.measure };
    let threads = plan.threads.clamp(1, plan.connections.max(1));
    let mut joins = Vec::new();
    for thread in 0..threads {
        let works: Vec<_> = (thread..plan.connections).step_by(threads).map(work).collect();
        joins.push(std::thread::Builder::new().name("load".into()).spawn(move || connections(address, window, works))?);
    }
    sleep_until(window.begin);
    let began = (processes::own_cpu()?, server_cpu()?);
    sleep_until_or(window.end, || joins.iter().all(std::thread::JoinHandle::is_finished));
    let ended = (processes::own_cpu()?, server_cpu()?);
    let elapsed = window.begin.elapsed().min(plan.measure);
    let mut tally = Tally::new()?;
    for join in joins {
        tally.add(&join.join().map_err(|_| "the load generator panicked")??)?;
    }
    Ok(Run { tally, elapsed, client_cpu: ended.0.saturating_sub(began.0), server_cpu: ended.1.saturating_sub(began.1) })
}

fn connections(address: SocketAddr, window: Window, works: Vec<Box<dyn Work>>) -> Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tally = Arc::new(Mutex::new(Tally::new()?));
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for work in works {
            tasks.spawn(connection(address, window, work, Arc::clone(&tally)));
        }
        let all = async {
            while let Some(done) = tasks.join_next().await {
                done.map_err(|_| "a connection of the load generator panicked")??;
            }
            Ok::<_, crate::Error>(())
        };
        let last = tokio::time::Instant::from_std(window.end + PATIENCE);
        tokio::time::timeout_at(last, all).await.map_err(|_| "an answer did not come")?
    })?;
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(tally)
}

async fn connection(address: SocketAddr, window: Window, mut work: Box<dyn Work>, tally: Arc<Mutex<Tally>>) -> Result {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 128 * 1024];
    let mut sent = Instant::now();
    while sent < window.end {
        let Some(request) = work.next() else { break };
        stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            let room = buffer.get_mut(filled..).unwrap_or_default();
            let read = stream.read(room).await?;
            if read == 0 {
                return Err("the server closed a connection, or an answer is too long".into());
            }
            filled += read;
            let Some((answer, _)) = wire::answer(buffer.get(..filled).unwrap_or_default())? else { continue };
            let now = Instant::now();
            let counts = (window.begin..window.end).contains(&now).then(|| now - sent);
            let verdict = work.check(&answer);
            tally.lock().unwrap_or_else(PoisonError::into_inner).count(verdict, &answer, counts);
            sent = now;
            break;
        }
    }
    Ok(())
}

fn sleep_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}

/// Sleeps until then, or until that is so.
fn sleep_until_or(moment: Instant, over: impl Fn() -> bool) {
    const STEP: Duration = Duration::from_millis(20);
    while Instant::now() < moment && !over() {
        std::thread::sleep(STEP.min(moment.saturating_duration_since(Instant::now())));
    }
}
