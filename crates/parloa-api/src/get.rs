//! `GET /api/CallData`: fetch.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use calldata_core::{Access, AwaitError, CallId, CallerKey, Country, Latest, Tenant};
use calldata_http::{Seat, Shared};
use serde::Serialize;
use utoipa::openapi::schema::{AnyOfBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::client::{Client, ClientGrant, ToRead};
use crate::query::Query;
use crate::record::Record;
use crate::render::{self, Format, Language, Style};
use crate::speech;

const REASON: HeaderName = HeaderName::from_static("x-calldata-reason");
/// Nothing on the page runs or loads anything (PAR-G12).
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";
const DEFAULT_TIME_LIMIT_S: u64 = 60;
const MAX_WAIT_S: u64 = 30;

/// Fetches the newest record of a call and caller.
#[utoipa::path(
    get, path = "/api/CallData", operation_id = "fetchCallData", tag = "calldata", summary = "Fetch call data",
    description = "Gives the newest record of this client with that call id and that caller, if it is not older than `timeLimit`. Callers \
        are compared as phone numbers: `030 123456` is `+4930123456`. A miss is \"no result found\" with status 200 (404 where the tenant is \
        set so, ours); the header `X-CallData-Reason` says why (ours). Path and parameter names match in any letter case; an unknown \
        parameter is ignored, of a repeated one the first counts.",
    params(
        ("clientId" = Option<String>, Query, description = "The client; required except with Basic authentication.", example = "demo"),
        ("caller" = Option<String>, Query, description = "Required. The caller, as a phone number in any spelling or a user id. Encode `+` as `%2B`.", example = "+111111111"),
        ("callid" = Option<String>, Query, description = "Required. The call.", example = "145644644ff"),
        ("timeLimit" = Option<String>, Query, description = "The greatest age in whole seconds since the last receipt; 0 and above. Default 60.", example = "3600"),
        ("format" = Option<String>, Query, description = "`json` (default), `xml`, `html` or `text`, in any letter case.", example = "json"),
        ("lang" = Option<String>, Query, description = "The language of labels: `de` (default) or `en`.", example = "en"),
        ("countryCode" = Option<String>, Query, description = "The country of a local number (`+41`, `41`, `0041` or `CH`); else the tenant's default.", example = "+41"),
        ("wait" = Option<String>, Query, description = "Seconds to wait for a record that is not there yet, 0 (default) to 30 (ours). Where the key is revoked meanwhile, the answer is 401.", example = "10"),
        ("parloa-health-check" = Option<String>, Query, description = "Given, with any value: an empty 200 and nothing else."),
    ),
    responses(
        (status = 200, description = "The record; or, unless the tenant is set otherwise, a miss.",
            content((CallDataOrMiss = "application/json", examples(
                ("found" = (summary = "Found", value = json!({ "caller": "+111111111", "callid": "145644644ff", "timestamp": "2024-02-27T12:16:23.926Z", "content": "Postman tests" }))),
                ("miss" = (summary = "Nothing found", value = json!({ "error": "no result found" }))),
            )), (String = "application/xml"), (String = "text/html"), (String = "text/plain")),
            headers(("X-CallData-Reason" = String, description = "On a miss, unless the tenant switched it off: `no-such-call`, `caller-mismatch`, \
                `older-than-time-limit; age=N`, `missing-parameter; name=N` or `invalid-parameter; name=N` (ours)."))),
        (status = 400, description = "The request cannot be read as HTTP, or does not name its host."),
        (status = 401, description = "No live key of this client."),
        (status = 403, description = "The key may not fetch."),
        (status = 404, description = "A miss, where the tenant is set so (ours).",
            content((Miss = "application/json"), (String = "application/xml"), (String = "text/html"), (String = "text/plain")),
            headers(("X-CallData-Reason" = String, description = "As with 200."))),
        (status = 429, description = "This client sends too many requests (ours); repeat later.", body = Miss, content_type = "application/json",
            headers(("Retry-After" = i32, description = "Seconds after which to repeat."))),
        (status = 414, description = "The URI is longer than 8 KiB (ours)."),
        (status = 431, description = "There are more than 100 headers, or more than 16 KiB of them (ours)."),
        (status = 500, description = "The gateway failed.", body = Miss, content_type = "application/json"),
        (status = 503, description = "Too busy; repeat the request.", body = Miss, content_type = "application/json",
            headers(("Retry-After" = i32, description = "Seconds after which to repeat."))),
    ),
    security(("functionsKey" = []), ("bearer" = []), ("basic" = []), ("code" = [])),
)]
pub(crate) async fn get(shared: &Shared, parts: &Parts, query: &Query<'_>, seat: &Seat) -> Response {
    let client = match Client::<ToRead>::of(shared, parts, query, seat).await {
        Ok(client) => client,
        Err(refusal) => return refusal,
    };
    let tenant = &client.access.tenant;
    let fetch = match Fetch::parse(query, tenant.default_country) {
        Ok(fetch) => fetch,
        Err(reason) => return miss(tenant, &style_of(query, tenant), &reason),
    };
    // A call id that cannot be stored is one of no call.
    let Ok(call) = CallId::new(fetch.callid) else { return miss(tenant, &style_of(query, tenant), &Reason::NoSuchCall) };
    if !fetch.wait.is_zero() {
        return match wait(shared, &client.grant(shared), &call, &fetch).await {
            Ok((latest, access)) => answer(latest, query, &access.tenant),
            Err(AwaitError::Grant(error)) => speech::grant_error(&Method::GET, error),
            Err(AwaitError::Store(error)) => speech::store_error(&Method::GET, &error),
        };
    }
    match shared.sessions.latest(&client.access, &call, &fetch.caller, fetch.time_limit_s).await {
        Ok(latest) => answer(latest, query, tenant),
        Err(error) => speech::store_error(&Method::GET, &error),
    }
}

