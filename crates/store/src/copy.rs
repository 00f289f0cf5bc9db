//! Copying a whole database into an empty one, of either engine, and reading both again to see that they hold the same.

mod records;
mod webhooks;

use std::path::Path;

use calldata_core::StoreError;
use calldata_core::port::TimeMarks as _;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, Statement,
};
use sha2::{Digest, Sha256};

use crate::database::begin_snapshot;
use crate::entity::{access_key, session, tenant};
use crate::epoch::mark_as_copy;
use crate::error::{of_file_statement, of_statement};
use crate::{Database, session_deletes};

/// Sessions that are read and written at a time; a statement may have 32 766 values.
const BATCH: u64 = 500;
/// And no more than this, as far as one alone has no more.
const BATCH_BYTES: i64 = 4 << 20;

/// What a database holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// How many tenants.
    pub tenants: u64,
    /// How many keys, those that were revoked among them.
    pub keys: u64,
    /// How many sessions, those that have expired and are not purged yet among them.
    pub sessions: u64,
    /// The SHA-256 of all of it, every column, in the order of the primary keys.
    pub digest: [u8; 32],
}

/// Why a database was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The target holds something already; it stays as it was.
    #[error("the target is not empty")]
    NotEmpty,
    /// Somebody wrote into the source or the target meanwhile, or the target gives back something else than it was given.
    #[error("what was copied differs from what there is")]
    Differs,
    /// One of them failed.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

impl From<DbErr> for CopyError {
    fn from(error: DbErr) -> Self {
        Self::Failed(of_statement(error))
    }
}

impl Database {
    /// Copies everything into `target`, whose schema has to be as new, reads both again and compares. `progress` is told how many sessions
    /// have been copied. Whoever copies sees to it that nobody writes.
    ///
    /// # Errors
    /// When the target is not empty, either of them fails, or they differ in the end. What was copied until then stays in the target.
    pub async fn copy_to(&self, target: &Database, progress: impl Fn(u64)) -> Result<Contents, CopyError> {
        if !target.holds_nothing().await? {
            return Err(CopyError::NotEmpty);
        }
        // The target may have been made by copying files, and the source may have been restored a moment ago.
        target.renew_epoch().await?;
        self.confirm_epoch().await?;
        let tenants = tenant::Entity::find().order_by_asc(tenant::Column::Id).all(self.keeper()).await?;
        let keys = access_key::Entity::find().order_by_asc(access_key::Column::Id).all(self.keeper()).await?;
        let ids: Vec<_> = tenants.iter().map(|tenant| tenant.id).collect();
        let transaction = target.begin_long().await?;
        for tenant in tenants {
            tenant::Entity::insert(tenant.into_active_model()).exec_without_returning(&transaction).await?;
        }
        for key in keys {
            access_key::Entity::insert(key.into_active_model()).exec_without_returning(&transaction).await?;
        }
        transaction.commit().await?;
        self.copy_webhooks_to(target).await?;
        self.copy_records_to(target).await?;
        let mut copied = 0;
        for tenant in ids {
            let mut after = String::new();
            loop {
                let batch = batch(self.keeper(), tenant, &after).await?;
                let Some(last) = batch.last() else { break };
                after.clone_from(&last.id);
                copied += batch.len() as u64;
                let transaction = target.begin_long().await?;
                let rows = batch.into_iter().map(IntoActiveModel::into_active_model);
                session::Entity::insert_many(rows).exec_without_returning(&transaction).await?;
                transaction.commit().await?;
                progress(copied);
            }
        }
        target.note_copied().await?;
        if let Some(mark) = self.witness().await?.mark {
            target.keep_mark(mark).await?;
        }
        let (source, target) = (self.all_contents().await?, target.all_contents().await?);
        if source == target && source.sessions == copied { Ok(source) } else { Err(CopyError::Differs) }
    }

