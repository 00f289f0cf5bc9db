//! How much memory the process may use: what its cgroups allow, else what the machine has.

use std::fs;
use std::path::{Path, PathBuf};

/// Where cgroups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// The bytes that this process may use; `None` where the system does not say.
pub fn memory_limit() -> Option<usize> {
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of_cgroups = limit_of_cgroups(&membership, Path::new(CGROUPS));
    let of_machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of(&text));
    // An unlimited cgroup of the first version says so by a number near the largest.
    of_cgroups.into_iter().chain(of_machine).min()
}

/// The smallest limit of the cgroups that a process is in, by its `/proc/PID/cgroup`, and of those above them.
fn limit_of_cgroups(membership: &str, mount: &Path) -> Option<usize> {
    let limits = membership.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (root, file) = match controllers {
            "" => (mount.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => (mount.join("memory"), "memory.limit_in_bytes"),
            _ => (PathBuf::new(), ""),
        };
        // In a container the path may be one of the host's; its own cgroup is then the root of what it sees.
        let inner = root.join(path.trim_start_matches('/'));
        let places = inner.ancestors().take_while(|place| place.starts_with(&root)).map(|place| place.join(file)).collect::<Vec<_>>();
        places.into_iter().filter(move |_| !file.is_empty()).filter_map(|place| fs::read_to_string(place).ok()?.trim().parse().ok())
    });
    limits.min()
}

fn total_of(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(place: PathBuf, text: &str) {
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
    }

    #[test]
    fn the_smallest_limit_on_the_way_to_the_root_counts_on_both_versions_of_cgroups() {
        let mount = tempfile::tempdir().unwrap();
        let at = |path: &str| mount.path().join(path);
        assert_eq!(limit_of_cgroups("0::/a/b\n", mount.path()), None);
        write(at("a/memory.max"), "268435456\n");
        write(at("a/b/memory.max"), "max\n");
        assert_eq!(limit_of_cgroups("0::/a/b\n", mount.path()), Some(256 << 20));
        assert_eq!(limit_of_cgroups("0::/elsewhere\n", mount.path()), None);
        write(at("memory/x/memory.limit_in_bytes"), "1048576\n");
        write(at("memory/memory.limit_in_bytes"), "9223372036854771712\n");
        assert_eq!(limit_of_cgroups("4:cpu,memory:/x\n3:cpuset:/a\n", mount.path()), Some(1 << 20));
        write(at("memory.max"), "4096\n");
        assert_eq!(limit_of_cgroups("0::/not/seen/from/a/container\n", mount.path()), Some(4_096));
    }

    #[test]
    fn the_machine_says_what_it_has() {
        assert_eq!(total_of("MemTotal:       24576000 kB\nMemFree: 1 kB\n"), Some(24_576_000 << 10));
        assert_eq!(total_of("MemFree: 1 kB\n"), None);
        assert!(memory_limit().is_some());
    }
}
