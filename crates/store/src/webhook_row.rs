//! Webhooks and their deliveries as rows.

use std::collections::BTreeSet;

use calldata_core::event::{EventKind, Position};
use calldata_core::port::Standing;
use calldata_core::webhook::{
    DeadLetter, Delivery, DeliveryId, DeliveryNumber, Disabled, Failure, PreviousSecret, Webhook, WebhookKey, WebhookSecret,
    WebhookSecrets, WebhookUrl,
};
use calldata_core::{Epoch, Event, SessionId, StoreError, TenantId, Timestamp, WebhookId};
use secrecy::ExposeSecret;

use crate::entity::{webhook, webhook_delivery};
use crate::error::Unreadable;

pub(crate) fn of_webhook(new: &Webhook) -> webhook::Model {
    let Webhook { id, tenant, url, secrets, kinds, created_at, disabled, taken_up } = new;
    let WebhookSecrets { current, previous } = secrets;
    webhook::Model {
        tenant_id: tenant.number(),
        id: id.as_str().to_owned(),
        url: url.as_str().to_owned(),
        secret: of_secret(current),
        previous_secret: previous.as_ref().map(|previous| of_secret(&previous.secret)),
        previous_until: previous.as_ref().map(|previous| previous.until.epoch_ms()),
        kinds: kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(","),
        created_at: created_at.epoch_ms(),
        disabled: disabled.map(|disabled| disabled.name().to_owned()),
        taken_up_commit: taken_up.commit,
        taken_up_place: taken_up.place,
        last_number: DeliveryNumber::NONE.number(),
        holder: None,
        held_until: Timestamp::EARLIEST.epoch_ms(),
    }
}

/// As it is: whoever signs has to read it.
pub(crate) fn of_secret(secret: &WebhookSecret) -> String {
    secret.text().expose_secret().to_owned()
}

pub(crate) fn to_webhook(row: webhook::Model) -> Result<Webhook, StoreError> {
    let unreadable = |column| Unreadable { table: "webhook", column };
    let secret = |text: &str, column| WebhookSecret::parse(text).ok_or_else(|| unreadable(column));
    let previous = match (&row.previous_secret, row.previous_until) {
        (Some(text), Some(until)) => Some(PreviousSecret { secret: secret(text, "previous_secret")?, until: Timestamp::clamped(until) }),
        _ => None,
    };
    let kinds: Option<BTreeSet<_>> = row.kinds.split(',').map(EventKind::parse).collect();
    let disabled = row.disabled.as_deref().map(|name| Disabled::parse(name).ok_or_else(|| unreadable("disabled")));
    Ok(Webhook {
        id: WebhookId::new(&row.id).map_err(|_| unreadable("id"))?,
        tenant: TenantId::from_number(row.tenant_id),
        url: WebhookUrl::parse(&row.url).map_err(|_| unreadable("url"))?,
        secrets: WebhookSecrets { current: secret(&row.secret, "secret")?, previous },
        kinds: kinds.ok_or_else(|| unreadable("kinds"))?,
        created_at: Timestamp::clamped(row.created_at),
        disabled: disabled.transpose()?,
        taken_up: Position { commit: row.taken_up_commit, place: row.taken_up_place },
    })
}

/// What the webhook of a row is found by.
pub(crate) fn key_of(row: &webhook::Model) -> Result<WebhookKey, StoreError> {
    let id = WebhookId::new(&row.id).map_err(|_| Unreadable { table: "webhook", column: "id" })?;
    Ok(WebhookKey { tenant: TenantId::from_number(row.tenant_id), id })
}

pub(crate) fn to_standing(row: webhook::Model, due: Option<i64>) -> Result<Standing, StoreError> {
    let held_until = Timestamp::clamped(row.held_until);
    Ok(Standing { webhook: to_webhook(row)?, due: due.map(Timestamp::clamped), held_until })
}

/// A delivery that is due now, or waits for an earlier one.
pub(crate) fn of_event(
    key: &WebhookKey,
    (epoch, number): (Epoch, i64),
    event: &Event,
    now: Timestamp,
    waits: bool,
) -> webhook_delivery::Model {
    let Event { position: _, kind, session, at } = event;
    webhook_delivery::Model {
        tenant_id: key.tenant.number(),
        webhook_id: key.id.as_str().to_owned(),
        number,
        epoch: Some(epoch.to_string()),
        kind: kind.name().to_owned(),
        session_id: session.as_str().to_owned(),
        at: at.epoch_ms(),
        attempts: 0,
        since: now.epoch_ms(),
        next_at: (!waits).then(|| now.epoch_ms()),
        died_at: None,
        last_failure: None,
    }
}

pub(crate) fn to_delivery(row: webhook_delivery::Model) -> Result<Delivery, StoreError> {
    let unreadable = |column| Unreadable { table: "webhook_delivery", column };
    let failure = row.last_failure.as_deref().map(|words| words.parse::<Failure>().map_err(|_| unreadable("last_failure")));
    let epoch = row.epoch.as_deref().map(|text| Epoch::parse(text).ok_or_else(|| unreadable("epoch"))).transpose()?;
    Ok(Delivery {
        id: DeliveryId { epoch, number: DeliveryNumber::from_stored(row.number) },
        kind: EventKind::parse(&row.kind).ok_or_else(|| unreadable("kind"))?,
        session: SessionId::new(&row.session_id).map_err(|_| unreadable("session_id"))?,
        at: Timestamp::clamped(row.at),
        attempts: u32::try_from(row.attempts).map_err(|_| unreadable("attempts"))?,
        since: Timestamp::clamped(row.since),
        last_failure: failure.transpose()?,
    })
}

pub(crate) fn to_dead_letter(row: webhook_delivery::Model) -> Result<DeadLetter, StoreError> {
    let died_at = row.died_at.ok_or(Unreadable { table: "webhook_delivery", column: "died_at" })?;
    Ok(DeadLetter { died_at: Timestamp::clamped(died_at), delivery: to_delivery(row)? })
}
