//! `migrate`: the schema of the database.

use calldata_store::{Database, Direction};

use super::open_as_it_is;
use crate::cli::MigrateCommand;
use crate::settings::Settings;
use crate::{Failure, output};

pub(super) async fn run(settings: &Settings, command: MigrateCommand) -> Result<(), Failure> {
    let database = open_as_it_is(&settings.database()?).await?;
    match command {
        MigrateCommand::Up => migrate(&database, Direction::Up).await?,
        MigrateCommand::Down => migrate(&database, Direction::Down).await?,
        MigrateCommand::Status => {}
        MigrateCommand::NewEpoch => {
            migrate(&database, Direction::Up).await?;
            database.renew_epoch().await.map_err(|error| Failure::because("no new epoch could be begun", &error))?;
            return output::line(
                "a new epoch has begun: event ids from before are refused, and message ids from before are not used again",
            );
        }
    }
    let states = database.migrations().await.map_err(|error| Failure::because("the schema cannot be read", &error))?;
    let rows: Vec<_> = states.into_iter().map(|state| [state.name, if state.applied { "made" } else { "pending" }.to_owned()]).collect();
    output::table(["CHANGE", "STATE"], &rows)
}

pub(super) async fn migrate(database: &Database, direction: Direction) -> Result<(), Failure> {
    database.migrate(direction).await.map_err(|error| Failure::because("the schema cannot be changed", &error))
}
