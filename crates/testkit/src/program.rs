//! The program itself, as a process of its own.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::engine::TestDatabase;
use crate::memory_cgroup::MemoryCgroup;

mod killed;

/// What tokens are signed with where a test does not say otherwise.
const TOKEN_SECRET: &str = "another token secret for tests, 32 bytes or more";
/// Longer than anything takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// The program, built once.
///
/// # Panics
/// When it cannot be built.
fn program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let test = env::current_exe().expect("a test knows where it is");
        let folder = test.parent().and_then(Path::parent).expect("tests are in a folder beside the program");
        let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).args(["build", "--quiet", "--workspace", "--locked"]);
        // What cargo tells a test about its package; build scripts that look at it would run again, and half of everything after them.
        for (name, _) in env::vars_os() {
            if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_"].iter().any(|about| name.to_string_lossy().starts_with(about)) {
                build.env_remove(name);
            }
        }
        if folder.ends_with("release") {
            build.arg("--release");
        }
        let built = build.output().expect("cargo starts");
        assert!(built.status.success(), "the program cannot be built: {}", String::from_utf8_lossy(&built.stderr));
        folder.join("calldata-gateway")
    })
}

/// A folder in which the program runs, and the environment it sees. Nothing of the outside's settings is among it.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
    environment: BTreeMap<String, String>,
}

impl Place {
    /// An empty folder.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder can be made"), environment: BTreeMap::new() }
    }

    /// An empty folder, and the settings for this database.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn with_database(database: &TestDatabase) -> Self {
        Self::new().with("CALLDATA_DATABASE_URL", database.url()).with("CALLDATA_TOKEN_SECRET", TOKEN_SECRET)
    }

    /// The same with an environment variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// The same without an environment variable.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Where a file of that name is, or would be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).expect("files can be written in the folder");
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it cannot be started, or what it prints is no text.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with_input(arguments, "")
    }

    /// Runs a command to its end, with this on its standard input.
    ///
    /// # Panics
    /// When it cannot be started, or what it prints is no text.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Ended {
        Self::run_to_end(self.command(arguments), arguments, input)
    }

    fn run_to_end(mut command: Command, arguments: &[&str], input: &str) -> Ended {
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        // A command that does not read its input may be gone already.
        let _ = child.stdin.take().expect("standard input is a pipe").write_all(input.as_bytes());
        let read = |mut from: Box<dyn Read + Send>| {
            std::thread::spawn(move || {
                let mut text = String::new();
                from.read_to_string(&mut text).map(|_| text).expect("what is printed is text")
            })
        };
        let out = read(Box::new(child.stdout.take().expect("standard output is a pipe")));
        let err = read(Box::new(child.stderr.take().expect("standard error is a pipe")));
        let status = wait_for(&mut child);
        if status.is_none() {
            // It is a child of ours, and the test fails in the next line.
            let _ = child.kill();
        }
        let (out, err) = (out.join().expect("it was read"), err.join().expect("it was read"));
        let status = status.unwrap_or_else(|| unreachable!("{arguments:?} does not end: {out}{err}"));
        Ended { status: status.code(), out, err }
    }

    /// Runs a command on a terminal to its end, with this typed in; standard output has what the terminal shows.
    ///
    /// # Panics
    /// When it cannot be started: `script`, which makes the terminal, is part of every Debian.
    pub fn run_on_terminal(&self, arguments: &[&str], typed: &str) -> Ended {
        let program = program().to_string_lossy();
        let words = [&[&*program], arguments].concat();
        let command = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect::<Vec<_>>().join(" ");
        let mut script = Command::new("script");
        script.env("SHELL", "/bin/sh");
        let arguments = ["--quiet", "--return", "--command", &command, "/dev/null"];
        Self::run_to_end(self.given(script, &arguments), &arguments, typed)
    }

    /// Starts `serve` on a free port; further arguments are passed on.
    ///
    /// # Panics
    /// When it does not serve.
    pub fn serve(&self, arguments: &[&str]) -> Served {
        self.start("serve", arguments)
    }

    /// Starts `serve` on a free port, in a process that may have no more open files than this.
    ///
    /// # Panics
    /// When it does not serve.
    pub fn serve_limited(&self, open_files: u32, arguments: &[&str]) -> Served {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {open_files} && exec \"$0\" \"$@\"")]).arg(program());
        self.start_by(shell, "serve", arguments)
    }

    /// Starts `serve` on a free port, in this control group.
    ///
    /// # Panics
    /// When it does not serve.
    pub fn serve_within(&self, cgroup: &MemoryCgroup, arguments: &[&str]) -> Served {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("echo $$ > {} && exec \"$0\" \"$@\"", cgroup.door().display())]).arg(program());
        self.start_by(shell, "serve", arguments)
    }

    /// Starts `serve` or `demo` on a free port.
    ///
    /// # Panics
    /// When it does not serve.
    pub fn start(&self, command: &str, arguments: &[&str]) -> Served {
        self.start_by(Command::new(program()), command, arguments)
    }

    fn start_by(&self, starter: Command, command: &str, arguments: &[&str]) -> Served {
        let log = self.path("log");
        let file = std::fs::File::create(&log).expect("files can be written in the folder");
        let arguments = [&[command, "--listen", "127.0.0.1:0"], arguments].concat();
        let mut child = self.given(starter, &arguments).stdin(Stdio::null()).stderr(file).spawn().expect("the program starts");
        let out = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        let (say, lines) = channel();
        // Read to its end, so that the program never waits for us.
        std::thread::spawn(move || out.lines().map_while(Result::ok).all(|line| say.send(line).is_ok()));
        let mut served = Served { child, lines, log, address: SocketAddr::from(([0; 4], 0)) };
        let line = served.line();
        let address = line.strip_prefix("listening on ").and_then(|url| url.split_once("://")?.1.parse().ok());
        served.address = address.expect("the first line says where it listens");
        served
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.given(Command::new(program()), arguments)
    }

    /// A command that begins like this, with these arguments, in this place.
    fn given(&self, mut command: Command, arguments: &[&str]) -> Command {
        let ours = env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("CALLDATA_"));
        ours.for_each(|name| {
            command.env_remove(name);
        });
        command.args(arguments).current_dir(&self.folder).envs(&self.environment).stdout(Stdio::piped());
        command
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; none where a signal ended it.
    pub status: Option<i32>,
    /// What it printed on standard output.
    pub out: String,
    /// What it printed on standard error.
    pub err: String,
}

