//! Threads that read: whoever calls SQLite may wait for the disk, and must not keep others from working meanwhile.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use calldata_core::{StoreError, TenantId};
use rusqlite::Connection;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::connection::open;
use crate::connection::SQLITE_BUSY_TIMEOUT;
use crate::error::of_file_statement;
use crate::fair_queue::{Bounds, FairQueue, Load};

/// Few are best: they share the cores with those who ask (docs/performance.md).
const THREADS: usize = 2;
const WAITING: Bounds = Bounds { rows: 16_384, bytes: usize::MAX };
const ONE: Bounds = Bounds { rows: 1, bytes: usize::MAX };

/// Threads with a connection each, and a line in which tenants take turns.
pub(crate) struct Readers {
    line: Arc<FairQueue<Question>>,
}

struct Question {
    tenant: TenantId,
    /// Asks and tells whoever waits; whether the connection is still good.
    ask: Box<dyn FnOnce(&Connection) -> bool + Send>,
}

impl Load for Question {
    fn tenant(&self) -> TenantId {
        self.tenant
    }

    fn rows(&self) -> usize {
        1
    }

    fn bytes(&self) -> usize {
        0
    }
}

impl Readers {
    /// Starts the threads; they end when this is dropped.
    ///
    /// # Errors
    /// When there can be no threads.
    pub(crate) fn start(name: &str, file: &Path, cache_kib: i64) -> io::Result<Self> {
        let line = Arc::new(FairQueue::new(WAITING));
        for _ in 0..THREADS {
            let (line, file, handle) = (Arc::clone(&line), file.to_owned(), Handle::current());
            thread::Builder::new().name(name.into()).spawn(move || handle.block_on(read(&line, file, cache_kib)))?;
        }
        Ok(Self { line })
    }

    /// Asks a question when it is the tenant's turn. One for which nobody waits any more is not asked.
    ///
    /// # Errors
    /// When too many wait, or the engine fails.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        tenant: TenantId,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let ask = move |connection: &Connection| {
            if reply.is_closed() {
                return true;
            }
            let answer = question(connection);
            let is_good = answer.is_ok();
            // Nobody listens where the request has been given up.
            let _ = reply.send(answer.map_err(of_file_statement));
            is_good
        };
        if self.line.push(Question { tenant, ask: Box::new(ask) }).is_err() {
            return Err(StoreError::Busy("too many questions wait".into()));
        }
        answer.await.unwrap_or_else(|_| Err(StoreError::Busy("the file cannot be opened for reading".into())))
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.line.close();
    }
}

async fn read(line: &FairQueue<Question>, file: PathBuf, cache_kib: i64) {
    // SQLite takes a negative number for KiB, a positive one for pages.
    let settings = [("query_only", 1), ("cache_size", -cache_kib)];
    let mut connection = None;
    while let Some(questions) = line.take(ONE).await {
        for question in questions {
            let Some(asked) = connection.take().or_else(|| open(&file, SQLITE_BUSY_TIMEOUT, &settings).ok()) else { continue };
            let is_good = catch_unwind(AssertUnwindSafe(|| (question.ask)(&asked))).unwrap_or(false);
            connection = is_good.then_some(asked);
        }
    }
}
