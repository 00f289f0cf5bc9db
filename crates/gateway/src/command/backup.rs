//! `backup`: a copy of a SQLite database, as of one moment.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::open_as_it_is;
use crate::settings::Settings;
use crate::{Failure, output};

pub(super) async fn run(settings: &Settings, to: &Path) -> Result<(), Failure> {
    let url = settings.database()?;
    let Some(file) = url.file() else {
        return Err(Failure::new("the database is on a server; make a backup there, for instance with pg_dump"));
    };
    if !file.exists() {
        return Err(Failure::new(format!("there is no database file {}; see --database-url", file.display())));
    }
    let failed = |error: &dyn std::error::Error| Failure::because(format!("the backup {} cannot be written", to.display()), error);
    // For its owner alone from the beginning: it holds what the database holds.
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(to).map_err(|error| failed(&error))?;
    let database = open_as_it_is(&url).await?;
    if let Err(error) = database.back_up(to).await {
        // Half a backup is none.
        let _ = std::fs::remove_file(to);
        return Err(failed(&error));
    }
    let written = File::open(to).and_then(|file| file.sync_all().and_then(|()| file.metadata())).map_err(|error| failed(&error))?;
    output::line(&format!("{} MB written to {}", written.len().div_ceil(1_000_000), to.display()))
}
