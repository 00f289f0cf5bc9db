//! `POST /oifde/rest/api/queryHistory`: what was said in a user's latest call (OIF-H1 to OIF-H6).

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use calldata_core::{CallerKey, LatestCall, Timestamp, Turn, Zone};
use calldata_http::{Source, holding};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Oifde;
use crate::asked::{Asked, note_miss};
use crate::body::Parameters;
use crate::codes::{Failure, answer};
use crate::record::{involve_mode, response_source};

/// Queries the latest call of a user.
#[utoipa::path(
    post, path = "/oifde/rest/api/queryHistory", operation_id = "queryHistory", tag = "records", summary = "Query a user's latest call",
    description = "Gives what was said in the latest call of a user: that of their session with the newest start. Of all sessions of that call \
        and user, oldest start first (ours); of more than 1 000, the newest. Users are compared as phone numbers (ours). A user without a \
        call gets success without anything in it. All members are in every answer; errors have an empty list, and empty texts for call \
        and user (ours).",
    request_body(content = LatestCallRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "What was said, or an `rtnCode` other than 0: 900001 token missing or expired, 900002 token check failed, 200800003 locked, 10000002 a \
            parameter is missing or wrong, 10000001 internal error.", body = LatestCallResponse, content_type = "application/json"),
        (status = 400, description = "The request cannot be read as HTTP, or does not name its host."),
        (status = 403, description = "A web page of an origin that is not allowed sent this (ours)."),
        (status = 414, description = "The URI is longer than 8 KiB (ours)."),
        (status = 431, description = "There are more than 100 headers, or more than 16 KiB of them (ours)."),
        (status = 500, description = "The gateway failed."),
        (status = 429, description = "This tenant sends too many requests (ours); repeat later.", body = LatestCallResponse, content_type = "application/json",
            headers(("Retry-After" = i32, description = "Seconds after which to repeat."))),
        (status = 503, description = "Too busy; repeat the request.", body = LatestCallResponse, content_type = "application/json",
            headers(("Retry-After" = i32, description = "Seconds after which to repeat."))),
    ),
)]
pub(crate) async fn query_history(State(oifde): State<Oifde>, Extension(source): Extension<Source>, request: Request) -> Response {
    let found = tokio::time::timeout(oifde.shared.limits.deadline, async {
        let Asked { parameters, access, seat } = Asked::read(&oifde, source, request).await?;
        let user = user(&parameters)?;
        let caller = CallerKey::of(&user, access.tenant.default_country);
        let latest = oifde.shared.sessions.latest_call(&access, &caller).await?;
        if latest.is_none() {
            note_miss();
        }
        let response = answer(&LatestCallResponse::call(user, latest, &access.tenant.oifde_zone));
        Ok(holding(response, seat).await?)
    });
    match found.await.unwrap_or(Err(Failure::Busy)) {
        Ok(response) => response,
        Err(failure) => failure.answer(&LatestCallResponse::failure(&failure)),
    }
}

/// Whose latest call is asked for (OIF-H1).
fn user(parameters: &Parameters) -> Result<String, Failure> {
    let parameters = parameters.object("params")?.ok_or_else(|| Failure::parameter("params", "is missing"))?;
    parameters.string("userMobile")?.ok_or_else(|| Failure::parameter("userMobile", "is missing"))
}

/// Whose latest call is asked for.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({ "tenantId": "tenant001", "params": { "userMobile": "180****9999" }, "authToken": "0dbe11892be840cf983453ea70b505de" }))]
#[expect(dead_code, reason = "describes a body that is read member by member")]
pub(crate) struct LatestCallRequest {
    /// The tenant.
    tenant_id: String,
    /// The user.
    params: LatestCallParameters,
    /// A token, or a key of the tenant (ours).
    auth_token: String,
}

/// The user.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes a body that is read member by member")]
pub(crate) struct LatestCallParameters {
    /// A number, or a user id for a chat.
    #[schema(example = "180****9999")]
    user_mobile: String,
}

/// What was said in the latest call, or why that is not told. All members are in every answer (OIF-H3).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "rtnCode": 0, "rtnMsg": "Success", "beans": [{
        "interNo": "1", "userSaying": "Where is my parcel?", "intention": "Parcel", "systemReply": "It comes tomorrow.", "type": "",
        "timestamp": "2024-02-27 12:16:25.5", "requsetTime": "2024-02-27 12:16:23.926", "responseSource": "0", "involveMode": "0",
    }], "callId": "145644644ff", "callSorId": "180****9999", "object": null, "bean": null,
}))]
pub(crate) struct LatestCallResponse {
    /// 0 for success.
    #[schema(example = 0)]
    rtn_code: i32,
    /// `Success`, or what is wrong.
    #[schema(example = "Success")]
    rtn_msg: String,
    /// What was said, oldest first.
    beans: Vec<Interaction>,
    /// The call; empty when there is none.
    #[schema(example = "145644644ff")]
    call_id: String,
    /// The user, as asked for; empty with an error.
    #[schema(example = "180****9999")]
    call_sor_id: String,
    /// Always null.
    #[schema(required, value_type = Option<Object>, example = json!(null))]
    object: Option<()>,
    /// Always null.
    #[schema(required, example = json!(null))]
    bean: Option<String>,
}

