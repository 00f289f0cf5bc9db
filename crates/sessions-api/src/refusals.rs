//! What every operation may answer besides its own answers, for the description: said here once.

use std::collections::BTreeMap;

use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::problem::ProblemDocument;

type Answers = BTreeMap<String, RefOr<Response>>;

/// Of operations that read.
pub(crate) enum ToReaders {}

/// Of operations that store, which may lack the room for it.
pub(crate) enum ToWriters {}

/// Of operations for those who answer people's requests and set things up.
pub(crate) enum ToAdmins {}

impl IntoResponses for ToReaders {
    fn responses() -> Answers {
        answers("The key may not read.", "Too many requests, too busy, or a failure.")
    }
}

impl IntoResponses for ToWriters {
    fn responses() -> Answers {
        answers("The key may not store.", "Too many requests, too busy, no room, or a failure.")
    }
}

impl IntoResponses for ToAdmins {
    fn responses() -> Answers {
        answers("The key lacks the scope admin.", "Too many requests, too busy, or a failure.")
    }
}

fn answers(forbidden: &str, otherwise: &str) -> Answers {
    let problem = |description: &str| {
        let document = ContentBuilder::new().schema(Some(Ref::from_schema_name(ProblemDocument::name()))).build();
        RefOr::T(ResponseBuilder::new().description(description).content("application/problem+json", document).build())
    };
    [("401", "No live key."), ("403", forbidden), ("default", otherwise)]
        .map(|(status, description)| (status.to_owned(), problem(description)))
        .into()
}
