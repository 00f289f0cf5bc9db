//! Bots that post, remember what they were told, and later want it all back.
//!
//! A bot posts one record after another and repeats what was refused or not answered, as a bot does. What was answered with `success` is
//! acknowledged. [`Load::verify`] then asks for everything in both dialects: what was acknowledged is there once and whole, what was not
//! is there whole or not at all.

#![expect(clippy::indexing_slicing, reason = "a member that a JSON value lacks is null")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::{Answer, Client};
use crate::program::Place;

mod record;
mod verdict;

pub use record::Record;
pub use verdict::{Verdict, fetch};

/// How long a bot waits for an answer; far more than any answer may take.
const BOT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a bot waits before it posts again what was refused. Much less than it is asked to, so that recovery is seen at once.
const BEFORE_REPEAT: Duration = Duration::from_millis(50);
/// One record in so many is posted again although it was acknowledged, as if the answer had been lost.
const REPEATED: u32 = 8;

/// A tenant and a key of it, as bots and operators know them.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The tenant in the Parloa dialect.
    pub client_id: String,
    /// The tenant in the OIFDE dialect.
    pub tenant_id: String,
    /// A key that reads and writes.
    pub key: String,
}

impl Credentials {
    /// Adds a tenant and a key.
    ///
    /// # Panics
    /// When they cannot be added.
    pub fn make(place: &Place, client_id: &str) -> Self {
        let tenant_id = format!("t-{client_id}");
        place.run(&["tenant", "create", "--name", client_id, "--client-id", client_id, "--tenant-id", &tenant_id, "--json"]).json();
        let made = place.run(&["key", "create", "--client-id", client_id, "--json"]).json();
        let key = made["key"].as_str().expect("a key is shown once").to_owned();
        Self { client_id: client_id.to_owned(), tenant_id, key }
    }
}

/// What bots were told so far.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Records that are stored, as the gateway said.
    pub acknowledged: BTreeSet<Record>,
    /// Records of which nobody told what became of them.
    pub unknown: BTreeSet<Record>,
    /// How often a post was refused with a time to repeat it.
    pub refused: u64,
    /// How often there was no answer, as the connection ended.
    pub unanswered: u64,
    /// Answers that no bot should ever get.
    pub wrong: Vec<String>,
    /// The longest that a bot had to wait for an answer, or for nothing.
    pub slowest: Duration,
}

/// What became of a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored.
    Acknowledged,
    /// It is to be posted again.
    Refused,
    /// There was no answer.
    Unanswered,
    /// Anything else.
    Wrong(String),
}

impl Outcome {
    /// What an answer to a post says.
    pub fn of(answer: &Answer) -> Self {
        match answer.status {
            200 if answer.text() == r#"{"choice":"success","output":{}}"# => Self::Acknowledged,
            429 | 503 if answer.header("retry-after").is_some() => Self::Refused,
            status => Self::Wrong(format!("{status} {:?} {}", answer.header("retry-after"), answer.text())),
        }
    }
}

/// Bots that post to one gateway until they are stopped.
#[derive(Debug)]
pub struct Load {
    name: Arc<str>,
    bots: u32,
    credentials: Credentials,
    told: Arc<Mutex<Told>>,
    stopping: Arc<AtomicBool>,
    running: JoinSet<()>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl Load {
    /// So many bots begin to post. The name is part of everything they post, and must be another one for each load.
    pub fn start(name: &str, address: SocketAddr, credentials: &Credentials, bots: u32) -> Self {
        let mut load = Self {
            name: name.into(),
            bots,
            credentials: credentials.clone(),
            told: Arc::default(),
            stopping: Arc::default(),
            running: JoinSet::new(),
        };
        let client = Client::new(address);
        for bot in 0..bots {
            let bot = Bot {
                name: Arc::clone(&load.name),
                number: bot,
                client: client.clone(),
                credentials: load.credentials.clone(),
                told: Arc::clone(&load.told),
                stopping: Arc::clone(&load.stopping),
            };
            load.running.spawn(bot.run());
        }
        load
    }

    /// What the bots were told so far.
    pub fn told(&self) -> MutexGuard<'_, Told> {
        locked(&self.told)
    }

