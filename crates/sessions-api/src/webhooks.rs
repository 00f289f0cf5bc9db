//! `/v1/webhooks`: where a tenant wants to be told of events, and what could not be told.

use std::collections::BTreeSet;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use calldata_core::json_text::members_of;
use calldata_core::webhook::{DeadLetter, MessageId, Webhook};
use calldata_core::webhooks::CreateError;
use calldata_core::{EventKind, JsonKind, WebhookId};
use secrecy::ExposeSecret;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Native;
use crate::client::Need;
use crate::id::Id;
use crate::problem::{Code, Problem, ProblemDocument};
use crate::query::Parameters;
use crate::refusals::ToAdmins;
use crate::resource::JSON;
use crate::visit::{Visit, text};

/// What a webhook is to be.
#[derive(Serialize, ToSchema)]
#[schema(as = NewWebhook, example = json!({ "url": "https://example.com/hooks/calls", "events": ["session.created", "session.erased"] }))]
pub(crate) struct NewWebhook {
    /// Where events are sent: http or https, without a name and password. Nothing is sent to private addresses but those that the operator
    /// allows.
    #[schema(example = "https://example.com/hooks/calls")]
    url: String,
    /// Which events: `session.created`, `session.updated`, `session.erased`; all of them where nothing is said.
    events: Option<Vec<String>>,
}

/// A webhook.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Webhook)]
pub(crate) struct WebhookResource {
    #[schema(example = "wh_0123456789abcdef")]
    id: String,
    #[schema(example = "https://example.com/hooks/calls")]
    url: String,
    /// Which events it is told of.
    events: Vec<&'static str>,
    /// When it was created (RFC 3339).
    #[schema(example = "2024-02-27T12:16:23.926Z")]
    created_at: String,
    /// Why nothing is sent to it at present: `gone`, after an answer with status 410. Absent where it is sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled: Option<&'static str>,
    /// What messages are signed with (Standard Webhooks). Told where it is made, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: Option<String>,
}

/// A tenant's webhooks.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookList {
    items: Vec<WebhookResource>,
}

/// A message that could not be delivered.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeadLetter)]
pub(crate) struct DeadLetterResource {
    /// The `webhook-id` of the message.
    #[schema(example = "wh_0123456789abcdef_00a1b2c3d4_17")]
    id: String,
    #[schema(example = "session.created")]
    r#type: &'static str,
    /// About which session.
    #[schema(example = "0192f4c4-1111-7abc-8def-000000000001")]
    session_id: String,
    /// When it happened (RFC 3339).
    at: String,
    /// How often it was tried.
    attempts: u32,
    /// When it was given up (RFC 3339).
    died_at: String,
    /// Why the last attempt failed, in our words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "status 500")]
    last_failure: Option<String>,
}

/// A part of what could not be delivered, oldest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeadLetterPage {
    items: Vec<DeadLetterResource>,
    /// Where to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// How many messages are sent once more.
#[derive(Serialize, ToSchema)]
pub(crate) struct Replayed {
    #[schema(example = 3)]
    replayed: u64,
}

