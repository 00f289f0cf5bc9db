//! Whether everything that was acknowledged is there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{BEFORE_REPEAT, Credentials, Record, record};
use crate::client::{Answer, Client};

/// How long a question is repeated that is refused.
const ASKING_PATIENCE: Duration = Duration::from_secs(10);
const PAGE_SIZE: usize = 100;
/// The newest record of a call, however old: a test that takes a day is none.
const A_DAY_S: u32 = 86_400;

/// What became of a load's records.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// How many were acknowledged.
    pub acknowledged: usize,
    /// Those that are not found, although they were acknowledged.
    pub lost: Vec<String>,
    /// Those that are found, and are not what was posted.
    pub partial: Vec<String>,
    /// Those that are found more than once.
    pub doubled: Vec<String>,
    /// How many are there although nobody was told so; they may be.
    pub unasked: usize,
    /// Answers that no bot should have got.
    pub wrong: Vec<String>,
}

impl Verdict {
    /// Adds what became of others.
    pub fn add(&mut self, other: Self) {
        let Self { acknowledged, lost, partial, doubled, unasked, wrong } = other;
        self.acknowledged += acknowledged;
        self.lost.extend(lost);
        self.partial.extend(partial);
        self.doubled.extend(doubled);
        self.unasked += unasked;
        self.wrong.extend(wrong);
    }

    /// Nothing is lost, partial or there twice, and no answer was wrong.
    ///
    /// # Panics
    /// When something is, or nothing was acknowledged at all.
    #[track_caller]
    pub fn assert_kept(&self) {
        assert!(self.acknowledged > 0, "nothing was acknowledged: {:?}", self.wrong.first());
        let first = [&self.lost, &self.partial, &self.doubled, &self.wrong].map(|some| some.iter().take(3).collect::<Vec<_>>());
        assert!(first.iter().all(Vec::is_empty), "{self}, {} answers wrong: {first:?}", self.wrong.len());
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, lost, partial, doubled, .. } = self;
        write!(f, "{acknowledged} acknowledged, {} lost, {} partial, {} twice", lost.len(), partial.len(), doubled.len())
    }
}

/// Asks for each record that was acknowledged, and then for all that there are of the bot.
pub(super) async fn of_bot(client: Client, credentials: Credentials, load: Arc<str>, bot: u32, acknowledged: Vec<Record>) -> Verdict {
    let mut verdict = Verdict { acknowledged: acknowledged.len(), ..Verdict::default() };
    for record in &acknowledged {
        let told = asked(|| fetch(&client, &credentials, record)).await;
        if told["callid"] != json!(record.call_id()) {
            verdict.lost.push(format!("{}: {told}", record.call_id()));
        } else if let Err(difference) = record.is_told_by(&told) {
            verdict.partial.push(difference);
        }
    }
    let mut listed: BTreeMap<Record, usize> = BTreeMap::new();
    for row in history(&client, &credentials, &record::caller(&load, bot)).await {
        let Some(record) = row["callId"].as_str().and_then(Record::of_call) else {
            verdict.partial.push(format!("a record of nobody: {row}"));
            continue;
        };
        if let Err(difference) = record.is_listed_as(&row) {
            verdict.partial.push(difference);
        }
        *listed.entry(record).or_default() += 1;
    }
    verdict.doubled.extend(listed.iter().filter(|(_, times)| **times > 1).map(|(record, _)| record.call_id()));
    verdict.lost.extend(
        acknowledged.iter().filter(|record| !listed.contains_key(record)).map(|record| format!("{}: not listed", record.call_id())),
    );
    verdict.unasked = listed.keys().filter(|record| acknowledged.binary_search(record).is_err()).count();
    verdict
}

/// The answer to who asks for a record once.
///
/// # Panics
/// When there is no answer.
pub async fn fetch(client: &Client, credentials: &Credentials, record: &Record) -> Answer {
    let (call, caller) = (record.call_id().replace(' ', "%20"), record.caller().replace(' ', "%20"));
    let path = format!("/api/CallData?clientId={}&timeLimit={A_DAY_S}&callid={call}&caller={caller}", credentials.client_id);
    let headers = [("x-functions-key", credentials.key.as_str())];
    client.request("GET", &path, &headers, Vec::new()).await
}

/// All records of a caller.
async fn history(client: &Client, credentials: &Credentials, caller: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for page in 1.. {
        let question = json!({
            "tenantId": credentials.tenant_id, "authToken": credentials.key, "userMobile": caller, "pageNum": page, "pageSize": PAGE_SIZE,
        });
        let answer = asked(|| client.request("POST", "/oifde/rest/api/queryRecordHistory", &[], question.to_string().into_bytes())).await;
        let records = answer["recordList"].as_array().cloned().unwrap_or_default();
        let is_last = records.len() < PAGE_SIZE;
        all.extend(records);
        if is_last {
            assert_eq!(answer["total"], json!(all.len()), "the pages hold what the total says");
            break;
        }
    }
    all
}

/// The first answer that is no refusal.
async fn asked<A: Future<Output = Answer>>(question: impl Fn() -> A) -> Value {
    let began = Instant::now();
    loop {
        let answer = question().await;
        if !matches!(answer.status, 429 | 503) {
            return answer.json();
        }
        assert!(began.elapsed() < ASKING_PATIENCE, "the gateway does not say what it holds: {}", answer.text());
        tokio::time::sleep(BEFORE_REPEAT).await;
    }
}
