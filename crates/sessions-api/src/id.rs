//! The identifier in a path.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

/// What cannot be stored, and so identifies nothing.
const NOTHING: &str = "\0";

/// An identifier as it stands in a path. One that cannot be read is one of nothing, which is told to whoever may know.
pub(crate) struct Id(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let id = Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(id.map_or_else(|_| NOTHING.to_owned(), |Path(id)| id)))
    }
}
