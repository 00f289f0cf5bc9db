//! What is asked of the runner.

use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::contender::Engine;

/// Races the gateway against a bare axum and against peers, and says how it compares.
#[derive(Clone, Debug, Parser)]
pub struct Cli {
    /// What to measure [default: everything, short: all but growth and purge]
    #[arg(long, value_enum, value_delimiter = ',')]
    sets: Vec<Set>,
    /// On which databases
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["sqlite", "postgres"])]
    engines: Vec<Engine>,
    /// Against which peers
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["fastapi", "fastify"])]
    peers: Vec<Peer>,
    /// The short form: fewer rows, fewer and shorter rounds
    #[arg(long)]
    short: bool,
    /// How many rounds [default: 3, short: 1]
    #[arg(long)]
    rounds: Option<u32>,
    /// How many seconds each measurement takes [default: 5, short: 1]
    #[arg(long)]
    seconds: Option<u64>,
    /// How many sessions are "cold" ones chosen among [default: 1000000, short: 100000]
    #[arg(long)]
    rows: Option<u64>,
    /// How many sessions the large store has, for growth [default: 10000000, short: 1000000]
    #[arg(long)]
    large_rows: Option<u64>,
    /// How many sessions expire at once, for the purge [default: 1000000, short: 100000]
    #[arg(long)]
    expired: Option<u64>,
    /// How many sessions the user with many has
    #[arg(long, default_value_t = 100_000)]
    heavy: u64,
    /// How many sessions were posted within the last minute [default: 100000, short: 20000]
    #[arg(long)]
    recent: Option<u64>,
    /// How many connections the closed loop has
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// How many threads the load generator has
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Under which name results are kept in bench/results [default: full or short]
    #[arg(long)]
    name: Option<String>,
    /// Do not write the chart of the documentation
    #[arg(long)]
    no_chart: bool,
}

/// A peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// `FastAPI` with `SQLAlchemy`
    Fastapi,
    /// Fastify with better-sqlite3 or pg
    Fastify,
    /// No peer
    None,
}

/// What is measured, in the order in which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Set {
    /// Durable posts
    W,
    /// Fetches of what was posted within the last minute
    RRecent,
    /// Latency at 1 000 requests a second
    Latency,
    /// Memory under load
    Memory,
    /// Fetches at random among many rows, right after the start
    RCold,
    /// Record queries
    Q,
    /// All sessions in each form of an export
    Export,
    /// Time to the first answer
    Startup,
    /// 70 % posts, 25 % fetches, 5 % queries
    Mixed,
    /// Few rows against many
    Growth,
    /// Posts while a million sessions are purged
    Purge,
}

/// The same with all defaults filled in.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "see the flags")]
pub struct Options {
    pub sets: Vec<Set>,
    pub engines: Vec<Engine>,
    pub peers: Vec<Peer>,
    pub short: bool,
    pub rounds: u32,
    pub measure: Duration,
    pub warm_up: Duration,
    pub rows: u64,
    pub large_rows: u64,
    pub expired: u64,
    pub heavy: u64,
    pub recent: u64,
    pub connections: usize,
    pub threads: usize,
    pub name: String,
    pub chart: bool,
}

impl From<Cli> for Options {
    fn from(cli: Cli) -> Self {
        let Cli {
            sets,
            engines,
            peers,
            short,
            rounds,
            seconds,
            rows,
            large_rows,
            expired,
            heavy,
            recent,
            connections,
            threads,
            name,
            no_chart,
        } = cli;
        let either = |long: u64, shorter: u64| if short { shorter } else { long };
        let all = Set::value_variants().iter().copied().filter(|set| !short || !matches!(set, Set::Growth | Set::Purge));
        let mut sets = if sets.is_empty() { all.collect() } else { sets };
        sets.sort_unstable();
        sets.dedup();
        Self {
            sets,
            engines,
            peers: peers.into_iter().filter(|peer| *peer != Peer::None).collect(),
            short,
            rounds: rounds.unwrap_or(if short { 1 } else { 3 }).max(1),
            measure: Duration::from_secs(seconds.unwrap_or(either(5, 1))),
            warm_up: Duration::from_millis(either(1_000, 300)),
            rows: rows.unwrap_or(either(1_000_000, 100_000)),
            large_rows: large_rows.unwrap_or(either(10_000_000, 1_000_000)),
            expired: expired.unwrap_or(either(1_000_000, 100_000)),
            heavy,
            recent: recent.unwrap_or(either(100_000, 20_000)),
            connections,
            threads,
            name: name.unwrap_or_else(|| if short { "short" } else { "full" }.into()),
            chart: !no_chart && !short,
        }
    }
}
