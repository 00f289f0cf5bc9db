//! A writer that believes what it is told too early: the control without which a cut of the power proves nothing.

use std::path::Path;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

/// A SQLite file that is written with `synchronous=NORMAL`: a commit is in the log, and not yet on the disk.
#[derive(Debug)]
pub struct Careless {
    database: DatabaseConnection,
    acknowledged: u32,
}

impl Careless {
    /// An empty file.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn create(file: &Path) -> Self {
        let database = open(file).await;
        for statement in ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", "CREATE TABLE kept (number INTEGER PRIMARY KEY)"] {
            database.execute_unprepared(statement).await.expect("the file can be written");
        }
        // The table itself reaches the disk.
        database.execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)").await.expect("the log can be emptied");
        Self { database, acknowledged: 0 }
    }

    /// Commits so many rows, each by itself.
    ///
    /// # Panics
    /// When a commit is not acknowledged.
    pub async fn commit(&mut self, rows: u32) {
        for _ in 0..rows {
            let statement = format!("INSERT INTO kept VALUES ({})", self.acknowledged);
            self.database.execute_unprepared(&statement).await.expect("the commit is acknowledged");
            self.acknowledged += 1;
        }
    }

    /// How many commits were acknowledged. The file is left as a process leaves it that is killed, if its disk has no power any more.
    pub async fn abandon(self) -> u32 {
        // Whatever closing may still want to write, there is nothing that takes it.
        let _ = self.database.close().await;
        self.acknowledged
    }
}

/// How many rows of a file there are.
///
/// # Panics
/// When it cannot be read.
pub async fn rows_of(file: &Path) -> u32 {
    let database = open(file).await;
    let question = Statement::from_string(DbBackend::Sqlite, "SELECT count(*) AS found FROM kept");
    let row = database.query_one_raw(question).await.expect("the file can be read").expect("a count is one row");
    database.close().await.expect("the connection closes");
    row.try_get("", "found").expect("a count is a number")
}

async fn open(file: &Path) -> DatabaseConnection {
    let mut options = sea_orm::ConnectOptions::new(format!("sqlite://{}?mode=rwc", file.display()));
    options.max_connections(1).sqlx_logging(false);
    sea_orm::Database::connect(options).await.expect("the file opens")
}
