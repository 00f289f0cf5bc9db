//! `tenant`: whose data is whose.

use std::io::BufRead;

use calldata_core::arrivals::WaitLimits;
use calldata_core::tenant::NOTHING_EXPIRED;
use calldata_core::{DirectoryStore, Masking, Purge, Sessions, Tenant, Timestamp};
use calldata_store::Database;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

use super::purge::wipe;
use super::{clock, confirmation, find_tenant, moment_to_delete_by, open, store_failed};
use crate::cli::{ChangedNames, Json, MaskAfter, MissStatus, QuotaBytes, Switch, TenantCommand, TenantNames, TenantProperties};
use crate::settings::Settings;
use crate::{Failure, output};

pub(super) async fn run(settings: &Settings, command: TenantCommand) -> Result<(), Failure> {
    let (database, _) = open(settings).await?;
    match command {
        TenantCommand::Create { names, properties, json } => {
            let tenant = create(&database, names, properties).await?;
            show(&tenant, &json)
        }
        TenantCommand::List { json } => list(&database, &json).await,
        TenantCommand::Show { tenant, json } => show(&find_tenant(&database, &tenant.client_id).await?, &json),
        TenantCommand::Update { tenant, names, properties, trust, yes, json } => {
            let ChangedNames { name, new_client_id, tenant_id } = names;
            let mut changed = find_tenant(&database, &tenant.client_id).await?;
            let (before, country, retention) = (changed.clone(), changed.default_country, changed.retention);
            changed.name = name.unwrap_or(changed.name);
            changed.client_id = new_client_id.unwrap_or(changed.client_id);
            changed.oifde_id = tenant_id.unwrap_or(changed.oifde_id);
            let is_kept_otherwise = properties.retention_days.is_some_and(|retention| retention != changed.retention);
            // What has expired by then is deleted below.
            let now = if is_kept_otherwise { moment_to_delete_by(&database, &trust).await? } else { clock().now() };
            set(&mut changed, properties, now)?;
            if changed.retention.in_days() < retention.in_days() && !yes {
                confirm_shorter_retention(&database, before, &changed).await?;
            }
            save(&database, &changed).await?;
            let sessions = Sessions::new(Arc::new(database.clone()), clock(), WaitLimits::default());
            if changed.retention != retention {
                // What has expired until now is deleted, so that nothing older has to be kept out from now on but what is imported anew.
                let deleted = sessions.delete_expired_once(&changed).await;
                let deleted =
                    deleted.map_err(|error| store_failed("the tenant is changed, but what had expired could not be deleted", &error))?;
                if deleted > 0 {
                    wipe(&database).await?;
                }
                let lifted = database.move_floor(changed.id, changed.expired_until, NOTHING_EXPIRED).await;
                lifted.map_err(|error| {
                    store_failed("the tenant is changed, but older sessions cannot be imported yet; run the command again", &error)
                })?;
                changed.expired_until = NOTHING_EXPIRED;
            }
            if changed.default_country != country {
                sessions.rewrite_callers(&changed).await.map_err(|error| {
                    store_failed("the tenant is changed, but its callers could not all be rewritten; run the command again", &error)
                })?;
            }
            show(&changed, &json)
        }
        TenantCommand::Suspend { tenant, json } => suspend(&database, &tenant.client_id, true, &json).await,
        TenantCommand::Resume { tenant, json } => suspend(&database, &tenant.client_id, false, &json).await,
        TenantCommand::Delete { tenant, yes, json } => delete(&database, &tenant.client_id, yes, &json).await,
    }
}

/// Adds a tenant.
pub(super) async fn create(database: &Database, names: TenantNames, properties: TenantProperties) -> Result<Tenant, Failure> {
    let TenantNames { name, client_id, tenant_id } = names;
    let now = clock().now();
    let mut tenant = Tenant::new(&name, &client_id, &tenant_id, now);
    set(&mut tenant, properties, now)?;
    // Nothing has expired yet, whatever the retention was a moment ago.
    tenant.expired_until = NOTHING_EXPIRED;
    database.create_tenant(&tenant).await.map_err(|error| store_failed("the tenant cannot be added", &error))?;
    Ok(tenant)
}

