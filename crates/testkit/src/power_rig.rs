//! A disk whose power can be cut: what was not flushed when it happens is gone, whoever was told that it is written.
//!
//! A file system on a loop device, on a file that `nbdfuse` shows, on `nbdkit`, which keeps writes in a cache of its own until they are
//! flushed. Who kills `nbdkit` cuts the power. Needs root, and Debian's packages `nbdkit`, `libnbd-bin`, `fuse3`, `e2fsprogs`, `mount`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const SIZE: u64 = 192 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);

/// The disk, mounted.
#[derive(Debug)]
pub struct PowerRig {
    folder: TempDir,
    nbdkit: Child,
    nbdfuse: Child,
    device: String,
    mounted: Option<&'static str>,
}

impl PowerRig {
    /// A new disk under power.
    ///
    /// # Panics
    /// When something that is needed is not there or not allowed.
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let path = |name: &str| folder.path().join(name);
        for name in ["fuse", "before", "after"] {
            fs::create_dir(path(name)).expect("folders can be made");
        }
        File::create(path("disk")).and_then(|disk| disk.set_len(SIZE)).expect("files can be made");
        must(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(path("disk")));
        let mut nbdkit = Command::new("nbdkit");
        nbdkit.args(["--foreground", "--filter=cache", "--unix"]).arg(path("socket")).arg("file").arg(path("disk"));
        // Its cache must not outlive it anywhere but here.
        let nbdkit = begun(nbdkit.arg("cache=writeback").env("TMPDIR", folder.path()));
        appears(&path("socket"));
        let nbdfuse = begun(Command::new("nbdfuse").arg(path("fuse")).arg("--unix").arg(path("socket")));
        appears(&path("fuse/nbd"));
        let device = must(Command::new("losetup").args(["--find", "--show"]).arg(path("fuse/nbd")));
        must(Command::new("mount").arg(&device).arg(path("before")));
        Self { folder, nbdkit, nbdfuse, device, mounted: Some("before") }
    }

    /// Where the disk is mounted.
    ///
    /// # Panics
    /// When it is not.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(self.mounted.expect("the disk is mounted"))
    }

    /// Cuts the power. From now on nothing that is written gets anywhere.
    ///
    /// # Panics
    /// When it was cut before.
    pub fn cut(&mut self) {
        self.nbdkit.kill().expect("the power is cut once");
        self.nbdkit.wait().expect("it is a child of ours");
    }

    /// Forgets everything that was only in memory, and mounts what is on the disk. Whoever used it has to be gone.
    ///
    /// # Panics
    /// When the disk cannot be mounted.
    pub fn power_again(&mut self) {
        self.take_apart();
        must(Command::new("mount").args(["-o", "loop"]).arg(self.folder.path().join("disk")).arg(self.folder.path().join("after")));
        self.mounted = Some("after");
    }

    fn take_apart(&mut self) {
        if let Some(mounted) = self.mounted.take() {
            must(Command::new("umount").arg("--lazy").arg(self.folder.path().join(mounted)));
            if mounted == "before" {
                must(Command::new("losetup").args(["--detach", &self.device]));
                must(Command::new("fusermount3").args(["-u", "-z"]).arg(self.folder.path().join("fuse")));
                // It may have ended by itself.
                let _ = self.nbdfuse.kill();
                let _ = self.nbdfuse.wait();
            }
        }
    }
}

impl Default for PowerRig {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PowerRig {
    fn drop(&mut self) {
        self.take_apart();
        let _ = self.nbdkit.kill();
        let _ = self.nbdkit.wait();
    }
}

fn begun(command: &mut Command) -> Child {
    let begun = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    begun.unwrap_or_else(|error| unreachable!("{command:?} is needed (Debian: nbdkit libnbd-bin fuse3): {error}"))
}

/// Runs a command that must succeed; what it printed.
fn must(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|error| unreachable!("{command:?} is needed: {error}"));
    assert!(done.status.success(), "{command:?} (as root?): {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

fn appears(path: &Path) {
    let began = Instant::now();
    while !path.exists() {
        assert!(began.elapsed() < PATIENCE, "{} does not appear", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}
