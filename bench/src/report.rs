//! What came of it.

use serde::Serialize;

use crate::processes::Memory;

/// One measurement.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it; rates are requests a second")]
pub struct Record {
    pub set: String,
    pub contender: String,
    pub round: u32,
    pub rate: f64,
    pub hits: u64,
    pub misses: u64,
    pub wrong: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrong_example: Option<String>,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub server_cpu_us: f64,
    pub client_cpu_us: f64,
    pub memory: Memory,
}

/// All measurements.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// One after another.
    pub records: Vec<Record>,
}

impl Results {
    /// Prints and remembers it.
    pub fn add(&mut self, record: Record) {
        let Record { set, contender, round, rate, hits, misses, wrong, p50_us, p99_us, p999_us, server_cpu_us, client_cpu_us, memory, .. } =
            &record;
        println!(
            "  {set:<14} {contender:<17} round {round}: {rate:>8.0}/s  p50 {p50_us:>7.0}  p99 {p99_us:>7.0}  p99.9 {p999_us:>7.0} µs  CPU {server_cpu_us:>6.1} µs (load {client_cpu_us:>4.1})  RSS {:>5.1} MB (peak {:.1})  hits {hits} misses {misses} wrong {wrong}",
            memory.resident_kb as f64 / 1e3, memory.peak_kb as f64 / 1e3
        );
        self.records.push(record);
    }
}
