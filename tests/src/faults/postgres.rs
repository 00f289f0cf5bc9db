//! A PostgreSQL that is killed, restarted, or not to be reached, under a gateway that goes on.

use std::time::{Duration, Instant};

use calldata_testkit::engine::Engine;
use calldata_testkit::fault_proxy::{FaultProxy, Network};
use calldata_testkit::load::{Credentials, Load};
use calldata_testkit::postgres_server::PostgresServer;
use calldata_testkit::program::{Place, Served, eventually};

use super::{BOTS, PATIENCE, alone, is_well, ready, times};

/// In which every request is answered (PAR-P8), and what a machine with other things to do may add.
const ANSWERED: Duration = Duration::from_millis(3_000 + 500);
/// In which a gateway whose server is back has to store again.
const HEALED: Duration = Duration::from_secs(5);
/// How long a network is gone: longer than any deadline.
const GONE: Duration = Duration::from_secs(6);
/// The bounds of all pools: one of ten, and four of one with three spares: to write, for readiness, upkeep and listening. And those that a
/// task keeps: one for the group commit, three for lookups.
const CONNECTIONS: i64 = 10 + 4 * 4 + 1 + 3;

/// A server of its own, a network in front of it, and a gateway behind that.
struct Setting {
    server: PostgresServer,
    network: FaultProxy,
    place: Place,
    served: Served,
    load: Load,
}

impl Setting {
    async fn new(name: &str) -> Self {
        let server = PostgresServer::start();
        let network = FaultProxy::before(server.port()).await;
        let place = Place::new()
            .with("CALLDATA_DATABASE_URL", PostgresServer::url_by(network.port()))
            .with("CALLDATA_TOKEN_SECRET", "a token secret for faults, 32 bytes or more");
        let credentials = Credentials::make(&place, "c");
        let (served, _) = ready(&place).await;
        let load = Load::start(name, served.address, &credentials, BOTS);
        load.acknowledges(100, PATIENCE).await;
        // Asks for much at once, so that every connection is there that may be.
        load.verify(served.address).await.assert_kept();
        Self { server, network, place, served, load }
    }

    /// How long it takes from now until posts are stored, records are found, and the gateway says that it is well.
    async fn healed(&self) -> Duration {
        let began = Instant::now();
        let client = self.served.client();
        let stored = self.load.told().acknowledged.iter().next().cloned().unwrap();
        let stores = async { self.load.acknowledges(usize::try_from(BOTS).unwrap(), HEALED).await };
        let reads = eventually("records are found again", HEALED, async || self.load.reads(self.served.address, &stored).await);
        let well = eventually("the gateway is well again", HEALED, async || is_well(&client).await);
        tokio::join!(stores, reads, well);
        began.elapsed()
    }

    /// Everything is kept, in the gateway that went through it and in a fresh one; everybody was answered in time; no connection leaked.
    async fn settled(mut self) -> String {
        self.load.stop().await;
        let few = async || self.server.connections_of("calldata-gateway").await <= CONNECTIONS;
        eventually("there are no more connections than before", PATIENCE, few).await;
        let connections = self.server.connections_of("calldata-gateway").await;
        self.load.repeat_unknown(self.served.address).await;
        self.load.verify(self.served.address).await.assert_kept();
        self.served.kill();
        let (served, _) = ready(&self.place).await;
        let verdict = self.load.verify(served.address).await;
        verdict.assert_kept();
        let told = self.load.told();
        assert!(told.slowest <= ANSWERED, "a bot waited {:?}", told.slowest);
        assert_eq!(told.unanswered, 0, "everybody is answered");
        let (refused, slowest) = (told.refused, told.slowest.as_millis());
        format!("{verdict}, {refused} refused, answered within ≤ {slowest} ms, {connections} connections afterwards")
    }
}

fn with_postgres(test: impl Future<Output = ()>) {
    if Engine::all().contains(&Engine::Postgres) {
        alone(test);
    }
}

