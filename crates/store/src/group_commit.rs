//! One commit for all writes that wait: each gets its own answer.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use calldata_core::port::{Write, Written};
use calldata_core::{StoreError, TenantId};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::fair_queue::{Bounds, FairQueue, Load};
use crate::session_writes::{self, Row, shared};
use crate::sqlite::writer::FileWriter;
use crate::transact::Writer;

/// What may wait. A bot gives up after four seconds, so a longer queue would only hold what nobody waits for.
const QUEUE: Bounds = Bounds { rows: 8_192, bytes: 64 << 20 };
/// What shares a commit.
const COMMIT: Bounds = Bounds { rows: 512, bytes: 8 << 20 };
/// Who has waited longer was told that the gateway is busy (PAR-P8), and comes again.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// Where the commit before was shared by many, they all were answered at once, and their next rows arrive at about the same time. The first
/// of them is given this long to have company, and so are as many turns of the runtime; at a lower rate nobody waits for anybody.
const GATHER: Duration = Duration::from_micros(100);
const GATHER_TURNS: usize = 8;

type Results = Vec<Result<Written, StoreError>>;

/// Takes writes in, and has a task of its own that commits them.
#[derive(Debug)]
pub(crate) struct GroupCommit {
    queue: Arc<FairQueue<Job>>,
}

#[derive(Debug)]
struct Job {
    tenant: TenantId,
    rows: Vec<Row>,
    bytes: usize,
    since: Instant,
    reply: oneshot::Sender<Results>,
}

impl Load for Job {
    fn tenant(&self) -> TenantId {
        self.tenant
    }

    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Stores rows in one commit.
trait Commit: Send {
    /// The results are in the order of the rows.
    fn commit(&mut self, rows: Vec<Row>) -> impl Future<Output = Results> + Send;

    /// Lets a moment pass in which more rows arrive.
    fn gather(&mut self) -> impl Future<Output = ()> + Send;

    /// Completes when there is something to commit besides rows.
    fn wait_for_more(&mut self) -> impl Future<Output = ()> + Send;
}

impl Commit for Writer {
    async fn gather(&mut self) {
        // Whoever is about to push a row is a task that is ready to run.
        for _ in 0..GATHER_TURNS {
            tokio::task::yield_now().await;
        }
    }

    async fn wait_for_more(&mut self) {
        std::future::pending::<()>().await;
    }

    async fn commit(&mut self, rows: Vec<Row>) -> Results {
        session_writes::write(self, rows).await
    }
}

impl Commit for FileWriter {
    async fn gather(&mut self) {
        // On a thread of its own, which nobody else waits for.
        thread::sleep(GATHER);
    }

    fn wait_for_more(&mut self) -> impl Future<Output = ()> + Send {
        let notes = Arc::clone(&self.notes);
        async move { notes.wait().await }
    }

    async fn commit(&mut self, rows: Vec<Row>) -> Results {
        self.write(rows).await
    }
}

impl GroupCommit {
    /// Starts the task that commits to a server; it ends when this is dropped and nothing waits any more.
    pub(crate) fn to_server(writer: Writer) -> Self {
        let queue = Arc::new(FairQueue::new(QUEUE));
        let waiting = Arc::clone(&queue);
        tokio::spawn(async move {
            // A batch that panics answers "unconfirmed" to those in it, and the next one goes on.
            while let Err(panic) = tokio::spawn(commit_all(Arc::clone(&waiting), writer.clone())).await {
                if panic.is_cancelled() {
                    return;
                }
                tracing::error!("the group commit failed and begins anew");
            }
        });
        Self { queue }
    }

    /// The same to a file, on a thread of its own: whoever calls SQLite waits for the disk.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(crate) fn to_file(writer: impl Fn() -> FileWriter + Send + 'static) -> io::Result<Self> {
        let queue = Arc::new(FairQueue::new(QUEUE));
        let waiting = Arc::clone(&queue);
        let handle = Handle::current();
        thread::Builder::new().name("group-commit".into()).spawn(move || {
            let commit = || handle.block_on(commit_all(Arc::clone(&waiting), writer().connected()));
            while catch_unwind(AssertUnwindSafe(commit)).is_err() {
                tracing::error!("the group commit failed and begins anew");
            }
        })?;
        Ok(Self { queue })
    }

