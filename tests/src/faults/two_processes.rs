//! Two processes on one SQLite file, one of which is killed.

use calldata_testkit::load::{Credentials, Load, Verdict};
use calldata_testkit::program::Place;

use super::{BOTS, PATIENCE, alone, ready, times};

#[test]
fn the_death_of_one_process_takes_nothing_from_the_other() {
    alone(async {
        let place = Place::new();
        let url = format!("sqlite://{}", place.path("calldata.db").display());
        let beside = Place::new().with("CALLDATA_DATABASE_URL", url);
        let credentials = Credentials::make(&place, "c");
        let (stays, _) = ready(&place).await;
        let mut staying = Load::start("stays", stays.address, &credentials, BOTS / 2);
        let (cycles, mut total) = (times(5, 200), Verdict::default());
        for cycle in 0..cycles {
            let (dies, _) = ready(&beside).await;
            let mut dying = Load::start(&format!("dies {cycle}"), dies.address, &credentials, BOTS / 2);
            dying.acknowledges(20, PATIENCE).await;
            staying.acknowledges(20, PATIENCE).await;
            dies.kill();
            dying.stop().await;
            staying.acknowledges(20, PATIENCE).await;
            dying.repeat_unknown(stays.address).await;
            let verdict = dying.verify(stays.address).await;
            verdict.assert_kept();
            total.add(verdict);
        }
        staying.stop().await;
        assert_eq!(staying.told().unanswered, 0, "who posts to the other one feels nothing");
        // Neither from the one that stayed, nor for the next one.
        staying.verify(stays.address).await.assert_kept();
        stays.kill();
        let (served, _) = ready(&place).await;
        let verdict = staying.verify(served.address).await;
        verdict.assert_kept();
        total.add(verdict);
        println!("two processes on one file, one killed {cycles} times: {total}");
    });
}
