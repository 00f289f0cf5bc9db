//! Deleting sessions, a few at a time.

use calldata_core::{StoreError, TenantId, Timestamp};
use sea_orm::sea_query::Query;
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction};

use crate::database::Writer;
use crate::entity::session::{Column, Entity};
use crate::error::of_statement;

/// Sessions first received at this moment or before.
pub(crate) fn received_until(until: Timestamp) -> Condition {
    Condition::all().add(Column::ReceivedFirst.lte(until.epoch_ms()))
}

/// Deletes up to `limit` of a tenant's sessions that meet a condition, in a transaction of its own; returns how many.
pub(crate) async fn delete(writer: &Writer, tenant: TenantId, which: Condition, limit: u64) -> Result<u64, StoreError> {
    writer
        .transact(&(tenant, which, limit), |transaction, (tenant, which, limit)| Box::pin(delete_in(transaction, *tenant, which, *limit)))
        .await
}

/// The same in a transaction that is under way.
pub(crate) async fn delete_in(
    transaction: &DatabaseTransaction,
    tenant: TenantId,
    which: &Condition,
    limit: u64,
) -> Result<u64, StoreError> {
    let of_tenant = Column::TenantId.eq(tenant.number());
    let some = Query::select().column(Column::Id).from(Entity).and_where(of_tenant.clone()).cond_where(which.clone()).limit(limit).take();
    let delete = Query::delete().from_table(Entity).and_where(of_tenant).and_where(Column::Id.in_subquery(some)).take();
    Ok(transaction.execute(&delete).await.map_err(of_statement)?.rows_affected())
}
