//! The ports of [`calldata_core`] on sea-orm, for SQLite and PostgreSQL.
//!
//! Rooms: [`connection`] opens a database and proves that it keeps its promises; [`database`] is what is open then, with its [`pools`],
//! and [`transact`] writes in transactions. What is asked most goes past the pools: [`engine`] has who does that, [`group_commit`] puts
//! many writes into one commit, [`sqlite`] and [`postgres`] hold the statements, [`memory`] what is known of a file without asking,
//! [`fair_queue`] and [`read_turns`] share it out among tenants. [`elsewhere`] is what instances tell each other, [`epoch`] tells histories of a
//! database apart, [`upkeep`] keeps files
//! and clocks in order; [`copy`] takes all of it to another database; `session_store`, `directory_store` and `webhook_store` implement the ports; `entity` and `row` are what a table holds and stay
//! private. Arrows: core and migrations, nothing else of ours.
//!
//! To add a column: a migration, the field in `entity`, and the compiler leads through `row`.

mod audit_store;
mod catalog;
mod catalog_writes;
mod connection;
mod copy;
mod database;
mod directory_store;
mod disk_reserve;
mod elsewhere;
mod engine;
mod entity;
mod epoch;
mod erasures;
mod error;
mod fair_queue;
mod group_commit;
mod memory;
mod migration;
mod open_erasures;
mod outbox;
mod pools;
mod postgres;
mod quota;
mod read_turns;
mod row;
mod search_key;
mod session_deletes;
mod session_reads;
mod session_store;
mod session_writes;
mod sqlite;
mod time_marks;
mod transact;
mod upkeep;
mod webhook_deliveries;
mod webhook_row;
mod webhook_store;

pub use connection::{FileState, OpenError, Url};
pub use copy::{Contents, CopyError};
pub use database::Database;
pub use migration::{Direction, Loss, MigrationState, Reversal};

/// A new database in a file, for tests of how it is asked.
#[cfg(test)]
async fn migrated() -> (tempfile::TempDir, Database) {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let url = Url::parse(&format!("sqlite://{}", folder.path().join("calldata.db").display())).expect("this is a URL");
    let database = Database::open(&url).await.expect("a file can be opened");
    database.migrate(Direction::Up).await.expect("it takes the schema");
    (folder, database)
}

#[cfg(test)]
impl Database {
    /// The steps by which SQLite would do what a statement says.
    async fn plan(&self, statement: &str) -> Vec<String> {
        use sea_orm::ConnectionTrait;
        let question = sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, format!("EXPLAIN QUERY PLAN {statement}"));
        let steps = self.readers().query_all_raw(question).await.expect("the statement can be planned");
        steps.iter().map(|step| step.try_get("", "detail").expect("a step has a text")).collect()
    }
}
