//! The port of tenants and keys.

use async_trait::async_trait;
use calldata_core::key::{AccessKey, SecretHash};
use calldata_core::port::{AuditStore as _, DirectoryContents, Outbox as _};
use calldata_core::tenant::Retention;
use calldata_core::{Country, DirectoryStore, KeyId, Masking, Scopes, StoreError, Tenant, TenantId, Timestamp, Zone};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ActiveModelTrait, ActiveValue::NotSet, ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder, Statement,
};

use crate::database::begin_snapshot;
use crate::entity::{access_key, directory, tenant};
use crate::error::{Unreadable, of_statement};
use crate::outbox::mark;
use crate::transact::Work;
use crate::{Database, session_deletes};

#[async_trait]
impl DirectoryStore for Database {
    async fn version(&self) -> Result<i64, StoreError> {
        // Not behind requests: whoever keeps all readers busy must not keep everybody out.
        self.read(version(self.probe())).await
    }

    async fn contents(&self) -> Result<DirectoryContents, StoreError> {
        self.read(async {
            let snapshot = begin_snapshot(self.probe()).await.map_err(of_statement)?;
            let version = version(&snapshot).await?;
            let tenants = tenant::Entity::find().order_by_asc(tenant::Column::ClientId).all(&snapshot).await.map_err(of_statement)?;
            let keys = access_key::Entity::find().filter(access_key::Column::RevokedAt.is_null()).all(&snapshot);
            let keys = keys.await.map_err(of_statement)?;
            snapshot.commit().await.map_err(of_statement)?;
            Ok(DirectoryContents {
                version,
                tenants: tenants.into_iter().map(to_tenant).collect::<Result<_, _>>()?,
                keys: keys.into_iter().map(to_key).collect::<Result<_, _>>()?,
            })
        })
        .await
    }

    async fn create_tenant(&self, new: &Tenant) -> Result<(), StoreError> {
        let create: Work<_, _> = |transaction, new| {
            Box::pin(async move {
                let created = tenant::Entity::insert(of_tenant(new).into_active_model()).exec_without_returning(transaction).await;
                created.map_err(|error| taken(of_statement(error), "the client id or tenant id"))?;
                bump(transaction).await
            })
        };
        self.writer().transact(new, create).await
    }

    async fn update_tenant(&self, changed: &Tenant) -> Result<(), StoreError> {
        let update: Work<_, _> = |transaction, changed| {
            Box::pin(async move {
                // Whoever changes something else must not let in a tenant that was suspended meanwhile.
                let mut row = of_tenant(changed).into_active_model().reset_all();
                row.suspended = NotSet;
                let updated = row.update(transaction).await;
                updated.map_err(|error| match error {
                    sea_orm::DbErr::RecordNotUpdated => StoreError::NoSuchTenant,
                    error => taken(of_statement(error), "the client id or tenant id"),
                })?;
                bump(transaction).await
            })
        };
        self.writer().transact(changed, update).await
    }

    async fn suspend_tenant(&self, which: TenantId, suspended: bool) -> Result<(), StoreError> {
        let suspend: Work<(TenantId, bool), ()> = |transaction, (which, suspended)| {
            Box::pin(async move {
                set(transaction, *which, Condition::all(), tenant::Column::Suspended, Expr::value(*suspended)).await?;
                bump(transaction).await
            })
        };
        self.writer().transact(&(which, suspended), suspend).await
    }

    async fn move_floor(&self, which: TenantId, was: Timestamp, to: Timestamp) -> Result<(), StoreError> {
        let lift: Work<(TenantId, Timestamp, Timestamp), ()> = |transaction, (which, was, to)| {
            Box::pin(async move {
                let unmoved = Condition::all().add(tenant::Column::ExpiredUntil.eq(was.epoch_ms()));
                match set(transaction, *which, unmoved, tenant::Column::ExpiredUntil, Expr::value(to.epoch_ms())).await {
                    // Somebody else has moved it since.
                    Err(StoreError::NoSuchTenant) => Ok(()),
                    Err(error) => Err(error),
                    Ok(()) => bump(transaction).await,
                }
            })
        };
        self.writer().transact(&(which, was, to), lift).await
    }

