//! What a server costs besides time: memory, and the time until it is there.

use crate::Result;
use crate::harness::Harness;
use crate::names::RECENT;
use crate::rows::Filling;
use crate::sets::throughput::{cold, fetches};
use crate::work::Chosen;

/// Memory while recent sessions are posted and fetched.
pub(super) fn memory(harness: &mut Harness) -> Result {
    for contender in harness.gateways() {
        let store = harness.fresh_store(contender, Filling::default())?;
        let server = harness.start(contender, store.as_ref())?;
        let idle = server.memory()?;
        harness.post_recent(&server)?;
        let posted = server.memory()?;
        let recent = harness.options.recent;
        harness.measure("memory-r", contender, 0, &server, &fetches(contender, Chosen::Own(RECENT, recent), 0))?;
        let posts = harness.posts();
        harness.measure("memory-w", contender, 0, &server, &posts)?;
        let after = server.memory()?;
        server.stop()?;
        let mb = |kb: u64| kb as f64 / 1_000.0;
        println!(
            "  memory of {contender}: idle {:.1} MB, {recent} sessions posted {:.1}, after fetches and posts {:.1} (of no file {:.1}), at most {:.1}",
            mb(idle.resident_kb),
            mb(posted.resident_kb),
            mb(after.resident_kb),
            mb(after.anonymous_kb),
            mb(after.peak_kb)
        );
        harness.results.figure(&format!("memory-mb/{contender}"), mb(after.peak_kb));
        harness.results.figure(&format!("memory-idle-mb/{contender}"), mb(idle.resident_kb));
    }
    Ok(())
}

/// From the start of the program to its first answer, with an empty database and with a full one.
pub(super) fn startup(harness: &mut Harness) -> Result {
    let filling = cold(harness);
    for round in 0..harness.options.rounds {
        for contender in harness.everybody(round) {
            let full = harness.shared_store(contender, filling)?;
            let empty = harness.shared_store(contender, Filling::default())?;
            for (name, store) in [("empty", empty), ("full", full)] {
                let server = harness.start(contender, store.as_ref())?;
                let ms = server.started_in.as_secs_f64() * 1e3;
                server.stop()?;
                println!("  startup        {contender:<17} round {round}: {name} {ms:.0} ms");
                harness.results.figure(&format!("startup-{name}-ms/{contender}"), ms);
            }
        }
    }
    Ok(())
}
