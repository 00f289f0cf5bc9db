//! Copying what else has to outlive a move: who did what, receipts of erasures, and what is known of requests.
//!
//! Events stay behind: their places are those of the database they were written in. Who follows begins anew.

use sea_orm::{ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, ModelTrait, QueryOrder, QuerySelect};
use sha2::Sha256;

use super::{BATCH, feed};
use crate::Database;
use crate::entity::{audit, erasure, request_name, tombstone};

impl Database {
    /// Copies all of it.
    pub(super) async fn copy_records_to(&self, target: &Database) -> Result<(), DbErr> {
        copy(erasures(self.keeper()).await?, target).await?;
        copy(tombstones(self.keeper()).await?, target).await?;
        copy(names(self.keeper()).await?, target).await?;
        let mut after = None;
        loop {
            let batch = entries(self.keeper(), after).await?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = Some((last.tenant_id, last.at, last.id));
            copy(batch, target).await?;
        }
    }
}

async fn copy<M>(rows: Vec<M>, target: &Database) -> Result<(), DbErr>
where
    M: ModelTrait + IntoActiveModel<<M::Entity as EntityTrait>::ActiveModel>,
{
    let mut rows = rows.into_iter().map(IntoActiveModel::into_active_model).peekable();
    let batch = usize::try_from(BATCH).unwrap_or(usize::MAX);
    while rows.peek().is_some() {
        let transaction = target.begin_long().await?;
        let some: Vec<_> = rows.by_ref().take(batch).collect();
        <M::Entity as EntityTrait>::insert_many(some).exec_without_returning(&transaction).await?;
        transaction.commit().await?;
    }
    Ok(())
}

async fn erasures(connection: &impl ConnectionTrait) -> Result<Vec<erasure::Model>, DbErr> {
    use erasure::Column;
    erasure::Entity::find().order_by_asc(Column::TenantId).order_by_asc(Column::Id).all(connection).await
}

async fn tombstones(connection: &impl ConnectionTrait) -> Result<Vec<tombstone::Model>, DbErr> {
    use tombstone::Column;
    tombstone::Entity::find().order_by_asc(Column::TenantId).order_by_asc(Column::Seal).all(connection).await
}

async fn names(connection: &impl ConnectionTrait) -> Result<Vec<request_name::Model>, DbErr> {
    use request_name::Column;
    request_name::Entity::find().order_by_asc(Column::TenantId).order_by_asc(Column::Name).all(connection).await
}

/// Some entries of the audit trail, in the order of their keys.
async fn entries(connection: &impl ConnectionTrait, after: Option<(i64, i64, i64)>) -> Result<Vec<audit::Model>, DbErr> {
    use audit::Column;
    let mut cursor = audit::Entity::find().limit(BATCH).cursor_by((Column::TenantId, Column::At, Column::Id));
    if let Some(after) = after {
        cursor.after(after);
    }
    cursor.first(BATCH).all(connection).await
}

/// Feeds all of it, except for whose an erasure is.
pub(super) async fn feed_all(digest: &mut Sha256, connection: &impl ConnectionTrait) -> Result<(), DbErr> {
    for row in erasures(connection).await? {
        let erasure::Model { tenant_id, id, caller_key: _, pseudonym, sessions, events, requested_at, invisible_at, purged_at } = row;
        feed(digest, &format!("{tenant_id} {id} {pseudonym} {sessions} {events} {requested_at} {invisible_at:?} {purged_at:?}"));
    }
    for row in tombstones(connection).await? {
        feed(digest, &format!("{row:?}"));
    }
    for row in names(connection).await? {
        feed(digest, &format!("{row:?}"));
    }
    let mut after = None;
    loop {
        let batch = entries(connection, after).await?;
        let Some(last) = batch.last() else { return Ok(()) };
        after = Some((last.tenant_id, last.at, last.id));
        for row in &batch {
            feed(digest, &format!("{row:?}"));
        }
    }
}
