//! The schema, one file a change, each with a way up and a way down. Once a version is released, migrations only go forward.
//!
//! Arrows: `store` and the gateway's command line use this crate; it uses nothing of ours. To add a change: a file beside the
//! others, named by its date, and a line in [`Migrations::migrations`].

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

mod m20261120_000001_directory;
mod m20261120_000002_session;
mod m20261121_000001_session_by_receipt;
mod m20261121_000002_last_receipt;
mod m20261122_000001_catalog;
mod m20261122_000002_event;
mod m20261122_000003_webhook;
mod m20261122_000004_masking;
mod m20261122_000005_erasure;
mod m20261122_000006_audit;
mod m20261201_000001_epoch;
mod m20261201_000002_time_mark;
mod m20261201_000003_tenant_bounds;

/// All changes in their order.
#[derive(Debug)]
pub struct Migrations;

#[async_trait::async_trait]
impl MigratorTrait for Migrations {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261120_000001_directory::Change),
            Box::new(m20261120_000002_session::Change),
            Box::new(m20261121_000001_session_by_receipt::Change),
            Box::new(m20261121_000002_last_receipt::Change),
            Box::new(m20261122_000001_catalog::Change),
            Box::new(m20261122_000002_event::Change),
            Box::new(m20261122_000003_webhook::Change),
            Box::new(m20261122_000004_masking::Change),
            Box::new(m20261122_000005_erasure::Change),
            Box::new(m20261122_000006_audit::Change),
            Box::new(m20261201_000001_epoch::Change),
            Box::new(m20261201_000002_time_mark::Change),
            Box::new(m20261201_000003_tenant_bounds::Change),
        ]
    }
}

/// Runs statements in which `{text}` and `{bytes}` stand for what the engine calls them, and `{rowless}` for a table that is kept in the
/// order of its key. Texts are compared byte by byte on both engines, so that order and equality do not depend on a locale.
async fn run(manager: &SchemaManager<'_>, statements: &str) -> Result<(), DbErr> {
    let (text, bytes, rowless) = match manager.get_database_backend() {
        DbBackend::Postgres => ("TEXT COLLATE \"C\"", "BYTEA", ""),
        _ => ("TEXT", "BLOB", " WITHOUT ROWID"),
    };
    let statements = statements.replace("{text}", text).replace("{bytes}", bytes).replace("{rowless}", rowless);
    manager.get_connection().execute_unprepared(&statements).await.map(drop)
}
