use sea_orm_migration::prelude::*;

/// Who read, wrote, exported and erased what, and for how many days that is kept. A caller is a keyed hash here.
#[derive(DeriveMigrationName)]
pub(crate) struct Change;

#[async_trait::async_trait]
impl MigrationTrait for Change {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(
            manager,
            "CREATE TABLE audit (
                tenant_id BIGINT NOT NULL,
                at BIGINT NOT NULL,
                id BIGINT NOT NULL,
                key_id {text} NOT NULL,
                action INTEGER NOT NULL,
                caller {text},
                sessions BIGINT NOT NULL,
                PRIMARY KEY (tenant_id, at, id)
            ){rowless};
            CREATE INDEX audit_by_caller ON audit (tenant_id, caller, at, id) WHERE caller IS NOT NULL;
            ALTER TABLE tenant ADD COLUMN audit_days INTEGER NOT NULL DEFAULT 90;",
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, "ALTER TABLE tenant DROP COLUMN audit_days; DROP TABLE audit;").await
    }
}