    /// Whether there is no tenant and no session in it, or no schema yet.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn holds_nothing(&self) -> Result<bool, StoreError> {
        if !self.migrations().await.map_err(of_statement)?.iter().any(|migration| migration.applied) {
            return Ok(true);
        }
        // Of one column each, for the schema may be of another version.
        let tenants = tenant::Entity::find().select_only().column(tenant::Column::Id).count(self.keeper()).await.map_err(of_statement)?;
        let sessions = session::Entity::find().select_only().column(session::Column::Id).count(self.keeper());
        Ok(tenants == 0 && sessions.await.map_err(of_statement)? == 0)
    }

    /// A transaction whose statements may take as long as they need.
    async fn begin_long(&self) -> Result<DatabaseTransaction, DbErr> {
        let transaction = self.writer().begin().await?;
        if transaction.get_database_backend() == DbBackend::Postgres {
            transaction.execute_unprepared("SET LOCAL statement_timeout = 0").await?;
        }
        Ok(transaction)
    }

    /// Those who look for changes of tenants find one, and those who remember sessions know when the last one was received.
    async fn note_copied(&self) -> Result<(), DbErr> {
        let transaction = self.writer().begin().await?;
        let engine = transaction.get_database_backend();
        let last_receipt = "UPDATE last_receipt SET at = (SELECT COALESCE(MAX(received_last), 0) FROM session)";
        // Only those who read a file remember what is in it.
        let statements = ["UPDATE directory SET version = version + 1", last_receipt].into_iter();
        for statement in statements.take(if engine == DbBackend::Sqlite { 2 } else { 1 }) {
            transaction.execute_raw(Statement::from_string(engine, statement)).await?;
        }
        transaction.commit().await
    }

    /// What there is, as of one moment.
    async fn all_contents(&self) -> Result<Contents, CopyError> {
        let moment = begin_snapshot(self.keeper()).await?;
        let mut digest = Sha256::new();
        let tenants = tenant::Entity::find().order_by_asc(tenant::Column::Id).all(&moment).await?;
        let keys = access_key::Entity::find().order_by_asc(access_key::Column::Id).all(&moment).await?;
        for row in &tenants {
            feed(&mut digest, &format!("{row:?}"));
        }
        for row in &keys {
            feed(&mut digest, &format!("{row:?}"));
        }
        webhooks::feed_all(&mut digest, &moment).await?;
        records::feed_all(&mut digest, &moment).await?;
        let mut sessions = 0;
        for tenant in &tenants {
            let mut after = String::new();
            loop {
                let batch = batch(&moment, tenant.id, &after).await?;
                let Some(last) = batch.last() else { break };
                after.clone_from(&last.id);
                sessions += batch.len() as u64;
                for row in &batch {
                    feed_session(&mut digest, row);
                }
            }
        }
        moment.commit().await?;
        Ok(Contents { tenants: tenants.len() as u64, keys: keys.len() as u64, sessions, digest: digest.finalize().into() })
    }
}

impl Database {
    /// Writes a backup of a database in a file into another file, as of one moment, while others go on reading and writing; false where
    /// the database is on a server. What was deleted is not in it. The backup has an epoch of its own, and gets another one each time it is
    /// restored: what it numbers from then on differs from what this database numbers.
    ///
    /// # Errors
    /// When the file holds something already, or cannot be written.
    pub async fn back_up(&self, to: &Path) -> Result<bool, StoreError> {
        if self.is_server() {
            return Ok(false);
        }
        let file = to.to_owned();
        let to = to.to_str().ok_or_else(|| StoreError::Failed("the name of the backup is no text".into()))?;
        let backup = Statement::from_sql_and_values(DbBackend::Sqlite, "VACUUM INTO ?", [to.into()]);
        self.keeper().execute_raw(backup).await.map_err(of_statement)?;
        let marked = tokio::task::spawn_blocking(move || mark_as_copy(&file)).await;
        marked.map_err(|error| StoreError::Failed(error.into()))?.map_err(of_file_statement)?;
        Ok(true)
    }
}

/// Some of a tenant's sessions, in the order of their identifiers: as many as are not too much to hold.
async fn batch(connection: &impl ConnectionTrait, tenant: i64, after: &str) -> Result<Vec<session::Model>, DbErr> {
    use session::Column;
    let of_tenant = || {
        let sessions = session::Entity::find().filter(Column::TenantId.eq(tenant)).filter(Column::Id.gt(after));
        sessions.order_by_asc(Column::Id).limit(BATCH)
    };
    let sizes: Vec<(String, i64)> =
        of_tenant().select_only().column(Column::Id).expr_as(session_deletes::text_bytes(), "bytes").into_tuple().all(connection).await?;
    let mut room = BATCH_BYTES;
    let fitting = sizes.into_iter().take_while(|(_, bytes)| {
        let fits = room > 0;
        room -= bytes;
        fits
    });
    let Some((last, _)) = fitting.last() else { return Ok(Vec::new()) };
    of_tenant().filter(Column::Id.lte(last)).all(connection).await
}

/// A text with its length in front, so that no two rows read the same.
fn feed(digest: &mut Sha256, text: &str) {
    digest.update((text.len() as u64).to_le_bytes());
    digest.update(text);
}

fn feed_session(digest: &mut Sha256, row: &session::Model) {
    let session::Model {
        tenant_id,
        id,
        call_id,
        caller,
        caller_key,
        country_code,
        cti_call_key,
        conversation_key,
        intent_key,
        received_first,
        received_last,
        started_at,
        source,
        replay_digest,
        content,
        conversation,
        fields,
        turns,
        answers,
        details,
    } = row;
    for number in [*tenant_id, *received_first, *received_last, *started_at, i64::from(*source)] {
        digest.update(number.to_le_bytes());
    }
    for text in [id, call_id, caller, caller_key, fields] {
        feed(digest, text);
    }
    for text in [country_code, cti_call_key, conversation_key, intent_key, content, conversation, turns, answers, details] {
        digest.update([u8::from(text.is_some())]);
        feed(digest, text.as_deref().unwrap_or_default());
    }
    digest.update([u8::from(replay_digest.is_some())]);
    digest.update(replay_digest.as_deref().unwrap_or_default());
}
