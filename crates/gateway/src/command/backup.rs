//! `backup`: a copy of a SQLite database, as of one moment.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::open_ours;
use crate::settings::Settings;
use crate::{Failure, output};

/// What the engine keeps beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

pub(super) async fn run(settings: &Settings, to: &Path) -> Result<(), Failure> {
    let url = settings.database()?;
    let Some(file) = url.file() else {
        return Err(Failure::new("the database is on a server; make a backup there, for instance with pg_dump"));
    };
    let failed = |error: &dyn std::error::Error| Failure::because(format!("the backup {} cannot be written", to.display()), error);
    let database = open_ours(&url).await?;
    // In full, for the engine takes some names for something else than a file.
    let (file, to) = (absolute(file).map_err(|error| failed(&error))?, absolute(to).map_err(|error| failed(&error))?);
    if to.to_string_lossy().strip_prefix(&*file.to_string_lossy()).is_some_and(|end| BESIDE.contains(&end)) {
        return Err(Failure::new(format!("{} belongs to the database; name another file", to.display())));
    }
    // Before it takes long; the name is given last, and never taken from another file.
    if to.try_exists().map_err(|error| failed(&error))? {
        return Err(failed(&io::Error::from(io::ErrorKind::AlreadyExists)));
    }
    // For its owner alone from the beginning: it holds what the database holds. Under another name until it is whole and has its own
    // epoch: half a backup is none, however this process ends.
    let folder = to.parent().unwrap_or(Path::new("/"));
    let partial = tempfile::Builder::new().prefix(".calldata-backup").tempfile_in(folder).map_err(|error| failed(&error))?;
    database.back_up(partial.path()).await.map_err(|error| failed(&error))?;
    partial.as_file().sync_all().map_err(|error| failed(&error))?;
    partial.persist_noclobber(&to).map_err(|error| failed(&error.error))?;
    let bytes = flushed(&to).map_err(|error| failed(&error))?;
    output::line(&format!("{} MB written to {}", bytes.div_ceil(1_000_000), to.display()))
}

fn absolute(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let folder = path.parent().map(Path::canonicalize).transpose()?;
    Ok(folder.zip(path.file_name()).map_or(path.clone(), |(folder, name)| folder.join(name)))
}

/// How large it is, once it and its name are on the disk.
fn flushed(path: &Path) -> io::Result<u64> {
    let file = File::open(path)?;
    file.sync_all()?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    match file.metadata()?.len() {
        0 => Err(io::Error::other("nothing was written")),
        bytes => Ok(bytes),
    }
}
