//! A control group in which a process has so much memory and is killed beyond it, where the system lets us make one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where the memory controller of the first version is mounted, and where that of the second.
const MOUNTS: [(&str, &str); 2] = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];

/// A control group; it is removed when this is dropped, which the processes in it must not outlive.
#[derive(Debug)]
pub struct MemoryCgroup(PathBuf);

impl MemoryCgroup {
    /// One with this limit; `None` where there can be none, which needs root and a writable mount.
    pub fn new(limit_bytes: usize) -> Option<Self> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("calldata-test-{}-{}", process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        MOUNTS.into_iter().find_map(|(mount, limit)| {
            let folder = Path::new(mount).join(&name);
            fs::create_dir(&folder).ok()?;
            let cgroup = Self(folder);
            // In a folder that is no control group, or without the controller, there is no such file.
            (cgroup.0.join(limit).is_file() && fs::write(cgroup.0.join(limit), limit_bytes.to_string()).is_ok()).then_some(cgroup)
        })
    }

    /// The file into which a process writes its number to enter.
    pub fn door(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        // A process that has just ended may still be counted; what is left then is an empty group.
        let _ = fs::remove_dir(&self.0);
    }
}