/// Waits, and returns with the answer the access as it is by then: the tenant says how its answers look.
async fn wait(shared: &Shared, client: &ClientGrant, call: &CallId, fetch: &Fetch<'_>) -> Result<(Latest, Access), AwaitError> {
    let latest = shared.sessions.await_latest(&client.grant, call, &fetch.caller, fetch.time_limit_s, fetch.wait).await?;
    Ok((latest, client.revalidate()?))
}

fn answer(latest: Latest, query: &Query<'_>, tenant: &Tenant) -> Response {
    let style = style_of(query, tenant);
    match latest {
        Latest::Found(session) => page(StatusCode::OK, &style, render::record(&Record::from(*session), &style)),
        Latest::NoSuchCall => miss(tenant, &style, &Reason::NoSuchCall),
        Latest::OtherCaller => miss(tenant, &style, &Reason::CallerMismatch),
        Latest::TooOld { age_s } => miss(tenant, &style, &Reason::Older(age_s)),
    }
}

fn style_of(query: &Query<'_>, tenant: &Tenant) -> Style {
    Style {
        format: query.filled("format").map_or(Some(Format::default()), Format::parse).unwrap_or_default(),
        language: query.filled("lang").map(Language::parse).unwrap_or_default(),
        zone: tenant.zone.clone(),
    }
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Fetch<'q> {
    callid: &'q str,
    caller: CallerKey,
    time_limit_s: u64,
    wait: Duration,
}

impl<'q> Fetch<'q> {
    /// PAR-G8, PAR-G9: what is missing is told before what is unusable.
    pub(crate) fn parse(query: &'q Query<'_>, default_country: Country) -> Result<Self, Reason> {
        let caller = query.filled("caller").ok_or(Reason::Missing("caller"))?;
        let callid = query.filled("callid").ok_or(Reason::Missing("callid"))?;
        if query.filled("format").is_some_and(|name| Format::parse(name).is_none()) {
            return Err(Reason::Invalid("format"));
        }
        let time_limit_s = match query.filled("timeLimit") {
            Some(text) => whole_seconds(text).ok_or(Reason::Invalid("timeLimit"))?,
            None => DEFAULT_TIME_LIMIT_S,
        };
        let country = match query.filled("countryCode") {
            Some(text) => Country::parse(text).map_err(|_| Reason::Invalid("countryCode"))?,
            None => default_country,
        };
        let wait = wait_of(query).ok_or(Reason::Invalid("wait"))?;
        Ok(Self { callid, caller: CallerKey::of(caller, country), time_limit_s, wait })
    }
}

/// How long to wait (PAR-G11); `None` when that is unusable.
pub(crate) fn wait_of(query: &Query<'_>) -> Option<Duration> {
    let Some(text) = query.filled("wait") else { return Some(Duration::ZERO) };
    whole_seconds(text).filter(|seconds| *seconds <= MAX_WAIT_S).map(Duration::from_secs)
}

/// A number of seconds of any size; one that is too large to count is as good as the largest.
fn whole_seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Why nothing was found (PAR-G9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    NoSuchCall,
    CallerMismatch,
    Older(u64),
    Missing(&'static str),
    Invalid(&'static str),
}

impl Reason {
    /// Which kind of miss it is.
    fn kind(self) -> &'static str {
        match self {
            Self::NoSuchCall => "no-such-call",
            Self::CallerMismatch => "caller-mismatch",
            Self::Older(_) => "older-than-time-limit",
            Self::Missing(_) => "missing-parameter",
            Self::Invalid(_) => "invalid-parameter",
        }
    }

    fn to_header(self) -> String {
        match self {
            Self::NoSuchCall | Self::CallerMismatch => self.kind().into(),
            Self::Older(age_s) => format!("{}; age={age_s}", self.kind()),
            Self::Missing(name) | Self::Invalid(name) => format!("{}; name={name}", self.kind()),
        }
    }
}

/// PAR-G8: one answer for every kind of miss.
fn miss(tenant: &Tenant, style: &Style, reason: &Reason) -> Response {
    metrics::counter!("calldata_misses_total", "dialect" => "parloa", "reason" => reason.kind()).increment(1);
    let status = if tenant.misses_are_absences { StatusCode::NOT_FOUND } else { StatusCode::OK };
    let mut response = page(status, style, render::miss(style));
    if tenant.explains_misses
        && let Ok(reason) = HeaderValue::try_from(reason.to_header())
    {
        response.headers_mut().insert(REASON, reason);
    }
    response
}

fn page(status: StatusCode, style: &Style, body: Option<String>) -> Response {
    let Some(body) = body else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let mut response = (status, [(header::CONTENT_TYPE, style.format.content_type())], body).into_response();
    if style.format == Format::Html {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    }
    response
}

/// A record, or a miss. Any of both and not one of them: a record may have a user-defined field `error`.
pub(crate) struct CallDataOrMiss;

impl PartialSchema for CallDataOrMiss {
    fn schema() -> RefOr<Schema> {
        let [record, miss] = [CallData::name(), Miss::name()].map(Ref::from_schema_name);
        AnyOfBuilder::new().item(record).item(miss).description(Some("A record, or a miss. Only a record has a caller.")).into()
    }
}

impl ToSchema for CallDataOrMiss {
    fn name() -> Cow<'static, str> {
        "CallDataOrMiss".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((CallData::name().into(), CallData::schema()));
        CallData::schemas(schemas);
        schemas.push((Miss::name().into(), Miss::schema()));
        Miss::schemas(schemas);
    }
}