/// One exchange of a conversation. All members are text here, unlike in a record (OIF-H4).
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Interaction {
    /// The number of the exchange.
    #[schema(example = "1")]
    inter_no: String,
    /// What the user said, as recognised.
    #[schema(example = "Where is my parcel?")]
    user_saying: String,
    /// What the user wanted.
    #[schema(example = "Parcel")]
    intention: String,
    /// What was replied.
    #[schema(example = "It comes tomorrow.")]
    system_reply: String,
    /// The kind of reply, which is not known: always empty.
    #[serde(rename = "type")]
    #[schema(rename = "type", example = "")]
    kind: &'static str,
    /// When it was replied, `yyyy-MM-dd HH:mm:ss` and decimals of a second, UTC unless the tenant is set otherwise; empty when unknown.
    #[schema(example = "2024-02-27 12:16:25.5")]
    timestamp: String,
    /// When the user spoke, likewise (ours).
    #[schema(example = "2024-02-27 12:16:23.926")]
    requset_time: String,
    /// Who replied: `0` a chatbot, `1` a silent agent.
    #[schema(example = "0")]
    response_source: String,
    /// How the flow took part: `0` on its own, `1` with an agent listening, `2` with an agent stepping in (ours).
    #[schema(example = "0")]
    involve_mode: String,
}

impl LatestCallResponse {
    fn call(user: String, latest: Option<LatestCall>, zone: &Zone) -> Self {
        let (call_id, turns) = latest.map(|LatestCall { call_id, turns }| (call_id.into_string(), turns)).unwrap_or_default();
        let beans = turns.into_iter().map(|turn| Interaction::of(turn, zone)).collect();
        Self { rtn_code: 0, rtn_msg: "Success".into(), beans, call_id, call_sor_id: user, object: None, bean: None }
    }

    fn failure(failure: &Failure) -> Self {
        let (call_id, call_sor_id) = (String::new(), String::new());
        Self { rtn_code: failure.code(), rtn_msg: failure.to_string(), beans: Vec::new(), call_id, call_sor_id, object: None, bean: None }
    }
}

impl Interaction {
    fn of(turn: Turn, zone: &Zone) -> Self {
        let Turn { no, user_text, intent, reply, requested_at, replied_at, by, mode } = turn;
        let time = |at: Option<Timestamp>| at.map(|at| zone.with_decimals(at)).unwrap_or_default();
        Self {
            inter_no: no,
            user_saying: user_text,
            intention: intent,
            system_reply: reply,
            kind: "",
            timestamp: time(replied_at),
            requset_time: time(requested_at),
            response_source: response_source(by).to_string(),
            involve_mode: involve_mode(mode).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use calldata_core::{CallId, InvolveMode, TurnSource};

    #[test]
    fn oif_h1_the_user_is_a_text_within_params() {
        let asked = |body: &str| user(&Parameters::parse(body.as_bytes()).unwrap()).map_err(|failure| failure.to_string());
        assert_eq!(asked(r#"{"params":{"userMobile":"110","other":1}}"#), Ok("110".into()));
        let wrong = [
            (r#"{"userMobile":"110"}"#, "params is missing"),
            (r#"{"params":null}"#, "params is missing"),
            (r#"{"params":"110"}"#, "params must be an object"),
            (r#"{"params":{}}"#, "userMobile is missing"),
            (r#"{"params":{"userMobile":""}}"#, "userMobile is missing"),
            (r#"{"params":{"userMobile":110}}"#, "userMobile must be a string"),
        ];
        for (body, expected) in wrong {
            assert_eq!(asked(body), Err(format!("Parameter error: {expected}")), "{body}");
        }
    }

    #[test]
    fn oif_h4_an_exchange_is_told_in_texts() {
        let at = |ms| Timestamp::from_epoch_ms(ms);
        let turn = Turn {
            no: "1".into(),
            user_text: "hi".into(),
            intent: "greet".into(),
            reply: "hello".into(),
            requested_at: at(1_556_185_329_500),
            replied_at: at(1_556_185_330_000),
            by: TurnSource::Agent,
            mode: InvolveMode::Insertion,
        };
        let latest = LatestCall { call_id: CallId::new("c").unwrap(), turns: vec![turn, Turn::default()] };
        let response = LatestCallResponse::call("110".into(), Some(latest), &Zone::parse("Asia/Shanghai").unwrap());
        let expected = r#"{"rtnCode":0,"rtnMsg":"Success","beans":[{"interNo":"1","userSaying":"hi","intention":"greet","systemReply":"hello","type":"","timestamp":"2019-04-25 17:42:10.0","requsetTime":"2019-04-25 17:42:09.5","responseSource":"1","involveMode":"2"},{"interNo":"","userSaying":"","intention":"","systemReply":"","type":"","timestamp":"","requsetTime":"","responseSource":"0","involveMode":"0"}],"callId":"c","callSorId":"110","object":null,"bean":null}"#;
        assert_eq!(serde_json::to_string(&response).unwrap(), expected);
    }
}
