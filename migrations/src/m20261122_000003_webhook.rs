use sea_orm_migration::prelude::*;

/// Webhooks, and what is on its way to them.
///
/// A delivery is due at `next_at`, waits for an earlier one of its session where that is missing, and was given up where there is a
/// `died_at`. It names a session and holds nothing of it; so there is no reference to one, for it may be told that a session is gone.
#[derive(DeriveMigrationName)]
pub(crate) struct Change;

#[async_trait::async_trait]
impl MigrationTrait for Change {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(
            manager,
            "CREATE TABLE webhook (
                tenant_id BIGINT NOT NULL REFERENCES tenant (id),
                id {text} NOT NULL,
                url TEXT NOT NULL,
                secret TEXT NOT NULL,
                previous_secret TEXT,
                previous_until BIGINT,
                kinds TEXT NOT NULL,
                created_at BIGINT NOT NULL,
                disabled TEXT,
                taken_up_commit BIGINT NOT NULL,
                taken_up_place BIGINT NOT NULL,
                last_number BIGINT NOT NULL,
                holder TEXT,
                held_until BIGINT NOT NULL,
                PRIMARY KEY (tenant_id, id)
            );
            CREATE TABLE webhook_delivery (
                tenant_id BIGINT NOT NULL,
                webhook_id {text} NOT NULL,
                number BIGINT NOT NULL,
                kind TEXT NOT NULL,
                session_id {text} NOT NULL,
                at BIGINT NOT NULL,
                attempts INTEGER NOT NULL,
                since BIGINT NOT NULL,
                next_at BIGINT,
                died_at BIGINT,
                last_failure TEXT,
                PRIMARY KEY (tenant_id, webhook_id, number),
                FOREIGN KEY (tenant_id, webhook_id) REFERENCES webhook (tenant_id, id)
            );
            CREATE INDEX webhook_delivery_due ON webhook_delivery (tenant_id, webhook_id, next_at) WHERE next_at IS NOT NULL;
            CREATE INDEX webhook_delivery_by_session ON webhook_delivery (tenant_id, webhook_id, session_id, number);
            CREATE INDEX webhook_delivery_dead ON webhook_delivery (tenant_id, webhook_id, number) WHERE died_at IS NOT NULL;",
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, "DROP TABLE webhook_delivery; DROP TABLE webhook;").await
    }
}
