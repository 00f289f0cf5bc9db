use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// Up to when time was proven when that was last written down: what a process has to compare its clock with when it begins. A database with
/// sessions begins with the newest of them, an empty one with the present.
#[derive(DeriveMigrationName)]
pub(crate) struct Change;

const SQLITE: &str = "INSERT INTO time_mark SELECT MIN(now, CASE WHEN at > 0 THEN at ELSE now END)
    FROM last_receipt, (SELECT CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER) AS now);";
/// By the tenants, for every index of sessions begins with one.
const POSTGRES: &str = "INSERT INTO time_mark SELECT LEAST(now, (SELECT MAX((SELECT MAX(received_first) FROM session
    WHERE session.tenant_id = tenant.id)) FROM tenant))
    FROM (SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT AS now) AS present;";

#[async_trait::async_trait]
impl MigrationTrait for Change {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, "CREATE TABLE time_mark (at BIGINT NOT NULL);").await?;
        crate::run(manager, if manager.get_database_backend() == DbBackend::Postgres { POSTGRES } else { SQLITE }).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, "DROP TABLE time_mark;").await
    }
}
