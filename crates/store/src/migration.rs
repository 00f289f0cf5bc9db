//! Bringing the schema up to date.

use std::collections::BTreeMap;

use calldata_core::StoreError;
use calldata_migrations::Migrations;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement, TransactionTrait};
use sea_orm_migration::{MigrationStatus, MigratorTrait};

use crate::Database;

/// Held on PostgreSQL while migrating, so that of two instances that start at once one waits for the other. An arbitrary number.
pub(crate) const ADVISORY_LOCK: i64 = 0x0063_616c_6c64_6174;

/// Which way to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the newest schema.
    Up,
    /// One change back.
    Down,
}

/// A change of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationState {
    /// Its name.
    pub name: String,
    /// Whether it was made.
    pub applied: bool,
}

/// Data that is lost when a change of the schema is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The table that is dropped, or that loses a column.
    pub table: String,
    /// The column, where the table stays.
    pub column: Option<String>,
    /// How many rows there are; of a column, those with another value than its default.
    pub rows: u64,
}

/// The outcome of [`Database::revert`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reversal {
    /// The newest change is taken back.
    Done,
    /// Nothing was changed, for this would be lost.
    WouldLose(Vec<Loss>),
}

impl Database {
    /// Brings the schema to where it should be. On PostgreSQL under a lock, so that instances that start together do not race. A database
    /// that was restored gets an epoch of its own on the way up.
    ///
    /// # Errors
    /// When a change fails; those before it stay.
    pub async fn migrate(&self, direction: Direction) -> Result<(), DbErr> {
        if direction == Direction::Down {
            return self.change_schema(direction).await;
        }
        if self.pending_migrations().await? > 0 {
            self.change_schema(direction).await?;
        }
        self.confirm_epoch().await.map(drop).map_err(|error| match error {
            StoreError::Failed(source) | StoreError::Busy(source) => DbErr::Custom(source.to_string()),
            error => DbErr::Custom(error.to_string()),
        })
    }

    async fn change_schema(&self, direction: Direction) -> Result<(), DbErr> {
        let transaction = self.begin_migration().await?;
        match direction {
            Direction::Up => Migrations::up(&transaction, None).await?,
            Direction::Down => Migrations::down(&transaction, Some(1)).await?,
        }
        transaction.commit().await
    }

    /// Takes the newest change back, unless that drops tables or columns with data in them.
    ///
    /// # Errors
    /// When the change cannot be taken back; everything stays as it was.
    pub async fn revert(&self) -> Result<Reversal, DbErr> {
        let transaction = self.begin_migration().await?;
        let before = columns(&transaction).await?;
        // Tried before anything is counted: a count of every table would take long, and a list of what each change drops would get stale.
        let trial = transaction.begin().await?;
        Migrations::down(&trial, Some(1)).await?;
        let after = columns(&trial).await?;
        trial.rollback().await?;
        let mut losses = Vec::new();
        for (table, columns) in &before {
            let kept = after.get(table);
            let dropped = columns.iter().filter(|(column, _)| kept.is_some_and(|kept| !kept.contains_key(*column)));
            let dropped = dropped.map(|(column, default)| (Some(column), default.as_deref()));
            for (column, default) in kept.is_none().then_some((None, None)).into_iter().chain(dropped) {
                let rows = count(&transaction, table, column, default).await?;
                if rows > 0 {
                    losses.push(Loss { table: table.clone(), column: column.cloned(), rows });
                }
            }
        }
        if !losses.is_empty() {
            transaction.rollback().await?;
            return Ok(Reversal::WouldLose(losses));
        }
        Migrations::down(&transaction, Some(1)).await?;
        transaction.commit().await?;
        Ok(Reversal::Done)
    }

    /// Begins a transaction in which one process at a time changes the schema, all or nothing: SQLite's has the write lock, PostgreSQL's
    /// holds a lock of its own until it ends.
    async fn begin_migration(&self) -> Result<DatabaseTransaction, DbErr> {
        let transaction = self.writer().begin().await?;
        if transaction.get_database_backend() == DbBackend::Postgres {
            let lock = format!("SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({ADVISORY_LOCK})");
            transaction.execute_unprepared(&lock).await?;
        }
        Ok(transaction)
    }

    /// How many changes are yet to be made. Asked on a connection of its own, so that the answer does not wait for requests.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn pending_migrations(&self) -> Result<usize, DbErr> {
        Migrations::get_pending_migrations_read_only(self.probe()).await.map(|pending| pending.len())
    }

    /// All changes in their order, and whether each was made.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn migrations(&self) -> Result<Vec<MigrationState>, DbErr> {
        let known = Migrations::get_migration_with_status_read_only(self.probe()).await?;
        Ok(known.iter().map(|m| MigrationState { name: m.name().to_owned(), applied: m.status() == MigrationStatus::Applied }).collect())
    }
}

/// The columns of each table, by name, with their defaults as SQL.
type Columns = BTreeMap<String, BTreeMap<String, Option<String>>>;

async fn columns(transaction: &DatabaseTransaction) -> Result<Columns, DbErr> {
    let backend = transaction.get_database_backend();
    let statement = match backend {
        DbBackend::Postgres => {
            "SELECT c.table_name::text AS of_table, c.column_name::text AS name, c.column_default::text AS by_default \
             FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name) \
             WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE'"
        }
        _ => {
            "SELECT t.name AS of_table, c.name AS name, c.dflt_value AS by_default FROM sqlite_schema t, pragma_table_info(t.name) c \
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        }
    };
    let mut columns = Columns::new();
    for row in transaction.query_all_raw(Statement::from_string(backend, statement)).await? {
        let of_table = columns.entry(row.try_get("", "of_table")?).or_default();
        of_table.insert(row.try_get("", "name")?, row.try_get("", "by_default")?);
    }
    Ok(columns)
}

/// How many rows a table has; with a column, how many have a value there that is not the default.
async fn count(transaction: &DatabaseTransaction, table: &str, column: Option<&String>, default: Option<&str>) -> Result<u64, DbErr> {
    // All names and defaults are those of the schema.
    let condition = match (column, default) {
        (None, _) => String::new(),
        (Some(column), None) => format!(" WHERE \"{column}\" IS NOT NULL"),
        (Some(column), Some(default)) => format!(" WHERE \"{column}\" IS NOT NULL AND \"{column}\" <> ({default})"),
    };
    let statement = format!("SELECT COUNT(*) AS counted FROM \"{table}\"{condition}");
    let row = transaction.query_one_raw(Statement::from_string(transaction.get_database_backend(), statement)).await?;
    let counted: i64 = row.map(|row| row.try_get("", "counted")).transpose()?.unwrap_or_default();
    Ok(counted.unsigned_abs())
}
