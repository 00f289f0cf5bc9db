//! What operators watch: the metrics that dashboard, alerts and documents name are those that the program has.

use std::collections::BTreeSet;
use std::path::Path;

/// Of the crate metrics-process, which names them by itself.
const OF_THE_PROCESS: [&str; 8] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
    "process_virtual_memory_max_bytes",
];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()))
}

/// All names of metrics in a text. A metric begins with `calldata_` or `process_`; a histogram is named without what Prometheus adds.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
    let named = words.filter(|word| ["calldata_", "process_"].iter().any(|start| word.len() > start.len() && word.starts_with(start)));
    named
        .map(|word| ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word))
        .map(str::to_owned)
        .collect()
}

/// Those that the program describes: each is the first string of a line with `describe_`.
fn described() -> BTreeSet<String> {
    let source = read("crates/gateway/src/admin.rs");
    let of_the_program = source.lines().filter(|line| line.trim_start().starts_with("describe_")).filter_map(|line| line.split('"').nth(1));
    of_the_program.chain(OF_THE_PROCESS).map(str::to_owned).collect()
}

/// Those that start with `calldata_` and are meant by name, not those of the process.
fn own(names: &BTreeSet<String>) -> BTreeSet<String> {
    names.iter().filter(|name| name.starts_with("calldata_")).cloned().collect()
}

#[test]
fn every_metric_that_is_watched_exists() {
    let described = described();
    assert!(own(&described).len() > 10, "the program describes its metrics: {described:?}");
    for watcher in [
        "packaging/observability/grafana-dashboard.json",
        "packaging/observability/alerts.yaml",
        "packaging/observability/alerts.test.yaml",
        "docs/production.md",
        "docs/troubleshooting.md",
    ] {
        let named = metrics(&read(watcher));
        assert!(!named.is_empty(), "{watcher} names no metric");
        let unknown: Vec<_> = named.difference(&described).collect();
        assert!(unknown.is_empty(), "{watcher} names {unknown:?}, which the program does not have");
    }
}

#[test]
fn every_metric_of_the_program_is_documented_and_shown() {
    let own = own(&described());
    for watcher in ["docs/production.md", "packaging/observability/grafana-dashboard.json"] {
        let named = metrics(&read(watcher));
        let missing: Vec<_> = own.difference(&named).collect();
        assert!(missing.is_empty(), "{watcher} does not name {missing:?}");
    }
}

#[test]
fn every_alert_is_explained_and_tried() {
    let alerts = read("packaging/observability/alerts.yaml");
    let explained = read("docs/troubleshooting.md");
    let tried = read("packaging/observability/alerts.test.yaml");
    let names: Vec<_> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(!names.is_empty(), "there are alerts");
    for name in names {
        assert!(explained.contains(&format!("**{name}**")), "docs/troubleshooting.md does not say what to do about {name}");
        let fires = format!("alertname: {name}\n");
        let stays_quiet = |line: &str| line.contains(&format!("alertname: {name},")) && line.contains("exp_alerts: []");
        assert!(tried.contains(&fires), "{name} is never seen to fire");
        assert!(tried.lines().any(stays_quiet), "{name} is never seen to stay quiet");
    }
}
