//! Room on the disk of a database in a file that only deletions may use.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use calldata_core::StoreError;

use crate::Database;

/// How often it is looked how much room there is.
const INTERVAL: Duration = Duration::from_secs(1);
/// The reserve; on a small disk, a part of it.
const RESERVE_BYTES: u64 = 64 << 20;
const MAX_PART_OF_DISK: u64 = 16;
/// And whenever so much of the reserve was written.
const LOOKS_PER_RESERVE: u64 = 16;

/// Whether there is less room than what is reserved. While there is, nothing is stored, so that erasures, the purge, revocations and
/// suspensions still find room: each of them writes a log before it frees anything.
#[derive(Debug)]
pub(crate) struct DiskReserve {
    folder: PathBuf,
    is_low: AtomicBool,
    /// How much may be written until it is looked again, and how much was.
    step: AtomicU64,
    written: AtomicU64,
}

impl DiskReserve {
    /// Of the disk that holds this file.
    pub(crate) fn new(file: &Path) -> Self {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let reserve =
            Self { folder: folder.to_owned(), is_low: AtomicBool::new(false), step: AtomicU64::new(u64::MAX), written: AtomicU64::new(0) };
        reserve.look();
        reserve
    }

    /// Looks from time to time, until the task is dropped.
    pub(crate) async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let this = Arc::clone(&self);
            // A network file system may let one wait.
            if tokio::task::spawn_blocking(move || this.look()).await.is_err() {
                return;
            }
        }
    }

    /// Takes note of bytes that are about to be written.
    ///
    /// # Errors
    /// When the disk is low.
    pub(crate) fn charge(&self, bytes: usize) -> Result<(), StoreError> {
        if !self.is_low() {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            let written = self.written.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
            if written >= self.step.load(Ordering::Relaxed) {
                self.written.store(0, Ordering::Relaxed);
                self.look();
            }
        }
        if self.is_low() { Err(no_room()) } else { Ok(()) }
    }

    fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Relaxed)
    }

    fn look(&self) {
        let Ok((free, all)) = room(&self.folder) else { return };
        let reserve = RESERVE_BYTES.min(all / MAX_PART_OF_DISK);
        self.step.store(reserve / LOOKS_PER_RESERVE, Ordering::Relaxed);
        let is_low = free < reserve;
        if self.is_low.swap(is_low, Ordering::Relaxed) == is_low {
            return;
        }
        if is_low {
            tracing::error!(free, "the disk is nearly full: nothing more is stored, so that what has to be deleted can be");
        } else {
            tracing::info!(free, "the disk has room again");
        }
    }
}

/// How many bytes of a disk are free for this process, and how many it has.
fn room(folder: &Path) -> io::Result<(u64, u64)> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok((disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize)))
}

impl Database {
    /// Whether there is no more room than what is reserved for deletions.
    pub(crate) fn is_disk_low(&self) -> bool {
        self.file().is_some_and(|file| file.reserve.is_low())
    }
}

/// Said of what is not stored while the disk is low.
pub(crate) fn no_room() -> StoreError {
    StoreError::NoRoom("only as much room is left as deletions need".into())
}
