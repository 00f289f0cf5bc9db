//! The port of webhooks.

use async_trait::async_trait;
use calldata_core::event::{Event, Position};
use calldata_core::port::{Change, Lease, Settled, Standing};
use calldata_core::webhook::{DeadLetter, Delivery, DeliveryId, DeliveryNumber, Disabled, Webhook, WebhookKey};
use calldata_core::{SessionId, StoreError, TenantId, Timestamp, WebhookStore};
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, FromQueryResult, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait,
};

use crate::entity::webhook::{Column, Entity, Model};
use crate::entity::webhook_delivery;
use crate::error::of_statement;
use crate::transact::Work;
use crate::webhook_row::{of_secret, of_webhook, to_standing, to_webhook};
use crate::{Database, webhook_deliveries};

#[async_trait]
impl WebhookStore for Database {
    async fn create_webhook(&self, webhook: &Webhook) -> Result<(), StoreError> {
        let create: Work<Webhook, ()> = |transaction, webhook| {
            Box::pin(async move {
                let created = Entity::insert(of_webhook(webhook).into_active_model()).exec_without_returning(transaction).await;
                created.map_err(of_statement).map(drop)
            })
        };
        self.writer().transact(webhook, create).await
    }

    async fn webhooks_of(&self, tenant: TenantId) -> Result<Vec<Webhook>, StoreError> {
        self.read(async {
            let of_tenant = Entity::find().filter(Column::TenantId.eq(tenant.number()));
            let rows =
                of_tenant.order_by_asc(Column::CreatedAt).order_by_asc(Column::Id).all(self.readers()).await.map_err(of_statement)?;
            rows.into_iter().map(to_webhook).collect()
        })
        .await
    }

    async fn change_webhook(&self, key: &WebhookKey, change: Change) -> Result<Option<Webhook>, StoreError> {
        let update: Work<(&WebhookKey, Change), Option<Webhook>> = |transaction, (key, change)| {
            Box::pin(async move {
                let mut update = Query::update().table(Entity).cond_where(this(key)).take();
                match change {
                    Change::Secret { secret, previous_until } => update.values([
                        (Column::PreviousSecret, Expr::col(Column::Secret)),
                        (Column::PreviousUntil, previous_until.epoch_ms().into()),
                        (Column::Secret, of_secret(secret).into()),
                    ]),
                    Change::Enabled => update.value(Column::Disabled, None::<String>),
                };
                transaction.execute(&update).await.map_err(of_statement)?;
                found(transaction, key).await
            })
        };
        self.writer().transact(&(key, change), update).await
    }

    async fn delete_webhook(&self, key: &WebhookKey) -> Result<bool, StoreError> {
        // Disabled first: nothing is taken up for it while its deliveries go, a few at a time.
        let disable: Work<WebhookKey, bool> = |transaction, key| Box::pin(disable(transaction, key));
        if !self.writer().transact(key, disable).await? {
            return Ok(false);
        }
        while webhook_deliveries::drop_some(&self.writer(), key, Condition::all()).await? > 0 {}
        let delete: Work<WebhookKey, ()> = |transaction, key| {
            Box::pin(async move {
                let deleted = Entity::delete_many().filter(this(key)).exec(transaction).await;
                deleted.map_err(of_statement).map(drop)
            })
        };
        self.writer().transact(key, delete).await.map(|()| true)
    }

    async fn standings(&self) -> Result<Vec<Standing>, StoreError> {
        self.read(async {
            let rows = self.readers().query_all(&standings()).await.map_err(of_statement)?;
            let standings = rows.iter().map(|row| {
                let due: Option<i64> = row.try_get("", "due").map_err(of_statement)?;
                to_standing(Model::from_query_result(row, "").map_err(of_statement)?, due)
            });
            standings.collect()
        })
        .await
    }

    async fn lease(&self, lease: &Lease, now: Timestamp, until: Timestamp) -> Result<Option<Webhook>, StoreError> {
        let take: Work<(&Lease, Timestamp, Timestamp), Option<Webhook>> = |transaction, (lease, now, until)| {
            Box::pin(async move {
                let free = Column::Holder.eq(&lease.holder).or(Column::HeldUntil.lte(now.epoch_ms()));
                let take = Query::update()
                    .table(Entity)
                    .values([(Column::Holder, lease.holder.clone().into()), (Column::HeldUntil, until.epoch_ms().into())])
                    .cond_where(this(&lease.key).add(Column::Disabled.is_null()).add(free))
                    .take();
                match transaction.execute(&take).await.map_err(of_statement)?.rows_affected() {
                    0 => Ok(None),
                    _ => found(transaction, &lease.key).await,
                }
            })
        };
        self.writer().transact(&(lease, now, until), take).await
    }

