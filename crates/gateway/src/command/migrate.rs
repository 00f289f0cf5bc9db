//! `migrate`: the schema of the database.

use calldata_store::{Database, Direction, Loss, Reversal};

use super::{confirmation, open_as_it_is};
use crate::cli::MigrateCommand;
use crate::settings::Settings;
use crate::{Failure, output};

pub(super) async fn run(settings: &Settings, command: MigrateCommand) -> Result<(), Failure> {
    let database = open_as_it_is(&settings.database()?).await?;
    match command {
        MigrateCommand::Up => migrate(&database, Direction::Up).await?,
        MigrateCommand::Down { yes: true } => migrate(&database, Direction::Down).await?,
        MigrateCommand::Down { yes: false } => revert(&database).await?,
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

/// Takes the newest change back; what would be lost is told and has to be confirmed.
async fn revert(database: &Database) -> Result<(), Failure> {
    let reversal = database.revert().await.map_err(|error| Failure::because("the schema cannot be changed", &error))?;
    let Reversal::WouldLose(losses) = reversal else { return Ok(()) };
    let list = losses.iter().map(described).collect::<Vec<_>>().join(", ");
    let warning = format!("migrate down drops {list}, for good");
    let Some(answer) = confirmation::ask(&format!("{warning}. Make a backup first. Type yes to drop it: "))? else {
        return Err(Failure::new(format!("{warning}; nothing was changed. Make a backup first, and repeat the command with --yes")));
    };
    if answer != "yes" {
        return Err(Failure::new("not confirmed; nothing was changed"));
    }
    migrate(database, Direction::Down).await
}

fn described(loss: &Loss) -> String {
    let Loss { table, column, rows } = loss;
    let rows = if *rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
    match column {
        None => format!("the table {table} ({rows})"),
        Some(column) => format!("the column {table}.{column} ({rows})"),
    }
}
