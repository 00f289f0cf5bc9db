//! Nothing that was acknowledged is lost: processes that are killed, disks that are full or fail, servers and networks that go away,
//! clients that hang up. Each test prints its figures in one line.
//!
//! The short form runs with all tests; `CALLDATA_LONG=1` (`just faults-long`) makes it many times longer. To add a fault: a module
//! here, a test that takes its turn with [`alone`] or [`turn`], a load that is verified, and a line in `docs/reliability.md`.

use std::env;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use calldata_testkit::program::{Place, Served, eventually};

mod clock_step;
mod full_disk;
mod hung_up;
mod injected;
mod killed;
mod postgres;
mod power_cut;
mod pushed;
mod torn_log;
mod two_processes;
mod wrong_clock;

/// How many bots post at the same time.
const BOTS: u32 = 16;
/// Far more than anything takes that goes on.
const PATIENCE: Duration = Duration::from_secs(30);

/// These tests need the machine for themselves, as far as the other tests leave it: one at a time.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // Who panicked before has no part in who comes next.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A test that waits for its turn.
fn alone(test: impl Future<Output = ()>) {
    let _turn = turn();
    tokio::runtime::Runtime::new().unwrap().block_on(test);
}

/// How often something is done: in the short form that runs with all tests, and in the long one.
fn times(short: u32, long: u32) -> u32 {
    if env::var_os("CALLDATA_LONG").is_some() { long } else { short }
}

/// Starts the program, and waits until it is ready; how long that took from the start of the process.
async fn ready(place: &Place) -> (Served, Duration) {
    let began = Instant::now();
    let served = place.serve(&[]);
    is_ready(&served).await;
    (served, began.elapsed())
}

async fn is_ready(served: &Served) {
    let client = served.client();
    eventually("the gateway is ready", PATIENCE, async || is_well(&client).await).await;
}

async fn is_well(client: &calldata_testkit::client::Client) -> bool {
    client.try_request("GET", "/readyz", &[], Vec::new()).await.is_ok_and(|answer| answer.status == 200)
}

/// Pseudo-random numbers, the same in every run.
struct Dice(u64);

impl Dice {
    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        // Knuth's constants for a linear congruential generator; the low bits are the weak ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
