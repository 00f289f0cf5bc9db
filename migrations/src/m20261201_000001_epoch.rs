use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// The epoch of the database, which is part of the ids of events and of webhook messages.
///
/// `bound_to` says which database the epoch belongs to, so that a restored one is recognised: on SQLite `file`, and `copy` in a backup that
/// was not started yet; on PostgreSQL what identifies the cluster, the database and the table, empty until a gateway has looked.
/// Ids that were handed out before have no epoch. They stay valid up to `unprefixed_until`, the last commit by now; a database that is
/// new has handed out none.
#[derive(DeriveMigrationName)]
pub(crate) struct Change;

const NEW_ON_SQLITE: &str = "INSERT INTO database_epoch (id, epoch, bound_to, unprefixed_until)
    SELECT 1, lower(hex(randomblob(5))), 'file', CASE WHEN EXISTS (SELECT 1 FROM tenant) THEN (SELECT commit_no FROM last_receipt) END;";
const NEW_ON_POSTGRES: &str = "INSERT INTO database_epoch (id, epoch, bound_to, unprefixed_until)
    SELECT 1, substr(replace(gen_random_uuid()::text, '-', ''), 1, 10), '',
        CASE WHEN EXISTS (SELECT 1 FROM tenant) THEN pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1 END;";

#[async_trait::async_trait]
impl MigrationTrait for Change {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(
            manager,
            "CREATE TABLE database_epoch (
                id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
                epoch {text} NOT NULL,
                bound_to {text} NOT NULL,
                unprefixed_until BIGINT
            );
            ALTER TABLE webhook_delivery ADD COLUMN epoch {text};",
        )
        .await?;
        let is_postgres = manager.get_database_backend() == DbBackend::Postgres;
        crate::run(manager, if is_postgres { NEW_ON_POSTGRES } else { NEW_ON_SQLITE }).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, "ALTER TABLE webhook_delivery DROP COLUMN epoch; DROP TABLE database_epoch;").await
    }
}
