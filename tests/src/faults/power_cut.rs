//! The power of the disk is cut while bots post. By hand (`just power-cut`): it needs root and programs that few machines have.

use std::env;
use std::io::{self, Write as _};
use std::sync::Once;

use calldata_testkit::careless::{self, Careless};
use calldata_testkit::integrity;
use calldata_testkit::load::{Credentials, Load, Verdict};
use calldata_testkit::power_rig::PowerRig;
use calldata_testkit::program::Place;

use super::{BOTS, Dice, PATIENCE, alone, ready};

/// How often the power is cut.
const CUTS: &str = "CALLDATA_POWER_CUTS";

/// A test that is told how often; where nobody asked for it, that it is left out is said aloud.
fn by_hand(test: impl AsyncFnOnce(u32)) {
    static SAID: Once = Once::new();
    let Ok(cuts) = env::var(CUTS) else {
        // Written past the test harness, which hides what passing tests print.
        SAID.call_once(|| drop(writeln!(io::stderr(), "NOT COVERED: a cut of the power (by hand: just power-cut)")));
        return;
    };
    alone(test(cuts.parse().unwrap_or_else(|_| panic!("{CUTS} is a number"))));
}

#[test]
fn a_cut_of_the_power_loses_nothing() {
    by_hand(async |cuts| {
        let (mut dice, mut total) = (Dice(11), Verdict::default());
        for cut in 0..cuts {
            let mut rig = PowerRig::new();
            let on_disk =
                |rig: &PowerRig| Place::new().with("CALLDATA_DATABASE_URL", format!("sqlite://{}/calldata.db", rig.path().display()));
            let place = on_disk(&rig).with("CALLDATA_TOKEN_SECRET", "a token secret for faults, 32 bytes or more");
            let credentials = Credentials::make(&place, "c");
            let (served, _) = ready(&place).await;
            let mut load = Load::start(&format!("cut {cut}"), served.address, &credentials, BOTS);
            // Enough that the log was moved into the database in some of the runs.
            load.acknowledges(50 + usize::try_from(dice.below(2_000)).unwrap(), PATIENCE).await;
            rig.cut();
            let acknowledged = load.acknowledged();
            // It may have noticed by itself that its disk is gone.
            drop(served);
            load.stop().await;
            assert!(acknowledged >= 50, "there was something to lose");
            rig.power_again();
            assert_eq!(integrity::of_sqlite(&rig.path().join("calldata.db")).await, "ok");
            let place = on_disk(&rig).with("CALLDATA_TOKEN_SECRET", "a token secret for faults, 32 bytes or more");
            let (served, _) = ready(&place).await;
            load.repeat_unknown(served.address).await;
            let verdict = load.verify(served.address).await;
            verdict.assert_kept();
            total.add(verdict);
            served.kill();
        }
        println!("power cut {cuts} times: {total}");
    });
}

#[test]
fn the_same_cut_loses_what_is_not_made_durable() {
    by_hand(async |cuts| {
        let (mut acknowledged, mut kept) = (0, 0);
        for _ in 0..cuts {
            let mut rig = PowerRig::new();
            let mut careless = Careless::create(&rig.path().join("control.db")).await;
            careless.commit(1_500).await;
            rig.cut();
            acknowledged += careless.abandon().await;
            rig.power_again();
            kept += careless::rows_of(&rig.path().join("control.db")).await;
        }
        assert!(kept < acknowledged, "the control lost nothing: the rig proves nothing");
        println!("power cut {cuts} times, control with synchronous=NORMAL: {acknowledged} acknowledged, {} lost", acknowledged - kept);
    });
}
