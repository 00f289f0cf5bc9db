use sea_orm_migration::prelude::*;

/// What a tenant has masked, and after how many minutes; both or neither. The names are a JSON array.
#[derive(DeriveMigrationName)]
pub(crate) struct Change;

#[async_trait::async_trait]
impl MigrationTrait for Change {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, "ALTER TABLE tenant ADD COLUMN mask_after_min BIGINT; ALTER TABLE tenant ADD COLUMN mask_fields TEXT;").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, "ALTER TABLE tenant DROP COLUMN mask_fields; ALTER TABLE tenant DROP COLUMN mask_after_min;").await
    }
}
