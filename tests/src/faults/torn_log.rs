//! The end of SQLite's log as a crash may leave it: cut off at any byte, or with bits that are wrong.

use std::time::{Duration, Instant};

use calldata_core::{CallId, CallerKey, Country, DirectoryStore as _, SessionStore as _, Timestamp};
use calldata_store::{Database, Url};
use calldata_testkit::client::Client;
use calldata_testkit::load::{Credentials, Load, Outcome, Record, post};
use calldata_testkit::program::Place;

use super::{Dice, alone, is_well, ready, times};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// Where in a frame's header it says how large the database is after a commit; zero in all but the last frame of one.
const SIZE_AFTER_COMMIT: std::ops::Range<usize> = 4..8;
const COMMITS: u32 = 6;
const READY: Duration = Duration::from_secs(2);

/// What a gateway left behind that was killed after its last commit.
struct Left {
    database: Vec<u8>,
    log: Vec<u8>,
    /// Where each frame begins, and after it the end of the log.
    frames: Vec<usize>,
    /// Where each commit ends.
    commits: Vec<usize>,
    credentials: Credentials,
    /// What was acknowledged, one record a commit, in order.
    records: Vec<Record>,
}

impl Left {
    async fn behind() -> Self {
        let place = Place::new();
        let credentials = Credentials::make(&place, "c");
        let (served, _) = ready(&place).await;
        let client = Client::new(served.address);
        let records: Vec<_> = (0..COMMITS).map(|sequence| Record::new("torn".into(), 0, sequence)).collect();
        for record in &records {
            assert_eq!(post(&client, &credentials, record).await, Outcome::Acknowledged);
        }
        served.kill();
        let read = |name| std::fs::read(place.path(name)).unwrap();
        let (database, log) = (read("calldata.db"), read("calldata.db-wal"));
        let number = |at: usize| usize::try_from(u32::from_be_bytes(log[at..at + 4].try_into().unwrap())).unwrap();
        let frame_len = FRAME_HEADER + number(8);
        let frames: Vec<_> = (HEADER..=log.len()).step_by(frame_len).collect();
        let is_commit = |begin: &usize| number(begin + SIZE_AFTER_COMMIT.start) != 0;
        let commits: Vec<_> =
            frames.iter().filter(|begin| *begin + frame_len <= log.len()).filter(|b| is_commit(b)).map(|b| b + frame_len).collect();
        assert_eq!(commits.last(), Some(&log.len()), "nothing but whole commits");
        Self { database, log, frames, commits, credentials, records }
    }

    /// How many of the records a log must still hold that is good up to this byte. Before them the gateway wrote something of its own.
    fn kept(&self, good_until: usize) -> usize {
        let whole = self.commits.iter().filter(|end| **end <= good_until).count();
        whole.saturating_sub(self.commits.len() - self.records.len())
    }

    /// A place with this log. Each is a new one: whoever opened the one before may still be about to close it.
    fn with(&self, log: &[u8]) -> Place {
        let place = Place::new();
        place.write("calldata.db", &self.database);
        place.write("calldata.db-wal", log);
        place
    }

    /// Opens the database with this log; the records before `kept` must be there, and those from there on must not.
    async fn holds(&self, log: &[u8], kept: usize, what: &str) {
        let place = self.with(log);
        let url = Url::parse(&format!("sqlite://{}", place.path("calldata.db").display())).unwrap();
        let database = Database::open(&url).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let tenant = database.contents().await.unwrap_or_else(|error| panic!("{what}: {error:?}")).tenants.pop().unwrap();
        let scope = tenant.scope(Timestamp::clamped(tenant.created_at.epoch_ms() + 60_000));
        for (number, record) in self.records.iter().enumerate() {
            let caller = CallerKey::of(&record.caller(), Country::GERMANY);
            let found = database.newest(scope, &CallId::new(&record.call_id()).unwrap(), &caller).await;
            let found = found.unwrap_or_else(|error| panic!("{what}: {error:?}"));
            assert_eq!(found.is_some(), number < kept, "{what}: record {number} of {}, {kept} must be there", self.records.len());
            if let Some(session) = found {
                let fields = session.details.fields.iter().map(|(name, value)| format!("{name:?}:{}", value.as_str()));
                let content = session.details.content.as_ref().map_or("null", |content| content.as_str()).to_owned();
                let told = fields.chain([format!(r#""content":{content}"#)]).collect::<Vec<_>>().join(",");
                record.is_told_by(&serde_json::from_str(&format!("{{{told}}}")).unwrap()).unwrap();
            }
        }
    }
}

#[test]
fn a_log_that_ends_anywhere_or_has_wrong_bits_keeps_every_commit_before() {
    alone(async {
        let left = Left::behind().await;
        let two_frames = left.frames[left.frames.len() - 3];
        let (mut cut, mut flipped) = (0, 0);
        // In steps that meet every kind of byte of a frame, all of the header among them.
        let step = usize::try_from(times(61, 1)).unwrap();
        for end in two_frames..=left.log.len() {
            let from_frame = (end - HEADER) % (left.frames[1] - left.frames[0]);
            if from_frame <= FRAME_HEADER || end % step == 0 || end == left.log.len() {
                left.holds(&left.log[..end], left.kept(end), &format!("cut at {end}")).await;
                cut += 1;
            }
        }
        let mut dice = Dice(3);
        for _ in 0..times(64, 4_000) {
            let at = two_frames + usize::try_from(dice.below(u64::try_from(left.log.len() - two_frames).unwrap())).unwrap();
            let mut log = left.log.clone();
            log[at] ^= 1 << dice.below(8);
            left.holds(&log, left.kept(at), &format!("a wrong bit at {at}")).await;
            flipped += 1;
        }
        println!("torn log: cut at {cut} offsets of the last 2 frames, {flipped} wrong bits: every earlier commit there, the last absent");
    });
}

/// The program itself starts with such a log, keeps what it must, and takes new records.
#[test]
fn the_program_starts_with_a_torn_log() {
    alone(async {
        let left = Left::behind().await;
        let mut dice = Dice(5);
        let starts = times(5, 200);
        for start in 0..starts {
            let last_two = left.commits[left.commits.len() - 3];
            let end = last_two + usize::try_from(dice.below(u64::try_from(left.log.len() - last_two).unwrap())).unwrap();
            let place = left.with(&left.log[..end]);
            let began = Instant::now();
            let (served, _) = ready(&place).await;
            assert!(began.elapsed() <= READY && is_well(&served.client()).await, "cut at {end}");
            let mut load = Load::start(&format!("after {start}"), served.address, &left.credentials, 4);
            load.acknowledges(5, READY).await;
            for (number, record) in left.records.iter().enumerate() {
                assert_eq!(load.reads(served.address, record).await, number < left.kept(end), "cut at {end}: record {number}");
            }
            load.stop().await;
            served.kill();
            let (served, _) = ready(&place).await;
            load.verify(served.address).await.assert_kept();
        }
        println!("torn log: {starts} starts of the program, each ready within 2 s, earlier commits there, new ones kept");
    });
}
