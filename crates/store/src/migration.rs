//! Bringing the schema up to date.

use calldata_core::StoreError;
use calldata_migrations::Migrations;
use sea_orm::{ConnectionTrait, DbBackend, DbErr};
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
        // All or nothing, and whoever starts at the same time waits: SQLite's transaction has the write lock, PostgreSQL's holds a
        // lock of its own until it ends.
        let transaction = self.writer().begin().await?;
        if transaction.get_database_backend() == DbBackend::Postgres {
            let lock = format!("SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({ADVISORY_LOCK})");
            transaction.execute_unprepared(&lock).await?;
        }
        match direction {
            Direction::Up => Migrations::up(&transaction, None).await?,
            Direction::Down => Migrations::down(&transaction, Some(1)).await?,
        }
        transaction.commit().await
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
