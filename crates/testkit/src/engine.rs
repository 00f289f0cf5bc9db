//! Real databases for tests, a fresh one each.

use std::env;
use std::future::Future;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use calldata_store::{Database, Direction, Url};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait,
};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Where tests find a PostgreSQL server in which they may create databases.
const POSTGRES_URL: &str = "CALLDATA_TEST_POSTGRES_URL";

/// PostgreSQL databases in use at a time: each takes up to some twenty of the server's 300 connections, and a machine with many
/// cores runs many tests at once.
static POSTGRES_PLACES: Semaphore = Semaphore::const_new(8);

/// A database engine that the gateway runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A file in a temporary folder.
    Sqlite,
    /// A database of its own on the server at `CALLDATA_TEST_POSTGRES_URL`, which is of version 15 or newer.
    Postgres,
}

impl Engine {
    /// The engines that are there.
    ///
    /// # Panics
    /// When one is missing and `CI` is set.
    pub fn all() -> Vec<Self> {
        static SAID: Once = Once::new();
        if env::var_os(POSTGRES_URL).is_some() {
            return vec![Self::Sqlite, Self::Postgres];
        }
        assert!(env::var_os("CI").is_none(), "PostgreSQL is missing: {POSTGRES_URL} is not set; run this through scripts/with-postgres");
        // Written past the test harness, which hides what passing tests print.
        SAID.call_once(|| {
            drop(writeln!(io::stderr(), "NOT COVERED: PostgreSQL ({POSTGRES_URL} is not set; scripts/with-postgres sets it)"));
        });
        vec![Self::Sqlite]
    }
}

/// A database that nobody else uses. A test holds one on PostgreSQL at a time; [`TestDatabase::open_again`] is a second instance.
#[derive(Debug)]
pub struct TestDatabase {
    engine: Engine,
    url: String,
    database: Database,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Folder { _folder: TempDir },
    Server { name: String, _permit: SemaphorePermit<'static> },
}

impl TestDatabase {
    /// A database with the newest schema.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn new(engine: Engine) -> Self {
        let made = Self::empty(engine).await;
        made.database.migrate(Direction::Up).await.expect("the schema is made");
        made
    }

    /// A database without any table.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn empty(engine: Engine) -> Self {
        let (url, place) = match engine {
            Engine::Sqlite => {
                let folder = TempDir::new().expect("a temporary folder can be made");
                (format!("sqlite://{}", folder.path().join("calldata.db").display()), Place::Folder { _folder: folder })
            }
            Engine::Postgres => {
                static MADE: AtomicU32 = AtomicU32::new(0);
                let permit = POSTGRES_PLACES.acquire().await.expect("the semaphore is never closed");
                let name = format!("calldata_{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
                // Copying the files takes a sixth of the time of logging every page.
                on_server(&format!("CREATE DATABASE {name} STRATEGY file_copy")).await;
                let server = server_url();
                let (host, _) = server.rsplit_once('/').expect("the server's URL ends with a database");
                (format!("{host}/{name}"), Place::Server { name, _permit: permit })
            }
        };
        let database = open(&url).await;
        Self { engine, url, database, place }
    }

