//! A connection that one task keeps.

use std::fmt;
use std::time::Duration;

use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection};
use sea_orm::{RuntimeErr, SqlxError};
use tokio::time::Instant;

use super::{DURABLE_COMMIT, IDLE, PING_TIMEOUT};
use crate::connection::POSTGRES_ACQUIRE_TIMEOUT;
use crate::pools::Doubt;

/// Shorter than what is waited for an answer: so it is the server that gives up, and says for certain that nothing happened.
const STATEMENT_TIMEOUT: Duration = Duration::from_millis(2_200);

/// Where the server is, and what is known about the connections to it.
#[derive(Clone)]
pub(crate) struct Server {
    options: PgConnectOptions,
    doubt: Doubt,
}

/// An address may hold a password.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://…")
    }
}

impl Server {
    /// A server, by its URL.
    ///
    /// # Errors
    /// When the URL is none.
    pub(crate) fn parse(url: &str) -> Result<Self, sea_orm::DbErr> {
        let options: PgConnectOptions = url.parse().map_err(|error| sea_orm::DbErr::Conn(RuntimeErr::SqlxError(SqlxError::into(error))))?;
        let timeout_ms = STATEMENT_TIMEOUT.as_millis().to_string();
        // Plans are made once: what is asked never changes but in its values. Compiling one costs more than it can ever give back.
        let options = options.application_name("calldata-gateway").disable_statement_logging().options([
            ("statement_timeout", timeout_ms.as_str()),
            ("plan_cache_mode", "force_generic_plan"),
            ("jit", "off"),
        ]);
        Ok(Self { options, doubt: Doubt::default() })
    }

    /// Another way to the same server, for lookups: every one of them is one range of an index in its order, also on a table that nobody
    /// has taken statistics of.
    pub(crate) fn for_lookups(&self) -> Self {
        let ranges_only = [("enable_seqscan", "off"), ("enable_bitmapscan", "off"), ("enable_sort", "off")];
        Self { options: self.options.clone().options(ranges_only), doubt: self.doubt.clone() }
    }
}

/// A connection that is opened when it is needed, and anew where it is in doubt.
#[derive(Debug)]
pub(crate) struct Line {
    server: Server,
    kept: Option<Open>,
}

/// Who takes it out of its line keeps it there once it is known to be well; otherwise it is closed, without a word to a server that may
/// not listen any more.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) connection: PgConnection,
    since: Instant,
    used: Instant,
}

impl Line {
    pub(crate) fn new(server: Server) -> Self {
        Self { server, kept: None }
    }

    /// The connection, which is well as far as anybody knows.
    ///
    /// # Errors
    /// When there is none and none can be made.
    pub(crate) async fn take(&mut self) -> Result<Open, sea_orm::DbErr> {
        if let Some(mut open) = self.kept.take()
            && !self.server.doubt.is_about(open.since.elapsed())
            && is_well(&mut open).await
        {
            return Ok(open);
        }
        let made = match tokio::time::timeout(POSTGRES_ACQUIRE_TIMEOUT, self.connect()).await {
            Ok(made) => made,
            Err(_) => {
                // Where a new one is not answered, the others are not either.
                self.doubt();
                Err(SqlxError::PoolTimedOut)
            }
        };
        made.map_err(|error| sea_orm::DbErr::Conn(RuntimeErr::SqlxError(error.into())))
    }

    /// Whether there is a connection, well or not.
    pub(crate) fn is_open(&self) -> bool {
        self.kept.is_some()
    }

    /// Keeps a connection for the next time.
    pub(crate) fn keep(&mut self, open: Open) {
        self.kept = Some(Open { used: Instant::now(), ..open });
    }

    /// The server has gone silent: all connections to it are as old as their last answer.
    pub(crate) fn doubt(&self) {
        self.server.doubt.raise();
    }

    async fn connect(&self) -> Result<Open, SqlxError> {
        let mut connection = PgConnection::connect_with(&self.server.options).await?;
        connection.execute(DURABLE_COMMIT).await?;
        let now = Instant::now();
        Ok(Open { connection, since: now, used: now })
    }
}

/// One that was not used for a while is asked first: it may have died in silence.
async fn is_well(open: &mut Open) -> bool {
    open.used.elapsed() < IDLE || tokio::time::timeout(PING_TIMEOUT, open.connection.ping()).await.is_ok_and(|answered| answered.is_ok())
}
