//! How many connections there may be, and what becomes of one too many.

use std::io::Write as _;
use std::net::Shutdown;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use calldata_http::MemoryBudget;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Open files for everything that is no connection of a client: the database, the log, the listeners.
const OTHER_FILES: u64 = 100;
/// Refused clients that are listened to for a moment longer, so that they see the answer; more are just closed.
const MAX_REFUSED: usize = 64;
const REFUSED_FOR: Duration = Duration::from_secs(1);
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\
    cache-control: no-store\r\nreferrer-policy: no-referrer\r\nx-content-type-options: nosniff\r\n\r\n";

/// How often it is written down that places are short.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Places for connections.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    refused: Arc<Semaphore>,
    told: Mutex<Option<Instant>>,
}

impl Places {
    /// So many; fewer where the process may not have as many open files, or has no memory for them.
    pub(super) fn new(wanted: usize, memory: &MemoryBudget) -> Self {
        let affordable = affordable(wanted);
        if affordable < wanted {
            tracing::warn!(wanted, affordable, "fewer connections than asked for: the limit of open files is too low (ulimit -n)");
        }
        let with_memory = memory.max_connections();
        if with_memory < affordable {
            tracing::info!(wanted, with_memory, "fewer connections than asked for: there is no memory for more (--memory-budget)");
        }
        let affordable = affordable.min(with_memory);
        let free = affordable.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(free)), refused: Arc::new(Semaphore::new(MAX_REFUSED)), told: Mutex::default() }
    }

    /// A place, as long as it is held; none where all are taken.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    /// Tells a client that there is no place, unless it speaks TLS and would not understand.
    pub(super) fn refuse(&self, stream: TcpStream, tls: bool) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() > TELL_EVERY) {
            *told = Some(Instant::now());
            tracing::warn!("all connections are taken; new ones are refused (--max-connections)");
        }
        drop(told);
        if tls {
            return;
        }
        let Ok(mut stream) = stream.into_std() else { return };
        // Into an empty buffer of the system: this does not wait, and a client that has gone already is none of our business.
        let told = stream.write(BUSY).and_then(|_| stream.shutdown(Shutdown::Write));
        let (Ok(()), Ok(mut stream), Ok(permit)) = (told, TcpStream::from_std(stream), Arc::clone(&self.refused).try_acquire_owned())
        else {
            return;
        };
        tokio::spawn(async move {
            let _permit = permit;
            // Closing it with its request unread would take the answer away from it.
            let unread = async { while stream.read(&mut [0; 1 << 10]).await.is_ok_and(|read| read > 0) {} };
            // Either way it is closed.
            let _ = tokio::time::timeout(REFUSED_FOR, unread).await;
        });
    }
}

/// How many of these connections the limit of open files allows, after raising it as far as the process may.
fn affordable(wanted: usize) -> usize {
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|current| *current < needed) else { return wanted };
    let possible = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(possible), maximum: limit.maximum });
    let files = if raised.is_ok() { possible } else { current };
    usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).clamp(1, wanted.max(1))
}
