use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// What happened to sessions, in the order of commits. On SQLite, commits are counted; on PostgreSQL, they have numbers.
#[derive(DeriveMigrationName)]
pub(crate) struct Change;

#[async_trait::async_trait]
impl MigrationTrait for Change {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(
            manager,
            "CREATE TABLE event (
                tenant_id BIGINT NOT NULL,
                commit_no BIGINT NOT NULL,
                place BIGINT NOT NULL,
                kind INTEGER NOT NULL,
                session_id {text} NOT NULL,
                at BIGINT NOT NULL,
                PRIMARY KEY (tenant_id, commit_no, place)
            ){rowless};
            CREATE TABLE event_floor (
                tenant_id BIGINT NOT NULL PRIMARY KEY,
                commit_no BIGINT NOT NULL,
                place BIGINT NOT NULL
            );",
        )
        .await?;
        if manager.get_database_backend() == DbBackend::Sqlite {
            crate::run(manager, "ALTER TABLE last_receipt ADD COLUMN commit_no BIGINT NOT NULL DEFAULT 0;").await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Sqlite {
            crate::run(manager, "ALTER TABLE last_receipt DROP COLUMN commit_no;").await?;
        }
        crate::run(manager, "DROP TABLE event_floor; DROP TABLE event;").await
    }
}
