//! A program that nobody asks to stop.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Instant;

use super::{BufRead, BufReader, Ended, PATIENCE, PAUSE, Place, Served, program};

impl Place {
    /// Starts `serve` on a free port, run by `runner` and its arguments where there are any; the runner becomes the program, as
    /// `strace -D` does.
    ///
    /// # Errors
    /// How it ended, when it ends instead of serving.
    ///
    /// # Panics
    /// When it does neither.
    pub fn try_serve(&self, runner: &[&str]) -> Result<Served, Ended> {
        let command = match runner {
            [] => Command::new(program()),
            [name, arguments @ ..] => {
                let mut command = Command::new(name);
                command.args(arguments).arg(program());
                command
            }
        };
        let log = self.path("log");
        let file = std::fs::File::create(&log).expect("files can be written in the folder");
        let mut command = self.given(command, &["serve", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdin(Stdio::null()).stderr(file).spawn().expect("the program starts");
        let out = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        let (say, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).all(|line| say.send(line).is_ok()));
        let mut served = Served { child, lines, log, address: SocketAddr::from(([0; 4], 0)) };
        let began = Instant::now();
        loop {
            match served.lines.recv_timeout(PAUSE) {
                Ok(line) => {
                    let address = line.strip_prefix("listening on http://").and_then(|address| address.parse().ok());
                    served.address = address.expect("the first line says where it listens");
                    return Ok(served);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    if let Some(ended) = served.ended() {
                        return Err(ended);
                    }
                }
            }
            assert!(began.elapsed() < PATIENCE, "the program neither serves nor ends: {}", served.logged());
        }
    }
}

impl Served {
    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it (`kill -9`), without a chance to finish anything.
    ///
    /// # Panics
    /// When it had ended before.
    pub fn kill(mut self) {
        assert_eq!(self.ended().map(|ended| (ended.status, ended.err)), None, "it ended before it was killed");
        drop(self);
    }

    /// How it ended, when it has by itself.
    ///
    /// # Panics
    /// When its log cannot be read.
    pub fn ended(&mut self) -> Option<Ended> {
        let status = self.child.try_wait().expect("the process is a child of ours")?;
        Some(Ended { status: status.code(), out: String::new(), err: self.logged() })
    }

    /// What it has written on standard error.
    ///
    /// # Panics
    /// When that cannot be read.
    pub fn logged(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).expect("the log can be read")).into_owned()
    }
}