#[test]
fn a_server_that_is_killed_loses_nothing_and_is_felt_as_busy() {
    with_postgres(async {
        let setting = Setting::new("killed").await;
        let (cycles, mut slowest) = (times(2, 20), Duration::ZERO);
        for _ in 0..cycles {
            setting.server.kill();
            let refused = setting.load.told().refused;
            eventually("posts are refused", PATIENCE, async || setting.load.told().refused > refused + 50).await;
            setting.server.start_again();
            slowest = slowest.max(setting.healed().await);
        }
        println!("PostgreSQL killed {cycles} times: {}, healed ≤ {} ms", setting.settled().await, slowest.as_millis());
    });
}

#[test]
fn a_server_that_is_restarted_loses_nothing() {
    with_postgres(async {
        let setting = Setting::new("restarted").await;
        let (cycles, mut slowest) = (times(1, 20), Duration::ZERO);
        for _ in 0..cycles {
            setting.server.restart();
            slowest = slowest.max(setting.healed().await);
        }
        println!("PostgreSQL restarted {cycles} times: {}, healed ≤ {} ms", setting.settled().await, slowest.as_millis());
    });
}

#[test]
fn connections_that_are_reset_lose_nothing() {
    with_postgres(async {
        let setting = Setting::new("reset").await;
        let (cycles, mut slowest) = (times(5, 100), Duration::ZERO);
        for _ in 0..cycles {
            setting.network.set(Network::Resets);
            let refused = setting.load.told().refused;
            eventually("posts are refused", PATIENCE, async || setting.load.told().refused > refused).await;
            setting.network.set(Network::Passes);
            slowest = slowest.max(setting.healed().await);
        }
        println!("connections reset {cycles} times: {}, healed ≤ {} ms", setting.settled().await, slowest.as_millis());
    });
}

/// Nobody knows what became of a commit whose answer is lost: the bot is told to repeat, and the retry is the same record.
#[test]
fn a_commit_whose_answer_is_lost_is_repeated_and_is_one_record() {
    with_postgres(async {
        let mut setting = Setting::new("unknown").await;
        setting.network.set(Network::LosesCommits);
        let refused = setting.load.told().refused;
        let enough = refused + 2 * u64::from(BOTS);
        eventually("posts are refused", PATIENCE, async || setting.load.told().refused > enough).await;
        setting.load.stop().await;
        let unknown = setting.load.told().unknown.len();
        setting.network.set(Network::Passes);
        let before = setting.load.verify(setting.served.address).await;
        before.assert_kept();
        assert!(before.unasked > 0, "commits happened whose answers were lost");
        setting.load.repeat_unknown(setting.served.address).await;
        let after = setting.load.verify(setting.served.address).await;
        after.assert_kept();
        assert_eq!((after.unasked, after.acknowledged), (0, before.acknowledged + unknown), "the retry is the same record");
        let there = before.unasked;
        println!(
            "answers of commits lost: {unknown} records unknown, {there} of them there, one each after the retry: {}",
            setting.settled().await
        );
    });
}

#[test]
fn a_network_that_stalls_loses_nothing_and_makes_nobody_wait_longer() {
    with_postgres(gone_and_back("stalled", Network::Stalls, times(1, 10)));
}

#[test]
fn connections_that_died_in_silence_are_replaced() {
    with_postgres(gone_and_back("half-open", Network::IsHalfOpen, times(1, 10)));
}

async fn gone_and_back(name: &str, how: Network, cycles: u32) {
    let setting = Setting::new(name).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..cycles {
        setting.network.set(how);
        let refused = setting.load.told().refused;
        tokio::time::sleep(GONE).await;
        assert!(setting.load.told().refused > refused, "posts are refused meanwhile");
        setting.network.set(Network::Passes);
        slowest = slowest.max(setting.healed().await);
    }
    println!("network {name} {cycles} times for {GONE:?}: {}, healed ≤ {} ms", setting.settled().await, slowest.as_millis());
}
