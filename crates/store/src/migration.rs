//! Bringing the schema up to date.

use calldata_migrations::Migrations;
use sea_orm::{ConnectionTrait, DbBackend, DbErr};
use sea_orm_migration::{MigrationStatus, MigratorTrait};

use crate::Database;

/// Held on PostgreSQL while migrating, so that of two instances that start at once one waits for the other. An arbitrary number.
const ADVISORY_LOCK: i64 = 0x0063_616c_6c64_6174;

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
    /// Brings the schema to where it should be. On PostgreSQL under a lock, so that instances that start together do not race.
    ///
    /// # Errors
    /// When a change fails; those before it stay.
    pub async fn migrate(&self, direction: Direction) -> Result<(), DbErr> {
        if self.writer().get_database_backend() != DbBackend::Postgres {
            return step(self.writer(), direction).await;
        }
        // The lock belongs to the transaction, and PostgreSQL's schema changes are part of one: all or nothing, and no lock is left.
        let transaction = self.begin().await?;
        transaction.execute_unprepared(&format!("SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")).await?;
        step(&transaction, direction).await?;
        transaction.commit().await
    }

    /// All changes in their order, and whether each was made.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn migrations(&self) -> Result<Vec<MigrationState>, DbErr> {
        let known = Migrations::get_migration_with_status_read_only(self.writer()).await?;
        Ok(known.iter().map(|m| MigrationState { name: m.name().to_owned(), applied: m.status() == MigrationStatus::Applied }).collect())
    }
}

async fn step<'c, C: sea_orm_migration::IntoSchemaManagerConnection<'c>>(connection: C, direction: Direction) -> Result<(), DbErr> {
    match direction {
        Direction::Up => Migrations::up(connection, None).await,
        Direction::Down => Migrations::down(connection, Some(1)).await,
    }
}
