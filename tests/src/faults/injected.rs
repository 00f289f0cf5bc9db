//! Writes and syncs that fail, at the n-th call.

use std::fmt;

use calldata_testkit::engine::{Engine, TestDatabase};
use calldata_testkit::injection::{self, Injection};
use calldata_testkit::integrity;
use calldata_testkit::load::{Credentials, Load, Verdict};
use calldata_testkit::program::{Ended, Place, Served, eventually};

use super::{BOTS, PATIENCE, alone, ready, times};

/// Without this only root may trace the program.
const TRACEABLE: &str = "CALLDATA_CORE_DUMPS";

/// A log that a commit has to end.
const LONG_LOG_BYTES: u64 = 4_200 * 4_120;

/// Acknowledgements after a fault that prove that the gateway goes on.
const GOES_ON: usize = 20;

/// How many processes ended by themselves, and how many went on.
#[derive(Default)]
struct Fates {
    ended: u32,
    went_on: u32,
}

impl fmt::Display for Fates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ended, went_on } = self;
        write!(f, "{} faults, {ended} times the gateway ended with a line, {went_on} times it went on", ended + went_on)
    }
}

#[test]
fn a_failed_sync_loses_nothing() {
    alone(async {
        let faults: Vec<_> = (1..=times(8, 40)).map(|n| format!("fdatasync,fsync:error=EIO:when={n}")).collect();
        let (fates, verdict) = under(&faults).await;
        assert!(fates.ended > fates.went_on, "a failed sync stops the process: {fates}");
        println!("EIO on the n-th sync: {fates}; {verdict}");
    });
}

/// The engine would keep this to itself, and begin the log anew over the only good copy.
#[test]
fn a_failed_sync_of_the_database_ends_the_process_whoever_writes_the_log_back() {
    alone(async {
        let database = TestDatabase::new(Engine::Sqlite).await;
        let place = Place::with_database(&database).with(TRACEABLE, "true");
        let credentials = Credentials::make(&place, "c");
        let (mut served, _) = ready(&place).await;
        let mut load = Load::start("long log", served.address, &credentials, BOTS);
        let log = database.file().expect("it is a file").with_extension("db-wal");
        let reader = database.hold_reading().await;
        // Nobody can end this log, so that the commit after it has to.
        eventually("the log is long", PATIENCE, async || std::fs::metadata(&log).is_ok_and(|log| log.len() > LONG_LOG_BYTES)).await;
        let file = database.file().expect("it is a file");
        let injection = Injection::into_thread(served.id(), "group-commit", file, "fdatasync,fsync:error=EIO:when=1", &place.path("calls"));
        reader.let_go().await;
        let mut ended = None;
        let began = std::time::Instant::now();
        while ended.is_none() {
            assert!(began.elapsed() < PATIENCE, "it goes on: {:?}", injection.failed());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            ended = served.ended();
        }
        let ended = ended.unwrap();
        assert!(ended.status == Some(1) && ended.err.contains("failed to make data durable"), "{}", ended.err);
        assert!(injection.failed()[0].contains("calldata.db>"), "{:?}", injection.failed());
        drop(injection);
        load.stop().await;
        let (served, _) = ready(&place).await;
        load.repeat_unknown(served.address).await;
        load.verify(served.address).await.assert_kept();
        served.kill();
    });
}

#[test]
fn a_failed_write_loses_nothing() {
    alone(async {
        let mut faults = Vec::new();
        for n in (1..=times(20, 400)).step_by(usize::try_from(times(5, 1)).unwrap()) {
            faults.extend(["EIO", "ENOSPC"].map(|error| format!("pwrite64:error={error}:when={n}")));
        }
        // A disk that stays broken.
        faults.push("pwrite64:error=EIO:when=9+".into());
        let (fates, verdict) = under(&faults).await;
        println!("EIO and ENOSPC on the n-th write: {fates}; {verdict}");
    });
}

