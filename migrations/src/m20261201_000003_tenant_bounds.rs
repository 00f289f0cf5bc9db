use sea_orm_migration::prelude::*;

/// How many entries a tenant's audit trail may have, and how many bytes of sessions it may store.
#[derive(DeriveMigrationName)]
pub(crate) struct Change;

#[async_trait::async_trait]
impl MigrationTrait for Change {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(
            manager,
            "ALTER TABLE tenant ADD COLUMN audit_rows BIGINT NOT NULL DEFAULT 1000000; ALTER TABLE tenant ADD COLUMN quota_bytes BIGINT;",
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, "ALTER TABLE tenant DROP COLUMN quota_bytes; ALTER TABLE tenant DROP COLUMN audit_rows;").await
    }
}
