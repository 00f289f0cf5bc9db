//! Access to the API description and to the page that shows it.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware;
use axum::response::Response;
use clap::ValueEnum;
use serde::Deserialize;

/// Where the API description is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DocsAccess {
    /// Nowhere
    Off,
    /// With the metrics
    Admin,
    /// With the API
    #[default]
    On,
}

/// The page loads its own files, shows pictures that are part of them, and asks the gateway that it comes from; no other page may show it
/// in a frame. The hash is that of the one style that Swagger UI puts into the page, for its logo.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; script-src 'self'; \
     style-src 'self' 'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='; img-src 'self' data:; connect-src 'self'";

/// On every answer of the page; the headers of every answer of the API are added where it is served with the API.
const HEADERS: [(HeaderName, &str); 3] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// Adds the policy to all answers of a router.
pub(crate) fn with_policy(router: Router) -> Router {
    router.layer(middleware::map_response(async |mut response: Response| {
        for (name, value) in HEADERS {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }))
}
