//! The committed API description, as a judge of answers.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::client::Answer;

/// What every operation may answer.
pub struct Description {
    /// By path in lower case, method in lower case and status; the status is `None` for all others.
    responses: HashMap<(String, String, Option<u16>), Response>,
    paths: Vec<String>,
}

struct Response {
    /// By media type.
    content: HashMap<String, Content>,
}

enum Content {
    Json(Validator),
    /// One JSON text a line; of any kind where a line is described as text.
    Lines(Option<Validator>),
    /// Anything.
    Other,
}

impl Description {
    /// `openapi/gateway.json`.
    ///
    /// # Panics
    /// When it cannot be read, or a schema in it is no schema.
    pub fn committed() -> Arc<Self> {
        static COMMITTED: LazyLock<Arc<Description>> = LazyLock::new(|| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi/gateway.json");
            let text = std::fs::read_to_string(&path).expect("the API description is committed; just openapi writes it");
            Arc::new(Description::of(&serde_json::from_str(&text).expect("the API description is JSON")))
        });
        Arc::clone(&COMMITTED)
    }

    fn of(document: &Value) -> Self {
        let mut responses = HashMap::new();
        let mut paths = Vec::new();
        for (path, item) in document["paths"].as_object().expect("a description has paths") {
            paths.push(path.to_lowercase());
            for (method, operation) in item.as_object().expect("a path has operations") {
                for (status, response) in operation["responses"].as_object().expect("an operation has responses") {
                    let status = (status != "default").then(|| status.parse().expect("other statuses are given by their number"));
                    responses.insert((path.to_lowercase(), method.clone(), status), Response::of(response, &document["components"]));
                }
            }
        }
        Self { responses, paths }
    }

    /// Whether an answer is one that the description allows. What is not described at all (other paths, other methods) is not judged.
    ///
    /// # Errors
    /// Says what is not allowed.
    pub fn check(&self, method: &str, path: &str, answer: &Answer) -> Result<(), String> {
        let path = path.split('?').next().unwrap_or(path).trim_end_matches('/').to_lowercase();
        let method = method.to_lowercase();
        let Some(path) = self.template(&path) else { return Ok(()) };
        if !self.responses.keys().any(|(known, operation, _)| *known == path && *operation == method) {
            return Ok(());
        }
        let response = |status| self.responses.get(&(path.clone(), method.clone(), status));
        let response = response(Some(answer.status)).or_else(|| response(None)).ok_or("this status is not described")?;
        if answer.body.is_empty() {
            return Ok(());
        }
        let content_type = answer.header("content-type").ok_or("a body without a content type")?;
        let media_type = content_type.split(';').next().unwrap_or(content_type).trim();
        match response.content.get(media_type).ok_or_else(|| format!("{media_type} is not described"))? {
            Content::Json(validator) => check(validator, &answer.body),
            Content::Lines(validator) => {
                let lines = answer.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                validator.iter().try_for_each(|validator| lines.clone().try_for_each(|line| check(validator, line)))
            }
            Content::Other => Ok(()),
        }
    }

    /// The described path that this one is, one without variables first.
    fn template(&self, path: &str) -> Option<String> {
        let is_it = |template: &&String| {
            let (parts, wanted) = (path.split('/'), template.split('/'));
            parts.clone().count() == wanted.clone().count()
                && parts.zip(wanted).all(|(part, wanted)| part == wanted || (wanted.starts_with('{') && !part.is_empty()))
        };
        let mut found: Vec<_> = self.paths.iter().filter(is_it).collect();
        found.sort_by_key(|template| template.contains('{'));
        found.first().map(|template| (*template).clone())
    }
}

fn check(validator: &Validator, json: &[u8]) -> Result<(), String> {
    let body: Value = serde_json::from_slice(json).map_err(|error| format!("the body is not JSON: {error}"))?;
    match validator.iter_errors(&body).next() {
        Some(error) => Err(format!("at {}: {error}", error.instance_path())),
        None => Ok(()),
    }
}

impl Response {
    fn of(response: &Value, components: &Value) -> Self {
        let mut content = HashMap::new();
        for (media_type, described) in response["content"].as_object().into_iter().flatten() {
            let validator = || {
                let schema = json!({ "allOf": [described["schema"]], "components": components });
                jsonschema::validator_for(&schema).expect("every schema is one")
            };
            let is_text = described.pointer("/schema/type").is_some_and(|kind| kind == "string");
            let judged = match media_type.as_str() {
                "application/x-ndjson" => Content::Lines((!is_text).then(validator)),
                "text/event-stream" => Content::Json(validator()),
                json if json.ends_with("json") && !is_text => Content::Json(validator()),
                _ => Content::Other,
            };
            content.insert(media_type.clone(), judged);
        }
        Self { content }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, content_type: &str, body: &str) -> Answer {
        Answer { status, headers: vec![("content-type".into(), content_type.into())], body: body.into() }
    }

    #[test]
    fn what_is_not_described_is_noticed() {
        let description = Description::committed();
        let check = |answer| description.check("POST", "/API/calldata?x", &answer);
        let json = "application/json; charset=utf-8";
        assert_eq!(check(answer(200, json, r#"{"choice":"success","output":{}}"#)), Ok(()));
        assert!(check(answer(201, json, "{}")).unwrap_err().contains("status"));
        assert!(check(answer(200, "text/plain", "x")).unwrap_err().contains("text/plain"));
        assert!(check(answer(200, json, r#"{"choice":1,"output":{}}"#)).unwrap_err().contains("choice"));
        assert!(check(answer(200, json, r#"{"output":{}}"#)).unwrap_err().contains("choice"));
        assert!(check(answer(200, json, "nonsense")).unwrap_err().contains("not JSON"));
        assert_eq!(description.check("GET", "/elsewhere", &answer(500, json, "{}")), Ok(()));
    }
}
