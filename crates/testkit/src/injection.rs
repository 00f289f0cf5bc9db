//! Calls of the system that fail where a test says so, by `strace`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Faults that a running process meets, until this is dropped.
#[derive(Debug)]
pub struct Injection {
    tracer: Child,
    log: PathBuf,
}

impl Injection {
    /// From now on calls of this process fail: `fault` is what follows `-e inject=`, for instance `fdatasync:error=EIO:when=3`, the
    /// third call of each thread. The log of the calls is a file of that name.
    ///
    /// # Panics
    /// When there is no `strace`, or it may not do this.
    pub fn into(process: u32, fault: &str, log: &Path) -> Self {
        let mut strace = Command::new("strace");
        strace.arg("-f");
        Self::by(strace, process, fault, log)
    }

    /// The same for the calls of one thread, which has this name, about one file.
    ///
    /// # Panics
    /// As [`Injection::into`], and when there is no such thread.
    pub fn into_thread(process: u32, thread: &str, file: &Path, fault: &str, log: &Path) -> Self {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("the process lives").map_while(Result::ok);
        let named = tasks.filter(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == thread));
        let ids: Vec<u32> = named.filter_map(|task| task.file_name().to_string_lossy().parse().ok()).collect();
        let [id] = ids[..] else { unreachable!("there is not one thread {thread}: {ids:?}") };
        let mut strace = Command::new("strace");
        strace.arg("-P").arg(file);
        Self::by(strace, id, fault, log)
    }

    fn by(mut strace: Command, process: u32, fault: &str, log: &Path) -> Self {
        let (calls, _) = fault.split_once(':').expect("a fault names its calls first");
        strace.args(["-y", "-e", &format!("trace={calls},pwrite64"), "-e", &format!("inject={fault}")]);
        strace.args(["-p", &process.to_string()]).arg("-o").arg(log).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut tracer = strace.spawn().expect("strace is needed; scripts/test installs it");
        let said = BufReader::new(tracer.stderr.take().expect("standard error is a pipe")).lines();
        let mut complaints = Vec::new();
        for line in said.map_while(Result::ok) {
            if line.contains(" attached") {
                return Self { tracer, log: log.to_owned() };
            }
            complaints.push(line);
        }
        let _ = tracer.wait();
        unreachable!("strace cannot trace a process here (is ptrace allowed?): {}", complaints.join("; "))
    }

    /// All calls by now, and all writes, each with the path that it was about; a line begins with its thread.
    ///
    /// # Panics
    /// When the log cannot be read.
    pub fn calls(&self) -> Vec<String> {
        std::fs::read_to_string(&self.log).expect("strace writes a log").lines().map(str::to_owned).collect()
    }

    /// The calls that failed by now, each with the path that it was about.
    ///
    /// # Panics
    /// When the log cannot be read.
    pub fn failed(&self) -> Vec<String> {
        failed(&self.log)
    }
}

/// What to run a program by, so that calls about these files fail from the start as in [`Injection::into`].
///
/// # Panics
/// When a path is no text.
pub fn runner(fault: &str, log: &Path, files: &[PathBuf]) -> Vec<String> {
    let (calls, _) = fault.split_once(':').expect("a fault names its calls first");
    let path = |path: &Path| path.to_str().expect("temporary folders have names that are text").to_owned();
    // The program takes the place of its runner, and strace is the child.
    let mut runner: Vec<_> = ["strace", "-D", "-f", "-o"].map(str::to_owned).into();
    runner.extend([path(log), "-e".into(), format!("trace={calls}"), "-e".into(), format!("inject={fault}")]);
    runner.extend(files.iter().flat_map(|file| ["-P".into(), path(file)]));
    runner
}

/// The calls that failed by a log of calls.
///
/// # Panics
/// When it cannot be read.
pub fn failed(log: &Path) -> Vec<String> {
    let log = std::fs::read_to_string(log).expect("strace writes a log");
    log.lines().filter(|line| line.ends_with("(INJECTED)")).map(str::to_owned).collect()
}

impl Drop for Injection {
    fn drop(&mut self) {
        // The process goes on without it.
        let _ = self.tracer.kill();
        let _ = self.tracer.wait();
    }
}
