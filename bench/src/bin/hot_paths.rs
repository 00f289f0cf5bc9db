//! Counts the instructions of the hot paths and compares them with the committed figures; see `just instructions`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use calldata_bench::Result;
use calldata_bench::hot_paths::{self, HotPath};
use calldata_bench::stores::output;
use clap::{Parser, Subcommand};
use serde::Deserialize;

const FIGURES: &str = "bench/instructions.toml";
const TOLERANCE_PERCENT: f64 = 10.0;
/// Of posts, whose threads wait for each other: how often they wake differs from run to run by as much as 10 %.
const TOLERANCE_OF_POSTS_PERCENT: f64 = 25.0;
/// How often a count is tried.
const ATTEMPTS: u32 = 4;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Compare with the committed figures
    Compare,
    /// Write the figures down as those to compare with
    Accept,
    /// What is counted: so many requests down a path
    #[command(hide = true)]
    Run { path: HotPath, requests: u32, file: PathBuf },
}

/// What is committed.
#[derive(Deserialize)]
struct Figures {
    instructions: BTreeMap<String, f64>,
}

fn main() -> Result {
    match Cli::parse().command {
        Task::Compare => compare(&count_all()?),
        Task::Accept => accept(&count_all()?),
        Task::Run { path, requests, file } => hot_paths::run(path, requests, &file),
    }
}

/// Instructions a request, by path.
fn count_all() -> Result<BTreeMap<String, f64>> {
    let folder = tempfile::tempdir()?;
    let filled = folder.path().join("filled.db");
    hot_paths::prepare(&filled)?;
    let mut counted = BTreeMap::new();
    for (name, path) in HotPath::ALL {
        let (few, many) = path.few_and_many();
        let difference = count(name, many, &filled)? - count(name, few, &filled)?;
        counted.insert(name.to_owned(), difference / f64::from(many - few));
    }
    Ok(counted)
}

/// The instructions of a whole process. On a busy machine, time-outs of the store strike while everything is so slow; then once more.
fn count(path: &str, requests: u32, filled: &Path) -> Result<f64> {
    (1..ATTEMPTS).find_map(|_| count_once(path, requests, filled).ok()).map_or_else(|| count_once(path, requests, filled), Ok)
}

/// On a copy of the database. Threads take turns, as on real cores.
fn count_once(path: &str, requests: u32, filled: &Path) -> Result<f64> {
    let (copy, log) = (filled.with_file_name("copy.db"), filled.with_file_name("counted"));
    for end in ["-wal", "-shm"] {
        // There is none the first time.
        let _ = std::fs::remove_file(filled.with_file_name(format!("copy.db{end}")));
    }
    std::fs::copy(filled, &copy)?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--fair-sched=yes", "--callgrind-out-file=/dev/null", &format!("--log-file={}", log.display())]);
    command.arg(std::env::current_exe()?).args(["run", path, &requests.to_string()]).arg(&copy);
    output(command, b"")?;
    let log = std::fs::read_to_string(log)?;
    // Either "Collected : 123" or "I refs: 1,234", by the version.
    let collected = log.lines().find_map(|line| line.split_once("Collected :").or_else(|| line.split_once("refs:")));
    Ok(collected.ok_or("valgrind counted nothing")?.1.trim().replace(',', "").parse()?)
}

fn compare(counted: &BTreeMap<String, f64>) -> Result {
    let text = std::fs::read_to_string(FIGURES).map_err(|error| format!("{FIGURES}: {error}; just instructions-accept writes it"))?;
    let Figures { instructions: accepted } = toml::from_str(&text)?;
    let (mut worse, mut better) = (Vec::new(), Vec::new());
    println!("{:<10} {:>12} {:>12} {:>8}", "path", "committed", "counted", "change");
    for (name, counted) in counted {
        let Some(accepted) = accepted.get(name) else {
            println!("{name:<10} {:>12} {counted:>12.0}", "–");
            worse.push(name.as_str());
            continue;
        };
        let percent = (counted / accepted - 1.0) * 100.0;
        println!("{name:<10} {accepted:>12.0} {counted:>12.0} {percent:>+7.1}%");
        let tolerance = if name == "w" { TOLERANCE_OF_POSTS_PERCENT } else { TOLERANCE_PERCENT };
        if percent > tolerance {
            worse.push(name.as_str());
        } else if percent < -tolerance {
            better.push(name.as_str());
        }
    }
    if !better.is_empty() {
        println!("much better than committed: {}; just instructions-accept keeps it so", better.join(", "));
    }
    if worse.is_empty() {
        return Ok(());
    }
    let worse = worse.join(", ");
    Err(format!("too much above the committed figure: {worse}. If that is worth it: just instructions-accept").into())
}

fn accept(counted: &BTreeMap<String, f64>) -> Result {
    let mut text = String::from(
        "# Instructions of one request down each hot path, all threads counted (callgrind, release build, x86-64).\n\
         # Written by just instructions-accept, compared by just instructions.\n\n[instructions]\n",
    );
    for (name, counted) in counted {
        let _ = writeln!(text, "{name} = {counted:.1}");
    }
    print!("{text}");
    Ok(std::fs::write(FIGURES, text)?)
}
