//! `import`: sessions from files.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;

use calldata_core::arrivals::WaitLimits;
use calldata_core::audit::Action;
use calldata_core::port::Written;
use calldata_core::{Country, NewSession, Sessions, StoreError, Tenant};
use calldata_interchange::{csv, vcon};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;

use super::{clock, find_tenant, note_of_operator, open, store_failed};
use crate::cli::{Import, ImportFormat};
use crate::settings::Settings;
use crate::{Failure, output};

mod lines;

/// Sessions written in one transaction.
const BATCH: usize = 200;
/// Sessions read ahead of the store.
const AHEAD: usize = 2 * BATCH;

pub(super) async fn run(settings: &Settings, import: Import) -> Result<(), Failure> {
    let (database, _) = open(settings).await?;
    let tenant = find_tenant(&database, &import.client_id).await?;
    let database = Arc::new(database);
    let sessions = Sessions::new(database.clone(), clock(), WaitLimits::default());
    // Before, so that it is known of an import that is killed, too.
    note_of_operator(&database, tenant.clone(), Action::Wrote, 0)
        .await
        .map_err(|error| store_failed("it cannot be noted who imports, so nothing is", &error))?;
    let mut count = Count::default();
    let loaded = load_all(&sessions, &tenant, &import, &mut count).await;
    let noted = note_of_operator(&database, tenant, Action::Wrote, count.created + count.updated).await;
    loaded?;
    noted.map_err(|error| store_failed("the sessions are loaded, but it could not be noted how many", &error))?;
    output::line(&format!("created {}, updated {}, rejected {}", count.created, count.updated, count.rejected))?;
    if count.rejected > 0 {
        return Err(Failure::new(format!("{} could not be loaded, as said above", count.rejected)));
    }
    Ok(())
}

/// Loads one file after the other, and counts what became of it even where it stops half way.
async fn load_all(sessions: &Arc<Sessions>, tenant: &Tenant, import: &Import, count: &mut Count) -> Result<(), Failure> {
    for path in &import.files {
        load(sessions, tenant, import.format, path, count).await?;
    }
    Ok(())
}

/// What became of what was read.
#[derive(Debug, Default)]
struct Count {
    created: u64,
    updated: u64,
    rejected: u64,
}

/// Something read from a file.
#[derive(Debug)]
struct Found {
    /// Where: a line, or the number of a record, row or document.
    place: String,
    session: Result<NewSession, String>,
}

/// Loads one file, no more than a few hundred sessions of it in memory at a time.
async fn load(sessions: &Arc<Sessions>, tenant: &Tenant, format: ImportFormat, path: &Path, count: &mut Count) -> Result<(), Failure> {
    let name = path.display().to_string();
    let unreadable = |error: &io::Error| Failure::because(format!("{name} cannot be read"), error);
    let (input, bar) = input(path).map_err(|error| unreadable(&error))?;
    let (found, mut to_store) = mpsc::channel(AHEAD);
    let country = tenant.default_country;
    let reading = tokio::task::spawn_blocking(move || read(input, format, country, &found));
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(next) = to_store.recv().await {
        batch.push(next);
        if batch.len() == BATCH || to_store.is_empty() {
            store(sessions, tenant, &name, std::mem::take(&mut batch), count, &bar).await?;
        }
    }
    store(sessions, tenant, &name, batch, count, &bar).await?;
    bar.finish_and_clear();
    match reading.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(unreadable(&error)),
        Err(error) => Err(Failure::because(format!("{name} cannot be read"), &error)),
    }
}

fn input(path: &Path) -> io::Result<(Box<dyn Read + Send>, ProgressBar)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), ProgressBar::hidden()));
    }
    let file = File::open(path)?;
    let bar = if io::stderr().is_terminal() { ProgressBar::new(file.metadata()?.len()) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {eta}") {
        bar.set_style(style);
    }
    Ok((Box::new(bar.wrap_read(file)), bar))
}

/// Reads everything, and hands it over as it comes.
fn read(input: impl Read, format: ImportFormat, country: Country, found: &mpsc::Sender<Found>) -> io::Result<()> {
    let input = BufReader::with_capacity(1 << 16, input);
    let hand_over = |place: String, session: Result<NewSession, String>| found.blocking_send(Found { place, session }).is_ok();
    match format {
        ImportFormat::Sessions => lines::read_sessions(input, country, hand_over),
        ImportFormat::Csv => csv::read(input, country, hand_over),
        ImportFormat::Vcon => vcon::read_documents(input, country, hand_over),
        ImportFormat::Oifde => {
            let mut number = 0_u64;
            let outcome = oifde_api::import::read_records(input, |record| {
                number += 1;
                let session = oifde_api::import::session_of(record, country).map_err(|error| error.to_string());
                hand_over(format!("record {number}"), session)
            });
            match outcome {
                Err(oifde_api::import::ReadError::Io(error)) => return Err(error),
                Err(error) => {
                    hand_over(format!("after record {number}"), Err(error.to_string()));
                }
                Ok(()) => {}
            }
            Ok(())
        }
    }
}

async fn store(
    sessions: &Arc<Sessions>,
    tenant: &Tenant,
    name: &str,
    batch: Vec<Found>,
    count: &mut Count,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let expired_until = tenant.horizon(sessions.now());
    let mut rejected = 0;
    let mut reject = |place: &str, reason: &str| {
        rejected += 1;
        bar.suspend(|| eprintln!("{name}: {place}: {reason}"));
    };
    let mut places = Vec::new();
    let mut to_store = Vec::new();
    for Found { place, session } in batch {
        match session {
            Ok(session) if session.received.is_some_and(|(first, _)| first <= expired_until) => reject(&place, "its retention has ended"),
            Ok(session) => {
                places.push(place);
                to_store.push(session);
            }
            Err(reason) => reject(&place, &reason),
        }
    }
    let results = if to_store.is_empty() { Vec::new() } else { sessions.import(tenant, to_store).await };
    for (place, result) in places.into_iter().zip(results) {
        match result {
            Ok(Written::Created(_)) => count.created += 1,
            Ok(Written::Updated(_) | Written::Erased) => count.updated += 1,
            Err(StoreError::Failed(error)) => reject(&place, &format!("the store refuses it: {error}")),
            Err(error) => return Err(store_failed(&format!("{name}: {place} could not be stored; load the file again"), &error)),
        }
    }
    count.rejected += rejected;
    Ok(())
}
