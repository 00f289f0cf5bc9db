# Everything that people and CI run. `scripts/test` installs what is needed and then runs `just ci`; afterwards `just` is
# .tools/venv/bin/just, unless there is another.

export PATH := justfile_directory() / ".tools/venv/bin" + ":" + env("PATH")

gateway := env("CARGO_TARGET_DIR", "target") / "debug/calldata-gateway"

# List what there is
default:
    @just --list --unsorted

# Everything that has to hold before a change is taken; what fails often comes early
ci: fmt-check lint build deny test openapi-check openapi-compatible schema-fuzz (clients "typescript" "python" "java") newcomer doc-check

# What takes too long for every change: all generated clients, packages, the speed and its ratios, long faults; by hand, before a release
ci-long: ci (clients "rust") instructions bench-short package packages-check faults-long

# A first opinion in under a minute: format, lints, unit tests
check: fmt-check lint
    cargo test --workspace --lib --locked

# Format the code
fmt:
    cargo fmt --all

# Is the code formatted?
fmt-check:
    cargo fmt --all --check

# Lints, every one of them an error
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Build everything
build:
    cargo build --workspace --locked

# All tests, on SQLite and on a throwaway PostgreSQL; arguments go to cargo test
test *args:
    scripts/with-postgres cargo test --workspace --locked {{args}}

# All tests without PostgreSQL
test-sqlite *args:
    env -u CI -u CALLDATA_TEST_POSTGRES_URL cargo test --workspace --locked {{args}}

# What faults lose, the long form: takes hours; by hand only. Arguments choose tests: just faults-long killed
faults-long *args:
    CALLDATA_LONG=1 scripts/with-postgres cargo test --workspace --locked --test calldata -- {{ if args == "" { "faults::" } else { "faults::" + args } }} --nocapture

# What clients can do to the process and to others, the long form; by hand. Arguments choose tests: just attack memory
attack *args:
    CALLDATA_LONG=1 scripts/with-postgres cargo test --workspace --locked --test calldata -- {{ if args == "" { "attack::" } else { "attack::" + args } }} --nocapture --test-threads 1

# What a cut of the power loses; as root, with nbdkit, libnbd-bin, fuse3 and e2fsprogs; by hand only
power-cut times="10":
    CALLDATA_POWER_CUTS={{times}} cargo test --workspace --locked --test calldata -- faults::power_cut --nocapture

# What is released: a tarball and a Debian package in target/package
package *args:
    scripts/package {{args}}

# Does a Debian package install, run and go? On a fresh Debian in a folder; as root. Arguments: FILE.deb [RELEASE]
package-try *args:
    scripts/package-try {{args}}

# Is all that is packaged right: package, container, chart, alerts, dashboard? As root it tries more; takes minutes, not in CI
packages-check:
    scripts/packages-check

# Write the page of settings to docs/settings.md
settings: build
    {{gateway}} config generate --form markdown > docs/settings.md

# Write the API descriptions to openapi/
openapi: build
    {{gateway}} openapi --out openapi

# Are the API descriptions those of the code, and would other people's tools take them?
openapi-check: build
    {{gateway}} openapi --check --out openapi
    tools/node_modules/.bin/spectral lint --ruleset tools/spectral.yaml --fail-severity=warn openapi/*.json
    openapi-spec-validator openapi/*.json

# Would clients of the last release still work with the present API descriptions? A break has to raise the first number that is not 0
openapi-compatible:
    python3 -B -m unittest discover --start-directory tools --pattern '*_test.py'
    python3 -B tools/openapi_compatible.py

# Keep the API descriptions of a release, which later ones are compared with; by hand, with the release
openapi-released:
    cp openapi/*.json openapi/released/

# Does a real gateway do what its description says, whatever it is asked? Options go to schemathesis
schema-fuzz *args: build
    scripts/schema-fuzz {{args}}

# Do clients work that other people's generators make from the API descriptions? Of typescript, python, java and rust, or all of them
clients *which: build
    scripts/clients {{which}}

# Are licences, banned crates and sources as deny.toml has them?
deny:
    cargo-deny --locked --all-features check --hide-inclusion-graph licenses bans sources

# Is anything known against a dependency? Fetches the RustSec database from GitHub; by hand and where that can be reached, not in CI
advisories:
    cargo-deny --locked check advisories

# Search one target of crates/testkit/src/fuzz.rs for a counterexample, led by coverage; by hand, and any number of seconds
fuzz target seconds="60" *args:
    scripts/fuzz {{target}} {{seconds}} {{args}}

# Does a fresh clone do what the README says, and answer what it shows? With --release it builds as the README says
newcomer *args:
    scripts/newcomer {{args}}

# Does the documentation build without a warning?
doc-check:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked

# A gateway with a demo tenant and sample sessions
demo *args:
    cargo run --locked -p calldata-gateway -- demo {{args}}

# Which changes of the code would no test notice? Takes long; by hand only
mutants *args:
    cargo mutants --version >/dev/null 2>&1 || cargo install --locked cargo-mutants
    cargo mutants --package calldata-core --package calldata-interchange --package parloa-api --package oifde-api {{args}}

# How fast the gateway is beside a bare axum and two peers; takes long, installs what it needs. Options go to the runner
bench *args:
    scripts/bench {{args}}

# The same ratios in a few minutes, with fewer rows and shorter rounds; fails on a wrong answer, never on a time
bench-short *args:
    scripts/bench --short {{args}}

# Do the hot paths take more instructions than committed? Needs valgrind, which is installed where it is missing
instructions: (hot-paths "compare")

# Commit to the instructions that the hot paths take now
instructions-accept: (hot-paths "accept")

[private]
hot-paths task:
    scripts/bench-instructions {{task}}
