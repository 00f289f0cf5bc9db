//! What is asked of PostgreSQL most, past the pools: by tasks that each keep a connection of their own, in statements whose text never
//! changes. A pool asks every connection that comes back whether it is well, which is a second question to the server; and a text that
//! changes with the number of rows is read and planned anew each time.

use std::sync::Arc;
use std::time::Duration;

use calldata_core::{CallId, CallerKey, Scope, Session, StoreError};
use sea_orm::SqlxError;

pub(crate) mod history;
mod line;
mod lookups;
pub(crate) mod pool;
mod writes;

pub(crate) use line::Server;
pub(crate) use writes::WriteLine;

use crate::error::{db_err, of_statement};
use lookups::Lookups;

/// What is acknowledged is durable, also where the server's default is not to wait for the disk. A setting that waits for more than the
/// disk is left as it is.
const DURABLE_COMMIT: &str = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";
/// A connection that nobody used for so long is asked whether it is well.
const IDLE: Duration = Duration::from_secs(5);
/// And it has so long to say so.
const PING_TIMEOUT: Duration = Duration::from_millis(500);

/// How many lookups are under way at a time; each has a connection of its own. With two, one is asked while the other is answered.
const NEWEST_LINES: usize = 2;
const CALL_LINES: usize = 1;

/// The lookups that most requests are, each shared by all that wait for it.
#[derive(Debug)]
pub(crate) struct SharedReads {
    newest: Lookups,
    calls: Lookups,
}

impl SharedReads {
    /// Starts the tasks that ask; they end when this is dropped.
    pub(crate) fn start(server: &Server) -> Arc<Self> {
        Arc::new(Self {
            newest: Lookups::start(server, lookups::NEWEST, NEWEST_LINES),
            calls: Lookups::start(server, lookups::HAS_CALL, CALL_LINES),
        })
    }

    /// See [`calldata_core::SessionStore::newest`].
    pub(crate) async fn newest(&self, scope: Scope, call: &CallId, caller: &CallerKey) -> Result<Option<Session>, StoreError> {
        // No stored caller holds it, and the server would refuse all that are asked for together.
        if caller.as_str().contains('\0') {
            return Ok(None);
        }
        let row = self.newest.ask(scope, call, caller.as_str()).await?;
        row.map(|row| lookups::session(&row, scope, call, caller)).transpose()
    }

    /// See [`calldata_core::SessionStore::has_call`].
    pub(crate) async fn has_call(&self, scope: Scope, call: &CallId) -> Result<bool, StoreError> {
        Ok(self.calls.ask(scope, call, "").await?.is_some())
    }
}

/// The error of a statement that changed nothing.
fn of_driver(error: SqlxError) -> StoreError {
    of_statement(db_err(error))
}
