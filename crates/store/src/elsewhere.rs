//! Telling other instances on the same server that something was stored, and hearing of it (PAR-G11).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sea_orm::sqlx::Executor;
use sea_orm::sqlx::postgres::PgListener;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, RuntimeErr, Statement};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

const CHANNEL: &str = "calldata_stored";
/// How often others are told at most, however much is stored.
const TELL_INTERVAL: Duration = Duration::from_millis(10);
/// How often to look where nobody tells.
const LOOK_INTERVAL: Duration = Duration::from_millis(400);
/// How often to look where somebody does: a word may be lost with its connection.
const LOOK_INTERVAL_WHILE_LISTENING: Duration = Duration::from_secs(2);
/// For how long nobody may speak before the listener makes sure that it still hears.
const QUIET: Duration = Duration::from_secs(2);
/// How long the server may take for a word.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait before listening anew.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(1);

/// What instances tell each other. SQLite has no such thing: there, others are looked for.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    lines: Arc<Lines>,
    tasks: Vec<AbortHandle>,
}

#[derive(Debug, Default)]
struct Lines {
    /// Something was stored here.
    stored: Notify,
    /// Something was stored elsewhere.
    heard: Notify,
    listening: AtomicBool,
}

impl Elsewhere {
    /// Nobody tells.
    pub(crate) fn silent() -> Self {
        Self { lines: Arc::default(), tasks: Vec::new() }
    }

    /// Tells on one of the `speaker`'s connections, and listens on one of the `listener`'s.
    pub(crate) fn on_server(speaker: DatabaseConnection, listener: DatabaseConnection) -> Self {
        let lines = Arc::new(Lines::default());
        let instance = format!("{:032x}", rand::random::<u128>());
        let tell = tokio::spawn(tell(Arc::clone(&lines), speaker, instance.clone()));
        let listen = tokio::spawn(listen(Arc::clone(&lines), listener, instance));
        Self { lines, tasks: vec![tell.abort_handle(), listen.abort_handle()] }
    }

    /// Something was stored here.
    pub(crate) fn tell(&self) {
        if !self.tasks.is_empty() {
            self.lines.stored.notify_one();
        }
    }

    /// Returns when something was stored elsewhere, or may have been.
    pub(crate) async fn hear(&self) {
        let listening = self.lines.listening.load(Ordering::Acquire);
        let interval = if listening { LOOK_INTERVAL_WHILE_LISTENING } else { LOOK_INTERVAL };
        // Time that is up is as good as a word.
        let _ = tokio::time::timeout(interval, self.lines.heard.notified()).await;
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn tell(lines: Arc<Lines>, speaker: DatabaseConnection, instance: String) {
    loop {
        lines.stored.notified().await;
        let word =
            Statement::from_sql_and_values(DbBackend::Postgres, "SELECT pg_notify($1, $2)", [CHANNEL.into(), instance.as_str().into()]);
        // Where it fails or takes long, the others look by themselves.
        match tokio::time::timeout(ANSWER_TIMEOUT, speaker.query_one_raw(word)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(error = &error as &dyn std::error::Error, "other instances could not be told"),
            Err(_) => tracing::debug!("other instances could not be told in time"),
        }
        tokio::time::sleep(TELL_INTERVAL).await;
    }
}

async fn listen(lines: Arc<Lines>, listener: DatabaseConnection, instance: String) {
    loop {
        if let Err(error) = listen_until_it_breaks(&lines, &listener, &instance).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "other instances cannot be heard");
        }
        lines.listening.store(false, Ordering::Release);
        // What was said meanwhile is found by looking.
        lines.heard.notify_one();
        tokio::time::sleep(RECONNECT_INTERVAL).await;
    }
}

async fn listen_until_it_breaks(lines: &Lines, pool: &DatabaseConnection, instance: &str) -> Result<(), DbErr> {
    let broken = |error: sea_orm::SqlxError| DbErr::Conn(RuntimeErr::SqlxError(error.into()));
    let mut listener = PgListener::connect_with(pool.get_postgres_connection_pool()).await.map_err(broken)?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await.map_err(broken)?;
    lines.listening.store(true, Ordering::Release);
    lines.heard.notify_one();
    loop {
        match tokio::time::timeout(QUIET, listener.try_recv()).await {
            Ok(word) => match word.map_err(broken)? {
                Some(word) if word.payload() == instance => {}
                Some(_) => lines.heard.notify_one(),
                None => return Ok(()),
            },
            // Nobody spoke, or nobody can be heard any more.
            Err(_) => match tokio::time::timeout(ANSWER_TIMEOUT, listener.execute("SELECT 1")).await {
                Ok(answered) => {
                    answered.map_err(broken)?;
                }
                Err(_) => return Ok(()),
            },
        }
    }
}
