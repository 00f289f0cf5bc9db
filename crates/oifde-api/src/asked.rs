//! What every query begins with: its body is read, there is room, and who asks is let in.

use axum::extract::Request;
use calldata_core::{Access, AuthError, TenantName};
use calldata_http::{Proof, RequestOrigin, Seat, Shared, Source, Stay};

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
        let origin = RequestOrigin::of(&extensions);
        let seat = oifde.shared.admission.enter(Stay::Working, &extensions)?;
        // The token is checked before the parameters (OIF-A4).
        let access = authenticate(oifde, source, &origin, &seat, &parameters).await?;
        oifde.shared.admission.admit(&seat, access.tenant.id)?;
        Ok(Self { parameters, access, seat })
    }
}

/// Counts a query that found nothing.
pub(crate) fn note_miss() {
    metrics::counter!("calldata_misses_total", "dialect" => "oifde", "reason" => "no-record").increment(1);
}

/// A token, or one of the tenant's keys in its place (OIF-A3).
async fn authenticate(
    oifde: &Oifde,
    source: Source,
    origin: &RequestOrigin,
    seat: &Seat,
    parameters: &Parameters,
) -> Result<Access, Failure> {
    let token = parameters.get("authToken").ok_or(Failure::TokenMissing)?.as_string().ok_or(Failure::TokenWrong)?;
    let tenant = parameters.string("tenantId")?.ok_or_else(|| Failure::parameter("tenantId", "is missing"))?;
    let name = TenantName::Oifde(&tenant);
    let shared = &oifde.shared;
    let Shared { lockout, sessions, .. } = shared;
    if lockout.locked_for_bearer(source, name, &token).is_some() {
        return Err(Failure::Locked);
    }
    let access = match oifde.secrets.read(&token, sessions.now()) {
        TokenState::Good { tenant, key } => {
            let access = shared.authenticate(origin, seat, name, Proof::Key(&key)).await;
            access.and_then(|access| if access.tenant.id == tenant { Ok(access) } else { Err(AuthError::NotRecognised) })
        }
        TokenState::Expired => return Err(Failure::TokenMissing),
        TokenState::NotOurs => shared.authenticate(origin, seat, name, Proof::Secret(&token)).await,
    };
    match access {
        Ok(access) => {
            lockout.note_success(source, name, &token);
            if access.scopes.read { Ok(access) } else { Err(Failure::TokenWrong) }
        }
        Err(AuthError::NotRecognised) => {
            lockout.note_failure(source, name);
            Err(Failure::TokenWrong)
        }
        Err(AuthError::Unavailable) => Err(Failure::Busy),
    }
}