    async fn delete_tenant(&self, gone: TenantId) -> Result<u64, StoreError> {
        let number = gone.number();
        let writer = self.writer();
        // Suspended first: no instance lets the tenant in while its data goes.
        self.suspend_tenant(gone, true).await?;
        let delete: Work<_, _> = |transaction, number| {
            Box::pin(async move {
                let keys = access_key::Entity::delete_many().filter(access_key::Column::TenantId.eq(*number));
                keys.exec(transaction).await.map_err(of_statement)?;
                tenant::Entity::delete_by_id(*number).exec(transaction).await.map_err(of_statement)?;
                bump(transaction).await
            })
        };
        let mut sessions = 0;
        loop {
            sessions += self.delete_sessions(gone).await?;
            self.delete_webhooks_of(gone).await?;
            self.delete_records_of(gone).await?;
            match writer.transact(&number, delete).await {
                Ok(()) => {
                    // What was noted of its last requests after the records went.
                    self.delete_records_of(gone).await?;
                    return Ok(sessions);
                }
                // A session or key slipped in meanwhile; it still refers to the tenant.
                Err(StoreError::NoSuchTenant) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn create_key(&self, key: &AccessKey) -> Result<(), StoreError> {
        let create: Work<_, _> = |transaction, key| {
            Box::pin(async move {
                let created = access_key::Entity::insert(of_key(key).into_active_model()).exec_without_returning(transaction).await;
                created.map_err(|error| taken(of_statement(error), "the secret"))?;
                bump(transaction).await
            })
        };
        self.writer().transact(key, create).await
    }

    async fn keys_of(&self, owner: TenantId) -> Result<Vec<AccessKey>, StoreError> {
        let rows = access_key::Entity::find()
            .filter(access_key::Column::TenantId.eq(owner.number()))
            .order_by_asc(access_key::Column::CreatedAt)
            .order_by_asc(access_key::Column::Id)
            .all(self.readers())
            .await
            .map_err(of_statement)?;
        rows.into_iter().map(to_key).collect()
    }

    async fn revoke_key(&self, key: &KeyId, now: Timestamp) -> Result<bool, StoreError> {
        let revoke: Work<(&KeyId, Timestamp), bool> = |transaction, (key, now)| {
            Box::pin(async move {
                let found = access_key::Entity::find_by_id(key.as_str()).one(transaction).await.map_err(of_statement)?;
                if found.is_none() {
                    return Ok(false);
                }
                let revoke = Query::update()
                    .table(access_key::Entity)
                    .value(access_key::Column::RevokedAt, now.epoch_ms())
                    .and_where(access_key::Column::Id.eq(key.as_str()))
                    .and_where(access_key::Column::RevokedAt.is_null())
                    .take();
                transaction.execute(&revoke).await.map_err(of_statement)?;
                bump(transaction).await?;
                Ok(true)
            })
        };
        self.writer().transact(&(key, now), revoke).await
    }

    async fn note_use(&self, uses: Vec<(KeyId, Timestamp)>) -> Result<(), StoreError> {
        let note: Work<Vec<(KeyId, Timestamp)>, ()> = |transaction, uses| {
            Box::pin(async move {
                for (key, at) in uses {
                    let last = access_key::Column::LastUsedAt;
                    let note = Query::update()
                        .table(access_key::Entity)
                        .value(last, at.epoch_ms())
                        .and_where(access_key::Column::Id.eq(key.as_str()))
                        .and_where(last.is_null().or(last.lt(at.epoch_ms())))
                        .take();
                    transaction.execute(&note).await.map_err(of_statement)?;
                }
                Ok(())
            })
        };
        self.writer().transact(&uses, note).await
    }
}

impl Database {
    /// Deletes what else there is of a tenant: what was told, who did what, and what is known of its requests.
    async fn delete_records_of(&self, tenant: TenantId) -> Result<(), StoreError> {
        while self.drop_events(tenant, Timestamp::LATEST).await? > 0 {}
        while self.drop_audit(tenant, Timestamp::LATEST).await? > 0 {}
        let delete: Work<i64, ()> = |transaction, number| {
            Box::pin(async move {
                let engine = transaction.get_database_backend();
                for table in ["event_floor", "request_name", "erasure", "tombstone"] {
                    let delete = format!("DELETE FROM {table} WHERE tenant_id = {}", mark(engine, 1));
                    let delete = Statement::from_sql_and_values(engine, delete, [(*number).into()]);
                    transaction.execute_raw(delete).await.map_err(of_statement)?;
                }
                Ok(())
            })
        };
        self.writer().transact(&tenant.number(), delete).await
    }

    async fn delete_sessions(&self, tenant: TenantId) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            match session_deletes::delete_some(&self.writer(), tenant, None).await? {
                0 => return Ok(deleted),
                some => deleted += some,
            }
        }
    }
}

async fn version(connection: &impl ConnectionTrait) -> Result<i64, StoreError> {
    let row = directory::Entity::find_by_id(1).one(connection).await.map_err(of_statement)?;
    row.map(|row| row.version).ok_or_else(|| Unreadable { table: "directory", column: "version" }.into())
}

/// Sets one property of a tenant that is as it is thought to be.
async fn set(
    transaction: &DatabaseTransaction,
    which: TenantId,
    as_thought: Condition,
    column: tenant::Column,
    value: Expr,
) -> Result<(), StoreError> {
    let of_tenant = as_thought.add(tenant::Column::Id.eq(which.number()));
    let set = Query::update().table(tenant::Entity).value(column, value).cond_where(of_tenant).take();
    let changed = transaction.execute(&set).await.map_err(of_statement)?.rows_affected();
    if changed == 0 { Err(StoreError::NoSuchTenant) } else { Ok(()) }
}

/// Tells every instance that something changed.
async fn bump(transaction: &DatabaseTransaction) -> Result<(), StoreError> {
    let next = Expr::col(directory::Column::Version).add(1);
    let bump =
        Query::update().table(directory::Entity).value(directory::Column::Version, next).and_where(directory::Column::Id.eq(1)).take();
    transaction.execute(&bump).await.map_err(of_statement).map(drop)
}

fn taken(error: StoreError, what: &'static str) -> StoreError {
    match error {
        StoreError::Taken(_) => StoreError::Taken(what),
        error => error,
    }
}

fn of_tenant(tenant: &Tenant) -> tenant::Model {
    let Tenant {
        id,
        name,
        client_id,
        oifde_id,
        default_country,
        zone,
        oifde_zone,
        retention,
        audit_retention,
        audit_rows,
        quota_bytes,
        misses_are_absences,
        explains_misses,
        accepts_key_in_url,
        masking,
        suspended,
        expired_until,
        created_at,
    } = tenant;
    tenant::Model {
        id: id.number(),
        name: name.clone(),
        client_id: client_id.clone(),
        oifde_id: oifde_id.clone(),
        default_country: default_country.code(),
        zone: zone.name().to_owned(),
        oifde_zone: oifde_zone.name().to_owned(),
        retention_days: i32::from(retention.in_days()),
        audit_days: i32::from(audit_retention.in_days()),
        audit_rows: i64::try_from(*audit_rows).unwrap_or(i64::MAX),
        quota_bytes: quota_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        misses_are_absences: *misses_are_absences,
        explains_misses: *explains_misses,
        accepts_key_in_url: *accepts_key_in_url,
        mask_after_min: masking.as_ref().map(|masking| masking.after_minutes().into()),
        mask_fields: masking.as_ref().and_then(|masking| serde_json::to_string(masking.names()).ok()),
        suspended: *suspended,
        expired_until: expired_until.epoch_ms(),
        created_at: created_at.epoch_ms(),
    }
}

pub(crate) fn to_tenant(row: tenant::Model) -> Result<Tenant, StoreError> {
    let unreadable = |column| Unreadable { table: "tenant", column };
    let days = |days: i32, column| {
        let retention = u16::try_from(days).ok().and_then(|days| Retention::days(days).ok());
        retention.ok_or_else(|| unreadable(column))
    };
    let masking = match (row.mask_after_min, row.mask_fields) {
        (None, None) => None,
        // A tenant whose setting cannot be read is not let in without it.
        (after_min, names) => Some(masking(after_min, names).ok_or_else(|| unreadable("mask_fields"))?),
    };
    Ok(Tenant {
        id: TenantId::from_number(row.id),
        name: row.name,
        client_id: row.client_id,
        oifde_id: row.oifde_id,
        default_country: Country::parse(&row.default_country).map_err(|_| unreadable("default_country"))?,
        zone: Zone::parse(&row.zone).map_err(|_| unreadable("zone"))?,
        oifde_zone: Zone::parse(&row.oifde_zone).map_err(|_| unreadable("oifde_zone"))?,
        retention: days(row.retention_days, "retention_days")?,
        audit_retention: days(row.audit_days, "audit_days")?,
        audit_rows: u64::try_from(row.audit_rows).map_err(|_| unreadable("audit_rows"))?,
        quota_bytes: row.quota_bytes.map(u64::try_from).transpose().map_err(|_| unreadable("quota_bytes"))?,
        misses_are_absences: row.misses_are_absences,
        explains_misses: row.explains_misses,
        accepts_key_in_url: row.accepts_key_in_url,
        masking,
        suspended: row.suspended,
        expired_until: Timestamp::clamped(row.expired_until),
        created_at: Timestamp::clamped(row.created_at),
    })
}

fn masking(after_min: Option<i64>, names: Option<String>) -> Option<Masking> {
    Masking::new(u32::try_from(after_min?).ok()?, serde_json::from_str(&names?).ok()?).ok()
}

fn of_key(key: &AccessKey) -> access_key::Model {
    let AccessKey { id, tenant, hash, scopes, created_at, expires_at, revoked_at, last_used_at } = key;
    access_key::Model {
        id: id.as_str().to_owned(),
        tenant_id: tenant.number(),
        secret_hash: hash.to_hex(),
        scopes: scopes.names().collect::<Vec<_>>().join(","),
        created_at: created_at.epoch_ms(),
        expires_at: expires_at.map(Timestamp::epoch_ms),
        revoked_at: revoked_at.map(Timestamp::epoch_ms),
        last_used_at: last_used_at.map(Timestamp::epoch_ms),
    }
}

fn to_key(row: access_key::Model) -> Result<AccessKey, StoreError> {
    let unreadable = |column| Unreadable { table: "access_key", column };
    let mut names = row.scopes.split(',').filter(|name| !name.is_empty());
    Ok(AccessKey {
        id: KeyId::new(&row.id).map_err(|_| unreadable("id"))?,
        tenant: TenantId::from_number(row.tenant_id),
        hash: SecretHash::from_hex(&row.secret_hash).ok_or_else(|| unreadable("secret_hash"))?,
        scopes: names.try_fold(Scopes::default(), Scopes::with).ok_or_else(|| unreadable("scopes"))?,
        created_at: Timestamp::clamped(row.created_at),
        expires_at: row.expires_at.map(Timestamp::clamped),
        revoked_at: row.revoked_at.map(Timestamp::clamped),
        last_used_at: row.last_used_at.map(Timestamp::clamped),
    })
}
