//! Whether a SQLite file is in order, as the engine itself judges.

use std::path::Path;

use sea_orm::{ConnectionTrait, DbBackend, Statement};

/// What `PRAGMA integrity_check` says: `ok`, or what is wrong.
///
/// # Panics
/// When the file cannot be opened, or there is no answer.
pub async fn of_sqlite(file: &Path) -> String {
    let mut options = sea_orm::ConnectOptions::new(format!("sqlite://{}", file.display()));
    options.max_connections(1).sqlx_logging(false);
    let database = sea_orm::Database::connect(options).await.expect("the file opens");
    let question = Statement::from_string(DbBackend::Sqlite, "PRAGMA integrity_check");
    let rows = database.query_all_raw(question).await.expect("the engine answers");
    database.close().await.expect("the connection closes");
    let lines = rows.iter().map(|row| row.try_get::<String>("", "integrity_check").expect("the answer is text"));
    lines.collect::<Vec<_>>().join("; ")
}
