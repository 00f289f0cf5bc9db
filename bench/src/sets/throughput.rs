//! As many requests as can be answered: posts, fetches, queries, and all of them.

use crate::Result;
use crate::contender::Contender;
use crate::harness::Harness;
use crate::names::{self, RECENT};
use crate::rows::Filling;
use crate::work::{Chosen, Fetches, Histories, Mixed, Page, Work, users};

/// Durable posts, into an empty database of its own in each round.
pub(super) fn w(harness: &mut Harness) -> Result {
    for round in 0..harness.options.rounds {
        for contender in harness.everybody() {
            let store = harness.fresh_store(contender, Filling::default())?;
            let server = harness.start(contender, store.as_ref())?;
            let posts = harness.posts();
            harness.measure("w", contender, round, &server, &posts)?;
            server.stop()?;
        }
    }
    Ok(())
}

/// Fetches of sessions that were posted within the last minute: through the gateway itself; the peers, which have no memory of their own
/// and would take minutes, find the same rows in their tables.
pub(super) fn r_recent(harness: &mut Harness) -> Result {
    let recent = harness.options.recent;
    for round in 0..harness.options.rounds {
        for contender in harness.everybody() {
            let filled = Filling { recent, ..Filling::default() };
            let store = if contender.is_peer() {
                harness.shared_store(contender, filled)?
            } else {
                harness.fresh_store(contender, Filling::default())?
            };
            let server = harness.start(contender, store.as_ref())?;
            if matches!(contender, Contender::Gateway(_)) {
                harness.post_recent(&server)?;
            }
            harness.measure("r-recent", contender, round, &server, &fetches(contender, Chosen::Own(RECENT, recent), round))?;
            server.stop()?;
        }
    }
    Ok(())
}

/// What connections fetch, each in another order.
pub(super) fn fetches(contender: Contender, chosen: Chosen, round: u32) -> impl Fn(usize) -> Box<dyn Work> {
    let chosen = if contender == Contender::Bare { Chosen::Whatever } else { chosen };
    move |number| Box::new(Fetches::new(chosen, seed(round, number)))
}

/// What connections query.
pub(super) fn histories(page: Page, round: u32) -> impl Fn(usize) -> Box<dyn Work> {
    move |number| Box::new(Histories::new(page, seed(round, number)))
}

/// Another one for each connection of each round.
pub(super) fn seed(round: u32, number: usize) -> u64 {
    (u64::from(round) << 32) + u64::try_from(number).unwrap_or(0) + 1
}
