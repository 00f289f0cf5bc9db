//! Who answers what is asked most, past the pools.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::disk_reserve::DiskReserve;
use crate::group_commit::GroupCommit;
use crate::memory::Memory;
use crate::pools::Pool;
use crate::postgres::SharedReads;
use crate::read_turns::ReadTurns;
use crate::sqlite::READS_OF_EACH;
use crate::sqlite::history::Histories;
use crate::sqlite::lookups::Lookups;
use crate::sqlite::notes::Notes;
use crate::sqlite::readers::Readers;
use crate::sqlite::writer::FileWriter;
use crate::transact::RecognisedBy;
use crate::upkeep::write_back;

/// What each thread that reads keeps of the file.
const LOOKUP_CACHE_KIB: i64 = 4 << 10;
const HISTORY_CACHE_KIB: i64 = 2 << 10;
/// How often memory is looked through for what has been there for long.
const DROP_OLD_INTERVAL: Duration = Duration::from_secs(30);

/// Who answers what is asked most, past the pools.
#[derive(Clone, Debug)]
pub(crate) enum Engine {
    File(InFile),
    Server(OnServer),
}

/// What a database on a server has and one in a file has not.
#[derive(Clone, Debug)]
pub(crate) struct OnServer {
    pub(crate) shared: Arc<SharedReads>,
    /// For what is not shared.
    pub(crate) turns: Arc<ReadTurns>,
}

/// Whoever writes into the file holds it. The engine has a lock of its own, for which one waits by looking again and again.
pub(crate) type Pen = Arc<tokio::sync::Mutex<()>>;

/// What a database in a file has and one on a server has not.
#[derive(Clone)]
pub(crate) struct InFile {
    pub(crate) file: PathBuf,
    pub(crate) pen: Pen,
    pub(crate) memory: Arc<Memory>,
    pub(crate) lookups: Arc<Lookups>,
    pub(crate) histories: Arc<Histories>,
    pub(crate) notes: Arc<Notes>,
    /// For what the pools read.
    pub(crate) turns: Arc<ReadTurns>,
    pub(crate) reserve: Arc<DiskReserve>,
    /// Told when the log is to be written back.
    pub(crate) log_is_long: Arc<Notify>,
    _upkeep: Arc<[Task; 3]>,
}

/// A task that ends with whoever it works for.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl InFile {
    /// Starts the threads that read and the one that writes, and the upkeep.
    ///
    /// # Errors
    /// When there can be no threads.
    pub(crate) fn start(
        file: &Path,
        keeper: &Pool,
        sync_failed: &watch::Sender<bool>,
        recognised_by: &RecognisedBy,
    ) -> io::Result<(Self, GroupCommit)> {
        let (pen, memory, log_is_long) = (Pen::default(), Arc::new(Memory::of(file)), Arc::new(Notify::new()));
        let notes = Arc::<Notes>::default();
        let reserve = Arc::new(DiskReserve::new(file));
        let upkeep = [
            Task(tokio::spawn(Arc::clone(&reserve).keep())),
            Task(tokio::spawn(write_back(keeper.connection.clone(), Arc::clone(&log_is_long), sync_failed.clone()))),
            Task(tokio::spawn(drop_old(Arc::clone(&memory)))),
        ];
        let group_commit = {
            let (file, pen, sync_failed, memory) = (file.to_owned(), Arc::clone(&pen), sync_failed.clone(), Arc::clone(&memory));
            let (log_is_long, recognised_by, notes) = (Arc::clone(&log_is_long), Arc::clone(recognised_by), Arc::clone(&notes));
            GroupCommit::to_file(move || FileWriter {
                file: file.clone(),
                pen: Arc::clone(&pen),
                sync_failed: sync_failed.clone(),
                memory: Arc::clone(&memory),
                log_is_long: Arc::clone(&log_is_long),
                recognised_by: Arc::clone(&recognised_by),
                notes: Arc::clone(&notes),
                connection: None,
            })?
        };
        let lookups = Lookups::new(Readers::start("lookups", file, LOOKUP_CACHE_KIB)?, Arc::clone(&memory));
        let histories = Histories::new(Readers::start("histories", file, HISTORY_CACHE_KIB)?, Arc::clone(&memory), Arc::clone(&pen));
        let (lookups, histories) = (Arc::new(lookups), Arc::new(histories));
        let turns = Arc::new(ReadTurns::new(READS_OF_EACH));
        let upkeep = Arc::new(upkeep);
        Ok((
            Self { file: file.to_owned(), pen, memory, lookups, histories, notes, turns, reserve, log_is_long, _upkeep: upkeep },
            group_commit,
        ))
    }
}

async fn drop_old(memory: Arc<Memory>) {
    loop {
        tokio::time::sleep(DROP_OLD_INTERVAL).await;
        memory.drop_old();
    }
}

impl fmt::Debug for InFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InFile")
    }
}
