//! How many connections there may be, in all and of one source, and what becomes of one too many.

mod shares;

use std::io::Write as _;
use std::net::{IpAddr, Shutdown};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use calldata_http::{ConnectionTrust, MemoryBudget, Source};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};

use shares::{Entry, NoPlace, Shares};

/// Open files for everything that is no connection of a client: the database, the log, the listeners.
const OTHER_FILES: u64 = 100;
/// Refused clients that are listened to for a moment longer, so that they see the answer; more are just closed.
const MAX_REFUSED: usize = 64;
const REFUSED_FOR: Duration = Duration::from_secs(1);
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\
    cache-control: no-store\r\nreferrer-policy: no-referrer\r\nx-content-type-options: nosniff\r\n\r\n";

/// How often it is written down that places are short.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Requests that may be under way on a connection of HTTP/2 until one was authenticated.
const MAX_UNPROVEN_REQUESTS: usize = 8;

/// Places for connections.
#[derive(Debug)]
pub(super) struct Places {
    shares: Arc<Mutex<Shares>>,
    refused: Arc<Semaphore>,
    told: Mutex<Option<Instant>>,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    shares: Arc<Mutex<Shares>>,
    entry: Entry,
    end: Arc<Notify>,
    /// Told when a request of the connection is authenticated.
    pub(super) trust: ConnectionTrust,
    /// Bounds the requests under way until then; closed from then on.
    pub(super) unproven_requests: Arc<Semaphore>,
}

impl Place {
    /// Completes when the connection has to end in favour of another source.
    pub(super) async fn is_given_on(&self) {
        self.end.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.shares).release(self.entry);
    }
}

fn lock(shares: &Mutex<Shares>) -> MutexGuard<'_, Shares> {
    shares.lock().unwrap_or_else(PoisonError::into_inner)
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
        Self {
            shares: Arc::new(Mutex::new(Shares::new(affordable.min(with_memory)))),
            refused: Arc::new(Semaphore::new(MAX_REFUSED)),
            told: Mutex::default(),
        }
    }

    /// A place for a connection that comes from there, as long as it is held. A trusted proxy has no share of its own: its connections are
    /// those of many clients.
    pub(super) fn take(&self, peer: IpAddr, is_trusted: bool) -> Result<Place, NoPlace> {
        let (entry, end) = lock(&self.shares).take((!is_trusted).then(|| Source(peer).network()))?;
        let unproven_requests = Arc::new(Semaphore::new(MAX_UNPROVEN_REQUESTS));
        let (shares, requests) = (Arc::clone(&self.shares), Arc::clone(&unproven_requests));
        let trust = ConnectionTrust::new(move || {
            lock(&shares).prove(entry);
            requests.close();
        });
        Ok(Place { shares: Arc::clone(&self.shares), entry, end, trust, unproven_requests })
    }

    /// Tells a client that there is no place, unless it speaks TLS and would not understand.
    pub(super) fn refuse(&self, stream: TcpStream, peer: IpAddr, why: NoPlace, tls: bool) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() > TELL_EVERY) {
            *told = Some(Instant::now());
            match why {
                NoPlace::Full => tracing::warn!("all connections are taken; new ones are refused (--max-connections)"),
                NoPlace::Share => tracing::warn!(
                    source = %peer.to_canonical(),
                    "a source has its share of all connections; new ones of it are refused (--max-connections; of a proxy: --trusted-proxy)"
                ),
            }
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
