//! One file a command.

mod backup;
mod config;
mod confirmation;
mod copy;
mod demo;
mod doctor;
mod erase;
mod export;
mod healthcheck;
mod import;
mod key;
mod manual;
mod migrate;
mod openapi;
mod purge;
mod serve;
mod tenant;

use std::sync::Arc;
use std::time::Duration;

use calldata_core::audit::Action;
use calldata_core::clock::Witness;
use calldata_core::port::{DirectoryContents, TimeMarks as _};
use calldata_core::{
    Access, Audit, Caller, CallerKey, Clock, Country, DirectoryStore, Pseudonyms, StoreError, SystemClock, Tenant, Timestamp,
};
use calldata_store::{Database, Direction, FileState, Url};
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command, TrustClock};
use crate::settings::Settings;
use crate::{Failure, core_dumps, log, panics, traces};

/// The phone number library writes down the numbers that it reads, the one for HTTP/2 a path that it cannot read, which may hold a key, the
/// one for traces what a collector answers, and the one for databases a password; nothing here may, however much is asked for.
const INDISCREET: [&str; 4] = ["rlibphonenumber=off", "h2=off", "opentelemetry-otlp=off", "sea_orm::driver=off"];

/// Runs a command.
///
/// # Errors
/// One line for the operator.
pub fn run(cli: Cli) -> Result<(), Failure> {
    panics::say_where_only();
    let Cli { settings, command } = cli;
    // What needs no settings, or looks for what is wrong with them.
    let command = match command {
        Command::Config(command) => return config::run(settings, command),
        Command::Completions { shell } => return manual::complete(shell),
        Command::Man { out } => return manual::write(&out),
        command => command,
    };
    let settings = settings.with_file()?;
    log::begin(filter(&settings)?, settings.log_format.unwrap_or_default())?;
    if !settings.core_dumps() {
        core_dumps::disable();
    }
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::because("no threads can be started", &error))?;
    let result = runtime.block_on(async {
        match command {
            Command::Demo { data } => demo::run(&settings, data).await,
            Command::Serve => serve::run(&settings).await,
            Command::Tenant(command) => tenant::run(&settings, command).await,
            Command::Key(command) => key::run(&settings, command).await,
            Command::Import(import) => import::run(&settings, import).await,
            Command::Erase(erase) => erase::run(&settings, erase).await,
            Command::Export(export) => export::run(&settings, export).await,
            Command::Purge { dry_run, trust, json } => purge::run(&settings, dry_run, &trust, &json).await,
            Command::Migrate(command) => migrate::run(&settings, command).await,
            Command::Backup { to } => backup::run(&settings, &to).await,
            Command::Copy(copy) => copy::run(&settings, copy).await,
            Command::Doctor { json } => doctor::run(&settings, &json).await,
            Command::Healthcheck { timeout_s } => healthcheck::run(&settings, Duration::from_secs(timeout_s)).await,
            Command::Openapi { out, check } => openapi::run(&out, check),
            // Done above.
            Command::Config(_) | Command::Completions { .. } | Command::Man { .. } => Ok(()),
        }
    });
    // What is still at work in the background must not hold the end.
    runtime.shutdown_background();
    traces::end();
    log::flush();
    result
}

/// What is logged.
fn filter(settings: &Settings) -> Result<EnvFilter, Failure> {
    let mut filter =
        EnvFilter::try_new(settings.log()).map_err(|error| Failure::because("the log filter cannot be read; see --log", &error))?;
    for off in INDISCREET {
        filter = filter.add_directive(off.parse().map_err(|error| Failure::because("the log filter", &error))?);
    }
    Ok(filter)
}

/// The database of the settings, its schema brought up to date unless that is switched off.
async fn open(settings: &Settings) -> Result<(Database, Url), Failure> {
    let url = settings.database()?;
    let database = open_as_it_is(&url).await?;
    if settings.no_migrate() {
        // A database that was restored gets an epoch all the same; where the schema is behind, that waits for its change.
        let pending = database.pending_migrations().await.map_err(|error| Failure::because("the schema cannot be read", &error))?;
        if pending == 0 {
            database.confirm_epoch().await.map_err(|error| store_failed("the epoch of the database cannot be confirmed", &error))?;
        }
        return Ok((database, url));
    }
    migrate::migrate(&database, Direction::Up).await?;
    Ok((database, url))
}

