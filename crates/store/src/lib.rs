//! The ports of [`calldata_core`] on sea-orm, for SQLite and PostgreSQL.
//!
//! Rooms: [`connection`] opens a database and proves that it keeps its promises; `session_store` and `directory_store` implement the
//! ports; `entity` and `row` are what a table holds and stay private. Arrows: core and migrations, nothing else of ours.
//!
//! To add a column: a migration, the field in `entity`, and the compiler leads through `row`.

mod connection;
mod directory_store;
mod entity;
mod error;
mod migration;
mod row;
mod search_key;
mod session_reads;
mod session_store;
mod session_writes;

pub use connection::{Database, OpenError, Url};
pub use migration::{Direction, MigrationState};
