//! Copying webhooks, and what is on its way to them.

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect,
};
use sha2::{Digest, Sha256};

use super::{BATCH, feed};
use calldata_core::port::Outbox as _;

use crate::Database;
use crate::entity::{webhook, webhook_delivery};
use crate::epoch::take_up_all;

impl Database {
    /// Copies all webhooks, and what is on its way to them or was given up.
    pub(super) async fn copy_webhooks_to(&self, target: &Database) -> Result<(), DbErr> {
        // Events are not copied: what was not taken up is copied as deliveries.
        let transaction = self.begin_long().await?;
        take_up_all(&transaction).await.map_err(|error| DbErr::Custom(error.to_string()))?;
        transaction.commit().await?;
        for row in webhooks(self.keeper()).await? {
            let of = row.clone();
            let transaction = target.begin_long().await?;
            // Whoever has it there has it not here, and the places of events are others.
            let end = target.end().await.map_err(|error| DbErr::Custom(error.to_string()))?;
            let mut free = row.into_active_model().reset_all();
            free.taken_up_commit = Set(end.position.commit);
            free.taken_up_place = Set(end.position.place);
            free.holder = Set(None);
            free.held_until = Set(0);
            webhook::Entity::insert(free).exec_without_returning(&transaction).await?;
            transaction.commit().await?;
            let mut after = 0;
            loop {
                let batch = deliveries(self.keeper(), &of, after).await?;
                let Some(last) = batch.last() else { break };
                after = last.number;
                let transaction = target.begin_long().await?;
                let rows = batch.into_iter().map(IntoActiveModel::into_active_model);
                webhook_delivery::Entity::insert_many(rows).exec_without_returning(&transaction).await?;
                transaction.commit().await?;
            }
        }
        Ok(())
    }
}

async fn webhooks(connection: &impl ConnectionTrait) -> Result<Vec<webhook::Model>, DbErr> {
    use webhook::Column;
    webhook::Entity::find().order_by_asc(Column::TenantId).order_by_asc(Column::Id).all(connection).await
}

/// Some of a webhook's deliveries, in their order.
async fn deliveries(connection: &impl ConnectionTrait, of: &webhook::Model, after: i64) -> Result<Vec<webhook_delivery::Model>, DbErr> {
    use webhook_delivery::Column;
    webhook_delivery::Entity::find()
        .filter(Column::TenantId.eq(of.tenant_id))
        .filter(Column::WebhookId.eq(&of.id))
        .filter(Column::Number.gt(after))
        .order_by_asc(Column::Number)
        .limit(BATCH)
        .all(connection)
        .await
}

/// Feeds all of it, except for who has a webhook at present, and up to where events are taken up, which stay behind.
pub(super) async fn feed_all(digest: &mut Sha256, connection: &impl ConnectionTrait) -> Result<(), DbErr> {
    for row in webhooks(connection).await? {
        feed_webhook(digest, &row);
        let mut after = 0;
        loop {
            let batch = deliveries(connection, &row, after).await?;
            let Some(last) = batch.last() else { break };
            after = last.number;
            for row in &batch {
                feed(digest, &format!("{row:?}"));
            }
        }
    }
    Ok(())
}

fn feed_webhook(digest: &mut Sha256, row: &webhook::Model) {
    let webhook::Model {
        tenant_id,
        id,
        url,
        secret,
        previous_secret,
        previous_until,
        kinds,
        created_at,
        disabled,
        taken_up_commit: _,
        taken_up_place: _,
        last_number,
        holder: _,
        held_until: _,
    } = row;
    for number in [*tenant_id, *created_at, *last_number, previous_until.unwrap_or(i64::MIN)] {
        digest.update(number.to_le_bytes());
    }
    for text in [id, url, secret, kinds] {
        feed(digest, text);
    }
    for text in [previous_secret, disabled] {
        digest.update([u8::from(text.is_some())]);
        feed(digest, text.as_deref().unwrap_or_default());
    }
}
