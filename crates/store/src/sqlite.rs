//! What is asked of SQLite most, past the pools, by threads that each keep a connection of their own; and the pools themselves.
//! Everything else goes through sea-orm. A statement here is prepared once and costs a few microseconds; on the way through a pool it
//! would cost the way ten times as much as the statement (docs/performance.md).

pub(crate) mod connection;
pub(crate) mod history;
pub(crate) mod lookups;
pub(crate) mod pool;
pub(crate) mod readers;
pub(crate) mod writer;
