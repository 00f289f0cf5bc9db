//! `erase`: what is known of a caller.

use std::sync::Arc;

use calldata_core::{Access, Audit, Eraser, Pseudonyms, Receipt, Timestamp};

use super::{caller_of, clock, confirmation, find_tenant, open, store_failed};
use crate::cli::Erase;
use crate::settings::Settings;
use crate::token_secret::token_secrets;
use crate::{Failure, output};

pub(super) async fn run(settings: &Settings, erase: Erase) -> Result<(), Failure> {
    let (database, url) = open(settings).await?;
    let secrets = token_secrets(settings, &url)?;
    let tenant = find_tenant(&database, &erase.client_id).await?;
    let caller = caller_of(erase.caller, erase.country, &tenant)?;
    let question = format!("This erases a caller of {} from everything, for good. The caller again, to confirm: ", tenant.client_id);
    if !erase.yes
        && let Some(again) = confirmation::ask(&question)?
        && !caller_of(again, erase.country, &tenant).is_ok_and(|again| again == caller)
    {
        return Err(Failure::new("that is another caller; nothing was erased"));
    }
    let (database, pseudonyms) = (Arc::new(database), Pseudonyms::new(&secrets.all()));
    let audit = Audit::new(database.clone(), clock(), pseudonyms.clone());
    let eraser = Eraser::new(database, clock(), pseudonyms, audit);
    let erased = eraser.erase_for_good(&Access::of_operator(tenant), caller).await;
    let receipt = erased.map_err(|error| {
        store_failed("the caller is not erased for good; a running server finishes it, or run the command again", &error)
    })?;
    if erase.json.json { output::json(&shown(&receipt)) } else { show(&receipt) }
}

fn shown(receipt: &Receipt) -> serde_json::Value {
    let Receipt { id, pseudonym, sessions, events, requested_at, invisible_at, purged_at } = receipt;
    let text = |moment: &Option<Timestamp>| moment.map(|moment| moment.to_string());
    serde_json::json!({
        "id": id, "caller": pseudonym, "sessions": sessions, "events": events,
        "requestedAt": requested_at.to_string(), "invisibleAt": text(invisible_at), "purgedAt": text(purged_at),
    })
}

fn show(receipt: &Receipt) -> Result<(), Failure> {
    let value = shown(receipt);
    let rows: Vec<_> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| [name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)])
        .collect();
    output::table(["RECEIPT", ""], &rows)
}
