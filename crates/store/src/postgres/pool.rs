//! Connections to a server through sea-orm.

use std::io;
use std::time::Duration;

use sea_orm::SqlxError;
use sea_orm::sqlx::Connection as _;
use secrecy::{ExposeSecret, SecretString};

use super::{DURABLE_COMMIT, IDLE, PING_TIMEOUT};
use crate::connection::{OpenError, POSTGRES_ACQUIRE_TIMEOUT, POSTGRES_ONE_AND_SPARES, options};
use crate::pools::{Doubt, Pool};

const IDLE_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections, at most so many, whose statements take at most so long.
///
/// # Errors
/// When the URL cannot be read, or the server does not answer.
pub(crate) async fn pool(url: &SecretString, connections: u32, statement_timeout: Duration) -> Result<Pool, OpenError> {
    let doubt = Doubt::default();
    let in_doubt = doubt.clone();
    let mut options = options(url.expose_secret(), connections, POSTGRES_ACQUIRE_TIMEOUT);
    options.statement_timeout(statement_timeout).set_application_name("calldata-gateway");
    let idle_in_doubt = doubt.clone();
    options.test_before_acquire(false);
    options.map_sqlx_postgres_before_acquire(move |connection, known| {
        let doubt = idle_in_doubt.clone();
        Box::pin(async move {
            // One that stalled takes all of its age with it: each of them would cost somebody a time-out.
            if doubt.is_about(known.age) {
                return Err(in_doubt_error());
            }
            if known.idle_for < IDLE {
                return Ok(true);
            }
            match tokio::time::timeout(PING_TIMEOUT, connection.ping()).await {
                Ok(answered) => answered.map(|()| true),
                Err(_) => {
                    doubt.raise();
                    Err(in_doubt_error())
                }
            }
        })
    });
    // What a vanished gateway left behind is rolled back, and frees its locks.
    let idle_ms = IDLE_TRANSACTION_TIMEOUT.as_millis().to_string();
    // To compile a plan takes longer than any of ours does.
    options.map_sqlx_postgres_opts(move |postgres| {
        postgres.options([("idle_in_transaction_session_timeout", idle_ms.as_str()), ("jit", "off")])
    });
    // A connection that may have stalled is closed without a word: asking it whether it is well could take for ever.
    options.map_sqlx_postgres_pool_opts(move |pool| {
        let in_doubt = in_doubt.clone();
        let pool = pool.after_connect(|connection, _| {
            Box::pin(async move { sea_orm::sqlx::Executor::execute(connection, DURABLE_COMMIT).await.map(drop) })
        });
        pool.after_release(move |connection, known| {
            let in_doubt = in_doubt.is_about(known.age);
            Box::pin(async move {
                if in_doubt {
                    return Err(in_doubt_error());
                }
                // The pool asks as well, and would wait for ever. Where there are many, that costs one of them now and then; where one is
                // used at a time, it is worth asking first.
                if connections <= POSTGRES_ONE_AND_SPARES {
                    let answered = tokio::time::timeout(PING_TIMEOUT, connection.ping()).await;
                    answered.unwrap_or_else(|_| Err(in_doubt_error()))?;
                }
                Ok(true)
            })
        })
    });
    let connection = sea_orm::Database::connect(options).await.map_err(OpenError::Unreachable)?;
    Ok(Pool { connection, doubt })
}

fn in_doubt_error() -> SqlxError {
    SqlxError::Io(io::Error::other("the connection is in doubt"))
}
