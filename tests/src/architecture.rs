//! The arrows: who may use whom (ARCHITECTURE.md).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// What each of our crates may use of ours.
const ARROWS: [(&str, &[&str]); 14] = [
    ("calldata-core", &[]),
    ("calldata-migrations", &[]),
    ("calldata-interchange", &["calldata-core"]),
    ("calldata-http", &["calldata-core"]),
    ("calldata-push", &["calldata-core", "calldata-interchange"]),
    ("calldata-store", &["calldata-core", "calldata-migrations"]),
    ("parloa-api", &["calldata-core", "calldata-http", "calldata-interchange"]),
    ("oifde-api", &["calldata-core", "calldata-http", "calldata-interchange"]),
    ("sessions-api", &["calldata-core", "calldata-http", "calldata-interchange"]),
    (
        "calldata-gateway",
        &[
            "calldata-core",
            "calldata-http",
            "calldata-interchange",
            "calldata-push",
            "calldata-store",
            "oifde-api",
            "parloa-api",
            "sessions-api",
        ],
    ),
    (
        "calldata-testkit",
        &["calldata-core", "calldata-gateway", "calldata-http", "calldata-interchange", "calldata-store", "oifde-api", "parloa-api"],
    ),
    ("calldata-bench", &["calldata-core", "calldata-gateway", "calldata-http", "calldata-store", "oifde-api"]),
    ("calldata-fuzz", &["calldata-testkit"]),
    (
        "calldata-tests",
        &["calldata-core", "calldata-http", "calldata-interchange", "calldata-push", "calldata-store", "calldata-testkit", "oifde-api"],
    ),
];

/// Libraries that belong in certain rooms.
const ROOMS: [(&str, &[&str]); 12] = [
    ("sea-orm", &["calldata-store", "calldata-testkit"]),
    ("sea-orm-migration", &["calldata-migrations", "calldata-store"]),
    ("rusqlite", &["calldata-bench", "calldata-store"]),
    ("axum", &["calldata-bench", "calldata-http", "parloa-api", "oifde-api", "sessions-api", "calldata-gateway", "calldata-testkit"]),
    ("utoipa", &["calldata-http", "parloa-api", "oifde-api", "sessions-api", "calldata-gateway"]),
    ("quick-xml", &["parloa-api", "calldata-testkit"]),
    ("minijinja", &["parloa-api"]),
    ("rlibphonenumber", &["calldata-core"]),
    ("jiff", &["calldata-core"]),
    ("url", &["calldata-core"]),
    ("rustls-native-certs", &["calldata-push"]),
    ("clap", &["calldata-bench", "calldata-gateway"]),
];

/// What each of our crates uses, tests aside.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo knows the workspace");
    let of = |package: &cargo_metadata::Package| {
        let used = package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
        used.map(|dependency| dependency.name.clone()).collect()
    };
    metadata.packages.iter().map(|package| (package.name.to_string(), of(package))).collect()
}

#[test]
fn crates_use_no_other_crates_of_ours_than_the_arrows_say() {
    let dependencies = dependencies();
    let known: BTreeSet<_> = ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(dependencies.keys().cloned().collect::<BTreeSet<_>>(), known, "a crate without arrows");
    for (name, allowed) in ARROWS {
        let ours: BTreeSet<_> = dependencies[name].intersection(&known).map(String::as_str).collect();
        assert_eq!(ours, allowed.iter().copied().collect(), "{name}");
    }
}

#[test]
fn libraries_stay_in_their_rooms() {
    let dependencies = dependencies();
    for (library, rooms) in ROOMS {
        let users: BTreeSet<_> = dependencies.iter().filter(|(_, used)| used.contains(library)).map(|(name, _)| name.as_str()).collect();
        assert_eq!(users, rooms.iter().copied().collect(), "{library}");
    }
}

/// Where an [`Access`](calldata_core::Access) may be kept: in requests that end within the deadline. What goes on longer holds a `Grant`,
/// which is checked at each use.
const KEPT_ACCESS: [&str; 2] = ["crates/oifde-api/src/asked.rs", "crates/parloa-api/src/client.rs"];

#[test]
fn nothing_that_outlives_its_request_keeps_an_access() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders = vec![workspace.join("crates")];
    let mut keepers = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder can be read") {
            let path = entry.expect("a folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source can be read");
                // A field stands on a line of its own, a parameter stands in parentheses.
                let keeps = |line: &str| line.starts_with("    ") && line.ends_with(": Access,") && !line.contains('(');
                if text.lines().map(|line| line.replace("pub(crate)", "pub")).any(|line| keeps(&line)) {
                    let within = path.strip_prefix(&workspace).expect("it is within the workspace");
                    keepers.insert(within.display().to_string());
                }
            }
        }
    }
    assert_eq!(keepers, KEPT_ACCESS.map(str::to_owned).into());
}

#[test]
fn nothing_links_openssl() {
    let metadata = MetadataCommand::new().exec().expect("cargo knows the workspace");
    // The probe only knows in which folder a machine keeps the certificates that it trusts.
    let is_openssl = |name: &&str| name.starts_with("openssl") && *name != "openssl-probe";
    let names: Vec<_> = metadata.packages.iter().map(|package| package.name.as_str()).filter(is_openssl).collect();
    assert!(names.is_empty(), "{names:?}");
}