    /// Has writes committed together with what else waits; refused at once where too much waits already, or where
    /// `admit` does not admit so many bytes. Nobody who stops waiting for
    /// the results cancels the writes.
    pub(crate) async fn write(&self, batch: Vec<Write>, admit: impl FnOnce(TenantId, usize) -> Result<(), StoreError>) -> Results {
        let count = batch.len();
        let Some(tenant) = batch.first().map(|write| write.scope.tenant()) else { return Vec::new() };
        let rows: Vec<_> = batch.into_iter().map(Row::from).collect();
        let bytes = rows.iter().map(Row::bytes).sum();
        if let Err(error) = admit(tenant, bytes) {
            return (0..count).map(|_| Err(shared(&error))).collect();
        }
        let (reply, results) = oneshot::channel();
        if self.queue.push(Job { tenant, rows, bytes, since: Instant::now(), reply }).is_err() {
            metrics::counter!("calldata_writes_refused_total").increment(1);
            return refused(count, "too many writes wait");
        }
        note_depth(&self.queue);
        let unconfirmed = |_| (0..count).map(|_| Err(StoreError::Unconfirmed("the writer gave no result".into()))).collect();
        results.await.unwrap_or_else(unconfirmed)
    }
}

impl Drop for GroupCommit {
    fn drop(&mut self) {
        self.queue.close();
    }
}

fn refused(count: usize, why: &'static str) -> Results {
    (0..count).map(|_| Err(StoreError::Busy(why.into()))).collect()
}

fn note_depth(queue: &FairQueue<Job>) {
    metrics::gauge!("calldata_write_queue_rows").set(f64::from(u32::try_from(queue.rows()).unwrap_or(u32::MAX)));
}

async fn commit_all(queue: Arc<FairQueue<Job>>, mut writer: impl Commit) {
    let mut expected = 0;
    loop {
        let jobs = tokio::select! {
            biased;
            jobs = queue.take(COMMIT) => jobs,
            () = writer.wait_for_more() => Some(Vec::new()),
        };
        let Some(mut jobs) = jobs else { return };
        if jobs.is_empty() {
            writer.commit(Vec::new()).await;
            continue;
        }
        let taken = rows_of(&jobs);
        if taken < expected / 2 {
            writer.gather().await;
            let bytes = jobs.iter().map(|job| job.bytes).sum::<usize>();
            jobs.extend(queue.take_now(Bounds { rows: COMMIT.rows.saturating_sub(taken), bytes: COMMIT.bytes.saturating_sub(bytes) }));
        }
        expected = rows_of(&jobs);
        note_depth(&queue);
        let (jobs, late): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.since.elapsed() < PATIENCE);
        for job in late {
            // Nobody listens where the request has been given up; so below.
            let _ = job.reply.send(refused(job.rows.len(), "the write waited too long"));
        }
        if !jobs.is_empty() {
            commit(&mut writer, jobs).await;
        }
    }
}

fn rows_of(jobs: &[Job]) -> usize {
    jobs.iter().map(|job| job.rows.len()).sum()
}

async fn commit(writer: &mut impl Commit, jobs: Vec<Job>) {
    let began = Instant::now();
    let mut replies = Vec::with_capacity(jobs.len());
    let mut rows = Vec::new();
    for job in jobs {
        replies.push((job.rows.len(), job.reply));
        rows.extend(job.rows);
    }
    metrics::histogram!("calldata_commit_rows").record(f64::from(u32::try_from(rows.len()).unwrap_or(u32::MAX)));
    let mut results = writer.commit(rows).await.into_iter();
    metrics::histogram!("calldata_commit_seconds").record(began.elapsed());
    // In a task: to wake many from a thread that is not one of the runtime's takes a lock and perhaps a call of the system for each.
    tokio::spawn(async move {
        for (count, reply) in replies {
            let _ = reply.send(results.by_ref().take(count).collect());
        }
    });
}
