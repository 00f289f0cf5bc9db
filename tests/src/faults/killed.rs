//! `kill -9` of the gateway while bots post.

use std::time::Duration;

use calldata_testkit::engine::{Engine, TestDatabase, on};
use calldata_testkit::load::{Credentials, Load, Verdict};
use calldata_testkit::program::Place;

use super::{BOTS, Dice, PATIENCE, alone, ready, times, turn};

/// In which the gateway has to be ready again.
const READY_AGAIN: Duration = Duration::from_secs(2);

/// Each cycle starts the gateway, lets the bots post what nobody knows of the cycle before, asks for everything of that cycle, and kills
/// the gateway at some moment while bots post.
async fn killed_again_and_again(place: &Place, cycles: u32) -> String {
    let credentials = Credentials::make(place, "c");
    let mut dice = Dice(7);
    let (mut total, mut slowest) = (Verdict::default(), Duration::ZERO);
    let mut before: Option<Load> = None;
    for cycle in 0..=cycles {
        let (served, took) = ready(place).await;
        if let Some(before) = before.take() {
            slowest = slowest.max(took);
            // A retry after an unknown outcome is the same record.
            before.repeat_unknown(served.address).await;
            let verdict = before.verify(served.address).await;
            verdict.assert_kept();
            assert_eq!(verdict.unasked, 0, "everything that is there is acknowledged by now");
            total.add(verdict);
        }
        if cycle < cycles {
            let mut load = Load::start(&format!("cycle {cycle}"), served.address, &credentials, BOTS);
            load.acknowledges(1 + usize::try_from(dice.below(60)).unwrap(), PATIENCE).await;
            tokio::time::sleep(Duration::from_millis(dice.below(150))).await;
            served.kill();
            load.stop().await;
            assert!(load.told().unanswered > 0, "it was killed while bots posted");
            before = Some(load);
        }
    }
    assert!(slowest <= READY_AGAIN, "ready again after {slowest:?}");
    format!("{cycles} cycles, {total}, ready again ≤ {} ms", slowest.as_millis())
}

#[test]
fn what_was_acknowledged_survives_kill_9_on_sqlite() {
    alone(async {
        let figures = killed_again_and_again(&Place::new(), times(20, 1_000)).await;
        println!("kill -9 on SQLite: {figures}");
    });
}

#[test]
fn what_was_acknowledged_survives_kill_9_on_postgres() {
    let _turn = turn();
    on(&[Engine::Postgres], TestDatabase::new, async |database| {
        let figures = killed_again_and_again(&Place::with_database(database), times(5, 50)).await;
        println!("kill -9 of the gateway on PostgreSQL: {figures}");
    });
}
