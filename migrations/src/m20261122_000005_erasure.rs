use sea_orm_migration::prelude::*;

/// Erasures and their receipts, and keyed hashes of requests of which nothing may be stored when they come again. Whose an erasure is, is
/// known until it is finished.
#[derive(DeriveMigrationName)]
pub(crate) struct Change;

#[async_trait::async_trait]
impl MigrationTrait for Change {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(
            manager,
            "CREATE TABLE erasure (
                tenant_id BIGINT NOT NULL,
                id {text} NOT NULL,
                caller_key {text},
                pseudonym TEXT NOT NULL,
                sessions BIGINT NOT NULL,
                events BIGINT NOT NULL,
                requested_at BIGINT NOT NULL,
                invisible_at BIGINT,
                purged_at BIGINT,
                PRIMARY KEY (tenant_id, id)
            );
            CREATE INDEX erasure_open ON erasure (requested_at) WHERE purged_at IS NULL;
            CREATE TABLE tombstone (
                tenant_id BIGINT NOT NULL,
                seal {bytes} NOT NULL,
                until BIGINT NOT NULL,
                PRIMARY KEY (tenant_id, seal)
            );",
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, "DROP TABLE tombstone; DROP TABLE erasure;").await
    }
}