/// Creates a webhook.
#[utoipa::path(
    post, path = "/v1/webhooks", operation_id = "createWebhook", tag = "webhooks", summary = "Create a webhook",
    description = "From now on, events are sent to the URL: POST, one JSON object as `data` of an event has it, signed by the Standard Webhooks \
        specification (`webhook-id`, `webhook-timestamp`, `webhook-signature`). Any status from 200 to 299 says that it has arrived; otherwise \
        it is sent again for a day, ever more rarely. What is about one session comes in order. The secret is told here and never again.",
    request_body(content = NewWebhook, content_type = "application/json"),
    responses(
        ToAdmins,
        (status = 201, description = "Created.", body = WebhookResource, content_type = "application/json",
            headers(("Location" = String, description = "The path of the webhook."))),
        (status = 400, description = "Nothing can be sent there, or a member breaks a rule.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "There are 20 of them already.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = "default", description = "Too many requests, too busy, no room, or a failure.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn create(State(native): State<Native>, request: Request) -> Response {
    native.answer(Need::Admin, request, make).await
}

async fn make(native: &Native, mut visit: Visit) -> Result<Response, Problem> {
    let body = visit.read_body(native).await?;
    let (url, kinds) = wanted(text(&body)?)?;
    let webhook = native.webhooks.create(&visit.access, &url, kinds).await.map_err(|error| match error {
        CreateError::Url(error) => Problem::invalid("url", &error.to_string()),
        CreateError::NoKinds => Problem::invalid("events", "is empty"),
        CreateError::TooMany => Problem::new(Code::Conflict, error.to_string()),
        CreateError::Store(error) => error.into(),
    })?;
    let mut response = json(StatusCode::CREATED, &with_secret(&webhook))?;
    if let Ok(location) = HeaderValue::try_from(format!("/v1/webhooks/{}", webhook.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Lists webhooks.
#[utoipa::path(
    get, path = "/v1/webhooks", operation_id = "listWebhooks", tag = "webhooks", summary = "List webhooks",
    description = "Lists all webhooks of the tenant, oldest first, without their secrets.",
    responses(
        ToAdmins,
        (status = 200, description = "All of them, oldest first.", body = WebhookList, content_type = "application/json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn list(State(native): State<Native>, request: Request) -> Response {
    let list = async |native: &Native, visit: Visit| {
        let webhooks = native.webhooks.list(&visit.access).await?;
        json(StatusCode::OK, &WebhookList { items: webhooks.iter().map(resource).collect() })
    };
    native.answer(Need::Admin, request, list).await
}

/// Gives a webhook.
#[utoipa::path(
    get, path = "/v1/webhooks/{id}", operation_id = "getWebhook", tag = "webhooks", summary = "Get a webhook",
    description = "Gives one webhook, without its secret.",
    params(("id" = String, Path, description = "The webhook.", example = "wh_0123456789abcdef")),
    responses(
        ToAdmins,
        (status = 200, description = "The webhook.", body = WebhookResource, content_type = "application/json"),
        (status = 404, description = "There is no such webhook.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn get(State(native): State<Native>, Id(id): Id, request: Request) -> Response {
    let get = async move |native: &Native, visit: Visit| {
        let webhook = native.webhooks.find(&visit.access, &webhook_id(&id)?).await?;
        json(StatusCode::OK, &resource(&webhook.ok_or_else(no_webhook)?))
    };
    native.answer(Need::Admin, request, get).await
}

/// Deletes a webhook.
#[utoipa::path(
    delete, path = "/v1/webhooks/{id}", operation_id = "deleteWebhook", tag = "webhooks", summary = "Delete a webhook",
    description = "Nothing more is sent to it; what could not be delivered is dropped, too.",
    params(("id" = String, Path, description = "The webhook.", example = "wh_0123456789abcdef")),
    responses(
        ToAdmins,
        (status = 204, description = "Deleted."),
        (status = 404, description = "There is no such webhook.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn delete(State(native): State<Native>, Id(id): Id, request: Request) -> Response {
    let delete = async move |native: &Native, visit: Visit| {
        let was_there = native.webhooks.delete(&visit.access, &webhook_id(&id)?).await?;
        if was_there { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(no_webhook()) }
    };
    native.answer(Need::Admin, request, delete).await
}

/// What is done with a webhook as a whole: the end of a path behind its id.
type Doing = (WebhookId, &'static str);

const ROTATE: &str = ":rotateSecret";
const ENABLE: &str = ":enable";

/// Gives a webhook another secret.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}:rotateSecret", operation_id = "rotateWebhookSecret", tag = "webhooks", summary = "Rotate a webhook's secret",
    description = "For a day, messages are signed with the secret of before, too. The new one is told here and never again.",
    params(("id" = String, Path, description = "The webhook.", example = "wh_0123456789abcdef")),
    responses(
        ToAdmins,
        (status = 200, description = "The webhook, with its new secret.", body = WebhookResource, content_type = "application/json"),
        (status = 404, description = "There is no such webhook.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
#[expect(dead_code, reason = "describes one of the ways of `act`")]
fn rotate_secret() {}

/// Lets a webhook be sent to again.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}:enable", operation_id = "enableWebhook", tag = "webhooks", summary = "Enable a webhook again",
    description = "Lets it be sent to again after it was disabled; it goes on where it stopped.",
    params(("id" = String, Path, description = "The webhook.", example = "wh_0123456789abcdef")),
    responses(
        ToAdmins,
        (status = 200, description = "The webhook.", body = WebhookResource, content_type = "application/json"),
        (status = 404, description = "There is no such webhook.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
#[expect(dead_code, reason = "describes one of the ways of `act`")]
fn enable() {}

/// `POST /v1/webhooks/{id}:rotateSecret` and `:enable`: a router sees one variable in them.
pub(crate) async fn act(State(native): State<Native>, Id(what): Id, request: Request) -> Response {
    let act = async move |native: &Native, visit: Visit| {
        let doing = [ROTATE, ENABLE].into_iter().find_map(|end| Some((what.strip_suffix(end)?, end)));
        let Some((id, end)) = doing else {
            return Ok(other_method(Id(what)).await);
        };
        let (id, end): Doing = (webhook_id(id)?, end);
        let changed = if end == ROTATE {
            native.webhooks.rotate_secret(&visit.access, &id).await?.as_ref().map(with_secret)
        } else {
            native.webhooks.enable(&visit.access, &id).await?.as_ref().map(resource)
        };
        json(StatusCode::OK, &changed.ok_or_else(no_webhook)?)
    };
    native.answer(Need::Admin, request, act).await
}

/// The router would name the methods of a webhook and those of what is done with one together.
pub(crate) async fn other_method(Id(what): Id) -> Response {
    let allowed = if [ROTATE, ENABLE].iter().any(|end| what.ends_with(end)) { "POST" } else { "GET,HEAD,DELETE" };
    ([(header::ALLOW, allowed)], Problem::other_method()).into_response()
}

/// Lists what could not be delivered.
#[utoipa::path(
    get, path = "/v1/webhooks/{id}/deadLetters", operation_id = "listDeadLetters", tag = "webhooks", summary = "List what could not be delivered",
    description = "Lists the messages that were given up after a day of attempts, oldest first. They are kept for 30 days.",
    params(
        ("id" = String, Path, description = "The webhook.", example = "wh_0123456789abcdef"),
        ("limit" = Option<u32>, Query, description = "How many at most, 1 to 100. Default 50.", minimum = 1, maximum = 100, example = 10),
        ("cursor" = Option<String>, Query, description = "Where to go on: the `next` of the page before."),
    ),
    responses(
        ToAdmins,
        (status = 200, description = "A page, oldest first. Kept for 30 days.", body = DeadLetterPage, content_type = "application/json"),
        (status = 400, description = "A parameter is unknown or breaks a rule.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "There is no such webhook.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn dead_letters(State(native): State<Native>, Id(id): Id, request: Request) -> Response {
    let list = async move |native: &Native, visit: Visit| {
        let id = webhook_id(&id)?;
        let parameters = Parameters::read(visit.parts.uri.query(), &["limit", "cursor"])?;
        let limit = parameters.limit()?;
        let unknown = || Problem::about(Code::InvalidCursor, "cursor", "is not one of this list");
        let after = parameters
            .get("cursor")
            .map(|cursor| MessageId::delivery(&id, cursor).ok_or_else(unknown))
            .transpose()?
            .map(|after| after.number);
        let found = native.webhooks.dead_letters(&visit.access, &id, after, limit + 1).await?;
        let mut letters = found.ok_or_else(no_webhook)?;
        let is_last = u64::try_from(letters.len()).unwrap_or(u64::MAX) <= limit;
        letters.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let items: Vec<_> = letters.iter().map(|letter| dead_letter(&id, letter)).collect();
        let next = items.last().filter(|_| !is_last).map(|last| last.id.clone());
        json(StatusCode::OK, &DeadLetterPage { items, next })
    };
    native.answer(Need::Admin, request, list).await
}

/// Delivers once more.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/deadLetters:replay", operation_id = "replayDeadLetters", tag = "webhooks", summary = "Deliver once more",
    description = "Delivers once more what could not be delivered, all of it or one message, under the same `webhook-id`.",
    params(
        ("id" = String, Path, description = "The webhook.", example = "wh_0123456789abcdef"),
        ("message" = Option<String>, Query, description = "This message only.", example = "wh_0123456789abcdef_00a1b2c3d4_17"),
    ),
    responses(
        ToAdmins,
        (status = 200, description = "How many are delivered once more.", body = Replayed, content_type = "application/json"),
        (status = 400, description = "That is no message of this webhook.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "There is no such webhook.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn replay(State(native): State<Native>, Id(id): Id, request: Request) -> Response {
    let replay = async move |native: &Native, visit: Visit| {
        let id = webhook_id(&id)?;
        let parameters = Parameters::read(visit.parts.uri.query(), &["message"])?;
        let unknown = || Problem::invalid("message", "is none of this webhook");
        let one = parameters.get("message").map(|message| MessageId::delivery(&id, message).ok_or_else(unknown)).transpose()?;
        let replayed = native.webhooks.replay(&visit.access, &id, one).await?.ok_or_else(no_webhook)?;
        json(StatusCode::OK, &Replayed { replayed })
    };
    native.answer(Need::Admin, request, replay).await
}

/// One that cannot be stored belongs to no webhook.
fn webhook_id(id: &str) -> Result<WebhookId, Problem> {
    WebhookId::new(id).map_err(|_| no_webhook())
}

fn no_webhook() -> Problem {
    Problem::new(Code::NotFound, "there is no webhook with this id")
}

/// URL and kinds that a body names.
fn wanted(body: &str) -> Result<(String, BTreeSet<EventKind>), Problem> {
    let members = members_of(body).map_err(|error| Problem::new(Code::InvalidRequest, format!("the body is {error}")))?;
    let (mut url, mut kinds) = (None, BTreeSet::from(EventKind::ALL));
    for (name, value) in members {
        match name.as_str() {
            "url" => url = value.as_string(),
            "events" if value.kind() == JsonKind::Null => {}
            "events" => {
                let named = value.items().map(|items| items.iter().map(|item| EventKind::parse(&item.as_string()?)).collect());
                let rule = "must be a list of session.created, session.updated and session.erased";
                kinds = named.flatten().ok_or_else(|| Problem::invalid("events", rule))?;
            }
            _ => return Err(Problem::unknown(&name, "a member is not known; there are url and events")),
        }
    }
    Ok((url.ok_or_else(|| Problem::invalid("url", "must be a text"))?, kinds))
}

fn resource(webhook: &Webhook) -> WebhookResource {
    WebhookResource {
        id: webhook.id.as_str().to_owned(),
        url: webhook.url.as_str().to_owned(),
        events: webhook.kinds.iter().map(|kind| kind.name()).collect(),
        created_at: webhook.created_at.to_string(),
        disabled: webhook.disabled.map(calldata_core::webhook::Disabled::name),
        secret: None,
    }
}

fn with_secret(webhook: &Webhook) -> WebhookResource {
    WebhookResource { secret: Some(webhook.secrets.current.text().expose_secret().to_owned()), ..resource(webhook) }
}

fn dead_letter(webhook: &WebhookId, letter: &DeadLetter) -> DeadLetterResource {
    let DeadLetter { delivery, died_at } = letter;
    DeadLetterResource {
        id: MessageId::of(webhook, delivery.id).as_str().to_owned(),
        r#type: delivery.kind.name(),
        session_id: delivery.session.as_str().to_owned(),
        at: delivery.at.to_string(),
        attempts: delivery.attempts,
        died_at: died_at.to_string(),
        last_failure: delivery.last_failure.map(|failure| failure.to_string()),
    }
}

fn json(status: StatusCode, body: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_string(body).map_err(|_| Problem::new(Code::Internal, "the answer cannot be written"))?;
    Ok((status, [(header::CONTENT_TYPE, JSON)], body).into_response())
}
