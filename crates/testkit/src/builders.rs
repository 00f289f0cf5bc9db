//! Tenants, keys and sessions in one line. Everything is the same in every run.

use std::time::Duration;

use calldata_core::key::{AccessKey, SecretHash};
use calldata_core::port::{Same, Write};
use calldata_core::replay::ReplayDigest;
use calldata_core::{
    CallId, Caller, CallerKey, Clock, Country, Details, Fields, JsonText, KeyId, ManualClock, Scopes, SessionId, Source, Tenant, TenantId,
    Timestamp, Zone,
};

/// A day, which retention is counted in.
pub const DAY: Duration = Duration::from_hours(24);

/// When tests begin: 2024-02-27T12:16:23.926Z.
pub fn start() -> Timestamp {
    Timestamp::clamped(1_709_036_183_926)
}

/// A clock that shows [`start`].
pub fn a_clock() -> ManualClock {
    ManualClock::at(start())
}

/// A German tenant with 30 days of retention; another name is another tenant.
pub fn a_tenant(client_id: &str) -> Tenant {
    let number = client_id.bytes().fold(7_i64, |number, byte| (number * 31 + i64::from(byte)) % 1_000_000_007);
    let tenant = Tenant::new(&client_id.to_uppercase(), client_id, &format!("oifde-{client_id}"), start());
    Tenant { id: TenantId::from_number(number), zone: Zone::utc(), ..tenant }
}

/// A tenant's key for reading and writing, with that secret; its identifier is `k-` and the secret.
///
/// # Panics
/// When the secret cannot be part of an identifier.
pub fn a_key(tenant: &Tenant, secret: &str) -> AccessKey {
    AccessKey {
        id: KeyId::new(&format!("k-{secret}")).expect("the secret can be part of an identifier"),
        tenant: tenant.id,
        hash: SecretHash::of(secret),
        scopes: Scopes::READ_WRITE,
        created_at: start(),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    }
}

/// A session of a German caller, as a Parloa bot posts it: `{"topic":"invoice"}`.
///
/// # Panics
/// When call or caller cannot be stored.
pub fn a_session(call: &str, caller: &str) -> Details {
    let caller = Caller::new(caller, Country::GERMANY).expect("the caller can be stored");
    let fields = Fields::parse(r#"{"topic":"invoice"}"#).expect("the fields are an object");
    Details { fields, ..Details::new(call_id(call), caller, Source::Parloa) }
}

/// The write of a session that a bot posts now; the same session again is the same post (PAR-P7).
///
/// # Panics
/// When `id` is no identifier.
pub fn a_post(tenant: &Tenant, id: &str, clock: &impl Clock, details: Details) -> Write {
    let now = clock.now();
    let digest = ReplayDigest::of(&details.call_id, details.caller.key(), details.fields.iter());
    let same = Same::Digest(digest);
    Write { scope: tenant.scope(now), id: session_id(id), received_first: now, received_last: now, details, same, told_at: Some(now) }
}

/// The write of a session that is imported now under an identifier of its own (OIF-R2).
///
/// # Panics
/// When `id` is no identifier.
pub fn an_import(tenant: &Tenant, id: &str, clock: &impl Clock, details: Details) -> Write {
    Write { same: Same::Id, ..a_post(tenant, id, clock, details) }
}

/// A call's identifier.
///
/// # Panics
/// When it is none.
pub fn call_id(text: &str) -> CallId {
    CallId::new(text).expect("the call has an identifier")
}

/// A session's identifier.
///
/// # Panics
/// When it is none.
pub fn session_id(text: &str) -> SessionId {
    SessionId::new(text).expect("the session has an identifier")
}

/// The comparison form of a German caller.
pub fn caller_key(spelling: &str) -> CallerKey {
    CallerKey::of(spelling, Country::GERMANY)
}

/// JSON, as posted.
///
/// # Panics
/// When it is none.
pub fn json(text: &str) -> JsonText {
    JsonText::parse(text).expect("the text is JSON")
}