/// Even a start that meets a fault leaves a database that the next one opens.
#[test]
fn a_start_that_meets_a_fault_loses_nothing() {
    alone(async {
        let place = Place::new().with(TRACEABLE, "true");
        let credentials = Credentials::make(&place, "c");
        let (served, _) = ready(&place).await;
        let mut load = Load::start("before", served.address, &credentials, BOTS);
        load.acknowledges(100, PATIENCE).await;
        served.kill();
        load.stop().await;
        load.repeat_unknown(ready(&place).await.0.address).await;
        let (mut fates, mut verdict) = (Fates::default(), Verdict::default());
        let files = ["calldata.db", "calldata.db-wal", "calldata.db-shm"];
        for n in 1..=times(4, 20) {
            for call in ["fdatasync,fsync", "pwrite64", "pread64"] {
                let fault = format!("{call}:error=EIO:when={n}");
                let runner = injection::runner(&fault, &place.path("calls"), &files.map(|file| place.path(file)));
                match place.try_serve(&runner.iter().map(String::as_str).collect::<Vec<_>>()) {
                    Ok(served) => {
                        served.kill();
                        fates.went_on += 1;
                    }
                    Err(ended) => {
                        assert!(!injection::failed(&place.path("calls")).is_empty(), "{ended:?}");
                        ended.failure();
                        fates.ended += 1;
                    }
                }
            }
            let (served, _) = ready(&place).await;
            verdict = load.verify(served.address).await;
            verdict.assert_kept();
            served.kill();
        }
        assert!(fates.ended > 0, "no start met a fault");
        println!("EIO while it starts: {fates}; {verdict}");
    });
}

/// Lets the gateway meet each fault while bots post. It may end or go on; the next one finds everything.
async fn under(faults: &[String]) -> (Fates, Verdict) {
    let place = Place::new().with(TRACEABLE, "true");
    let credentials = Credentials::make(&place, "c");
    let (mut fates, mut total) = (Fates::default(), Verdict::default());
    for (number, fault) in faults.iter().enumerate() {
        let (mut served, _) = ready(&place).await;
        let log = place.path("calls");
        let injection = Injection::into(served.id(), fault, &log);
        let mut load = Load::start(&format!("fault {number}"), served.address, &credentials, BOTS);
        let ended = met(&mut served, &injection, &load).await;
        let calls = injection.calls();
        drop(injection);
        load.stop().await;
        match ended {
            Some(ended) => {
                let last = ended.err.lines().last().unwrap_or_default();
                assert_eq!(ended.status, Some(1), "after {fault}: {}", ended.err);
                assert!(!last.is_empty() && !ended.err.contains("panicked"), "after {fault}: {}", ended.err);
                fates.ended += 1;
                drop(served);
            }
            None => {
                assert!(!is_log_at_stake(&calls), "after {fault}: a failed sync of what the log holds stops the process");
                fates.went_on += 1;
                served.kill();
            }
        }
        let (served, _) = ready(&place).await;
        load.repeat_unknown(served.address).await;
        let verdict = load.verify(served.address).await;
        verdict.assert_kept();
        total.add(verdict);
        served.kill();
        assert_eq!(integrity::of_sqlite(&place.path("calldata.db")).await, "ok", "after {fault}");
    }
    (fates, total)
}

/// Whether a sync failed with something in the log that was not synced before. Other failures of a sync the engine overlooks by itself:
/// of its folder, when it makes the log, and while it moves what the log holds into the database, which it then does once more.
fn is_log_at_stake(calls: &[String]) -> bool {
    let of_log = |call: &str, name: &str| call.contains(name) && call.contains("-wal>");
    let failed = calls.iter().position(|call| of_log(call, "sync(") && call.ends_with("(INJECTED)"));
    failed.is_some_and(|failed| {
        let thread = calls[failed].split(' ').next();
        let before = calls[..failed].iter().rev().filter(|call| call.split(' ').next() == thread);
        let last = before.into_iter().find(|call| of_log(call, "sync(") || of_log(call, "pwrite64("));
        last.is_none_or(|last| of_log(last, "pwrite64("))
    })
}

/// Waits until the fault was met, and the gateway has ended or goes on. A disk that stays broken is given time to be noticed.
async fn met(served: &mut Served, injection: &Injection, load: &Load) -> Option<Ended> {
    let mut ended = None;
    let mut since = None;
    let began = std::time::Instant::now();
    loop {
        ended = ended.or_else(|| served.ended());
        if ended.is_some() {
            assert!(!injection.failed().is_empty(), "it ended without a fault: {ended:?}");
            return ended;
        }
        if !injection.failed().is_empty() {
            let (acknowledged, refused) = *since.get_or_insert_with(|| (load.acknowledged(), load.told().refused));
            let goes_on = load.acknowledged() >= acknowledged + GOES_ON;
            if goes_on || load.told().refused >= refused + 10 * u64::from(BOTS) {
                return None;
            }
        }
        assert!(began.elapsed() < PATIENCE, "the fault was not met");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
