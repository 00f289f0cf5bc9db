//! `copy`: everything into another database.

use std::io::{self, IsTerminal};

use calldata_store::{Contents, CopyError, Direction};
use indicatif::ProgressBar;

use super::{migrate, open_as_it_is};
use crate::cli::CopyTo;
use crate::settings::Settings;
use crate::{Failure, output};

pub(super) async fn run(settings: &Settings, CopyTo { to, to_file }: CopyTo) -> Result<(), Failure> {
    let (from, to) = (settings.database()?, Settings { database_url: to, database_url_file: to_file, ..Settings::default() }.database()?);
    if let Some(missing) = from.file().filter(|file| !file.exists()) {
        return Err(Failure::new(format!("there is no database file {}; see --database-url", missing.display())));
    }
    let source = open_as_it_is(&from).await?;
    if source.pending_migrations().await.map_err(|error| Failure::because("the schema cannot be read", &error))? > 0 {
        return Err(Failure::new("the schema of the source is behind; bring it up to date first: calldata-gateway migrate up"));
    }
    let target = open_as_it_is(&to).await?;
    migrate::migrate(&target, Direction::Up).await?;
    let bar = if io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let copied = source.copy_to(&target, |sessions| bar.set_message(format!("{sessions} sessions copied"))).await;
    bar.finish_and_clear();
    let Contents { tenants, keys, sessions, digest } = copied.map_err(|error| match error {
        CopyError::NotEmpty => Failure::new("the target is not empty; name a database without tenants"),
        CopyError::Differs => Failure::new(
            "what was copied differs from what there is now: somebody wrote meanwhile. Stop the gateway, empty the target, and copy again",
        ),
        CopyError::Failed(error) => Failure::because("it could not be copied; empty the target, and copy again", &error),
    })?;
    let digest = digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    output::line(&format!("copied {tenants} tenants, {keys} keys, {sessions} sessions; both databases hold the same, sha256 {digest}"))
}
