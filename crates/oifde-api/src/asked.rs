//! What every query begins with: its body is read, there is room, and who asks is let in.

use axum::extract::Request;
use calldata_core::{Access, AuthError, TenantName};
use calldata_http::{Seat, Shared, Source, Stay};

use crate::Oifde;
use crate::body::Parameters;
use crate::codes::Failure;
use crate::token::TokenState;

/// A query of somebody who may read.
pub(crate) struct Asked {
    pub(crate) parameters: Parameters,
    pub(crate) access: Access,
    pub(crate) seat: Seat,
}

impl Asked {
    /// Reads a query that comes from `source`, and lets in who asks.
    pub(crate) async fn read(oifde: &Oifde, source: Source, request: Request) -> Result<Self, Failure> {
        let (parameters, extensions) = Parameters::read(request, oifde.shared.limits).await?;
        let seat = oifde.shared.admission.enter(Stay::Working, &extensions)?;
        // The token is checked before the parameters (OIF-A4).
        let access = authenticate(oifde, source, &parameters).await?;
        oifde.shared.admission.admit(&seat, access.tenant.id)?;
        Ok(Self { parameters, access, seat })
    }
}

/// Counts a query that found nothing.
pub(crate) fn note_miss() {
    metrics::counter!("calldata_misses_total", "dialect" => "oifde", "reason" => "no-record").increment(1);
}

/// A token, or one of the tenant's keys in its place (OIF-A3).
async fn authenticate(oifde: &Oifde, source: Source, parameters: &Parameters) -> Result<Access, Failure> {
    let token = parameters.get("authToken").ok_or(Failure::TokenMissing)?.as_string().ok_or(Failure::TokenWrong)?;
    let tenant = parameters.string("tenantId")?.ok_or_else(|| Failure::parameter("tenantId", "is missing"))?;
    let name = TenantName::Oifde(&tenant);
    let Shared { directory, lockout, sessions, .. } = &oifde.shared;
    let now = sessions.now();
    if lockout.locked_for_bearer(source, name, &token, now).is_some() {
        return Err(Failure::Locked);
    }
    let access = match oifde.secrets.read(&token, now) {
        TokenState::Good { tenant, key } => {
            let access = directory.authenticate_by_key(name, &key).await;
            access.and_then(|access| if access.tenant.id == tenant { Ok(access) } else { Err(AuthError::NotRecognised) })
        }
        TokenState::Expired => return Err(Failure::TokenMissing),
        TokenState::NotOurs => directory.authenticate(name, &token).await,
    };
    match access {
        Ok(access) => {
            lockout.note_success(source, name, &token, now);
            if access.scopes.read { Ok(access) } else { Err(Failure::TokenWrong) }
        }
        Err(AuthError::NotRecognised) => {
            lockout.note_failure(source, name, now);
            Err(Failure::TokenWrong)
        }
        Err(AuthError::Unavailable) => Err(Failure::Busy),
    }
}
