//! The ports of [`calldata_core`] on sea-orm, for SQLite and PostgreSQL.
//!
//! Rooms: [`connection`] opens a database and proves that it keeps its promises; [`database`] holds its connections and what happens
//! when they fail; [`group_commit`] and [`write_queue`] put many writes into one commit;
//! [`read_turns`] shares the readers out; [`postgres`] holds what a server is asked most, in statements of its own; [`elsewhere`] is what instances tell each other, [`upkeep`] keeps files and clocks in order; `session_store` and `directory_store` implement
//! the ports; `entity` and `row` are what a table holds and stay private. Arrows: core and migrations, nothing else of ours.
//!
//! To add a column: a migration, the field in `entity`, and the compiler leads through `row`.

mod connection;
mod database;
mod directory_store;
mod elsewhere;
mod entity;
mod error;
mod group_commit;
mod memory;
mod migration;
mod postgres;
mod read_turns;
mod row;
mod search_key;
mod session_deletes;
mod session_reads;
mod session_store;
mod session_writes;
mod sqlite;
mod upkeep;
mod write_queue;

pub use connection::{OpenError, Url};
pub use database::Database;
pub use migration::{Direction, MigrationState};
