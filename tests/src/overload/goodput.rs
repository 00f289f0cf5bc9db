//! From as much as the gateway can do to ten times that: it goes on doing it, and refuses the rest.
//!
//! Every commit is made to take a while, so that the database is the bottleneck and not the generator, which runs on the same cores.

use std::sync::Arc;
use std::time::Duration;

use calldata_http::Limits;
use calldata_testkit::builders::a_clock;
use calldata_testkit::engine::{Engine, TestDatabase, on};
use calldata_testkit::gateway::{Account, Gateway};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::faults::turn;

const COMMIT: Duration = Duration::from_millis(40);
/// So many requests may be under way; one tenant has half of them.
const REQUESTS: usize = 32;
const CONNECTIONS: usize = 150;
/// How often it is tried to measure on a machine that others use.
const ROUNDS: usize = 3;
const SPAN: Duration = Duration::from_secs(3);

/// What came of the requests of one span.
#[derive(Debug, Default)]
struct Outcome {
    stored: Vec<Duration>,
    refused: Vec<Duration>,
    other: Vec<u16>,
    unsent: usize,
    cpu: Duration,
}

impl Outcome {
    fn goodput(&self) -> f64 {
        a_second(self.stored.len())
    }
}

fn a_second(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap()) / SPAN.as_secs_f64()
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times.get(times.len() * percent / 100).or(times.last()).copied().unwrap_or_default()
}

/// The time that this process has used, the gateway included.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    Duration::from_millis((fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10)
}

struct Generator {
    idle: Mutex<mpsc::Receiver<TcpStream>>,
    back: mpsc::Sender<TcpStream>,
    head: String,
}

impl Generator {
    async fn new(gateway: &Gateway, account: &Account) -> Arc<Self> {
        let (back, idle) = mpsc::channel(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            back.send(TcpStream::connect(gateway.address).await.unwrap()).await.unwrap();
        }
        let head = format!(
            "POST /api/CallData?clientId={} HTTP/1.1\r\nHost: x\r\nX-Functions-Key: {}\r\nContent-Length:",
            account.tenant.client_id, account.key
        );
        Arc::new(Self { idle: Mutex::new(idle), back, head })
    }

    /// Posts a record of its own; gives the status and how long it took.
    async fn post(&self, mut connection: TcpStream, number: usize) -> (u16, Duration) {
        let body = format!(r#"{{"input":{{"callid":"{number}","callerid":"110"}}}}"#);
        let request = format!("{} {}\r\n\r\n{body}", self.head, body.len());
        let began = Instant::now();
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !is_whole(&answer) {
            assert!(connection.read_buf(&mut answer).await.unwrap() > 0, "the connection is kept open");
        }
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        self.back.send(connection).await.unwrap();
        (status, began.elapsed())
    }

    /// Sends so many requests a second, whatever becomes of them.
    async fn offer(self: &Arc<Self>, rate: f64, first: usize) -> Outcome {
        let (mut outcome, mut posts) = (Outcome::default(), JoinSet::new());
        let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (began, cpu_before) = (Instant::now(), cpu());
        let mut number = first;
        while began.elapsed() < SPAN {
            ticks.tick().await;
            let Ok(connection) = self.idle.lock().await.try_recv() else {
                outcome.unsent += 1;
                continue;
            };
            let this = Arc::clone(self);
            posts.spawn(async move { this.post(connection, number).await });
            number += 1;
        }
        outcome.cpu = cpu().saturating_sub(cpu_before);
        for (status, took) in posts.join_all().await {
            match status {
                200 => outcome.stored.push(took),
                429 | 503 => outcome.refused.push(took),
                other => outcome.other.push(other),
            }
        }
        outcome
    }

    /// Keeps as many requests under way as one tenant may have.
    async fn saturate(self: &Arc<Self>, at_once: usize) -> f64 {
        let mut workers = JoinSet::new();
        for worker in 0..at_once {
            let this = Arc::clone(self);
            workers.spawn(async move {
                let (began, mut stored) = (Instant::now(), 0);
                while began.elapsed() < SPAN {
                    let connection = this.idle.lock().await.recv().await.unwrap();
                    let (status, _) = this.post(connection, 1_000_000 * (worker + 1) + stored).await;
                    stored += usize::from(status == 200);
                }
                stored
            });
        }
        a_second(workers.join_all().await.iter().sum())
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned));
    length.is_some_and(|length| body.len() >= length.trim().parse().unwrap())
}

#[test]
fn from_capacity_to_ten_times_that_the_same_is_stored_and_the_rest_refused_fast() {
    // Beside another test that fills the machine, it would compare what is left of the machine.
    let _turn = turn();
    on(&[Engine::Postgres], TestDatabase::new, async |test| {
        test.execute(&format!(
            "CREATE FUNCTION delay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep({}); RETURN NULL; END $$;
             CREATE TRIGGER delay AFTER INSERT ON session FOR EACH STATEMENT EXECUTE FUNCTION delay();",
            COMMIT.as_secs_f64()
        ))
        .await;
        let limits = Limits { requests: REQUESTS, ..Limits::default() };
        let gateway = Gateway::start_with(test.database().clone(), Arc::new(a_clock()), limits).await;
        let account = gateway.a_tenant("c").await;
        let generator = Generator::new(&gateway, &account).await;
        generator.saturate(1).await;
        // Whatever else the machine does takes from what is stored and never adds to it: of three rounds, one has to hold.
        let mut failures = Vec::new();
        while let Err(failure) = hold_at_ten_times_capacity(&generator, failures.len()).await {
            failures.push(failure);
            assert!(failures.len() < ROUNDS, "{failures:?}");
        }
        gateway.stop().await;
    });
}

/// Offers what can be stored, and up to ten times of it.
async fn hold_at_ten_times_capacity(generator: &Arc<Generator>, round: usize) -> Result<(), String> {
    let peak = generator.saturate(REQUESTS / 2).await;
    let mut at_capacity = None;
    for times in [1, 2, 5, 10] {
        let first_call = 100_000_000 * usize::try_from(times).unwrap() + 1_000_000_000 * (round + 1);
        let mut outcome = generator.offer(peak * f64::from(times), first_call).await;
        let (goodput, p99) = (outcome.goodput(), percentile(&mut outcome.stored, 99));
        println!(
            "{times}× capacity of {peak:.0}/s: {goodput:.0}/s stored, p99 {p99:?}; {} refused, p50 {:?}, p99 {:?}; {} unsent; {:?} CPU in {SPAN:?}",
            outcome.refused.len(),
            percentile(&mut outcome.refused, 50),
            percentile(&mut outcome.refused, 99),
            outcome.unsent,
            outcome.cpu,
        );
        assert_eq!(outcome.other, [] as [u16; 0], "stored, 429 or 503");
        assert!(times == 1 || !outcome.refused.is_empty(), "{times}×: nothing was refused");
        let (first, first_p99) = *at_capacity.get_or_insert((goodput, p99));
        // Who waits for the answer before he posts again comes back together with the others, and shares commits better than these do.
        if goodput < 0.5 * peak {
            return Err(format!("{times}×: {goodput:.0}/s of {peak:.0}/s"));
        }
        if goodput < 0.9 * first {
            return Err(format!("{times}×: {goodput:.0}/s, at capacity {first:.0}/s"));
        }
        if p99 > 2 * first_p99 {
            return Err(format!("{times}×: {p99:?}, at capacity {first_p99:?}"));
        }
    }
    Ok(())
}
