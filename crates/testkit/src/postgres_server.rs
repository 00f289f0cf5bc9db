//! A PostgreSQL server that may be killed: its own cluster with durable settings, unlike the one that all other tests share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use tempfile::TempDir;

/// Ports that are tried; outside of the range that outgoing connections use.
const PORTS: std::ops::Range<u16> = 14_000..20_000;
const USER: &str = "postgres";

/// A server that runs, or that was stopped and may be started again on the same port. It is stopped and deleted when it is dropped.
#[derive(Debug)]
pub struct PostgresServer {
    folder: TempDir,
    bin: PathBuf,
    port: u16,
}

impl PostgresServer {
    /// A server that runs. Whatever it acknowledges is on the disk.
    ///
    /// # Panics
    /// When there is no PostgreSQL, or it does not start.
    pub fn start() -> Self {
        // Not below TMPDIR: the server's user may not get there, and a socket's path is short.
        let folder = tempfile::Builder::new().prefix("calldata-durable.").tempdir_in("/tmp").expect("a temporary folder can be made");
        let mut server = Self { folder, bin: newest(), port: 0 };
        if is_root() {
            let owned = Command::new("chown").arg(format!("{USER}:")).arg(server.folder.path()).output();
            assert!(owned.is_ok_and(|owned| owned.status.success()), "the server's user needs a folder");
        }
        let data = server.data().display().to_string();
        server.must("initdb", &["--pgdata", &data, "--username", USER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        let first = u16::try_from(std::process::id() % 5_000).unwrap_or_default();
        for port in PORTS.start + first..PORTS.end {
            server.port = port;
            // Whether a port is free is only known once it is taken.
            if server.run("pg_ctl", &server.starting()).status.success() {
                return server;
            }
        }
        unreachable!("PostgreSQL does not start: {}", fs::read_to_string(server.folder.path().join("log")).unwrap_or_default())
    }

    /// The port on which it listens, on the loopback interface alone.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of its database by way of a port, its own or that of somebody in between.
    pub fn url_by(port: u16) -> String {
        format!("postgres://{USER}@127.0.0.1:{port}/postgres")
    }

    /// Kills the server and all its processes (`kill -9`).
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&self) {
        let pid = fs::read_to_string(self.data().join("postmaster.pid")).expect("it runs");
        let postmaster: u32 = pid.lines().next().and_then(|line| line.parse().ok()).expect("the first line is its process");
        let mut all = vec![postmaster];
        all.extend(children_of(postmaster));
        let pids: Vec<_> = all.iter().map(ToString::to_string).collect();
        // Some may be gone once the first one is.
        let _ = Command::new("kill").arg("-9").args(&pids).output().expect("kill is there");
        // Whoever starts it again must not meet those who are still dying.
        while !all.iter().all(|pid| is_dead(*pid)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        // A process that nobody has buried yet would count as running.
        for lock in [self.data().join("postmaster.pid"), self.folder.path().join(format!(".s.PGSQL.{}.lock", self.port))] {
            fs::remove_file(lock).expect("who is killed leaves it behind");
        }
    }

    /// Starts it again on its port, and waits until it answers.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&self) {
        self.must("pg_ctl", &self.starting());
    }

    /// Restarts it in order: whoever is connected is thrown out.
    ///
    /// # Panics
    /// When it does not restart.
    pub fn restart(&self) {
        self.must("pg_ctl", &["restart", "--pgdata", &self.data().display().to_string(), "--mode=fast", "--silent", "--wait"]);
    }

    /// How many connections a program has, as the server counts.
    ///
    /// # Panics
    /// When it does not say.
    pub async fn connections_of(&self, application: &str) -> i64 {
        let server = self.connect().await;
        let question = Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT count(*) AS found FROM pg_stat_activity WHERE application_name LIKE $1",
            [format!("{application}%").into()],
        );
        let row = server.query_one_raw(question).await.expect("the server answers").expect("a count is one row");
        server.close().await.expect("the connection closes");
        row.try_get("", "found").expect("a count is a number")
    }

    async fn connect(&self) -> DatabaseConnection {
        let mut options = sea_orm::ConnectOptions::new(Self::url_by(self.port));
        options.max_connections(1).sqlx_logging(false);
        sea_orm::Database::connect(options).await.expect("the server answers")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Arguments of `pg_ctl`.
    fn starting(&self) -> [String; 8] {
        let folder = self.folder.path().display();
        let options = format!("-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={folder}", self.port);
        let data = format!("--pgdata={}", self.data().display());
        let [start, silent, wait, timeout] = ["start", "--silent", "--wait", "--timeout=60"].map(str::to_owned);
        [start, data, format!("--log={folder}/log"), silent, wait, timeout, "--options".into(), options]
    }

    /// Runs a program of PostgreSQL's, which all refuse to run as root.
    fn run(&self, name: &str, arguments: &[impl AsRef<str>]) -> Output {
        let mut command = Command::new(if is_root() { Path::new("runuser").into() } else { self.bin.join(name) });
        if is_root() {
            command.args(["-u", USER, "--"]).arg(self.bin.join(name));
        }
        // What it leaves running must not keep our pipes.
        let log = fs::File::create(self.folder.path().join("said")).expect("the folder can be written");
        let status = command.args(arguments.iter().map(AsRef::as_ref)).current_dir(self.folder.path());
        let status = status.stdin(std::process::Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log).status();
        let stderr = fs::read(self.folder.path().join("said")).unwrap_or_default();
        Output { status: status.expect("PostgreSQL's programs start"), stdout: Vec::new(), stderr }
    }

    fn must(&self, name: &str, arguments: &[impl AsRef<str>]) {
        let done = self.run(name, arguments);
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        assert!(done.status.success(), "{name} fails: {}\n{log}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // It may be stopped already.
        self.run("pg_ctl", &["stop", "--pgdata", &self.data().display().to_string(), "--mode=immediate", "--silent"]);
    }
}

/// The programs of the newest PostgreSQL that is there.
fn newest() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is needed; scripts/test installs it");
    let found = versions.filter_map(|version| Some(version.ok()?.path().join("bin"))).filter(|bin| bin.join("initdb").exists());
    let number = |bin: &PathBuf| bin.parent().and_then(Path::file_name).and_then(|name| name.to_str()?.parse::<u32>().ok());
    found.max_by_key(number).expect("PostgreSQL is needed; scripts/test installs it")
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The fields of a process that follow its name.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // A name may hold anything, even a bracket.
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn is_dead(pid: u32) -> bool {
    stat(pid).is_none_or(|fields| fields.first().is_none_or(|state| state == "Z"))
}

fn children_of(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("processes can be listed");
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|fields| fields.get(1) == Some(&parent.to_string()))).collect()
}
