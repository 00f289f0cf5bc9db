//! `copy`: everything into another database.

use std::io::{self, IsTerminal};

use calldata_store::{Contents, CopyError, Direction};
use indicatif::ProgressBar;

use super::{migrate, open_as_it_is, open_ours};
use crate::cli::CopyTo;
use crate::settings::{Secret, Settings};
use crate::{Failure, output};

pub(super) async fn run(settings: &Settings, CopyTo { to, to_file }: CopyTo) -> Result<(), Failure> {
    let is_password_shown = to.as_ref().is_some_and(Secret::is_url_with_password);
    let (from, to) = (settings.database()?, Settings { database_url: to, database_url_file: to_file, ..Settings::default() }.database()?);
    let source = open_ours(&from).await?;
    if source.pending_migrations().await.map_err(|error| Failure::because("the schema cannot be read", &error))? > 0 {
        return Err(Failure::new("the schema of the source is behind; bring it up to date first: calldata-gateway migrate up"));
    }
    let target = open_as_it_is(&to).await?;
    let not_empty = || Failure::new("the target is not empty; name a database without tenants");
    // Before its schema is touched.
    if !target.holds_nothing().await.map_err(|error| Failure::because("the target cannot be read", &error))? {
        return Err(not_empty());
    }
    migrate::migrate(&target, Direction::Up).await?;
    let bar = if io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let copied = source.copy_to(&target, |sessions| bar.set_message(format!("{sessions} sessions copied"))).await;
    bar.finish_and_clear();
    let Contents { tenants, keys, sessions, digest } = copied.map_err(|error| match error {
        CopyError::NotEmpty => not_empty(),
        CopyError::Differs => Failure::new(
            "what was copied differs from what there is now: somebody wrote meanwhile. Stop the gateway, empty the target, and copy again",
        ),
        CopyError::Failed(error) => Failure::because("it could not be copied; empty the target, and copy again", &error),
    })?;
    if is_password_shown {
        tracing::warn!("every user of this machine could read the password in --to while this ran; name a file with --to-file instead");
    }
    let digest = digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    output::line(&format!("copied {tenants} tenants, {keys} keys, {sessions} sessions; both databases hold the same, sha256 {digest}"))
}
