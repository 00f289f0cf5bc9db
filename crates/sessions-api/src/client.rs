//! Who asks: a bearer key says whose sessions are meant and what may be done with them.

use axum::http::header;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
pub(crate) use calldata_core::RequiredScope as Need;
use calldata_core::{Access, AuthError, TenantName};
use calldata_http::{Proof, Refusal, RequestOrigin, Seat, Shared};

use crate::problem::{Code, Problem};

/// Recognises who sent a request, and counts it to its tenant.
pub(crate) async fn recognise(shared: &Shared, parts: &Parts, seat: &Seat, need: Need) -> Result<Access, Problem> {
    let credentials = parts.headers.get(header::AUTHORIZATION).and_then(|header| credentials(header.to_str().ok()?));
    // Who brings none guesses nothing, and is not counted among those who do.
    let Some(Credentials { client_id, key }) = credentials else {
        return Err(Problem::new(Code::NotAuthenticated, "send a live key as Authorization: Bearer KEY"));
    };
    let name = client_id.as_deref().map_or(TenantName::OfKey, TenantName::Client);
    let origin = RequestOrigin::of(&parts.extensions);
    let source = origin.source;
    if let Some(retry_after) = source.and_then(|source| shared.lockout.locked_for_bearer(source, name, &key)) {
        return Err(Refusal::TooMany { retry_after }.into());
    }
    let access = match shared.authenticate(&origin, seat, name, Proof::Secret(&key)).await {
        Ok(access) => access,
        Err(AuthError::NotRecognised) => {
            if let Some(source) = source {
                shared.lockout.note_failure(source, name);
            }
            return Err(Problem::new(Code::NotAuthenticated, "send a live key as Authorization: Bearer KEY"));
        }
        Err(AuthError::Unavailable) => return Err(Problem::busy()),
    };
    if let Some(source) = source {
        shared.lockout.note_success(source, name, &key);
    }
    shared.admission.admit(seat, access.tenant.id)?;
    if !need.is_met(access.scopes) {
        return Err(Problem::lacks(need));
    }
    Ok(access)
}

/// A key, and the client's name where the key alone does not say whose it is.
#[derive(Debug, PartialEq, Eq)]
struct Credentials {
    client_id: Option<String>,
    key: String,
}

fn credentials(header: &str) -> Option<Credentials> {
    let (scheme, value) = header.trim().split_once(' ')?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credentials { client_id: None, key: value.to_owned() });
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
        let (name, key) = pair.split_once(':')?;
        return Some(Credentials { client_id: Some(name.to_owned()), key: key.to_owned() });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_alone_or_with_the_name_of_a_client() {
        let of = |client_id: Option<&str>, key: &str| Some(Credentials { client_id: client_id.map(str::to_owned), key: key.to_owned() });
        assert_eq!(credentials("bearer  k "), of(None, "k"));
        assert_eq!(credentials(&format!("Basic {}", STANDARD.encode("c:k:k"))), of(Some("c"), "k:k"));
        for none in ["", "Bearer", "Digest k", "Basic !", "Basic Yw=="] {
            assert_eq!(credentials(none), None, "{none}");
        }
    }
}
