//! Where and with what it was measured; nothing that tells whose machine it is.

use std::fs;
use std::process::Command;

use calldata_core::{Clock, SystemClock};
use serde::Serialize;

use crate::Result;
use crate::postgres::Postgres;
use crate::stores::output;

/// A machine and what runs on it.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Machine {
    pub date: String,
    pub command: String,
    pub commit: String,
    pub cpu: String,
    pub cores: usize,
    pub memory_gb: f64,
    pub kernel: String,
    pub versions: Vec<String>,
}

impl Machine {
    /// This one.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub fn here(postgres: Option<&Postgres>) -> Result<Self> {
        let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into());
        let memory_kb = field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0);
        let told = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments);
            output(command, b"").ok().and_then(|text| Some(text.lines().next()?.trim().to_owned()))
        };
        let mut versions = vec![format!("SQLite {}", rusqlite::version())];
        versions.extend(told("rustc", &["--version"]).map(|text| text.split(" (").next().unwrap_or_default().to_owned()));
        versions.extend(
            postgres.and_then(|server| server.ask("postgres", "SHOW server_version").ok()).map(|text| format!("PostgreSQL {text}")),
        );
        versions.extend(told("node", &["--version"]).map(|text| format!("Node {text}")));
        versions.extend(told(".tools/bench/bin/python", &["--version"]));
        let changed = told("git", &["status", "--porcelain", "--untracked-files=no"]).is_some();
        let commit = told("git", &["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".into());
        Ok(Self {
            date: SystemClock::default().now().to_string().chars().take(10).collect(),
            command: std::iter::once("scripts/bench".to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" "),
            commit: if changed { commit + " and changes" } else { commit },
            cpu,
            cores: std::thread::available_parallelism()?.get(),
            memory_gb: (memory_kb / 1e5).round() / 10.0,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.split(['-', '\n']).next().unwrap_or_default().to_owned(),
            versions,
        })
    }

    /// In a few words.
    pub fn words(&self) -> String {
        let Self { cpu, cores, memory_gb, kernel, .. } = self;
        format!("{cores} cores ({cpu}), {memory_gb} GB, Linux {kernel}")
    }
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
