//! A disk that is full, and has room again.

use std::time::{Duration, Instant};

use calldata_testkit::load::{Credentials, Load};
use calldata_testkit::program::{Place, eventually};
use calldata_testkit::small_disk::SmallDisk;

use super::{BOTS, PATIENCE, alone, is_well, ready, times};

/// Log and database fit, and not much more.
const DISK_KIB: u32 = 64 * 1024;
/// Refusals without any success between them, after which a disk counts as full.
const REFUSALS: u64 = 100;
/// In which posts have to succeed again once there is room.
const HEALED: Duration = Duration::from_secs(5);

/// A commit that fails for want of room must not leave a connection behind whose later commits commit nothing: what was acknowledged
/// after the disk was freed would be gone with the process.
#[test]
fn what_was_acknowledged_after_a_full_disk_has_room_again_is_there_for_the_next_process() {
    alone(async {
        let disk = SmallDisk::of_kib(DISK_KIB);
        let place = Place::new().with("CALLDATA_DATABASE_URL", format!("sqlite://{}", disk.path("calldata.db").display()));
        let credentials = Credentials::make(&place, "c");
        let (served, _) = ready(&place).await;
        let mut load = Load::start("full", served.address, &credentials, BOTS);
        let rounds = times(3, 30);
        let mut healed = Duration::ZERO;
        for _ in 0..rounds {
            load.acknowledges(40, PATIENCE).await;
            until_refused(&disk, &load).await;
            let stored = load.told().acknowledged.iter().next().cloned().unwrap();
            assert!(load.reads(served.address, &stored).await, "what is stored is read while the disk is full");
            disk.free();
            healed = healed.max(load.acknowledges(1, HEALED).await);
        }
        load.acknowledges(100, PATIENCE).await;
        load.stop().await;
        // A process of its own sees what was committed, and nothing else.
        let beside = Place::new().with("CALLDATA_DATABASE_URL", format!("sqlite://{}", disk.path("calldata.db").display()));
        let (other, _) = ready(&beside).await;
        load.verify(other.address).await.assert_kept();
        other.kill();
        served.kill();
        let (served, _) = ready(&place).await;
        load.repeat_unknown(served.address).await;
        let verdict = load.verify(served.address).await;
        verdict.assert_kept();
        let (refused, healed) = (load.told().refused, healed.as_millis());
        println!("disk full: {rounds} times, {refused} refused, none otherwise, {verdict}, stored again after ≤ {healed} ms");
    });
}

/// A start on a full disk says what is wrong in one line, or serves; and once there is room it serves as before.
#[test]
fn a_start_on_a_full_disk_loses_nothing() {
    alone(async {
        let disk = SmallDisk::of_kib(DISK_KIB);
        let place = Place::new().with("CALLDATA_DATABASE_URL", format!("sqlite://{}", disk.path("calldata.db").display()));
        let credentials = Credentials::make(&place, "c");
        let (served, _) = ready(&place).await;
        let mut load = Load::start("before", served.address, &credentials, BOTS);
        load.acknowledges(100, PATIENCE).await;
        served.kill();
        load.stop().await;
        disk.fill();
        let on_full = match place.try_serve(&[]) {
            Ok(served) => {
                let client = served.client();
                eventually("the gateway is ready", PATIENCE, async || is_well(&client).await).await;
                load.verify(served.address).await.assert_kept();
                served.kill();
                "serves"
            }
            Err(ended) => {
                ended.failure();
                "is refused in one line"
            }
        };
        disk.free();
        let (served, _) = ready(&place).await;
        load.repeat_unknown(served.address).await;
        let verdict = load.verify(served.address).await;
        verdict.assert_kept();
        println!("a start on a full disk: {on_full}; with room again {verdict}");
    });
}

/// Fills the disk until nothing but refusals is answered. The log has room of its own that is used up first.
async fn until_refused(disk: &SmallDisk, load: &Load) {
    let began = Instant::now();
    loop {
        disk.fill();
        let (known, refused) = (load.acknowledged(), load.told().refused);
        let is_answered = async || load.acknowledged() != known || load.told().refused >= refused + REFUSALS;
        eventually("posts are refused", PATIENCE, is_answered).await;
        assert_eq!(load.told().wrong, Vec::<String>::new(), "nothing but refusals");
        if load.acknowledged() == known {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "posts are acknowledged that no disk can hold");
    }
}
