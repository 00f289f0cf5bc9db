//! Who asks: a client's name and key, from wherever a Parloa service block or a contact centre can put them (PAR-A1 to PAR-A4).

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use calldata_core::{Access, AuthError, Grant, GrantError, RequiredScope, TenantName};
use calldata_http::{Proof, Refusal, RequestOrigin, Seat, Shared, repeated_header};
use utoipa::Modify;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};

use crate::query::Query;
use crate::speech;

const FUNCTIONS_KEY: HeaderName = HeaderName::from_static("x-functions-key");

/// What a client must be allowed to do.
pub(crate) trait Need {
    const SCOPE: RequiredScope;
}

/// Fetching.
pub(crate) struct ToRead;
/// Storing.
pub(crate) struct ToWrite;

impl Need for ToRead {
    const SCOPE: RequiredScope = RequiredScope::Read;
}

impl Need for ToWrite {
    const SCOPE: RequiredScope = RequiredScope::Write;
}

/// A client that is recognised and allowed to do what the operation needs.
pub(crate) struct Client<N> {
    pub(crate) access: Access,
    in_url: bool,
    need: PhantomData<N>,
}

impl<N: Need> Client<N> {
    /// Recognises who sent a request, and counts it to its tenant; or the answer to whoever may not.
    pub(crate) async fn of(shared: &Shared, parts: &Parts, query: &Query<'_>, seat: &Seat) -> Result<Self, Response> {
        let credentials = Credentials::of(&parts.headers, query);
        // Missing credentials take the same way as wrong ones: empty, they match nothing.
        let name = credentials.client_id.as_deref().unwrap_or_default();
        let key = credentials.key.as_deref().unwrap_or_default();
        let tenant = TenantName::Client(name);
        let origin = RequestOrigin::of(&parts.extensions);
        let source = origin.source;
        if let Some(retry_after) = source.and_then(|source| shared.lockout.locked_for_bearer(source, tenant, key)) {
            return Err(speech::refused(&parts.method, Refusal::TooMany { retry_after }));
        }
        let access = match shared.authenticate(&origin, seat, tenant, Proof::Secret(key)).await {
            Ok(access) => access,
            Err(AuthError::NotRecognised) => {
                // Who brings no key guesses nothing.
                if let Some(source) = source.filter(|_| !key.is_empty()) {
                    shared.lockout.note_failure(source, tenant);
                }
                return Err(speech::not_recognised());
            }
            Err(AuthError::Unavailable) => return Err(speech::busy(&parts.method)),
        };
        if let Some(source) = source {
            shared.lockout.note_success(source, tenant, key);
        }
        if credentials.in_url && !access.tenant.accepts_key_in_url {
            return Err(speech::not_recognised());
        }
        shared.admission.admit(seat, access.tenant.id).map_err(|refusal| speech::refused(&parts.method, refusal))?;
        if !N::SCOPE.is_met(access.scopes) {
            return Err(speech::not_permitted());
        }
        Ok(Self { access, in_url: credentials.in_url, need: PhantomData })
    }

    /// The client's right, for a request that outlives the deadline.
    pub(crate) fn grant(self, shared: &Shared) -> ClientGrant {
        ClientGrant { grant: Grant::new(Arc::clone(&shared.directory), self.access, N::SCOPE), in_url: self.in_url }
    }

    /// The same client, checked again after its body was waited for.
    pub(crate) fn revalidate(self, shared: &Shared) -> Result<Self, GrantError> {
        let access = shared.directory.revalidate(&self.access, N::SCOPE)?;
        Ok(Self { access, ..self })
    }
}

/// A client's right, checked at each use.
pub(crate) struct ClientGrant {
    pub(crate) grant: Grant,
    in_url: bool,
}

impl ClientGrant {
    /// The access as it is now; the tenant may have begun to refuse keys in the URL as well.
    pub(crate) fn revalidate(&self) -> Result<Access, GrantError> {
        let access = self.grant.revalidate()?;
        if self.in_url && !access.tenant.accepts_key_in_url { Err(GrantError::Revoked) } else { Ok(access) }
    }
}

/// What a request says about who asks; `None` for what is missing or contradicts itself.
struct Credentials<'r> {
    client_id: Option<Cow<'r, str>>,
    key: Option<Cow<'r, str>>,
    in_url: bool,
}

impl<'r> Credentials<'r> {
    /// Only the first place that is filled counts: a wrong header is not rescued by a right parameter (PAR-A2, PAR-A3).
    fn of(headers: &'r HeaderMap, query: &'r Query<'_>) -> Self {
        let client_id = query.filled("clientId").map(Cow::Borrowed);
        // Of two keys, neither counts.
        if matches!(repeated_header(headers), Some("Authorization" | "x-functions-key")) {
            return Self { client_id, key: None, in_url: false };
        }
        if let Some(header) = headers.get(FUNCTIONS_KEY) {
            return Self { client_id, key: header.to_str().ok().map(Cow::Borrowed), in_url: false };
        }
        if let Some(header) = headers.get(header::AUTHORIZATION) {
            let (name, key) = header.to_str().ok().and_then(authorization).unwrap_or_default();
            let agrees = name.is_none() || client_id.is_none() || name == client_id;
            return Self { client_id: client_id.or(name).filter(|_| agrees), key, in_url: false };
        }
        // A `+` that was not encoded arrives as a space, which no key holds.
        Self { client_id, key: query.get("code").map(with_plus), in_url: true }
    }
}