    /// How many records are acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.told().acknowledged.len()
    }

    /// Waits until so many more records are acknowledged.
    ///
    /// # Panics
    /// When that takes longer than `within`.
    pub async fn acknowledges(&self, more: usize, within: Duration) -> Duration {
        let wanted = self.acknowledged() + more;
        let what = format!("{more} more records are acknowledged by the bots of {}", self.name);
        let began = Instant::now();
        crate::program::eventually(&what, within, async || self.acknowledged() >= wanted).await;
        began.elapsed()
    }

    /// Lets every bot finish the request that is under way, and stops.
    ///
    /// # Panics
    /// When a bot did.
    pub async fn stop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        while let Some(stopped) = self.running.join_next().await {
            stopped.expect("a bot does not panic");
        }
    }

    /// Posts everything again of which nobody told what became of it, until it is acknowledged.
    ///
    /// # Panics
    /// When the gateway does not take it.
    pub async fn repeat_unknown(&self, address: SocketAddr) {
        let client = Client::new(address);
        let unknown = std::mem::take(&mut self.told().unknown);
        for record in unknown {
            let began = Instant::now();
            while post(&client, &self.credentials, &record).await != Outcome::Acknowledged {
                assert!(began.elapsed() < BOT_PATIENCE, "{} is not taken", record.call_id());
                tokio::time::sleep(BEFORE_REPEAT).await;
            }
            self.told().acknowledged.insert(record);
        }
    }

    /// Whether the gateway at this address gives a record back, whole.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn reads(&self, address: SocketAddr, record: &Record) -> bool {
        let answer = verdict::fetch(&Client::new(address), &self.credentials, record).await;
        answer.status == 200 && record.is_told_by(&answer.json()).is_ok()
    }

    /// Asks the gateway at this address for everything, in both dialects.
    ///
    /// # Panics
    /// When the gateway does not answer.
    pub async fn verify(&self, address: SocketAddr) -> Verdict {
        let told = self.told().clone();
        let mut by_bot: BTreeMap<u32, Vec<Record>> = (0..self.bots).map(|bot| (bot, Vec::new())).collect();
        for record in told.acknowledged {
            by_bot.entry(record.bot()).or_default().push(record);
        }
        let client = Client::new(address);
        let mut asking = JoinSet::new();
        for (bot, acknowledged) in by_bot {
            asking.spawn(verdict::of_bot(client.clone(), self.credentials.clone(), Arc::clone(&self.name), bot, acknowledged));
        }
        let mut verdict = Verdict { wrong: told.wrong, ..Verdict::default() };
        while let Some(of_bot) = asking.join_next().await {
            verdict.add(of_bot.expect("asking does not panic"));
        }
        verdict
    }
}

/// One bot.
struct Bot {
    name: Arc<str>,
    number: u32,
    client: Client,
    credentials: Credentials,
    told: Arc<Mutex<Told>>,
    stopping: Arc<AtomicBool>,
}

impl Bot {
    async fn run(self) {
        for sequence in 0.. {
            if self.is_stopping() {
                return;
            }
            let record = Record::new(Arc::clone(&self.name), self.number, sequence);
            while !self.posted(&record).await {
                if self.is_stopping() {
                    return;
                }
                tokio::time::sleep(BEFORE_REPEAT).await;
            }
            if sequence % REPEATED == 0 {
                self.posted(&record).await;
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Posts a record; whether it need not be posted again.
    async fn posted(&self, record: &Record) -> bool {
        let began = Instant::now();
        let outcome = post(&self.client, &self.credentials, record).await;
        let mut told = locked(&self.told);
        told.slowest = told.slowest.max(began.elapsed());
        let is_done = matches!(outcome, Outcome::Acknowledged | Outcome::Wrong(_));
        match outcome {
            Outcome::Acknowledged => {
                told.unknown.remove(record);
                told.acknowledged.insert(record.clone());
                return true;
            }
            Outcome::Refused => told.refused += 1,
            Outcome::Unanswered => told.unanswered += 1,
            Outcome::Wrong(answer) => told.wrong.push(answer),
        }
        // It stays acknowledged when only its repetition was not.
        if !told.acknowledged.contains(record) {
            told.unknown.insert(record.clone());
        }
        is_done
    }
}

/// Posts a record once.
///
/// # Panics
/// When the answer is one that the API description does not allow.
pub async fn post(client: &Client, credentials: &Credentials, record: &Record) -> Outcome {
    let path = format!("/api/CallData?clientId={}", credentials.client_id);
    let body = record.body().into_bytes();
    let headers = [("x-functions-key", credentials.key.as_str())];
    let answer = client.try_request("POST", &path, &headers, body);
    match tokio::time::timeout(BOT_PATIENCE, answer).await {
        Ok(Ok(answer)) => Outcome::of(&answer),
        Ok(Err(_)) => Outcome::Unanswered,
        Err(_) => Outcome::Wrong(format!("no answer within {BOT_PATIENCE:?}")),
    }
}

fn locked(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}
