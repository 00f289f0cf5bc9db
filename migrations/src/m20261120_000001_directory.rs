use sea_orm_migration::prelude::*;

/// Tenants, their access keys, and a number that grows when one of them changes.
#[derive(DeriveMigrationName)]
pub(crate) struct Change;

#[async_trait::async_trait]
impl MigrationTrait for Change {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(
            manager,
            "CREATE TABLE tenant (
                id BIGINT NOT NULL PRIMARY KEY,
                name TEXT NOT NULL,
                client_id {text} NOT NULL UNIQUE,
                oifde_id {text} NOT NULL UNIQUE,
                default_country TEXT NOT NULL,
                zone TEXT NOT NULL,
                oifde_zone TEXT NOT NULL,
                retention_days INTEGER NOT NULL,
                misses_are_absences BOOLEAN NOT NULL,
                explains_misses BOOLEAN NOT NULL,
                accepts_key_in_url BOOLEAN NOT NULL,
                suspended BOOLEAN NOT NULL,
                expired_until BIGINT NOT NULL,
                created_at BIGINT NOT NULL
            );
            CREATE TABLE access_key (
                id {text} NOT NULL PRIMARY KEY,
                tenant_id BIGINT NOT NULL REFERENCES tenant (id),
                secret_hash {text} NOT NULL,
                scopes TEXT NOT NULL,
                created_at BIGINT NOT NULL,
                expires_at BIGINT,
                revoked_at BIGINT,
                last_used_at BIGINT
            );
            CREATE UNIQUE INDEX access_key_by_secret ON access_key (tenant_id, secret_hash);
            CREATE TABLE directory (
                id INTEGER NOT NULL PRIMARY KEY,
                version BIGINT NOT NULL
            );
            INSERT INTO directory (id, version) VALUES (1, 1);",
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, "DROP TABLE directory; DROP TABLE access_key; DROP TABLE tenant;").await
    }
}