fn set(tenant: &mut Tenant, properties: TenantProperties, now: Timestamp) -> Result<(), Failure> {
    let TenantProperties {
        default_country,
        time_zone,
        oifde_time_zone,
        retention_days,
        audit_days,
        audit_rows,
        quota_bytes,
        miss_status,
        miss_reason,
        key_in_url,
        mask_after,
        mask_fields,
    } = properties;
    if let Some(country) = default_country {
        tenant.default_country = country;
    }
    if let Some(zone) = time_zone {
        tenant.zone = zone;
    }
    if let Some(zone) = oifde_time_zone {
        tenant.oifde_zone = zone;
    }
    if let Some(retention) = retention_days {
        tenant.set_retention(retention, now);
    }
    if let Some(retention) = audit_days {
        tenant.audit_retention = retention;
    }
    if let Some(rows) = audit_rows {
        tenant.audit_rows = rows;
    }
    if let Some(quota) = quota_bytes {
        tenant.quota_bytes = match quota {
            QuotaBytes::Off => None,
            QuotaBytes::Bytes(bytes) => Some(bytes),
        };
    }
    if let Some(status) = miss_status {
        tenant.misses_are_absences = status == MissStatus::NotFound;
    }
    if let Some(switch) = miss_reason {
        tenant.explains_misses = switch == Switch::On;
    }
    if let Some(switch) = key_in_url {
        tenant.accepts_key_in_url = switch == Switch::On;
    }
    if mask_after.is_some() || mask_fields.is_some() {
        tenant.masking = masking(tenant.masking.as_ref(), mask_after, mask_fields)?;
    }
    Ok(())
}

/// What is masked from now on; what is not given stays.
fn masking(present: Option<&Masking>, after: Option<MaskAfter>, names: Option<Vec<String>>) -> Result<Option<Masking>, Failure> {
    let minutes = match after {
        Some(MaskAfter::Off) if names.is_none() => return Ok(None),
        Some(MaskAfter::Off) => return Err(Failure::new("--mask-after off masks nothing: leave --mask-fields out")),
        Some(MaskAfter::Minutes(minutes)) => Some(minutes),
        None => present.map(Masking::after_minutes),
    };
    let minutes = minutes.ok_or_else(|| Failure::new("say after how many minutes with --mask-after"))?;
    let names = names.or_else(|| present.map(|present| present.names().to_vec()));
    let names = names.ok_or_else(|| Failure::new("say what is masked with --mask-fields"))?;
    Masking::new(minutes, names).map(Some).map_err(|error| Failure::because("--mask-fields", &error))
}

async fn save(database: &Database, tenant: &Tenant) -> Result<(), Failure> {
    database.update_tenant(tenant).await.map_err(|error| store_failed("the tenant cannot be changed", &error))
}

async fn suspend(database: &Database, client_id: &str, suspended: bool, json: &Json) -> Result<(), Failure> {
    let tenant = Tenant { suspended, ..find_tenant(database, client_id).await? };
    let done = database.suspend_tenant(tenant.id, suspended).await;
    done.map_err(|error| store_failed("the tenant cannot be changed", &error))?;
    show(&tenant, json)
}

async fn delete(database: &Database, client_id: &str, yes: Option<String>, json: &Json) -> Result<(), Failure> {
    let tenant = find_tenant(database, client_id).await?;
    let repeated = match yes {
        Some(name) => name,
        None => ask_for_name(&tenant)?,
    };
    if repeated != tenant.name {
        return Err(Failure::new("that is not the tenant's name; nothing was deleted"));
    }
    let sessions = database.delete_tenant(tenant.id).await.map_err(|error| store_failed("the tenant cannot be deleted", &error))?;
    wipe(database).await?;
    if json.json {
        return output::json(&serde_json::json!({ "deleted": tenant.client_id, "sessions": sessions }));
    }
    output::line(&format!("deleted {} with its keys and {sessions} sessions", tenant.client_id))
}

