//! Gathers lines and writes them together.

use std::io::{self, Write};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How much is gathered before whoever logs has to wait, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// For how long lines are gathered.
const GATHER: Duration = Duration::from_millis(5);
/// Standard error that takes nothing for this long is not waited for any more: lines are dropped and counted until it does.
const STALLED: Duration = Duration::from_secs(1);

static LOG: LazyLock<Gathered> = LazyLock::new(Gathered::default);

/// Starts the thread that writes.
pub(super) fn begin() -> io::Result<()> {
    thread::Builder::new().name("log".into()).spawn(|| LOG.write_for_ever(io::stderr())).map(drop)
}

/// Waits until everything that was logged is written, unless standard error is stalled.
pub(crate) fn flush() {
    LOG.flush();
}

/// Takes one line.
#[derive(Debug, Default)]
pub(super) struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LOG.take(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines that are not written yet.
#[derive(Debug, Default)]
struct Gathered {
    state: Mutex<State>,
    /// There is something to write, and the thread that writes sleeps.
    some: Condvar,
    /// Something was written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    /// Since when the system has been writing the last ones.
    writing: Option<Instant>,
    /// The thread that writes waits to be told.
    sleeps: bool,
    dropped: u64,
}

impl State {
    fn is_stalled(&self) -> bool {
        self.writing.is_some_and(|since| since.elapsed() >= STALLED)
    }
}

impl Gathered {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, line: &[u8]) {
        let mut state = self.lock();
        while !state.lines.is_empty() && state.lines.len() + line.len() > MAX_BYTES {
            // A slow reader slows everything down, as without this thread; one that reads nothing must not bring it to a halt.
            if state.is_stalled() {
                state.dropped += 1;
                return;
            }
            state = self.written.wait_timeout(state, GATHER).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.lines.extend_from_slice(line);
        if state.sleeps {
            state.sleeps = false;
            self.some.notify_one();
        }
    }

    fn flush(&self) {
        let mut state = self.lock();
        while (!state.lines.is_empty() || state.writing.is_some()) && !state.is_stalled() {
            state = self.written.wait_timeout(state, GATHER).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn write_for_ever(&self, mut to: impl Write) {
        let mut lines = Vec::new();
        loop {
            self.write_next(&mut lines, &mut to);
            thread::sleep(GATHER);
        }
    }

    /// Waits for lines, and writes them.
    fn write_next(&self, lines: &mut Vec<u8>, to: &mut impl Write) {
        lines.clear();
        let mut state = self.lock();
        while state.lines.is_empty() {
            state.sleeps = true;
            state = self.some.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.sleeps = false;
        std::mem::swap(&mut state.lines, lines);
        let dropped = std::mem::take(&mut state.dropped);
        state.writing = Some(Instant::now());
        drop(state);
        // Nobody is left to be told that it cannot be written.
        let _ = to.write_all(lines);
        if dropped > 0 {
            let told = format!("{dropped} lines of the log were dropped, for standard error was not read");
            let _ = writeln!(to, "{}", super::bare_line("WARN", &told));
        }
        let _ = to.flush();
        self.lock().writing = None;
        self.written.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// A reader that takes a piece when it is told to.
    struct Pipe(SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map(|()| bytes.len()).map_err(io::Error::other)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log() -> (Arc<Gathered>, Receiver<Vec<u8>>) {
        let (to, read) = sync_channel(0);
        let log = Arc::new(Gathered::default());
        let writes = Arc::clone(&log);
        thread::spawn(move || writes.write_for_ever(Pipe(to)));
        (log, read)
    }

    #[test]
    fn every_line_is_written_in_its_order() {
        let (log, read) = log();
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            while !all.ends_with(b"line 49999\n") {
                all.extend(read.recv().unwrap());
            }
            all
        });
        let lines: Vec<_> = (0..50_000).map(|n| format!("line {n}\n")).collect();
        for line in &lines {
            log.take(line.as_bytes());
        }
        log.flush();
        assert!(log.lock().lines.is_empty(), "all is written");
        assert!(reader.join().unwrap() == lines.concat().as_bytes());
    }

    #[test]
    fn a_reader_that_reads_nothing_stops_nobody_for_long_and_is_told_what_it_missed() {
        let (log, read) = log();
        let line = vec![b'x'; 64 << 10];
        let began = Instant::now();
        (0..100).for_each(|_| log.take(&line));
        log.flush();
        assert!(began.elapsed() < STALLED * 5, "{:?}", began.elapsed());
        let missed = log.lock().dropped;
        assert!(missed > 0);
        let mut all = Vec::new();
        while !all.ends_with(b"not read\n") {
            all.extend(read.recv().unwrap());
        }
        let told = format!("{missed} lines of the log were dropped");
        assert!(String::from_utf8(all).unwrap().contains(&told), "{told}");
    }
}
