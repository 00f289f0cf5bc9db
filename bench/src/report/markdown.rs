//! The results as tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Goal, Grade, Machine, Record, Results, Spread};
use crate::options::Options;

/// All of it. Writing to a string does not fail.
pub fn text(results: &Results, goals: &[Goal], options: &Options, machine: &Machine) -> String {
    let mut text = format!("# Measured on {}\n\n", machine.date);
    let _ =
        writeln!(text, "`{}` at commit {}, on {}; {}.\n", machine.command, machine.commit, machine.words(), machine.versions.join(", "));
    let Options { rounds, measure, connections, rows, large_rows, expired, heavy, recent, .. } = options;
    let _ = writeln!(
        text,
        "{rounds} rounds of {} s each, in turn; {connections} connections. The load generator runs on the same cores, and its own processor time \
         is shown. Every answer was checked. Cold: {rows} sessions and {heavy} of one user; recent: {recent}; growth: 10000 against \
         {large_rows}; purge: {expired}. Numbers are medians (least–most).\n",
        measure.as_secs()
    );
    text.push_str("## Goals\n\n| goal | at least | aim | measured | |\n| --- | --- | --- | --- | --- |\n");
    for goal in goals {
        let Goal { what, at_least, aim, more_is_better, unit, measured, grade, .. } = goal;
        let sign = if *more_is_better { "≥" } else { "≤" };
        let measured = measured.map_or("–".into(), |measured| format!("{}{unit}", number(measured)));
        let grade = match grade {
            Grade::Aim => "as aimed",
            Grade::Met => "met",
            Grade::Missed => "**missed**",
            Grade::NotMeasured => "not in this run",
        };
        let _ = writeln!(text, "| {what} | {sign} {at_least}{unit} | {sign} {aim}{unit} | {measured} | {grade} |");
    }
    rates(&mut text, results);
    text.push_str("\n## Other figures\n\n| figure | median | least | most |\n| --- | --- | --- | --- |\n");
    for (name, values) in &results.figures {
        if let Some(Spread { median, min, max }) = Spread::of(values.iter().copied()) {
            let _ = writeln!(text, "| {name} | {} | {} | {} |", number(median), number(min), number(max));
        }
    }
    text
}

fn rates(text: &mut String, results: &Results) {
    let mut sets: Vec<&str> = Vec::new();
    let mut of: BTreeMap<(&str, &str), Vec<&Record>> = BTreeMap::new();
    for record in &results.records {
        if !sets.contains(&record.set.as_str()) {
            sets.push(&record.set);
        }
        of.entry((&record.set, &record.contender)).or_default().push(record);
    }
    text.push_str("\n## Rates\n\nCPU is the processor time of the server, its database server included, and that of the load generator, each a request.\n\n");
    text.push_str("| set | | a second | of bare | p50 / p99 / p99.9 ms | CPU µs | RSS, peak MB | hits / misses |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for set in sets {
        for ((_, contender), records) in of.iter().filter(|((of, _), _)| *of == set) {
            let spread = |value: fn(&Record) -> f64| Spread::of(records.iter().map(|record| value(record)));
            let median = |value: fn(&Record) -> f64| spread(value).map_or(0.0, |spread| spread.median);
            let Some(rate) = spread(|record| record.rate) else { continue };
            let ratio = results.spread(&format!("ratio/{set}/{contender}"));
            let ratio = ratio.map_or(String::new(), |Spread { median, min, max }| format!("{median:.3} ({min:.3}–{max:.3})"));
            let _ = writeln!(
                text,
                "| {set} | {contender} | {:.0} ({:.0}–{:.0}) | {ratio} | {:.2} / {:.2} / {:.2} | {:.1}, load {:.1} | {:.1}, {:.1} | {} / {} |",
                rate.median,
                rate.min,
                rate.max,
                median(|record| record.p50_us) / 1e3,
                median(|record| record.p99_us) / 1e3,
                median(|record| record.p999_us) / 1e3,
                median(|record| record.server_cpu_us),
                median(|record| record.client_cpu_us),
                median(|record| record.memory.resident_kb as f64) / 1e3,
                median(|record| record.memory.peak_kb as f64) / 1e3,
                records.iter().map(|record| record.hits).sum::<u64>(),
                records.iter().map(|record| record.misses).sum::<u64>(),
            );
        }
    }
}

/// With as many digits as say something.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middling if middling >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
