//! Running what is measured: as programs of their own, on loopback, each in a process group of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::contender::{Contender, Engine};
use crate::postgres::Postgres;
use crate::processes::{Family, Memory};
use crate::stores::Store;
use crate::{Result, wire};

/// How long a server may take to answer first, and to stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// Signs tokens on PostgreSQL, where the gateway wants to be told.
const TOKEN_SECRET: &str = "a token secret for measuring, 32 bytes or more";

/// Where everything is: the programs that were built, the peers, and room for data on the same disk.
#[derive(Clone, Debug)]
pub struct Folder {
    programs: PathBuf,
    checkout: PathBuf,
    data: PathBuf,
}

impl Folder {
    /// Beside this very program, in the folder of the build, which is on a disk.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make() -> Result<Self> {
        let programs = std::env::current_exe()?.parent().ok_or("this program is nowhere")?.to_owned();
        let data = programs.parent().ok_or("this program is nowhere")?.join("bench");
        std::fs::create_dir_all(&data)?;
        Ok(Self { programs, checkout: std::env::current_dir()?, data })
    }

    /// Where data is.
    pub fn path(&self) -> &Path {
        &self.data
    }

    /// A program of this workspace, from the same build.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// From its start to its first answer.
    pub started_in: Duration,
    /// Where its metrics are, if it was asked for them.
    pub metrics: Option<SocketAddr>,
    child: Child,
    database: Option<Family>,
}

impl Server {
    /// Starts a contender on its store, and waits for its first answer.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(
        folder: &Folder,
        server: Option<&Postgres>,
        contender: Contender,
        store: Option<&Store>,
        with_metrics: bool,
    ) -> Result<Self> {
        let port = if contender.is_peer() { a_free_port()? } else { 0 };
        let mut command = command(folder, server, contender, store, port)?;
        let metrics = if with_metrics { Some(SocketAddr::from(([127, 0, 0, 1], a_free_port()?))) } else { None };
        if let Some(metrics) = metrics {
            command.args(["--admin-listen", &metrics.to_string()]);
        }
        let log = File::create(folder.data.join(format!("{contender}.log")))?;
        let own_port = port == 0;
        command.process_group(0).stdin(Stdio::null()).stderr(log.try_clone()?);
        command.stdout(if own_port { Stdio::piped() } else { Stdio::from(log) });
        let began = Instant::now();
        let mut child = command.spawn().map_err(|error| format!("{contender} cannot be started: {error}"))?;
        let found = if own_port { told_address(&mut child) } else { Ok(SocketAddr::from(([127, 0, 0, 1], port))) };
        let database = server.filter(|_| contender.engine() == Some(Engine::Postgres)).map(Postgres::processes);
        let mut this = Self { address: SocketAddr::from(([127, 0, 0, 1], port)), started_in: Duration::ZERO, metrics, child, database };
        this.address = found.map_err(|error| format!("{contender} does not start, see its log: {error}"))?;
        // A peer has no page for this; that it answers is enough.
        while !answers(this.address) {
            if began.elapsed() > PATIENCE || this.child.try_wait()?.is_some() {
                return Err(format!("{contender} does not answer, see its log").into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        this.started_in = began.elapsed();
        if contender.is_peer() {
            // Both processes should be there.
            std::thread::sleep(Duration::from_millis(700));
        }
        Ok(this)
    }

    fn group(&self) -> Family {
        Family::Group(self.child.id())
    }

    /// Its processor time so far, with that of the database server it uses.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub fn cpu(&self) -> Result<Duration> {
        let database = self.database.map_or(Ok(Duration::ZERO), Family::cpu)?;
        Ok(self.group().cpu()? + database)
    }

    /// Its memory, without that of a database server.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub fn memory(&self) -> Result<Memory> {
        self.group().memory()
    }

    /// Stops it, and waits until it is gone.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn stop(mut self) -> Result {
        if let Some(status) = self.child.try_wait()? {
            return Err(format!("a server ended by itself: {status}; see its log").into());
        }
        self.end();
        Ok(())
    }

    /// Asks all its processes to end, and makes them.
    fn end(&mut self) {
        let Ok(raw) = i32::try_from(self.child.id()) else { return };
        let Some(group) = Pid::from_raw(raw) else { return };
        let began = Instant::now();
        let _ = kill_process_group(group, Signal::TERM);
        while matches!(self.child.try_wait(), Ok(None)) {
            if began.elapsed() > PATIENCE {
                let _ = kill_process_group(group, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // Workers that outlived the first process.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end();
        }
    }
}

fn command(folder: &Folder, server: Option<&Postgres>, contender: Contender, store: Option<&Store>, port: u16) -> Result<Command> {
    let peers = folder.checkout.join("bench/peers");
    let url = |kind: &str| -> Result<String> {
        match (store, server) {
            (Some(Store::File(file)), _) => Ok(format!("{}{}", if kind == "gateway" { "sqlite://" } else { "" }, file.display())),
            (Some(Store::Database(name)), Some(server)) => Ok(server.url(name)),
            _ => Err("there is no database to start on".into()),
        }
    };
    let mut command;
    match contender {
        Contender::Bare => command = Command::new(folder.program("bare")),
        Contender::Gateway(_) => {
            command = Command::new(folder.program("calldata-gateway"));
            clean(&mut command, folder).args(["serve", "--listen", "127.0.0.1:0", "--database-url", &url("gateway")?]);
        }
        Contender::FastApi(engine) => {
            command = Command::new(folder.checkout.join(".tools/bench/bin/uvicorn"));
            let port = port.to_string();
            command.args(["app:app", "--workers", "2", "--loop", "uvloop", "--http", "httptools", "--host", "127.0.0.1", "--port", &port]);
            command.args(["--no-access-log", "--log-level", "warning"]).current_dir(peers.join("fastapi"));
            let url = url("peer")?;
            let (path, scheme) = match engine {
                Engine::Sqlite => (url.as_str(), "sqlite+aiosqlite:///"),
                Engine::Postgres => (url.strip_prefix("postgres://").ok_or("an unknown URL")?, "postgresql+asyncpg://"),
            };
            command.env("DATABASE_URL", format!("{scheme}{path}"));
        }
        Contender::Fastify(_) => {
            command = Command::new("node");
            command.args(["app.mjs"]).current_dir(peers.join("node"));
            command.env("DATABASE", url("peer")?).env("PORT", port.to_string()).env("NODE_ENV", "production");
        }
    }
    Ok(command)
}

/// Keeps settings of whoever runs this from the gateway.
pub fn clean<'a>(command: &'a mut Command, folder: &Folder) -> &'a mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CALLDATA_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder.path()).env("CALLDATA_TOKEN_SECRET", TOKEN_SECRET)
}

/// Whether a port is free is only known for the moment.
fn a_free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// What a server of ours says first.
fn told_address(child: &mut Child) -> Result<SocketAddr> {
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
    output.read_line(&mut line)?;
    // Kept open: a program that finds nobody to talk to may end.
    child.stdout = Some(output.into_inner());
    let address = line.trim().rsplit_once("http://").ok_or("it does not say where it listens")?.1.parse()?;
    Ok(address)
}

fn answers(address: SocketAddr) -> bool {
    let attempt = || -> std::io::Result<usize> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&wire::get("/livez"))?;
        stream.read(&mut [0; 1024])
    };
    attempt().is_ok_and(|read| read > 0)
}
