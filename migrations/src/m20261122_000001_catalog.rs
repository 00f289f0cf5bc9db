use sea_orm_migration::prelude::*;

/// Lists by start and by conversation, and the names of requests that must not be done twice: each as a hash, with one of what was asked
/// for and the session that came of it.
#[derive(DeriveMigrationName)]
pub(crate) struct Change;

#[async_trait::async_trait]
impl MigrationTrait for Change {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(
            manager,
            "CREATE INDEX session_by_start ON session (tenant_id, started_at, id);
            CREATE INDEX session_by_conversation ON session (tenant_id, conversation_key, started_at, id) WHERE conversation_key IS NOT NULL;
            CREATE TABLE request_name (
                tenant_id BIGINT NOT NULL REFERENCES tenant (id),
                name {bytes} NOT NULL,
                request {bytes} NOT NULL,
                session_id {text} NOT NULL,
                done_at BIGINT NOT NULL,
                PRIMARY KEY (tenant_id, name)
            );
            CREATE INDEX request_name_by_session ON request_name (tenant_id, session_id);
            CREATE INDEX request_name_by_time ON request_name (done_at);",
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, "DROP TABLE request_name; DROP INDEX session_by_conversation; DROP INDEX session_by_start;").await
    }
}
