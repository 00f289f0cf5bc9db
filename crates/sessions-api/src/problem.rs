//! The interface's words for everything that is not a success: `application/problem+json` with a code that stays the same
//! (docs/errors.md).

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use calldata_core::{GrantError, RequiredScope, StoreError};
use calldata_http::{RETRY_AFTER_S, Refusal, with_request_id};
use calldata_interchange::InvalidDocument;
use calldata_interchange::invalid::shown;
use serde::Serialize;
use utoipa::ToSchema;

const CONTENT_TYPE: &str = "application/problem+json";

/// What went wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Code {
    InvalidRequest,
    InvalidField,
    UnknownMember,
    NotAuthenticated,
    NotPermitted,
    NotFound,
    Conflict,
    PreconditionFailed,
    TooLarge,
    TooManyRequests,
    InvalidCursor,
    Busy,
    StorageFull,
    Internal,
}

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest | Self::InvalidField | Self::UnknownMember | Self::InvalidCursor => StatusCode::BAD_REQUEST,
            Self::NotAuthenticated => StatusCode::UNAUTHORIZED,
            Self::NotPermitted => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request cannot be understood",
            Self::InvalidField => "A field breaks a rule",
            Self::UnknownMember => "A member or parameter is not known",
            Self::NotAuthenticated => "No live key",
            Self::NotPermitted => "The key may not do this",
            Self::NotFound => "There is no such thing",
            Self::Conflict => "It contradicts what is there",
            Self::PreconditionFailed => "It has changed meanwhile",
            Self::TooLarge => "It is too large",
            Self::TooManyRequests => "Too many requests",
            Self::InvalidCursor => "The place to go on at is not known",
            Self::Busy => "Too busy, repeat the request",
            Self::StorageFull => "There is no room to store it",
            Self::Internal => "The gateway failed",
        }
    }
}

/// What went wrong.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    code: Code,
    detail: String,
    field: Option<String>,
    retry_after: Option<HeaderValue>,
    /// Where it is not that of the code.
    status: Option<StatusCode>,
}

/// What went wrong (RFC 9457).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub(crate) struct ProblemDocument {
    /// Always `about:blank`: the code says which problem it is.
    #[schema(example = "about:blank")]
    r#type: &'static str,
    /// The same for every problem of this code.
    #[schema(example = "A field breaks a rule")]
    title: &'static str,
    /// The status of the answer.
    #[schema(example = 400)]
    status: u16,
    /// What to do about it, for people. Never repeats what was sent.
    #[schema(example = "startedAt is not a time (RFC 3339)")]
    detail: String,
    /// What went wrong, for programs.
    code: Code,
    /// The member, parameter or header that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "startedAt")]
    field: Option<String>,
    /// What to tell the operator; it is in the log as well.
    #[schema(example = "0192f4c4-0000-4000-8000-000000000000")]
    request_id: String,
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), field: None, retry_after: None, status: None }
    }

    /// About a member, a parameter or a header.
    pub(crate) fn about(code: Code, field: &str, rule: &str) -> Self {
        Self { field: Some(field.to_owned()), ..Self::new(code, format!("{field} {rule}")) }
    }

    pub(crate) fn invalid(field: &str, rule: &str) -> Self {
        Self::about(Code::InvalidField, field, rule)
    }

    /// About a member or a parameter that there is not; its name is the client's own word.
    pub(crate) fn unknown(name: &str, detail: impl Into<String>) -> Self {
        Self { field: Some(shown(name)), ..Self::new(Code::UnknownMember, detail) }
    }

    pub(crate) fn busy() -> Self {
        Self { retry_after: Some(HeaderValue::from_static(RETRY_AFTER_S)), ..Self::new(Code::Busy, "repeat the request in a moment") }
    }

    pub(crate) fn other_method() -> Self {
        let status = Some(StatusCode::METHOD_NOT_ALLOWED);
        Self { status, ..Self::new(Code::InvalidRequest, "this path has other methods; see /docs") }
    }

    pub(crate) fn unsupported_encoding() -> Self {
        let status = Some(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        Self { status, ..Self::about(Code::InvalidRequest, "Content-Encoding", "must be left out: bodies are taken as they are") }
    }

    pub(crate) fn no_session() -> Self {
        Self::new(Code::NotFound, "there is no live session with this id")
    }

    /// The key is live, but lacks a scope.
    pub(crate) fn lacks(scope: RequiredScope) -> Self {
        Self::new(Code::NotPermitted, format!("the key lacks the scope {}", scope.name()))
    }

    fn too_many(retry_after: Duration) -> Self {
        let retry_after = Some(calldata_http::retry_after(retry_after));
        Self { retry_after, ..Self::new(Code::TooManyRequests, "repeat the request later, as Retry-After says") }
    }

    /// As it stands in an answer, of the request that is worked on.
    pub(crate) fn document(self) -> ProblemDocument {
        let request_id = with_request_id(|id| id.unwrap_or_default().to_owned());
        self.document_of(request_id)
    }

    pub(crate) fn document_of(self, request_id: String) -> ProblemDocument {
        let status = self.status().as_u16();
        let Self { code, detail, field, retry_after: _, status: _ } = self;
        ProblemDocument { r#type: "about:blank", title: code.title(), status, detail, code, field, request_id }
    }

    fn status(&self) -> StatusCode {
        self.status.unwrap_or_else(|| self.code.status())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (code, status, retry_after) = (self.code, self.status(), self.retry_after.clone());
        let Ok(body) = serde_json::to_string(&self.document()) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
        let mut response = (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
        if let Some(retry_after) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, retry_after);
        }
        if code == Code::NotAuthenticated {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full => Self::busy(),
            Refusal::TooMany { retry_after } => Self::too_many(retry_after),
        }
    }
}

/// Of a right that ended while the request was under way.
impl From<GrantError> for Problem {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::Revoked => Self::new(
                Code::NotAuthenticated,
                "the key was revoked or has expired, or its tenant was suspended, since the request began",
            ),
            GrantError::ScopeRemoved(scope) => Self::lacks(scope),
            GrantError::Unavailable => Self::busy(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Busy(_) | StoreError::Unconfirmed(_) => {
                calldata_http::log_failure("sessions", &error);
                Self::busy()
            }
            StoreError::NoRoom(_) => {
                calldata_http::log_failure("sessions", &error);
                Self::new(Code::StorageFull, "nothing was stored; repeat the request when the operator has made room")
            }
            StoreError::OverQuota => {
                Self::new(Code::StorageFull, "nothing was stored: the quota is used up; erase sessions, or ask the operator for more")
            }
            StoreError::NoSuchTenant => Self::new(Code::NotAuthenticated, "send a live key as Authorization: Bearer KEY"),
            StoreError::Taken(_) | StoreError::Failed(_) => {
                calldata_http::log_failure("sessions", &error);
                Self::new(Code::Internal, "the operator finds the request by its id in the log")
            }
        }
    }
}

impl From<InvalidDocument> for Problem {
    fn from(error: InvalidDocument) -> Self {
        let code = match &error {
            InvalidDocument::Shape(_) => Code::InvalidRequest,
            InvalidDocument::Unknown { .. } => Code::UnknownMember,
            InvalidDocument::Missing { .. } | InvalidDocument::Repeated { .. } | InvalidDocument::Member { .. } => Code::InvalidField,
        };
        Self { field: error.member().map(str::to_owned), ..Self::new(code, error.to_string()) }
    }
}
