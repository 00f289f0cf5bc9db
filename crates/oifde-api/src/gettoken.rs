//! `POST /oifde/rest/api/gettoken`: a token for a key.

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use calldata_core::{AuthError, TenantName};
use calldata_http::{Proof, RequestOrigin, Seat, Shared, Source, Stay};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Oifde;
use crate::body::Parameters;
use crate::codes::{Failure, answer};
use crate::token::LIFETIME;

/// Gives a token for a key.
#[utoipa::path(
    post, path = "/oifde/rest/api/gettoken", operation_id = "getToken", tag = "records", summary = "Get a token",
    description = "Gives a token for a tenant's key. The token is good for `expireTime` seconds on every instance of the gateway, and dies \
        with its key (ours). 20 failures within 5 minutes from one source for one tenant lock that pair for 5 minutes.",
    request_body(content = TokenRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The token, or an `errorCode` other than 0: 200800001 appSecret missing, 200800002 appSecret wrong, 200800003 \
            locked, 10000002 a parameter is missing or wrong, 10000001 internal error.", body = TokenResponse, content_type = "application/json", examples(
            ("token" = (summary = "A token", value = json!({ "errorCode": 0, "errorMsg": "Success", "authToken": "cdt1.MTIz.c2lnbmF0dXJl", "expireTime": 3600 }))),
            ("wrong" = (summary = "A wrong secret", value = json!({ "errorCode": 200_800_002, "errorMsg": "appSecret is wrong" }))),
        )),
        (status = 400, description = "The request cannot be read as HTTP, or does not name its host."),
        (status = 403, description = "A web page of an origin that is not allowed sent this (ours)."),
        (status = 414, description = "The URI is longer than 8 KiB (ours)."),
        (status = 431, description = "There are more than 100 headers, or more than 16 KiB of them (ours)."),
        (status = 500, description = "The gateway failed."),
        (status = 429, description = "This tenant sends too many requests (ours); repeat later.", body = TokenResponse, content_type = "application/json",
            headers(("Retry-After" = i32, description = "Seconds after which to repeat."))),
        (status = 503, description = "Too busy; repeat the request.", body = TokenResponse, content_type = "application/json",
            headers(("Retry-After" = i32, description = "Seconds after which to repeat."))),
    ),
)]
pub(crate) async fn gettoken(State(oifde): State<Oifde>, Extension(source): Extension<Source>, request: Request) -> Response {
    let limits = oifde.shared.limits;
    let origin = RequestOrigin::of(request.extensions());
    let token = tokio::time::timeout(limits.deadline, async {
        let (parameters, extensions) = Parameters::read(request, limits).await?;
        let seat = oifde.shared.admission.enter(Stay::Working, &extensions)?;
        issue(&oifde, &seat, source, &origin, &parameters).await
    });
    match token.await.unwrap_or(Err(Failure::Busy)) {
        Ok(token) => answer(&TokenResponse::token(token)),
        Err(failure) => failure.answer(&TokenResponse::failure(&failure)),
    }
}

async fn issue(oifde: &Oifde, seat: &Seat, source: Source, origin: &RequestOrigin, parameters: &Parameters) -> Result<String, Failure> {
    let secret = parameters.string("appSecret")?.ok_or(Failure::SecretMissing)?;
    let tenant = parameters.string("appKey")?.ok_or_else(|| Failure::parameter("appKey", "is missing"))?;
    let now = oifde.shared.sessions.now();
    let name = TenantName::Oifde(&tenant);
    let shared = &oifde.shared;
    let Shared { admission, lockout, .. } = shared;
    if lockout.locked_for(source, name, &secret).is_some() {
        return Err(Failure::Locked);
    }
    match shared.authenticate(origin, seat, name, Proof::Secret(&secret)).await {
        Ok(access) => {
            admission.admit(seat, access.tenant.id)?;
            let token = oifde.secrets.issue(access.tenant.id, &access.key, now).ok_or(Failure::Internal)?;
            lockout.note_success(source, name, &secret);
            lockout.note_success(source, name, &token);
            Ok(token)
        }
        Err(AuthError::NotRecognised) => {
            lockout.note_failure(source, name);
            Err(Failure::SecretWrong)
        }
        Err(AuthError::Unavailable) => Err(Failure::Busy),
    }
}

/// Who asks for a token.
#[derive(ToSchema)]
#[schema(example = json!({ "appKey": "tenant001", "appSecret": "cdg_0123456789abcdef0123456789abcdef01234567" }))]
#[expect(dead_code, reason = "describes a body that is read member by member")]
pub(crate) struct TokenRequest {
    /// The tenant's OIFDE name.
    #[schema(rename = "appKey")]
    app_key: String,
    /// A key of the tenant.
    #[schema(rename = "appSecret")]
    app_secret: String,
}

/// A token, or why there is none.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenResponse {
    /// 0 for a token.
    #[schema(example = 0)]
    error_code: i32,
    /// `Success`, or what is wrong.
    #[schema(example = "Success")]
    error_msg: String,
    /// The token.
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<String>,
    /// For how many seconds it is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 3600)]
    expire_time: Option<u64>,
}

impl TokenResponse {
    fn token(token: String) -> Self {
        Self { error_code: 0, error_msg: "Success".into(), auth_token: Some(token), expire_time: Some(LIFETIME.as_secs()) }
    }

    fn failure(failure: &Failure) -> Self {
        Self { error_code: failure.code(), error_msg: failure.to_string(), auth_token: None, expire_time: None }
    }
}