async fn open_as_it_is(url: &Url) -> Result<Database, Failure> {
    Database::open(url)
        .await
        .map_err(|error| Failure::because(format!("the database {url:?} cannot be opened; see --database-url"), &error))
}

/// A database that is there already; one that is another program's is left alone.
async fn open_ours(url: &Url) -> Result<Database, Failure> {
    if let Some(file) = url.file() {
        if !file.exists() {
            return Err(Failure::new(format!("there is no database file {}; see --database-url", file.display())));
        }
        match url.look() {
            Ok(FileState::Ours) => {}
            Ok(FileState::Empty | FileState::Foreign) => {
                return Err(Failure::new(format!("{} is no database of the gateway; see --database-url", file.display())));
            }
            Err(error) => return Err(Failure::because(format!("the database {url:?} cannot be read"), &error)),
        }
    }
    open_as_it_is(url).await
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::default())
}

/// How far this machine's clock may be ahead of proven time for a command to delete by it: a server may have been stopped for so long.
const AGREEMENT: Duration = Duration::from_hours(1);

/// The moment to delete by: this machine's clock, if what is known of the time besides agrees with it, or the operator vouches for it.
async fn moment_to_delete_by(database: &Database, trust: &TrustClock) -> Result<Timestamp, Failure> {
    const UNKNOWN: &str = "it cannot be read up to when time was proven";
    let now = clock().now();
    if trust.trust_clock {
        // Servers go by it too, where their clocks agree.
        database.keep_mark(now).await.map_err(|error| store_failed(UNKNOWN, &error))?;
        return Ok(now);
    }
    let Witness { mark, server } = database.witness().await.map_err(|error| store_failed(UNKNOWN, &error))?;
    let proven = mark.unwrap_or(now).min(server.unwrap_or(now));
    if now.since(proven) <= AGREEMENT {
        return Ok(now);
    }
    Err(Failure::new(format!(
        "this machine's clock shows {now}, and time is proven up to {proven} only: nothing was deleted, for it would not come back. \
         Check the time; if it is right, repeat the command with --trust-clock"
    )))
}

/// The tenant of that client id.
async fn find_tenant(database: &Database, client_id: &str) -> Result<Tenant, Failure> {
    let DirectoryContents { tenants, .. } = database.contents().await.map_err(|error| store_failed("tenants cannot be read", &error))?;
    let found = tenants.into_iter().find(|tenant| tenant.client_id == client_id);
    found.ok_or_else(|| Failure::new(format!("there is no tenant with client id {client_id}; see tenant list")))
}

/// The caller whom an option names; `-` is told on standard input, so that the number is in no list of processes and in no history of a shell.
fn caller_of(given: String, country: Option<Country>, tenant: &Tenant) -> Result<CallerKey, Failure> {
    let spelling = if given == "-" {
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        read.map_err(|error| Failure::because("the caller cannot be read from standard input", &error))?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        given
    };
    if spelling.is_empty() {
        return Err(Failure::new("no caller is given; see --caller"));
    }
    let caller = Caller::new(&spelling, country.unwrap_or(tenant.default_country));
    Ok(caller.map_err(|error| Failure::new(format!("--caller {error}")))?.key().clone())
}

/// Notes what the operator did with the sessions of a tenant as a whole.
async fn note_of_operator(database: &Arc<Database>, tenant: Tenant, action: Action, sessions: u64) -> Result<(), StoreError> {
    // No caller is named, and so no name is needed for one.
    let audit = Audit::new(Arc::clone(database) as _, clock(), Pseudonyms::new(&[]));
    audit.write_down(&Access::of_operator(tenant), action, None, sessions).await
}

fn store_failed(what: &str, error: &StoreError) -> Failure {
    match error {
        StoreError::Taken(name) => Failure::new(format!("{what}: {name} belongs to another already; choose another one")),
        StoreError::NoSuchTenant => Failure::new(format!("{what}: the tenant is gone; see tenant list")),
        StoreError::Busy(_) | StoreError::NoRoom(_) | StoreError::OverQuota | StoreError::Unconfirmed(_) | StoreError::Failed(_) => {
            Failure::because(what, error)
        }
    }
}
