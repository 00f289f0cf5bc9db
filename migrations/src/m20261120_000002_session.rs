use sea_orm_migration::prelude::*;

/// Sessions. What is searched has a column; what is only given back is text, so that order and digits survive.
///
/// `started_at` is the told start or the first receipt; which of the two is written in `details`. The `_key` columns hold what is
/// compared: a text itself, or its hash where the text is too long for an index or holds what a column cannot. `replay_digest`
/// makes a post that arrives twice one row.
#[derive(DeriveMigrationName)]
pub(crate) struct Change;

#[async_trait::async_trait]
impl MigrationTrait for Change {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(
            manager,
            "CREATE TABLE session (
                tenant_id BIGINT NOT NULL REFERENCES tenant (id),
                id {text} NOT NULL,
                call_id {text} NOT NULL,
                caller TEXT NOT NULL,
                caller_key {text} NOT NULL,
                country_code TEXT,
                cti_call_key {text},
                conversation_key {text},
                intent_key {text},
                received_first BIGINT NOT NULL,
                received_last BIGINT NOT NULL,
                started_at BIGINT NOT NULL,
                source INTEGER NOT NULL,
                replay_digest {bytes},
                content TEXT,
                conversation TEXT,
                fields TEXT NOT NULL,
                turns TEXT,
                answers TEXT,
                details TEXT,
                PRIMARY KEY (tenant_id, id)
            );
            CREATE UNIQUE INDEX session_by_digest ON session (tenant_id, replay_digest) WHERE replay_digest IS NOT NULL;
            CREATE INDEX session_by_call ON session (tenant_id, call_id, caller_key, received_last, id);
            CREATE INDEX session_by_caller ON session (tenant_id, caller_key, started_at, id, received_first);
            CREATE INDEX session_by_cti_call ON session (tenant_id, cti_call_key, started_at, id) WHERE cti_call_key IS NOT NULL;",
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, "DROP TABLE session;").await
    }
}
