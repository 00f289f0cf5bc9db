use sea_orm_migration::prelude::*;

/// Finds what has expired without looking at what has not.
#[derive(DeriveMigrationName)]
pub(crate) struct Change;

#[async_trait::async_trait]
impl MigrationTrait for Change {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, "CREATE INDEX session_by_receipt ON session (tenant_id, received_first);").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, "DROP INDEX session_by_receipt;").await
    }
}
