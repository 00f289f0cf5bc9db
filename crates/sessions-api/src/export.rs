//! `GET /v1/sessions:export`: all sessions, or all that match, as they are read.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use calldata_core::audit::Action;
use calldata_core::catalog::Filter;
use calldata_core::{Grant, Zone};
use calldata_http::Stay;
use calldata_interchange::Format;
use futures_util::stream;

use crate::Native;
use crate::accepted::preferred;
use crate::client::Need;
use crate::problem::{Problem, ProblemDocument};
use crate::query::Parameters;
use crate::reading::Reading;
use crate::refusals::ToReaders;
use crate::visit::{PIECE_MEMORY_BYTES, Visit};

const PARAMETERS: [&str; 11] =
    ["caller", "callId", "ctiCallId", "conversationId", "countryCode", "intent", "from", "to", "text", "format", "timeZone"];

/// As the parameter says, else as the client accepts it.
fn format_of(parameters: &Parameters, headers: &HeaderMap) -> Result<Format, Problem> {
    let zone = match parameters.get("timeZone") {
        None => Zone::utc(),
        Some(name) => Zone::parse(name).map_err(|_| Problem::invalid("timeZone", "is not a time zone, such as Europe/Berlin"))?,
    };
    match parameters.get("format") {
        Some("sessions" | "ndjson") => Ok(Format::Sessions),
        Some("csv") => Ok(Format::Csv(zone)),
        Some("vcon") => Ok(Format::Vcon),
        Some(_) => Err(Problem::invalid("format", "must be sessions, csv or vcon")),
        None => Ok(match preferred(headers, "application/x-ndjson", &["text/csv", "application/vcon+json"]) {
            "text/csv" => Format::Csv(zone),
            "application/vcon+json" => Format::Vcon,
            _ => Format::Sessions,
        }),
    }
}

const fn content_type(format: &Format) -> &'static str {
    match format {
        // Each line may be a vCon; all of them are none.
        Format::Sessions | Format::Vcon => "application/x-ndjson",
        Format::Csv(_) => "text/csv; charset=utf-8; header=present",
    }
}

const fn disposition(format: &Format) -> &'static str {
    match format {
        Format::Sessions => "attachment; filename=\"sessions.ndjson\"",
        Format::Csv(_) => "attachment; filename=\"sessions.csv\"",
        Format::Vcon => "attachment; filename=\"sessions.vcon.ndjson\"",
    }
}

/// Exports sessions.
#[utoipa::path(
    get, path = "/v1/sessions:export", operation_id = "exportSessions", tag = "sessions", summary = "Export sessions",
    description = "Gives all sessions that match, oldest start first, as they are read: one JSON object a line (NDJSON), a table (CSV; what a \
        spreadsheet would run as a formula begins with an apostrophe), or one vCon a line. What arrives after the beginning is left out. \
        `import` of the command line takes each of them back. An answer that breaks off is not all of it: where the key is revoked meanwhile, \
        the connection ends before the answer does.",
    params(
        ("format" = Option<String>, Query, description = "`sessions` (NDJSON, default), `csv` or `vcon`; else as `Accept` says.", example = "sessions"),
        ("timeZone" = Option<String>, Query, description = "The zone of the times in a table; UTC unless it is given.", example = "Europe/Berlin"),
        ("caller" = Option<String>, Query, description = "Of this caller, compared as a phone number in any spelling, or a user id.", example = "+4930123456"),
        ("countryCode" = Option<String>, Query, description = "The country of a local number in `caller`.", example = "+49"),
        ("callId" = Option<String>, Query, description = "Of this call.", example = "145644644ff"),
        ("ctiCallId" = Option<String>, Query, description = "Of this call, as the telephony platform names it."),
        ("conversationId" = Option<String>, Query, description = "Of this conversation."),
        ("intent" = Option<String>, Query, description = "In which the caller wanted this."),
        ("from" = Option<String>, Query, description = "Begun then or later (RFC 3339).", example = "2024-02-27T00:00:00Z"),
        ("to" = Option<String>, Query, description = "Begun then or earlier (RFC 3339).", example = "2034-02-28T00:00:00Z"),
        ("text" = Option<String>, Query, description = "With this in their `content`, in any letter case."),
    ),
    responses(
        ToReaders,
        (status = 200, description = "The sessions.", content((String = "application/x-ndjson"), (String = "text/csv"))),
        (status = 400, description = "A parameter is unknown or breaks a rule.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("key" = [])),
)]
pub(crate) async fn export(State(native): State<Native>, request: Request) -> Response {
    native.stream(Need::Read, Stay::Working, request, begin).await
}

async fn begin(native: &Native, visit: Visit<Grant>) -> Result<Response, Problem> {
    let parameters = Parameters::read(visit.parts.uri.query(), &PARAMETERS)?;
    let format = format_of(&parameters, &visit.parts.headers)?;
    visit.seat.reserve(PIECE_MEMORY_BYTES).await?;
    let as_of = native.shared.sessions.as_of(visit.access.tenant()).await?;
    let access = visit.access.revalidate()?;
    let filter = Filter { received_until: Some(as_of), ..parameters.filter(access.tenant.default_country)? };
    let (content_type, disposition) = (content_type(&format), disposition(&format));
    native.audit.write_down(&access, Action::Exported, filter.caller.as_ref(), 0).await?;
    let mut reading = Reading::new(native.clone(), visit.access, visit.seat, filter)?;
    // The first piece is read before the status is given.
    let mut first = Vec::new();
    format.begin(&mut first);
    let begun = reading.read_on().await?.unwrap_or_default();
    format.write(&begun, &reading.tenant, &mut first);
    let rest = stream::unfold((reading, format), |(mut reading, format)| async {
        match reading.read_on().await {
            Ok(sessions) => {
                let mut piece = Vec::new();
                format.write(&sessions?, &reading.tenant, &mut piece);
                Some((Ok(Bytes::from(piece)), (reading, format)))
            }
            Err(error) => {
                error.log("export");
                // The client sees the answer end before its end.
                Some((Err(error), (reading, format)))
            }
        }
    });
    let body = Body::from_stream(futures_util::StreamExt::chain(stream::iter([Ok(Bytes::from(first))]), rest));
    let mut response = ([(header::CONTENT_TYPE, content_type)], body).into_response();
    response.headers_mut().insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}
