//! As many requests as can be answered: posts, fetches, queries, and all of them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::contender::Contender;
use crate::harness::Harness;
use crate::names::{self, RECENT};
use crate::rows::Filling;
use crate::server::Server;
use crate::work::{Chosen, Fetches, Histories, Mixed, Page, Verdict, Work, users};
use crate::{Result, wire};

/// Durable posts, into an empty database of its own in each round.
pub(super) fn w(harness: &mut Harness) -> Result {
    for round in 0..harness.options.rounds {
        for contender in harness.everybody(round) {
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
        for contender in harness.everybody(round) {
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

/// Sessions chosen at random among many, right after the start; then calls that nobody made.
pub(super) fn r_cold(harness: &mut Harness) -> Result {
    let filling = cold(harness);
    for round in 0..harness.options.rounds {
        for contender in harness.everybody(round) {
            let store = harness.shared_store(contender, filling)?;
            let server = harness.start(contender, store.as_ref())?;
            harness.measure("r-cold", contender, round, &server, &fetches(contender, Chosen::Shared(filling.ordinary), round))?;
            harness.measure("r-cold-misses", contender, round, &server, &fetches(contender, Chosen::Nobody, round))?;
            server.stop()?;
        }
    }
    Ok(())
}

/// Records of users with few, and of one with many: its first query after the start, its first page and a late one.
pub(super) fn q(harness: &mut Harness) -> Result {
    let filling = cold(harness);
    let few = a_page_of_few(filling.ordinary);
    let late = 1_000;
    for round in 0..harness.options.rounds {
        for contender in harness.everybody(round) {
            let store = harness.shared_store(contender, filling)?;
            let server = harness.start(contender, store.as_ref())?;
            if contender != Contender::Bare {
                let first = once(&server, &mut Histories::new(of_heavy(filling.heavy, 1, 20), 1))?;
                println!("  the first query after the start, user with {} records, {contender}: {:.1} ms", filling.heavy, first * 1e3);
                harness.results.figure(&format!("first-query/{contender}"), first * 1e3);
            }
            let page = if contender == Contender::Bare { Page { first_user: 1_234_567_890, users: 1, ..few } } else { few };
            harness.measure("q-20", contender, round, &server, &histories(page, round))?;
            if contender != Contender::Bare {
                for (set, number, size) in
                    [("q-heavy-1", 1, 20), ("q-heavy-1000", late, 20), ("q-heavy-1-100", 1, 100), ("q-heavy-1000-100", late, 100)]
                {
                    // A page that is not there says nothing.
                    if number * size <= filling.heavy && (size == 20 || !contender.is_peer()) {
                        harness.measure(set, contender, round, &server, &histories(of_heavy(filling.heavy, number, size), round))?;
                    }
                }
            }
            server.stop()?;
        }
    }
    Ok(())
}

/// 70 % posts, 25 % fetches, 5 % queries, over the cold rows.
pub(super) fn mixed(harness: &mut Harness) -> Result {
    let filling = cold(harness);
    let few = a_page_of_few(filling.ordinary);
    let racers = std::iter::once(Contender::Bare).chain(harness.gateways()).collect::<Vec<_>>();
    for round in 0..harness.options.rounds {
        for contender in racers.clone() {
            let store = harness.shared_store(contender, filling)?;
            let server = harness.start(contender, store.as_ref())?;
            let posts = harness.post_numbers();
            let bare = contender == Contender::Bare;
            let chosen = if bare { Chosen::Whatever } else { Chosen::Shared(filling.ordinary) };
            let work = |number: usize| -> Box<dyn Work> {
                let seed = seed(round, number);
                Box::new(Mixed::new(posts.of(number), Fetches::new(chosen, seed), Histories::new(few, seed), seed))
            };
            harness.measure("mixed", contender, round, &server, &work)?;
            server.stop()?;
        }
    }
    Ok(())
}

/// The same reads on few rows and on many.
pub(super) fn growth(harness: &mut Harness) -> Result {
    let (small, large) = (10_000, harness.options.large_rows);
    for contender in harness.few_gateways() {
        for round in 0..harness.options.rounds {
            let mut rates = Vec::new();
            for rows in [small, large] {
                let filling = Filling { ordinary: rows, ..Filling::default() };
                let store = harness.shared_store(contender, filling)?;
                let server = harness.start(contender, store.as_ref())?;
                let r = harness.measure(
                    &format!("growth-r-{rows}"),
                    contender,
                    round,
                    &server,
                    &fetches(contender, Chosen::Shared(rows), round),
                )?;
                let q = harness.measure(&format!("growth-q-{rows}"), contender, round, &server, &histories(a_page_of_few(rows), round))?;
                rates.push((r, q));
                server.stop()?;
            }
            if let [before, after] = rates.as_slice() {
                harness.results.figure(&format!("growth-r/{contender}"), after.0 / before.0);
                harness.results.figure(&format!("growth-q/{contender}"), after.1 / before.1);
            }
        }
        harness.drop_store(contender, Filling { ordinary: large, ..Filling::default() })?;
    }
    Ok(())
}

/// What the sets of cold rows share.
pub(super) fn cold(harness: &Harness) -> Filling {
    Filling { ordinary: harness.options.rows, heavy: harness.options.heavy, ..Filling::default() }
}

/// All records of a user with few, the users at random.
fn a_page_of_few(sessions: u64) -> Page {
    Page { first_user: 0, users: users(sessions), number: 1, size: names::RECORDS_A_USER, total: names::RECORDS_A_USER }
}

fn of_heavy(total: u64, number: u64, size: u64) -> Page {
    Page { first_user: names::HEAVY, users: 1, number, size, total }
}

/// How many seconds one request takes.
fn once(server: &Server, work: &mut dyn Work) -> Result<f64> {
    let mut stream = TcpStream::connect(server.address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let began = Instant::now();
    stream.write_all(work.next().ok_or("nothing to ask")?)?;
    let (mut bytes, mut part) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let read = stream.read(&mut part)?;
        bytes.extend_from_slice(part.get(..read).unwrap_or_default());
        if let Some((answer, _)) = wire::answer(&bytes)? {
            let took = began.elapsed();
            return match work.check(&answer) {
                Verdict::Right => Ok(took.as_secs_f64()),
                _ => Err(format!(
                    "a wrong answer: {} {:?}",
                    answer.status,
                    String::from_utf8_lossy(answer.body).chars().take(200).collect::<String>()
                )
                .into()),
            };
        }
        if read == 0 {
            return Err("the server closed the connection".into());
        }
    }
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
