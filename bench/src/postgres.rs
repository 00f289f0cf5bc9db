//! The throwaway PostgreSQL that `scripts/bench-postgres` started, with the durability that it is shipped with.

use std::process::Command;

use crate::Result;
use crate::processes::Family;
use crate::stores::output;

/// A server.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// Without the name of a database.
    base: String,
    /// Its first process.
    pid: u32,
}

impl Postgres {
    /// The one that the environment tells of.
    ///
    /// # Errors
    /// When it gives up durability for speed.
    pub fn find() -> Result<Option<Self>> {
        let (Ok(base), Ok(pid)) = (std::env::var("CALLDATA_BENCH_POSTGRES_URL"), std::env::var("CALLDATA_BENCH_POSTGRES_PID")) else {
            return Ok(None);
        };
        let server = Self { base, pid: pid.parse()? };
        for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
            if server.ask("postgres", &format!("SHOW {setting}"))? != "on" {
                return Err(format!("PostgreSQL has {setting} switched off: it would be measured without its durability").into());
            }
        }
        Ok(Some(server))
    }

    /// All its processes.
    pub fn processes(&self) -> Family {
        Family::Children(self.pid)
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("{}/{database}", self.base)
    }

    /// A `psql` that stops at the first error.
    pub fn psql(&self, database: &str) -> Command {
        let mut command = Command::new("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url(database)]);
        command
    }

    /// What a statement gives, as text.
    ///
    /// # Errors
    /// When it fails.
    pub fn ask(&self, database: &str, statement: &str) -> Result<String> {
        let mut command = self.psql(database);
        command.args(["-c", statement]);
        Ok(output(command, b"")?.trim().to_owned())
    }

    /// Makes an empty database in place of the one of that name.
    ///
    /// # Errors
    /// When it cannot.
    pub fn make_database(&self, name: &str) -> Result {
        self.drop_database(name)?;
        self.ask("postgres", &format!("CREATE DATABASE {name}")).map(drop)
    }

    /// Deletes a database, if there is one of that name.
    ///
    /// # Errors
    /// When it cannot.
    pub fn drop_database(&self, name: &str) -> Result {
        self.ask("postgres", &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).map(drop)
    }
}
