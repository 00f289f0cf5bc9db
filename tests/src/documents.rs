//! Documents that have to stay true: contract ids have tests, paths and commands that are named exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()))
}

/// Files below a folder whose name ends so, without what is built or installed.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{} cannot be read: {error}", folder.display())) {
        let path = entry.expect("a folder's entry can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !matches!(name.as_str(), "target" | "node_modules" | ".git" | ".tools") {
            found.extend(files(&path, ending));
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found
}

/// All identifiers such as `PAR-P7` in a text, however they are spelled (`par_p7_…`).
fn contract_ids(text: &str) -> BTreeSet<String> {
    let text = text.to_uppercase().replace('-', "_");
    let mut found = BTreeSet::new();
    for (dialect, groups) in [("PAR_", "APGN"), ("OIF_", "AQRH")] {
        for (at, _) in text.match_indices(dialect) {
            let rest = &text[at + dialect.len()..];
            let group = rest.chars().next().filter(|group| groups.contains(*group));
            let number: String = rest.chars().skip(1).take_while(char::is_ascii_digit).collect();
            if let (Some(group), false) = (group, number.is_empty()) {
                found.insert(format!("{}-{group}{number}", &dialect[..3]));
            }
        }
    }
    found
}

#[test]
fn every_contract_id_is_named_by_a_test() {
    let contract = contract_ids(&read(&root().join("docs/contract.md")));
    assert_eq!(contract.len(), 51, "5 + 8 + 12 + 4 for Parloa, 4 + 7 + 5 + 6 for OIFDE");
    let mut tested = BTreeSet::new();
    for path in files(&root().join("tests/src"), ".rs").into_iter().chain(files(&root().join("crates"), ".rs")) {
        let text = read(&path);
        // The names of tests, and comments beside assertions in files of tests.
        let of_tests = path.starts_with(root().join("tests"));
        let lines = text
            .lines()
            .filter(|line| line.trim_start().starts_with("fn ") || line.contains("async fn ") || (of_tests && line.contains("// ")));
        let in_tests = text.find("#[test]").or(text.find("#[tokio::test]")).is_some();
        if in_tests {
            tested.extend(lines.flat_map(contract_ids));
        }
    }
    let missing: Vec<_> = contract.difference(&tested).collect();
    assert!(missing.is_empty(), "no test names {missing:?}");
}

#[test]
fn every_path_that_a_document_names_exists() {
    let mut missing = Vec::new();
    for document in files(&root(), ".md") {
        let text = read(&document);
        let quoted = text.split('`').skip(1).step_by(2).filter(|code| !code.contains(['\n', ' ', '{', '<', '*', '…', '$', '=', ':']));
        let linked =
            text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(|link| link.split('#').next().unwrap_or_default());
        let looks_like_a_path = |name: &&str| {
            let inside = ["crates/", "docs/", "tests/", "scripts/", "migrations/", "openapi/", "tools/", ".ci/"]
                .iter()
                .any(|folder| name.starts_with(folder));
            inside && !name.ends_with("openapi/")
        };
        let folder = document.parent().expect("a document is in a folder").to_owned();
        for name in quoted.filter(looks_like_a_path) {
            if !root().join(name).exists() {
                missing.push(format!("{}: {name}", document.display()));
            }
        }
        for link in linked.filter(|link| !link.is_empty() && !link.contains("://")) {
            if !folder.join(link).exists() {
                missing.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_recipe_that_a_document_names_exists() {
    let recipes = read(&root().join("justfile"));
    let mut missing = Vec::new();
    for document in files(&root(), ".md") {
        for (at, _) in read(&document).match_indices("`just ") {
            let text = read(&document);
            let recipe: String = text[at + 6..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            let known = recipes.lines().any(|line| line.starts_with(&recipe) && line[recipe.len()..].starts_with([':', ' ']));
            if !recipe.is_empty() && !known {
                missing.push(format!("{}: just {recipe}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_code_of_the_native_interface_is_explained() {
    let description: serde_json::Value =
        serde_json::from_str(&read(&root().join("openapi/sessions.json"))).expect("the description is JSON");
    let codes = description["components"]["schemas"]["Code"]["enum"].as_array().expect("the codes are an enum");
    assert!(codes.len() >= 14, "codes stay: {codes:?}");
    let text = read(&root().join("docs/errors.md"));
    let missing: Vec<_> = codes
        .iter()
        .filter_map(serde_json::Value::as_str)
        .filter(|code| !text.lines().any(|line| line.starts_with(&format!("| `{code}` | "))))
        .collect();
    assert!(missing.is_empty(), "docs/errors.md does not explain {missing:?}");
}

#[test]
fn every_test_that_the_security_document_names_exists() {
    let sources: Vec<_> =
        ["tests/src", "crates"].into_iter().flat_map(|folder| files(&root().join(folder), ".rs")).map(|path| read(&path)).collect();
    let text = read(&root().join("docs/security.md"));
    let plain =
        |name: &&str| name.matches('_').count() >= 3 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let named: BTreeSet<_> = text.split('`').skip(1).step_by(2).filter(plain).collect();
    assert!(named.len() > 40, "tests are named: {named:?}");
    let missing: Vec<_> = named.into_iter().filter(|name| !sources.iter().any(|source| source.contains(&format!("fn {name}(")))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_test_that_a_document_names_exists() {
    let sources: String =
        ["tests/src", "crates"].iter().flat_map(|folder| files(&root().join(folder), ".rs")).map(|file| read(&file)).collect();
    let mut missing = Vec::new();
    for document in files(&root().join("docs"), ".md") {
        let text = read(&document);
        let looks_like_a_test = |name: &&str| {
            let lower = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            lower && name.matches('_').count() >= 4
        };
        for name in text.split('`').skip(1).step_by(2).filter(looks_like_a_test) {
            if !sources.contains(&format!("fn {name}(")) {
                missing.push(format!("{}: {name}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
