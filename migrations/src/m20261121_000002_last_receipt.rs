use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// When the newest session of all was last received. On SQLite alone: what is kept in memory there begins with it.
#[derive(DeriveMigrationName)]
pub(crate) struct Change;

#[async_trait::async_trait]
impl MigrationTrait for Change {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != DbBackend::Sqlite {
            return Ok(());
        }
        crate::run(
            manager,
            "CREATE TABLE last_receipt (at BIGINT NOT NULL);
            INSERT INTO last_receipt SELECT COALESCE(MAX(received_last), 0) FROM session;",
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != DbBackend::Sqlite {
            return Ok(());
        }
        crate::run(manager, "DROP TABLE last_receipt;").await
    }
}
