//! `POST /api/CallData`: store.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use calldata_http::{BodyError, Seat, Shared, read_body, repeated_header};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::client::{Client, ToWrite};
use crate::posted::Posted;
use crate::query::Query;
use crate::render::JSON;
use crate::speech;

/// Stores what the bot learned. The same post again within ten minutes is the same record (ours).
#[utoipa::path(
    post, path = "/api/CallData", operation_id = "storeCallData", tag = "calldata", summary = "Store call data",
    description = "Stores what the bot learned. Answered with `success` once the record is durable. Predictable input errors are status \
        200 with `choice` = `fail` and an `error` that names the field. The same post again within ten minutes is the same record, so \
        that a retry after a time-out is safe (ours). Path and parameter names match in any letter case; an unknown parameter is ignored.",
    params(
        ("clientId" = Option<String>, Query, description = "The client; required except with Basic authentication.", example = "demo"),
        ("parloa-health-check" = Option<String>, Query, description = "Given, with any value: an empty 200 and nothing else."),
    ),
    request_body(content = PostRequest, description = "Read as JSON whatever its content type.", content_type = "application/json"),
    responses(
        (status = 200, description = "Stored, or not stored because of an input error, as `choice` says.", body = PostResponse, content_type = "application/json", examples(
            ("stored" = (summary = "Stored", value = json!({ "choice": "success", "output": {} }))),
            ("missing" = (summary = "A required field is missing", value = json!({ "choice": "fail", "output": { "error": "Required Attributes: callid, callerid" } }))),
        )),
        (status = 400, description = "The request cannot be read as HTTP, or does not name its host."),
        (status = 401, description = "No live key of this client."),
        (status = 403, description = "The key may not store; or a web page of an origin that is not allowed sent this (ours)."),
        (status = 408, description = "The body did not arrive in time (ours). Nothing was stored.", body = PostResponse, content_type = "application/json"),
        (status = 413, description = "The body is larger than the limit (1 MiB unless set).", body = PostResponse, content_type = "application/json"),
        (status = 429, description = "This client sends too many requests (ours); repeat later.", body = PostResponse, content_type = "application/json",
            headers(("Retry-After" = i32, description = "Seconds after which to repeat."))),
        (status = 414, description = "The URI is longer than 8 KiB (ours)."),
        (status = 431, description = "There are more than 100 headers, or more than 16 KiB of them (ours)."),
        (status = 500, description = "The gateway failed; nothing was stored.", body = PostResponse, content_type = "application/json"),
        (status = 503, description = "Too busy, or the outcome is not known. Repeat the request: it is the same record.", body = PostResponse, content_type = "application/json",
            headers(("Retry-After" = i32, description = "Seconds after which to repeat."))),
    ),
    security(("functionsKey" = []), ("bearer" = []), ("basic" = []), ("code" = [])),
)]
pub(crate) async fn post(shared: &Shared, parts: &Parts, query: &Query<'_>, seat: &Seat, body: Body, arrived: Instant) -> Response {
    let client = match Client::<ToWrite>::of(shared, parts, query, seat).await {
        Ok(client) => client,
        Err(refusal) => return refusal,
    };
    if let Some(name) = repeated_header(&parts.headers) {
        return speech::fail(&format!("the header {name} is given twice"));
    }
    let mut reading = pin!(read_body(body, arrived, shared.limits, seat.charge()));
    let at_once = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await;
    let (client, read) = match at_once {
        Poll::Ready(read) => (client, read),
        // It may take seconds, in which the right may end.
        Poll::Pending => {
            let read = reading.await;
            match client.revalidate(shared) {
                Ok(client) => (client, read),
                Err(error) => return speech::grant_error(&Method::POST, error),
            }
        }
    };
    let body = match read {
        Ok(body) => body,
        Err(BodyError::TooLarge) => return speech::too_large(),
        Err(BodyError::Interrupted) => return speech::fail("the body ended early"),
        Err(BodyError::TooSlow) => return speech::too_slow(),
        Err(BodyError::NoMemory(over)) => return speech::refused(&Method::POST, over.into()),
    };
    let posted = match Posted::parse(&body, client.access.tenant.default_country) {
        Ok(posted) => posted,
        Err(error) => return speech::fail(&error.to_string()),
    };
    let Posted { session, digest } = posted;
    match shared.sessions.record(&client.access, session, digest).await {
        Ok(_) => ([(header::CONTENT_TYPE, JSON)], r#"{"choice":"success","output":{}}"#).into_response(),
        Err(error) => speech::store_error(&Method::POST, &error),
    }
}

/// What a bot posts. Any other member of the body (`context`, …) is allowed and ignored.
#[derive(ToSchema)]
#[schema(example = json!({ "input": { "callerid": "+111111111", "callid": "145644644ff", "content": "Postman tests" } }))]
#[expect(dead_code, reason = "describes a body that is read as text, so that digits and order survive")]
pub(crate) struct PostRequest {
    input: PostedInput,
}

/// The fields of a post. Every other member is a user-defined field, kept with its value as posted.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "callerid": "+4112345678", "callid": "12345", "content": "The user spoke to the bot", "destination": "someServiceQueue",
    "intent": "doSomeCoolThing", "sessionid": "d69130c6fe02bf8110a25d191c5ec6de",
}))]
pub(crate) struct PostedInput {
    /// The phone number or user id of the caller. A JSON number counts as its digits.
    #[schema(example = "+41 12345678")]
    callerid: String,
    /// Identifies the call. A JSON number counts as its digits.
    #[schema(example = "12345")]
    callid: String,
    /// What was learned.
    #[schema(example = "The user spoke to the bot")]
    content: Option<serde_json::Value>,
    /// Identifies the conversation; `conversationId` is accepted as well.
    #[schema(example = "d69130c6fe02bf8110a25d191c5ec6de")]
    conversationid: Option<serde_json::Value>,
    /// The country of a local number (`+41`, `41`, `0041` or `CH`); `countryCode` is accepted as well.
    #[schema(example = "+41")]
    countrycode: Option<serde_json::Value>,
    /// The record's time (ours): ISO 8601 (UTC without a zone), or epoch seconds or milliseconds.
    #[schema(example = "2024-02-27T12:16:23.926Z")]
    timestamp: Option<serde_json::Value>,
    #[serde(flatten)]
    user_defined: HashMap<String, serde_json::Value>,
}

/// Whether the post was stored.
#[derive(Serialize, ToSchema)]
pub(crate) struct PostResponse {
    /// `success` or `fail`.
    #[schema(example = "success")]
    choice: String,
    output: PostOutput,
}

/// Empty for a success.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({}))]
pub(crate) struct PostOutput {
    /// What is wrong with the post.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}