fn ask_for_name(tenant: &Tenant) -> Result<String, Failure> {
    let question = format!("This deletes {} with its keys and all its sessions. Its name, to confirm: ", tenant.client_id);
    if let Some(name) = confirmation::ask(&question)? {
        return Ok(name);
    }
    // A script may send the name.
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| Failure::because("the name cannot be read", &error))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks on a terminal before sessions are deleted that the retention kept until now.
async fn confirm_shorter_retention(database: &Database, before: Tenant, after: &Tenant) -> Result<(), Failure> {
    let purge = Purge::new(Arc::new(database.clone()), clock());
    let backlog = purge.backlog(&[Arc::new(before), Arc::new(after.clone())]).await;
    let backlog = backlog.map_err(|error| store_failed("what a shorter retention deletes cannot be counted", &error))?;
    let counts: Vec<_> = backlog.iter().map(|expired| expired.sessions).collect();
    // What had expired before is not lost by this.
    let lost = match counts.as_slice() {
        [before, after] => after.saturating_sub(*before),
        [after] => *after,
        _ => 0,
    };
    if lost == 0 {
        return Ok(());
    }
    let (days, client_id) = (after.retention.in_days(), &after.client_id);
    let question = format!("A retention of {days} days deletes {lost} sessions of {client_id}, for good. Type yes to delete them: ");
    match confirmation::ask(&question)? {
        Some(answer) if answer != "yes" => Err(Failure::new("not confirmed; nothing was changed")),
        _ => Ok(()),
    }
}

async fn list(database: &Database, json: &Json) -> Result<(), Failure> {
    let contents = database.contents().await.map_err(|error| store_failed("tenants cannot be read", &error))?;
    if json.json {
        let tenants: Vec<_> = contents.tenants.iter().map(ShownTenant::of).collect();
        return output::json(&serde_json::json!({ "tenants": tenants }));
    }
    let rows: Vec<_> = contents
        .tenants
        .into_iter()
        .map(|tenant| {
            let state = if tenant.suspended { "suspended" } else { "live" };
            let retention = format!("{} days", tenant.retention.in_days());
            [tenant.client_id, tenant.oifde_id, tenant.name, state.to_owned(), retention]
        })
        .collect();
    output::table(["CLIENT ID", "TENANT ID", "NAME", "STATE", "RETENTION"], &rows)
}

fn show(tenant: &Tenant, json: &Json) -> Result<(), Failure> {
    let shown = ShownTenant::of(tenant);
    if json.json {
        return output::json(&shown);
    }
    let value = serde_json::to_value(&shown).map_err(|error| Failure::because("the tenant cannot be shown", &error))?;
    let rows: Vec<_> = value.as_object().into_iter().flatten().map(|(name, value)| [name.clone(), cell(value)]).collect();
    output::table(["PROPERTY", "VALUE"], &rows)
}

/// A property for people.
fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "off".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// A tenant as commands show it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownTenant {
    name: String,
    client_id: String,
    tenant_id: String,
    default_country: String,
    time_zone: String,
    oifde_time_zone: String,
    retention_days: u16,
    audit_days: u16,
    audit_rows: u64,
    quota_bytes: Option<u64>,
    miss_status: u16,
    miss_reason: bool,
    key_in_url: bool,
    mask_after_minutes: Option<u32>,
    mask_fields: Vec<String>,
    suspended: bool,
    created_at: String,
}

impl ShownTenant {
    fn of(tenant: &Tenant) -> Self {
        Self {
            name: tenant.name.clone(),
            client_id: tenant.client_id.clone(),
            tenant_id: tenant.oifde_id.clone(),
            default_country: tenant.default_country.code(),
            time_zone: tenant.zone.name().to_owned(),
            oifde_time_zone: tenant.oifde_zone.name().to_owned(),
            retention_days: tenant.retention.in_days(),
            audit_days: tenant.audit_retention.in_days(),
            audit_rows: tenant.audit_rows,
            quota_bytes: tenant.quota_bytes,
            miss_status: if tenant.misses_are_absences { 404 } else { 200 },
            miss_reason: tenant.explains_misses,
            key_in_url: tenant.accepts_key_in_url,
            mask_after_minutes: tenant.masking.as_ref().map(Masking::after_minutes),
            mask_fields: tenant.masking.as_ref().map(|masking| masking.names().to_vec()).unwrap_or_default(),
            suspended: tenant.suspended,
            created_at: tenant.created_at.to_string(),
        }
    }
}
