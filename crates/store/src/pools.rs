//! Connections, and which of them are trusted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sea_orm::{DatabaseConnection, DbBackend};
use tokio::time::Instant;

/// A query that was given up after this time may have hung.
const SUSPICIOUS: Duration = Duration::from_secs(1);

/// Connections by what they are for.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    /// For everything that writes beside the group commit.
    pub(crate) writers: Pool,
    /// For everything that only reads.
    pub(crate) readers: Pool,
    /// For readiness, which must not wait for requests.
    pub(crate) probe: Pool,
    /// For upkeep, which takes its time.
    pub(crate) keeper: Pool,
}

/// Connections that are opened when they are needed and thrown away when they are in doubt.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) connection: DatabaseConnection,
    pub(crate) doubt: Doubt,
}

/// When the connections that a pool then had were last found to be broken, or perhaps so.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doubt(Arc<Mutex<Option<Instant>>>);

impl Pool {
    /// How many connections are open, and how many of them idle.
    pub(crate) fn counts(&self) -> (u32, u32) {
        let (open, idle) = match self.connection.get_database_backend() {
            DbBackend::Postgres => {
                let pool = self.connection.get_postgres_connection_pool();
                (pool.size(), pool.num_idle())
            }
            _ => {
                let pool = self.connection.get_sqlite_connection_pool();
                (pool.size(), pool.num_idle())
            }
        };
        (open, u32::try_from(idle).unwrap_or(u32::MAX))
    }
}

impl Doubt {
    pub(crate) fn raise(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection of this age was there already when the doubt arose.
    pub(crate) fn is_about(&self, age: Duration) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|raised| raised.elapsed() <= age)
    }
}

/// A query under way. One that is given up after a while, by us or because its client is gone, may hang in a connection that has
/// stalled.
pub(crate) struct Asked<'a> {
    pool: &'a Pool,
    at: Instant,
    pub(crate) answered: bool,
}

impl<'a> Asked<'a> {
    /// It begins now.
    pub(crate) fn of(pool: &'a Pool) -> Self {
        Self { pool, at: Instant::now(), answered: false }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let is_server = self.pool.connection.get_database_backend() == DbBackend::Postgres;
        if is_server && !self.answered && self.at.elapsed() >= SUSPICIOUS {
            self.pool.doubt.raise();
        }
    }
}
