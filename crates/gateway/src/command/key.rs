//! `key`: access keys.

use std::io::Read;
use std::time::Duration;

use calldata_core::key::{self, AccessKey, SecretHash};
use calldata_core::{DirectoryStore, KeyId, Scopes, Tenant, Timestamp};
use calldata_store::Database;
use secrecy::{ExposeSecret, SecretString};

use super::{clock, find_tenant, open, store_failed};
use crate::cli::{Json, KeyCommand, ScopeName};
use crate::settings::Settings;
use crate::{Failure, output};

const DAY: Duration = Duration::from_secs(86_400);
/// More than any secret is long.
const MAX_SECRET_BYTES: u64 = 4_096;

pub(super) async fn run(settings: &Settings, command: KeyCommand) -> Result<(), Failure> {
    let (database, _) = open(settings).await?;
    match command {
        KeyCommand::Create { client_id, scope, expires_days, secret_stdin, json } => {
            let tenant = find_tenant(&database, &client_id).await?;
            let brought = if secret_stdin { Some(read_secret()?) } else { None };
            let secret = brought.clone().unwrap_or_else(key::new_secret);
            let id = create(&database, &tenant, &secret, scopes(&scope), expires_days).await?;
            shown_once(&id, brought.is_none().then_some(&secret), &json)
        }
        KeyCommand::List { client_id, json } => {
            let tenant = find_tenant(&database, &client_id).await?;
            let keys = database.keys_of(tenant.id).await.map_err(|error| store_failed("keys cannot be read", &error))?;
            list(&keys, &json)
        }
        KeyCommand::Revoke { id, json } => revoke(&database, &id, &json).await,
    }
}

/// Adds a key with this secret.
pub(super) async fn create(
    database: &Database,
    tenant: &Tenant,
    secret: &SecretString,
    scopes: Scopes,
    expires_days: Option<u16>,
) -> Result<KeyId, Failure> {
    let now = clock().now();
    let key = AccessKey {
        id: KeyId::random(),
        tenant: tenant.id,
        hash: SecretHash::of(secret.expose_secret()),
        scopes,
        created_at: now,
        expires_at: expires_days.map(|days| now.plus(DAY * u32::from(days))),
        revoked_at: None,
        last_used_at: None,
    };
    database.create_key(&key).await.map_err(|error| store_failed("the key cannot be added", &error))?;
    Ok(key.id)
}

fn scopes(names: &[ScopeName]) -> Scopes {
    if names.is_empty() {
        return Scopes::READ_WRITE;
    }
    let given = |name| names.contains(&name);
    Scopes {
        read: given(ScopeName::Read),
        write: given(ScopeName::Write),
        admin: given(ScopeName::Admin),
        unmasked: given(ScopeName::Unmasked),
    }
}

fn read_secret() -> Result<SecretString, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(MAX_SECRET_BYTES).read_to_string(&mut text);
    read.map_err(|error| Failure::because("the secret cannot be read from standard input", &error))?;
    let secret: SecretString = text.trim_end_matches(['\r', '\n']).into();
    if !key::is_long_enough(&secret) {
        return Err(Failure::new(format!("a secret needs at least {} characters", key::MIN_SECRET_CHARS)));
    }
    if secret.expose_secret().chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Failure::new("a secret must not hold white space or control characters: no header could carry it"));
    }
    Ok(secret)
}

fn shown_once(id: &KeyId, secret: Option<&SecretString>, json: &Json) -> Result<(), Failure> {
    let secret = secret.map(ExposeSecret::expose_secret);
    if json.json {
        return match secret {
            Some(secret) => output::json(&serde_json::json!({ "id": id.as_str(), "key": secret })),
            None => output::json(&serde_json::json!({ "id": id.as_str() })),
        };
    }
    output::line(&format!("id   {id}"))?;
    match secret {
        Some(secret) => output::line(&format!("key  {secret}\nThe key is not shown again.")),
        None => output::line("The secret is taken over."),
    }
}

fn list(keys: &[AccessKey], json: &Json) -> Result<(), Failure> {
    let now = clock().now();
    let state = |key: &AccessKey| match key {
        key if key.revoked_at.is_some() => "revoked",
        key if !key.is_live(now) => "expired",
        _ => "live",
    };
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    if json.json {
        let shown = keys.iter().map(|key| {
            serde_json::json!({
                "id": key.id.as_str(),
                "scopes": key.scopes.names().collect::<Vec<_>>(),
                "state": state(key),
                "createdAt": key.created_at.to_string(),
                "expiresAt": time(key.expires_at),
                "revokedAt": time(key.revoked_at),
                "lastUsedAt": time(key.last_used_at),
            })
        });
        return output::json(&serde_json::json!({ "keys": shown.collect::<Vec<_>>() }));
    }
    let rows: Vec<_> = keys
        .iter()
        .map(|key| {
            [
                key.id.to_string(),
                key.scopes.names().collect::<Vec<_>>().join(","),
                state(key).to_owned(),
                key.created_at.to_string(),
                time(key.expires_at).unwrap_or_else(|| "never".into()),
                time(key.last_used_at).unwrap_or_else(|| "never".into()),
            ]
        })
        .collect();
    output::table(["ID", "SCOPES", "STATE", "CREATED", "EXPIRES", "LAST USED"], &rows)
}

async fn revoke(database: &Database, id: &str, json: &Json) -> Result<(), Failure> {
    let unknown = || Failure::new(format!("there is no key {id}; see key list"));
    let key = KeyId::new(id).map_err(|_| unknown())?;
    let found = database.revoke_key(&key, clock().now()).await.map_err(|error| store_failed("the key cannot be revoked", &error))?;
    if !found {
        return Err(unknown());
    }
    if json.json { output::json(&serde_json::json!({ "revoked": id })) } else { output::line(&format!("revoked {id}")) }
}