fn with_plus(key: &str) -> Cow<'_, str> {
    if key.contains(' ') { Cow::Owned(key.replace(' ', "+")) } else { Cow::Borrowed(key) }
}

/// A name and a key, as far as they are there.
type NameAndKey<'r> = (Option<Cow<'r, str>>, Option<Cow<'r, str>>);

/// The client's name, which only Basic carries, and the key.
fn authorization(header: &str) -> Option<NameAndKey<'_>> {
    let (scheme, value) = header.trim().split_once(' ')?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some((None, Some(Cow::Borrowed(value))));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
        let (name, key) = pair.split_once(':')?;
        return Some((Some(Cow::Owned(name.to_owned())), Some(Cow::Owned(key.to_owned()))));
    }
    None
}

/// The ways to prove who asks, for the description.
pub(crate) struct SecuritySchemes;

impl Modify for SecuritySchemes {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let components = description.components.get_or_insert_default();
        let header = ApiKeyValue::with_description("x-functions-key", "The client's key; it decides over any other.");
        let code = ApiKeyValue::with_description("code", "The client's key in the URL, where the tenant accepts it there.");
        let http = |scheme, about: &str| SecurityScheme::Http(HttpBuilder::new().scheme(scheme).description(Some(about)).build());
        components.add_security_scheme("functionsKey", SecurityScheme::ApiKey(ApiKey::Header(header)));
        components.add_security_scheme("code", SecurityScheme::ApiKey(ApiKey::Query(code)));
        components.add_security_scheme("bearer", http(HttpAuthScheme::Bearer, "The client's key (ours)."));
        components.add_security_scheme("basic", http(HttpAuthScheme::Basic, "clientId and key (ours)."));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Told = (Option<String>, Option<String>, bool);

    fn credentials(headers: &[(&'static str, &str)], query: &str) -> Told {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let query = Query::parse(Some(query));
        let Credentials { client_id, key, in_url } = Credentials::of(&all, &query);
        (client_id.map(Cow::into_owned), key.map(Cow::into_owned), in_url)
    }

    fn expected(client_id: Option<&str>, key: Option<&str>, in_url: bool) -> Told {
        (client_id.map(str::to_owned), key.map(str::to_owned), in_url)
    }

    #[test]
    fn par_a2_par_a3_the_first_place_that_is_filled_decides() {
        let all = [("x-functions-key", "h"), ("authorization", "Bearer b")];
        assert_eq!(credentials(&all, "clientId=c&code=q"), expected(Some("c"), Some("h"), false));
        assert_eq!(credentials(&all[1..], "clientId=c&code=q"), expected(Some("c"), Some("b"), false));
        assert_eq!(credentials(&[], "CLIENTID=c&CODE=q"), expected(Some("c"), Some("q"), true));
        assert_eq!(credentials(&[("x-functions-key", "")], "clientId=c&code=q"), expected(Some("c"), Some(""), false));
        assert_eq!(credentials(&[("authorization", "Digest x")], "clientId=c&code=q"), expected(Some("c"), None, false));
        assert_eq!(credentials(&[("authorization", "bearer  b ")], "clientId=c"), expected(Some("c"), Some("b"), false));
        assert_eq!(credentials(&[], ""), expected(None, None, true));
        assert_eq!(credentials(&[], "code=a+b%2Bc%3D"), expected(None, Some("a+b+c="), true));
    }

    #[test]
    fn par_a3_of_two_keys_in_the_same_header_neither_counts() {
        for name in ["x-functions-key", "authorization"] {
            for second in ["Bearer b", "Bearer c"] {
                assert_eq!(credentials(&[(name, "Bearer b"), (name, second)], "clientId=c&code=q"), expected(Some("c"), None, false));
            }
        }
        let both = [("x-functions-key", "h"), ("authorization", "Bearer b"), ("authorization", "Bearer b")];
        assert_eq!(credentials(&both, "clientId=c"), expected(Some("c"), None, false));
    }

    #[test]
    fn par_a3_basic_names_the_client_too_and_must_not_contradict() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        assert_eq!(credentials(&[("authorization", &basic("c:k:k"))], ""), expected(Some("c"), Some("k:k"), false));
        assert_eq!(credentials(&[("authorization", &basic("c:k"))], "clientId=c"), expected(Some("c"), Some("k"), false));
        assert_eq!(credentials(&[("authorization", &basic("c:k"))], "clientId=d"), expected(None, Some("k"), false));
        for broken in ["Basic", "Basic !", "Basic Yw=="] {
            assert_eq!(credentials(&[("authorization", broken)], "clientId=c&code=q"), expected(Some("c"), None, false), "{broken}");
        }
    }
}