    /// Which engine it runs on.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The database, opened once.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The same database, opened once more, as another instance of the gateway would.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn open_again(&self) -> Database {
        open(&self.url).await
    }

    /// Runs statements, past the gateway: for what only an operator or an accident does.
    ///
    /// # Panics
    /// When it fails.
    pub async fn execute(&self, statements: &str) {
        execute(&self.url, statements).await;
    }

    /// What the gateway is told with `--database-url`.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The database file; `None` on a server.
    pub fn file(&self) -> Option<&Path> {
        match self.place {
            Place::Folder { .. } => self.url.strip_prefix("sqlite://").map(Path::new),
            Place::Server { .. } => None,
        }
    }

    /// Keeps every instance from writing sessions and the audit trail, and none from reading, until it is let go.
    ///
    /// # Panics
    /// When the engine does not do it.
    pub async fn hold_writes(&self) -> Held {
        let beside = self.beside().await;
        let transaction = match self.engine {
            Engine::Sqlite => {
                let mode = Some(SqliteTransactionMode::Immediate);
                beside.begin_with_options(TransactionOptions { sqlite_transaction_mode: mode, ..TransactionOptions::default() }).await
            }
            Engine::Postgres => beside.begin().await,
        };
        let transaction = transaction.expect("a transaction begins");
        if self.engine == Engine::Postgres {
            transaction.execute_unprepared("LOCK TABLE session, audit IN EXCLUSIVE MODE").await.expect("nobody writes");
        }
        Held(transaction)
    }

    /// Reads, and goes on seeing what there was, until it is let go: nothing later can be written back into a file's database meanwhile.
    ///
    /// # Panics
    /// When the engine does not do it.
    pub async fn hold_reading(&self) -> Held {
        let transaction = self.beside().await.begin().await.expect("a transaction begins");
        transaction.execute_unprepared("SELECT COUNT(*) FROM session").await.expect("sessions can be read");
        Held(transaction)
    }

    /// Keeps every instance from changing one session, on PostgreSQL, until it is let go.
    ///
    /// # Panics
    /// When the engine does not do it.
    pub async fn hold_session(&self, id: &str) -> Held {
        let transaction = self.beside().await.begin().await.expect("a transaction begins");
        let lock = format!("SELECT id FROM session WHERE id = '{id}' FOR UPDATE");
        transaction.execute_unprepared(&lock).await.expect("nobody changes it");
        Held(transaction)
    }

    /// Makes the engine refuse the entry of this identifier in the audit trail, and no other.
    ///
    /// # Panics
    /// When the engine does not do it.
    pub async fn refuse_note(&self, id: i64) {
        let refuse = match self.engine {
            Engine::Sqlite => {
                format!("CREATE TRIGGER refused BEFORE INSERT ON audit WHEN NEW.id = {id} BEGIN SELECT RAISE(ABORT, 'refused'); END")
            }
            Engine::Postgres => format!("ALTER TABLE audit ADD CONSTRAINT refused CHECK (id <> {id})"),
        };
        self.execute(&refuse).await;
    }

    async fn beside(&self) -> DatabaseConnection {
        let mut options = sea_orm::ConnectOptions::new(self.url());
        options.max_connections(1).sqlx_logging(false);
        sea_orm::Database::connect(options).await.expect("the engine answers")
    }

    /// Deletes the database, whoever is connected to it. One that is only dropped stays on its server until that is deleted.
    pub async fn delete(self) {
        if let Place::Server { name, .. } = &self.place {
            on_server(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }
}

/// Writes that are held back.
#[derive(Debug)]
pub struct Held(DatabaseTransaction);

impl Held {
    /// How many wait, on PostgreSQL, for a lock.
    ///
    /// # Panics
    /// When the engine does not tell.
    pub async fn waiting(&self) -> i64 {
        let question = "SELECT count(*) AS waiting FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())";
        let row = self.0.query_one_raw(Statement::from_string(DbBackend::Postgres, question)).await.expect("the engine tells");
        row.and_then(|row| row.try_get("", "waiting").ok()).expect("there is a count")
    }

    /// Lets them go.
    ///
    /// # Panics
    /// When the engine does not do it.
    pub async fn let_go(self) {
        self.0.rollback().await.expect("nothing was changed");
    }
}

/// Runs a behaviour on every engine that is there, each time on a fresh database.
///
/// # Panics
/// When the behaviour does; the engine's name is in the test's output.
pub fn on_every_engine(behaviour: impl AsyncFn(&TestDatabase)) {
    on(&Engine::all(), TestDatabase::new, behaviour);
}

/// Runs a behaviour on every one of `engines` that is there, each time on a database made by `make`.
///
/// # Panics
/// When the behaviour does; the engine's name is in the test's output.
#[expect(clippy::needless_pass_by_value, reason = "a closure is written where it is passed")]
pub fn on<M: Future<Output = TestDatabase>>(engines: &[Engine], make: impl Fn(Engine) -> M, behaviour: impl AsyncFn(&TestDatabase)) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    for engine in Engine::all().into_iter().filter(|engine| engines.contains(engine)) {
        println!("on {engine:?}:");
        runtime.block_on(async {
            let database = make(engine).await;
            behaviour(&database).await;
            database.delete().await;
        });
    }
}

async fn open(url: &str) -> Database {
    let url = Url::parse(url).expect("the URL is one of ours");
    Database::open(&url).await.expect("the database opens")
}

fn server_url() -> String {
    env::var(POSTGRES_URL).expect("PostgreSQL is only asked for where it is there")
}

/// Runs one statement outside of any test's database.
async fn on_server(statement: &str) {
    execute(&server_url(), statement).await;
}

async fn execute(url: &str, statement: &str) {
    let mut options = sea_orm::ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    let database = sea_orm::Database::connect(options).await.expect("the database answers");
    database.execute_unprepared(statement).await.expect("the database does as it is told");
    database.close().await.expect("the connection closes");
}
