//! What came of it: every measurement, what follows from them, and how that compares to the project's goals.

mod chart;
mod goals;
mod machine;
mod markdown;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::Result;
use crate::contender::Contender;
use crate::options::Options;
use crate::processes::Memory;

pub use goals::{Goal, Grade};
pub use machine::Machine;

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

/// The middle of some numbers, and how far they spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<_> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let (low, high) = (sorted.get((sorted.len() - 1) / 2)?, sorted.get(sorted.len() / 2)?);
        Some(Self { median: f64::midpoint(*low, *high), min, max })
    }
}

/// All measurements.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// One after another.
    pub records: Vec<Record>,
    /// Other numbers, one a round, by name and contender.
    pub figures: BTreeMap<String, Vec<f64>>,
    /// Wrong answers outside of [`Self::records`].
    others_wrong: Vec<String>,
}

impl Results {
    /// Prints and remembers it.
    pub fn add(&mut self, record: Record) {
        let Record {
            set, contender, round, rate, hits, misses, wrong, p50_us, p99_us, p999_us, server_cpu_us, client_cpu_us, memory, ..
        } = &record;
        let (resident, peak) = (memory.resident_kb as f64 / 1e3, memory.peak_kb as f64 / 1e3);
        println!(
            "  {set:<16} {contender:<17} round {round}: {rate:>7.0}/s  p50 {p50_us:>6.0}  p99 {p99_us:>6.0}  p99.9 {p999_us:>6.0} µs  CPU {server_cpu_us:>6.1} µs (load {client_cpu_us:>4.1})  RSS {resident:>5.1} MB (peak {peak:.1})  hits {hits} misses {misses} wrong {wrong}"
        );
        self.records.push(record);
    }

    /// Remembers a number.
    pub fn figure(&mut self, name: &str, value: f64) {
        self.figures.entry(name.to_owned()).or_default().push(value);
    }

    /// Remembers wrong answers.
    pub fn wrong(&mut self, set: &str, contender: Contender, count: u64, example: Option<String>) {
        self.others_wrong.push(format!("{set}, {contender}: {count} wrong answers, as {}", example.unwrap_or_default()));
    }

    /// What has to make the run fail: wrong answers, and fetches that missed what is there.
    pub fn complaints(&self) -> Vec<String> {
        let wrong = self.records.iter().filter(|record| record.wrong > 0).map(|record| {
            let Record { set, contender, wrong, wrong_example, .. } = record;
            format!("{set}, {contender}: {wrong} wrong answers, as {}", wrong_example.as_deref().unwrap_or_default())
        });
        let missed =
            self.records.iter().filter(|record| (record.misses > 0) != (record.set == "r-cold-misses" && record.contender != "bare"));
        let missed =
            missed.map(|record| format!("{}, {}: {} hits and {} misses", record.set, record.contender, record.hits, record.misses));
        wrong.chain(missed).chain(self.others_wrong.iter().cloned()).collect()
    }

    /// The rates of a contender in a set, by round.
    pub fn rates(&self, set: &str, contender: &str) -> Vec<(u32, f64)> {
        let of = self.records.iter().filter(|record| record.set == set && record.contender == contender);
        of.map(|record| (record.round, record.rate)).collect()
    }

    /// How many times as fast one is as the other, in the same rounds.
    fn times(&self, one: (&str, &str), other: (&str, &str)) -> Vec<f64> {
        let others = self.rates(other.0, other.1);
        let both = self.rates(one.0, one.1).into_iter().filter_map(|(round, rate)| {
            let other = others.iter().find(|(of, _)| *of == round)?;
            (other.1 > 0.0).then(|| rate / other.1)
        });
        both.collect()
    }

    /// Works out what follows from the rates.
    pub fn conclude(&mut self) {
        let mut pairs: Vec<_> = self.records.iter().map(|record| (record.set.clone(), record.contender.clone())).collect();
        pairs.dedup();
        pairs.sort();
        pairs.dedup();
        let mut found = Vec::new();
        for (set, contender) in &pairs {
            if contender != "bare" {
                found.push((format!("ratio/{set}/{contender}"), self.times((set, contender), (set, "bare"))));
            }
            if let Some(engine) = contender.strip_prefix("gateway-") {
                for peer in ["fastapi", "fastify"] {
                    let peer = format!("{peer}-{engine}");
                    found.push((format!("against/{set}/{contender}/{peer}"), self.times((set, contender), (set, &peer))));
                }
            }
        }
        for contender in pairs.iter().map(|(_, contender)| contender).collect::<std::collections::BTreeSet<_>>() {
            for (name, one, other) in [
                ("q-heavy-over-few", "q-20", "q-heavy-1"),
                ("q-late-over-first", "q-heavy-1", "q-heavy-1000"),
                ("q-late-over-first-100", "q-heavy-1-100", "q-heavy-1000-100"),
            ] {
                found.push((format!("{name}/{contender}"), self.times((one, contender), (other, contender))));
            }
        }
        self.figures.extend(found.into_iter().filter(|(_, values)| !values.is_empty()));
    }

    /// A number that was worked out.
    pub fn spread(&self, figure: &str) -> Option<Spread> {
        Spread::of(self.figures.get(figure)?.iter().copied())
    }
}

/// Writes all of it down, prints the goals, and returns what has to make the run fail.
///
/// # Errors
/// When files cannot be written.
pub fn finish(mut results: Results, options: &Options, machine: &Machine) -> Result<Vec<String>> {
    results.conclude();
    let goals = goals::all(&results, &options.engines);
    let text = markdown::text(&results, &goals, options, machine);
    println!("\n{text}");
    let folder = Path::new("bench/results");
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join(format!("{}.md", options.name)), &text)?;
    let figures: BTreeMap<_, _> =
        results.figures.iter().map(|(name, values)| (name, (Spread::of(values.iter().copied()), values))).collect();
    let document = serde_json::json!({ "machine": machine, "goals": goals, "figures": figures, "records": results.records });
    std::fs::write(folder.join(format!("{}.json", options.name)), serde_json::to_string_pretty(&document)? + "\n")?;
    if options.chart {
        std::fs::write("docs/performance.svg", chart::svg(&results, machine))?;
    }
    Ok(results.complaints())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_is_between_two() {
        assert_eq!(Spread::of([4.0, 1.0, 3.0, 2.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of([]), None);
    }
}
