//! The Parloa CallData dialect: `POST` and `GET /api/CallData`.
//!
//! Rooms: [`client`] recognises who asks, [`front`] is what every request passes, [`post`] and [`get`] are the operations,
//! [`posted`] and [`record`] translate between a post, a session and an answer, [`render`] writes the four formats, [`speech`] holds
//! the dialect's words for errors. Arrows: http, interchange, core. The ids in comments (PAR-…) are those of `docs/contract.md`.
//!
//! To add a format: a module in `render`, a variant of [`render::Format`], and the compiler shows the rest.

mod client;
mod front;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod get;
mod post;
mod posted;
mod query;
mod record;
mod render;
mod speech;

use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use axum::{Router, routing};
use calldata_http::Shared;
use utoipa::OpenApi;

use crate::client::SecuritySchemes;
pub use crate::front::answer;

/// Where the dialect is, in its one spelling.
pub const PATH: &str = "/api/CallData";

/// The routes of the dialect.
pub fn router(shared: Shared) -> Router {
    // The router says which methods there are; which one it is, is found out behind the front.
    let operations = routing::get(front::front).post(front::front).fallback(front::front);
    Router::new().route(PATH, operations).with_state(shared)
}

/// Gives the dialect's path its one spelling: clients may write it in any letter case, and with a slash behind. To be applied before
/// routing.
pub fn normalise_path(mut request: Request) -> Request {
    let path = request.uri().path();
    let bare = path.strip_suffix('/').unwrap_or(path);
    if path == PATH || !bare.eq_ignore_ascii_case(PATH) {
        return request;
    }
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = request.uri().clone().into_parts();
    if let Ok(normalised) = PathAndQuery::try_from(format!("{PATH}{query}")) {
        parts.path_and_query = Some(normalised);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// The description of the dialect.
pub fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "CallData (Parloa dialect)",
        description = "What a voice bot learned during a call: stored by the bot, fetched by the contact centre by caller and call id. \
            Statements marked *ours* are decisions of this gateway where the vendor is silent.",
    ),
    paths(get::get, post::post),
    components(schemas(post::PostRequest, post::PostedInput, post::PostResponse, post::PostOutput, get::CallData, get::Miss)),
    modifiers(&SecuritySchemes),
    tags((name = "calldata", description = "Store and fetch call data (Parloa dialect)")),
)]
struct Description;

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    #[test]
    fn the_path_is_found_in_any_letter_case() {
        let normalised = |uri: &str| normalise_path(Request::builder().uri(uri).body(Body::empty()).unwrap()).uri().to_string();
        assert_eq!(normalised("/API/calldata?A=%20b&c"), "/api/CallData?A=%20b&c");
        assert_eq!(normalised("/api/CallData/"), "/api/CallData");
        assert_eq!(normalised("/api/CallData?x"), "/api/CallData?x");
        assert_eq!(normalised("http://host/api/CALLDATA"), "http://host/api/CallData");
        assert_eq!(normalised("/api/CallDatas"), "/api/CallDatas");
        assert_eq!(normalised("/api//CallData"), "/api//CallData");
    }
}
