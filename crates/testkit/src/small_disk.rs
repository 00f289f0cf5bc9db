//! A disk that is soon full.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const FILLER: &str = "filler";

/// A file system of a few megabytes in memory, gone when this is dropped. Whoever may not mount one gets a panic that says so.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// An empty disk of this size.
    ///
    /// # Panics
    /// When it cannot be mounted.
    pub fn of_kib(size: u32) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let mounted = as_root("mount", &["-t", "tmpfs", "-o", &format!("size={size}k,mode=777"), "tmpfs"], folder.path());
        let why = String::from_utf8_lossy(&mounted.stderr);
        assert!(mounted.status.success(), "a small file system is needed, and only root may mount one (or sudo without a password): {why}");
        Self { folder }
    }

    /// Where a file of that name is, or would be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Takes all the room that is left; returns how many bytes that was.
    ///
    /// # Panics
    /// When anything but the room is missing.
    pub fn fill(&self) -> u64 {
        let mut file = File::options().create(true).append(true).open(self.path(FILLER)).expect("a file can be made");
        let mut filled = 0;
        // Whole pages first, then what is left of the last one.
        for size in [4096, 64, 1] {
            loop {
                match file.write(&vec![0; size]) {
                    Ok(0) => break,
                    Ok(written) => filled += u64::try_from(written).unwrap_or_default(),
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => unreachable!("the disk cannot be filled: {error}"),
                }
            }
        }
        filled
    }

    /// Gives the room back that was taken.
    ///
    /// # Panics
    /// When none was taken.
    pub fn free(&self) {
        std::fs::remove_file(self.path(FILLER)).expect("the room was taken");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Even while somebody has a file open there; the folder is then deleted as any other.
        let unmounted = as_root("umount", &["--lazy"], self.folder.path());
        if !unmounted.status.success() && !std::thread::panicking() {
            unreachable!("the small disk cannot be unmounted: {}", String::from_utf8_lossy(&unmounted.stderr));
        }
    }
}

/// Runs a command of the system administrator's on a folder.
fn as_root(name: &str, arguments: &[&str], folder: &Path) -> Output {
    let own = Command::new(name).args(arguments).arg(folder).output().expect("mount and umount are there");
    if own.status.success() {
        return own;
    }
    Command::new("sudo").arg("--non-interactive").arg(name).args(arguments).arg(folder).output().unwrap_or(own)
}
