//! libFuzzer at the properties of `calldata_testkit::fuzz`; `FUZZ_TARGET` names one of them. See `just fuzz`.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
mod target {
    use std::sync::LazyLock;

    use calldata_testkit::fuzz::{Property, TARGETS};

    static CHOSEN: LazyLock<Property> = LazyLock::new(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let names: Vec<_> = TARGETS.iter().map(|(known, _)| *known).collect();
        let found = TARGETS.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("FUZZ_TARGET is one of {}", names.join(", "))).1
    });

    libfuzzer_sys::fuzz_target!(|data: &[u8]| CHOSEN(data));
}

#[cfg(not(fuzzing))]
fn main() {
    println!("built without a fuzzer; see just fuzz");
}
