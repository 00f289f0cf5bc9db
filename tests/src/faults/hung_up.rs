//! Clients that hang up: before they have said everything, right afterwards, or while they are answered.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use calldata_testkit::client::Client;
use calldata_testkit::load::{Credentials, Load, Record, fetch};
use calldata_testkit::program::Place;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{BOTS, Dice, PATIENCE, alone, ready, times};

/// How many hang up at the same time.
const CLIENTS: u32 = 32;

/// What a client saw of its request when it hung up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Saw {
    /// Not all of it was sent.
    Half,
    /// It was sent, and nobody read the answer, or all of it.
    Sent,
    /// It was answered with success.
    Success,
}

#[test]
fn a_post_whose_client_hangs_up_is_stored_whole_or_not_at_all() {
    alone(async {
        let place = Place::new();
        let credentials = Credentials::make(&place, "c");
        let (served, _) = ready(&place).await;
        let each = times(2_000, 50_000) / CLIENTS;
        let mut storm = JoinSet::new();
        for number in 0..CLIENTS {
            storm.spawn(hanging_up(number, each, served.address, credentials.clone()));
        }
        let saw: Vec<_> = storm.join_all().await.into_iter().flatten().collect();

        // The service is as before.
        let mut load = Load::start("afterwards", served.address, &credentials, BOTS);
        load.acknowledges(100, PATIENCE).await;
        load.stop().await;
        load.verify(served.address).await.assert_kept();

        let client = Client::new(served.address);
        let mut stored: BTreeMap<(Saw, bool), u32> = BTreeMap::new();
        for (record, saw) in &saw {
            let told = fetch(&client, &credentials, record).await.json();
            let is_there = told["callid"] == serde_json::json!(record.call_id());
            assert!(!is_there || record.is_told_by(&told).is_ok(), "{} is not whole: {told}", record.call_id());
            assert!(*saw != Saw::Half || !is_there, "{} was never sent whole", record.call_id());
            assert!(*saw != Saw::Success || is_there, "{} was acknowledged", record.call_id());
            *stored.entry((*saw, is_there)).or_default() += 1;
        }
        // None is there twice, and what was acknowledged is listed.
        let listed = Load::start("hung up", served.address, &credentials, 0);
        let acknowledged = saw.iter().filter(|(_, saw)| *saw == Saw::Success).map(|(record, _)| record.clone());
        listed.told().acknowledged.extend(acknowledged);
        let verdict = listed.verify(served.address).await;
        verdict.assert_kept();
        let count = |saw, there| stored.get(&(saw, there)).copied().unwrap_or_default();
        let [half, sent, lost] = [count(Saw::Half, false), count(Saw::Sent, true), count(Saw::Sent, false)];
        assert!(half > 100 && sent > 100, "every kind of hanging up was met: {stored:?}");
        println!(
            "hung up: {} posts: {half} never sent whole and absent; {sent} without a read answer and whole, {lost} and absent; {verdict}",
            saw.len()
        );
        served.stop();
    });
}

/// Posts so many records and hangs up on each at some point.
async fn hanging_up(number: u32, each: u32, address: SocketAddr, credentials: Credentials) -> Vec<(Record, Saw)> {
    let mut dice = Dice(u64::from(number));
    let mut saw = Vec::new();
    for sequence in 0..each {
        let record = Record::new(Arc::from("hung up"), number, sequence);
        let body = record.body();
        let (client, key) = (&credentials.client_id, &credentials.key);
        let request = format!(
            "POST /api/CallData?clientId={client} HTTP/1.1\r\nhost: {address}\r\nx-functions-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        if dice.below(2) == 0 {
            // Closed without a word to the other side.
            stream.set_zero_linger().unwrap();
        }
        let end = match dice.below(3) {
            0 => usize::try_from(dice.below(u64::try_from(request.len()).unwrap())).unwrap(),
            _ => request.len(),
        };
        stream.write_all(&request.as_bytes()[..end]).await.unwrap();
        let mut answer = String::new();
        if end == request.len() {
            // None of the answer, some of it, or as much as there is at once.
            let mut bytes = vec![0; [0, 10, 4096][usize::try_from(dice.below(3)).unwrap()]];
            let read = if bytes.is_empty() { 0 } else { stream.read(&mut bytes).await.unwrap() };
            answer = String::from_utf8_lossy(&bytes[..read]).into_owned();
        }
        drop(stream);
        let success = answer.ends_with(r#"{"choice":"success","output":{}}"#);
        saw.push((
            record,
            match (end < request.len(), success) {
                (true, _) => Saw::Half,
                (false, false) => Saw::Sent,
                (false, true) => Saw::Success,
            },
        ));
    }
    saw
}
