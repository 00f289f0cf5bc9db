//! `export`: sessions into a file, or to standard output.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use calldata_core::arrivals::WaitLimits;
use calldata_core::audit::Action;
use calldata_core::catalog::{Filter, Place};
use calldata_core::{Access, Audit, Pseudonyms, Sessions, Tenant};
use calldata_interchange::Format;
use indicatif::{ProgressBar, ProgressStyle};

use super::{caller_of, clock, find_tenant, open, store_failed};
use crate::Failure;
use crate::cli::{Export, ExportFormat};
use crate::settings::Settings;
use crate::token_secret::token_secrets;

/// How much is gathered before it is written.
const GATHERED: usize = 1 << 18;

pub(super) async fn run(settings: &Settings, export: Export) -> Result<(), Failure> {
    let (database, url) = open(settings).await?;
    let tenant = find_tenant(&database, &export.client_id).await?;
    let caller = export.caller.clone().map(|caller| caller_of(caller, export.country, &tenant)).transpose()?;
    let database = Arc::new(database);
    let pseudonyms = match &caller {
        Some(_) => Pseudonyms::new(&token_secrets(settings, &url)?.all()),
        // No caller is named, and so no name is needed for one.
        None => Pseudonyms::new(&[]),
    };
    let audit = Audit::new(database.clone(), clock(), pseudonyms);
    let noted = audit.write_down(&Access::of_operator(tenant.clone()), Action::Exported, caller.as_ref(), 0).await;
    noted.map_err(|error| store_failed("it cannot be noted who exports, so nothing is", &error))?;
    let sessions = Sessions::new(database, clock(), WaitLimits::default());
    let as_of = sessions.as_of(tenant.id).await.map_err(|error| store_failed("the sessions cannot be read", &error))?;
    let filter = Filter { caller, from: export.from, until: export.to, received_until: Some(as_of), ..Filter::default() };
    let unwritable = |error: &io::Error| Failure::because("the sessions cannot be written", error);
    let mut out: Box<dyn Write> = match &export.out {
        Some(path) => {
            // For its owner alone: it holds what callers said.
            let file = File::options().write(true).create_new(true).mode(0o600).open(path);
            Box::new(file.map_err(|error| Failure::because(format!("the file {} cannot be made", path.display()), &error))?)
        }
        None => Box::new(io::stdout().lock()),
    };
    let exported = write_all(&sessions, tenant, &filter, &export, &mut out).await?;
    out.flush().map_err(|error| unwritable(&error))?;
    // Not among the sessions, where those go to standard output.
    eprintln!("exported {exported}");
    Ok(())
}

async fn write_all(sessions: &Sessions, tenant: Tenant, filter: &Filter, export: &Export, out: &mut dyn Write) -> Result<u64, Failure> {
    let unreadable = |error| store_failed("the sessions cannot be read; what is written is not all of it", &error);
    let unwritable = |error: io::Error| Failure::because("the sessions cannot be written", &error);
    let access = Access::of_operator(tenant);
    let bar = progress(sessions.count(&access, filter).await.map_err(unreadable)?, export.out.is_some());
    let format = match export.format {
        ExportFormat::Sessions => Format::Sessions,
        ExportFormat::Csv => Format::Csv(export.time_zone.clone()),
        ExportFormat::Vcon => Format::Vcon,
    };
    let mut out = BufWriter::with_capacity(GATHERED, out);
    let mut piece = Vec::new();
    format.begin(&mut piece);
    let (mut after, mut exported): (Option<Place>, u64) = (None, 0);
    loop {
        let page = sessions.read_on(&access, filter, after.as_ref()).await.map_err(unreadable)?;
        format.write(&page.items, &access.tenant, &mut piece);
        out.write_all(&piece).map_err(unwritable)?;
        piece.clear();
        exported += page.items.len() as u64;
        bar.set_position(exported);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    out.flush().map_err(unwritable)?;
    bar.finish_and_clear();
    Ok(exported)
}

/// Shown on a terminal, unless the sessions themselves go there.
fn progress(total: u64, into_file: bool) -> ProgressBar {
    let is_seen = io::stderr().is_terminal() && (into_file || !io::stdout().is_terminal());
    let bar = if is_seen { ProgressBar::new(total) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} sessions {eta}") {
        bar.set_style(style);
    }
    bar
}