    async fn take_up(&self, key: &WebhookKey, from: Position, to: Position, events: &[Event], now: Timestamp) -> Result<bool, StoreError> {
        webhook_deliveries::take_up(&self.writer(), key, from, to, events, now).await
    }

    async fn due(&self, key: &WebhookKey, now: Timestamp, limit: u64) -> Result<Vec<Delivery>, StoreError> {
        self.read(webhook_deliveries::due(self.readers(), key, now, limit)).await
    }

    async fn settle(&self, lease: &Lease, settled: &[Settled], now: Timestamp) -> Result<bool, StoreError> {
        webhook_deliveries::settle(&self.writer(), lease, settled, now).await
    }

    async fn dead_letters(&self, key: &WebhookKey, after: DeliveryNumber, limit: u64) -> Result<Vec<DeadLetter>, StoreError> {
        self.read(webhook_deliveries::dead(self.readers(), key, after, limit)).await
    }

    async fn replay(&self, key: &WebhookKey, one: Option<DeliveryId>, now: Timestamp, limit: u64) -> Result<u64, StoreError> {
        webhook_deliveries::replay(&self.writer(), key, one, now, limit).await
    }

    async fn forget_deliveries(&self, tenant: TenantId, sessions: &[SessionId], now: Timestamp) -> Result<u64, StoreError> {
        webhook_deliveries::forget(&self.writer(), tenant, sessions, now).await
    }

    async fn drop_dead_letters(&self, key: &WebhookKey, until: Timestamp) -> Result<u64, StoreError> {
        let dead = Condition::all().add(webhook_delivery::Column::DiedAt.lte(until.epoch_ms()));
        webhook_deliveries::drop_some(&self.writer(), key, dead).await
    }

    async fn backlog(&self) -> Result<u64, StoreError> {
        self.read(webhook_deliveries::count_waiting(self.readers())).await
    }
}

impl Database {
    /// Deletes all webhooks of a tenant.
    pub(crate) async fn delete_webhooks_of(&self, tenant: TenantId) -> Result<(), StoreError> {
        for webhook in self.webhooks_of(tenant).await? {
            self.delete_webhook(&webhook.key()).await?;
        }
        Ok(())
    }
}

/// The row of that webhook.
pub(crate) fn this(key: &WebhookKey) -> Condition {
    Condition::all().add(Column::TenantId.eq(key.tenant.number())).add(Column::Id.eq(key.id.as_str()))
}

async fn found(connection: &impl ConnectionTrait, key: &WebhookKey) -> Result<Option<Webhook>, StoreError> {
    let row = Entity::find().filter(this(key)).one(connection).await.map_err(of_statement)?;
    row.map(to_webhook).transpose()
}

/// Lets nothing more be sent to it; false when there is none.
pub(crate) async fn disable(transaction: &DatabaseTransaction, key: &WebhookKey) -> Result<bool, StoreError> {
    let disable = Query::update().table(Entity).value(Column::Disabled, Disabled::Gone.name()).cond_where(this(key)).take();
    transaction.execute(&disable).await.map(|done| done.rows_affected() > 0).map_err(of_statement)
}

/// All webhooks, each with a look at the beginning of what is due.
fn standings() -> SelectStatement {
    use webhook_delivery::Column as Of;
    let due = Query::select()
        .column(Of::NextAt)
        .from(webhook_delivery::Entity)
        .and_where(Expr::col((webhook_delivery::Entity, Of::TenantId)).equals((Entity, Column::TenantId)))
        .and_where(Expr::col((webhook_delivery::Entity, Of::WebhookId)).equals((Entity, Column::Id)))
        .and_where(Expr::col((webhook_delivery::Entity, Of::NextAt)).is_not_null())
        .order_by(Of::NextAt, sea_orm::Order::Asc)
        .limit(1)
        .take();
    Entity::find().expr_as(Expr::from(due), "due").into_query()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrated;
    use sea_orm::sea_query::SqliteQueryBuilder;

    #[tokio::test]
    async fn what_is_due_is_found_at_the_beginning_of_an_index() {
        let (_folder, database) = migrated().await;
        let steps = database.plan(&standings().to_string(SqliteQueryBuilder)).await;
        let look = "SEARCH webhook_delivery USING COVERING INDEX webhook_delivery_due (tenant_id=? AND webhook_id=? AND next_at>?)";
        assert!(steps.iter().any(|step| step == look), "{steps:?}");
        assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{steps:?}");
    }
}