impl Ended {
    /// What a command printed that went well.
    ///
    /// # Panics
    /// When it did not, or complained.
    #[track_caller]
    pub fn fine(self) -> String {
        assert_eq!((self.status, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }

    /// The one JSON object that a command printed that went well.
    ///
    /// # Panics
    /// When it did not, or printed anything else.
    #[track_caller]
    pub fn json(self) -> Value {
        let out = self.fine();
        assert_eq!(out.lines().count(), 1, "{out}");
        serde_json::from_str(&out).expect("what is printed is JSON")
    }

    /// The one line on standard error of a command that failed (exit status 1).
    ///
    /// # Panics
    /// When it did not fail, or said more or less than one line.
    #[track_caller]
    pub fn failure(self) -> String {
        assert_eq!((self.status, self.err.lines().count()), (Some(1), 1), "{self:?}");
        self.err.trim_end().to_owned()
    }
}

/// The program while it serves. It is killed where a test forgets, or fails before, [`Served::stop`].
#[derive(Debug)]
pub struct Served {
    /// Where it serves.
    pub address: SocketAddr,
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Served {
    /// A client that checks every answer against the API description.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Where it serves metrics, as it wrote on standard error.
    ///
    /// # Panics
    /// When it has not written that.
    pub fn admin_address(&self) -> SocketAddr {
        let log = std::fs::read_to_string(&self.log).expect("the log can be read");
        let line = log.lines().find(|line| line.contains("metrics are served")).expect("it says where metrics are served");
        let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
        address.and_then(|address| address.parse().ok()).expect("the line ends with an address")
    }

    /// The next line that it prints on standard output.
    ///
    /// # Panics
    /// When there is none within a minute.
    pub fn line(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let why = if error == RecvTimeoutError::Timeout { "in time" } else { "any more" };
            unreachable!("the program does not print a line {why}: {log}")
        })
    }

    /// Asks it to stop, waits until it has (exit status 0), and returns what it wrote on standard error.
    ///
    /// # Panics
    /// When it does not end, or not in order.
    pub fn stop(mut self) -> String {
        self.signal("TERM");
        let status = wait_for(&mut self.child).expect("the program stops when it is asked to");
        let log = self.log();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }

    /// Sends it a signal, by its name without `SIG`.
    ///
    /// # Panics
    /// When it has ended already.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", "kill -\"$0\" \"$1\"", name, &self.child.id().to_string()]).status();
        assert!(sent.expect("a shell starts").success(), "the process is gone already");
    }

    /// Begins anew to measure [`Served::peak_memory_bytes`].
    ///
    /// # Panics
    /// When it has ended.
    pub fn forget_peak_memory(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").expect("the process runs");
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the process is a child of ours").is_none()
    }

    /// The most memory that it has had since it began, or since this was last forgotten, in bytes.
    ///
    /// # Panics
    /// When it has ended.
    pub fn peak_memory_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the system says so");
        let kib: usize = line.trim().trim_end_matches("kB").trim().parse().expect("it is a number");
        kib << 10
    }

    /// What it has written on standard error so far.
    ///
    /// # Panics
    /// When that cannot be read.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log can be read")
    }
}

/// How a child ended; none where it does not within a minute.
fn wait_for(child: &mut Child) -> Option<ExitStatus> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().expect("the process is a child of ours") {
            return Some(status);
        }
        std::thread::sleep(PAUSE);
    }
    None
}

impl Drop for Served {
    fn drop(&mut self) {
        // It has ended already where the test stopped it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `holds` does, no longer than `within`.
///
/// # Panics
/// When it does not hold in time.
pub async fn eventually(what: &str, within: Duration, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < within, "{what}: not within {within:?}");
        tokio::time::sleep(PAUSE).await;
    }
}
