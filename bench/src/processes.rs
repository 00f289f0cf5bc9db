//! What processes used, as the kernel counts it.

use std::fs;
use std::time::Duration;

use serde::Serialize;

use crate::Result;

/// What the kernel counts processor time in; 100 a second on every Linux that Rust runs on.
const TICK: Duration = Duration::from_millis(10);

/// A process as `/proc` tells it.
struct Process {
    pid: u32,
    parent: u32,
    group: u32,
    /// With its children that are gone.
    cpu: Duration,
}

fn process(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<_> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok());
    let ticks = (11..15).map(number).sum::<Option<u32>>()?;
    Some(Process { pid, parent: number(1)?, group: number(2)?, cpu: TICK * ticks })
}

fn all() -> Result<impl Iterator<Item = Process>> {
    let pids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(process))
}

/// Processes that belong together.
#[derive(Clone, Copy, Debug)]
pub enum Family {
    /// A process group.
    Group(u32),
    /// A process and its children, which may be groups of their own.
    Children(u32),
}

impl Family {
    fn has(self, process: &Process) -> bool {
        match self {
            Self::Group(group) => process.group == group,
            Self::Children(parent) => process.pid == parent || process.parent == parent,
        }
    }

    /// Their processor time so far.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub fn cpu(self) -> Result<Duration> {
        Ok(all()?.filter(|process| self.has(process)).map(|process| process.cpu).sum())
    }

    /// Their memory now.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub fn memory(self) -> Result<Memory> {
        let mut memory = Memory::default();
        for process in all()?.filter(|process| self.has(process)) {
            let Ok(status) = fs::read_to_string(format!("/proc/{}/status", process.pid)) else { continue };
            memory.resident_kb += kilobytes(&status, "VmRSS:");
            memory.peak_kb += kilobytes(&status, "VmHWM:");
            memory.anonymous_kb += kilobytes(&status, "RssAnon:");
        }
        Ok(memory)
    }
}

/// The memory of processes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Memory {
    /// Resident.
    pub resident_kb: u64,
    /// The most that was ever resident.
    pub peak_kb: u64,
    /// Resident and of no file.
    pub anonymous_kb: u64,
}

fn kilobytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_ascii_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The processor time of this very process.
///
/// # Errors
/// When there is no `/proc`.
pub fn own_cpu() -> Result<Duration> {
    Ok(process(std::process::id()).ok_or("there is no /proc")?.cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_and_uses_memory() {
        let group = process(std::process::id()).unwrap().group;
        let memory = Family::Group(group).memory().unwrap();
        assert!(memory.resident_kb > 100 && memory.peak_kb >= memory.anonymous_kb);
        assert!(Family::Children(std::process::id()).cpu().unwrap() >= own_cpu().unwrap() / 2);
    }
}