/// What was learned during the call. Every further member is a user-defined field, with its value as posted; one whose name is among
/// these five is given as `input.NAME` (ours).
#[derive(Serialize, ToSchema)]
pub(crate) struct CallData {
    /// The caller, as spelled in the post.
    #[schema(example = "+111111111")]
    caller: String,
    /// The call.
    #[schema(example = "145644644ff")]
    callid: String,
    /// The time that was posted, else that of the last receipt; UTC with milliseconds.
    #[schema(example = "2024-02-27T12:16:23.926Z")]
    timestamp: String,
    /// What was learned; absent where it was not posted.
    #[schema(example = "Postman tests")]
    content: Option<serde_json::Value>,
    /// The conversation; absent where it was not posted.
    #[schema(example = "d69130c6fe02bf8110a25d191c5ec6de")]
    conversationid: Option<serde_json::Value>,
    #[serde(flatten)]
    user_defined: HashMap<String, serde_json::Value>,
}

/// Nothing was found, or nothing could be looked up.
#[derive(Serialize, ToSchema)]
pub(crate) struct Miss {
    /// `no result found`, or what went wrong.
    #[schema(example = "no result found")]
    error: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<(String, String, u64, u64), Reason> {
        let query = Query::parse(Some(query));
        Fetch::parse(&query, Country::GERMANY)
            .map(|f| (f.callid.to_owned(), f.caller.as_str().to_owned(), f.time_limit_s, f.wait.as_secs()))
    }

    #[test]
    fn par_g1_par_g2_par_g11_what_is_asked_for() {
        assert_eq!(parse("caller=0301234567&callid=c").unwrap(), ("c".into(), "+49301234567".into(), 60, 0));
        assert_eq!(parse("caller=+49301234567&callid=c&timelimit=0&wait=30").unwrap(), ("c".into(), "+49301234567".into(), 0, 30));
        assert_eq!(parse("CALLER=0791234567&CallID=c&countrycode=+41").unwrap().1, "+41791234567");
        assert_eq!(parse("caller=x&callid=c&timeLimit=99999999999999999999999").unwrap().2, u64::MAX);
        assert_eq!(parse("caller=x&callid=c&timeLimit=&wait=&countryCode=&format=").unwrap(), ("c".into(), "x".into(), 60, 0));
    }

    #[test]
    fn par_g8_par_g9_missing_is_told_before_invalid() {
        assert_eq!(parse("callid=c&timeLimit=x"), Err(Reason::Missing("caller")));
        assert_eq!(parse("caller=&callid=c"), Err(Reason::Missing("caller")));
        assert_eq!(parse("caller=x&wait=y"), Err(Reason::Missing("callid")));
        for bad in ["-1", "1.5", "abc", "+5", " 5", "1e3", "0x1"] {
            assert_eq!(
                parse(&format!("caller=x&callid=c&timeLimit={}", bad.replace('+', "%2B"))),
                Err(Reason::Invalid("timeLimit")),
                "{bad}"
            );
        }
        for bad in ["31", "-1", "x", "99999999999999999999999"] {
            assert_eq!(parse(&format!("caller=x&callid=c&wait={bad}")), Err(Reason::Invalid("wait")), "{bad}");
        }
        assert_eq!(parse("caller=x&callid=c&format=pdf"), Err(Reason::Invalid("format")));
        assert_eq!(parse("caller=x&callid=c&countryCode=XX"), Err(Reason::Invalid("countryCode")));
    }

    #[test]
    fn par_g9_reasons_as_the_header_spells_them() {
        let reasons = [Reason::NoSuchCall, Reason::CallerMismatch, Reason::Older(61), Reason::Missing("caller"), Reason::Invalid("wait")];
        let headers = reasons.map(Reason::to_header);
        assert_eq!(
            headers,
            [
                "no-such-call",
                "caller-mismatch",
                "older-than-time-limit; age=61",
                "missing-parameter; name=caller",
                "invalid-parameter; name=wait"
            ]
        );
    }
}
