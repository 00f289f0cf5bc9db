//! `purge`: deleting now what has expired, rather than when the server gets to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use calldata_core::{DirectoryStore, ManualClock, Purge, Tenant};
use calldata_store::Database;

use super::{clock, moment_to_delete_by, open, store_failed};
use crate::cli::{Json, TrustClock};
use crate::settings::Settings;
use crate::{Failure, output};

/// How long another process that purges is waited for, and how long between two looks.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn run(settings: &Settings, dry_run: bool, trust: &TrustClock, json: &Json) -> Result<(), Failure> {
    let (database, _) = open(settings).await?;
    let contents = database.contents().await.map_err(|error| store_failed("tenants cannot be read", &error))?;
    let tenants: Vec<_> = contents.tenants.into_iter().map(Arc::new).collect();
    let store = Arc::new(database.clone());
    let shown = Purge::new(store.clone(), clock());
    if dry_run {
        return show(&shown, &tenants, json).await;
    }
    let any = shown.backlog(&tenants).await.map_err(|error| store_failed("what has expired cannot be counted", &error))?;
    // Where nothing has expired by any clock, it does not matter which one is right.
    let moment = if any.is_empty() { clock().now() } else { moment_to_delete_by(&database, trust).await? };
    let purge = Purge::new(store, Arc::new(ManualClock::at(moment)));
    let deleted = if any.is_empty() { 0 } else { all(&purge, &tenants).await? };
    wipe(&database).await?;
    if json.json {
        return output::json(&serde_json::json!({ "deleted": deleted }));
    }
    output::line(&format!("deleted {deleted} expired sessions"))
}

/// Deletes all that has expired. Where a running server is at it, that one is left to it and waited for.
async fn all(purge: &Purge, tenants: &[Arc<Tenant>]) -> Result<u64, Failure> {
    const AGAIN: &str = "what has expired could not all be deleted; run it again";
    let began = Instant::now();
    let mut deleted = 0;
    loop {
        deleted += purge.run(tenants).await.map_err(|error| store_failed(AGAIN, &error))?;
        if purge.backlog(tenants).await.map_err(|error| store_failed(AGAIN, &error))?.is_empty() {
            return Ok(deleted);
        }
        if began.elapsed() > PATIENCE {
            return Err(Failure::new(
                "not all that has expired is deleted: a running server may be at it, or a clock is ahead; see /readyz",
            ));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn show(purge: &Purge, tenants: &[Arc<Tenant>], json: &Json) -> Result<(), Failure> {
    let backlog = purge.backlog(tenants).await.map_err(|error| store_failed("what has expired cannot be counted", &error))?;
    let name = |expired: &calldata_core::purge::Expired| {
        tenants.iter().find(|tenant| tenant.id == expired.tenant).map(|tenant| tenant.client_id.clone()).unwrap_or_default()
    };
    if json.json {
        let tenants: Vec<_> =
            backlog.iter().map(|expired| serde_json::json!({ "clientId": name(expired), "sessions": expired.sessions })).collect();
        return output::json(&serde_json::json!({ "expired": tenants }));
    }
    let rows: Vec<_> = backlog.iter().map(|expired| [name(expired), expired.sessions.to_string()]).collect();
    output::table(["CLIENT ID", "EXPIRED SESSIONS"], &rows)
}

/// Makes what was deleted unreadable in the database's files.
pub(super) async fn wipe(database: &Database) -> Result<(), Failure> {
    let wiped = database.wipe_deleted().await;
    if !wiped.map_err(|error| store_failed("the sessions are deleted, but not yet gone from the files; run purge", &error))? {
        tracing::warn!("the sessions are deleted; readers keep their bytes in the log of the database until a server empties it");
    }
    Ok(())
}
