//! `kill -9` between what is stored and what is told.

use std::collections::BTreeSet;

use calldata_testkit::engine::{Engine, TestDatabase, on};
use calldata_testkit::load::Credentials;
use calldata_testkit::program::{Place, Served, eventually};
use calldata_testkit::receiver::Receiver;
use tokio::task::JoinSet;

use super::{BOTS, Dice, PATIENCE, alone, ready, times, turn};

async fn post(client: calldata_testkit::client::Client, credentials: Credentials, call: String) -> (String, bool) {
    let path = format!("/api/CallData?clientId={}", credentials.client_id);
    let body = format!(r#"{{"input":{{"callid":"{call}","callerid":"110"}}}}"#);
    let sent = client.try_request("POST", &path, &[("x-functions-key", &credentials.key)], body.into_bytes()).await;
    (call, sent.is_ok_and(|answer| answer.text().contains("success")))
}

/// Bots post, all at the same time, and the gateway is killed as soon as so many of them were answered; returns who was.
async fn posted_until_it_is_killed(served: Served, credentials: &Credentials, cycle: u32, answers: usize) -> BTreeSet<String> {
    let mut bots = JoinSet::new();
    for number in 0..BOTS {
        bots.spawn(post(served.client(), credentials.clone(), format!("{cycle}-{number}")));
    }
    let (mut served, mut acknowledged) = (Some(served), BTreeSet::new());
    while let Some(bot) = bots.join_next().await {
        let (call, is_acknowledged) = bot.unwrap();
        if is_acknowledged {
            acknowledged.insert(call);
        }
        if acknowledged.len() >= answers
            && let Some(served) = served.take()
        {
            // At once after the last answer: nothing of it need be told yet.
            served.kill();
        }
    }
    acknowledged
}

/// Whoever follows from where he left off, and an endpoint, are told of everything that was acknowledged, however often the gateway was
/// killed, and so is who follows another instance on the same server all the time.
async fn killed_again_and_again(place: &Place, cycles: u32, has_another: bool) -> String {
    let credentials = Credentials::make(place, "c");
    let admin = place.run(&["key", "create", "--client-id", "c", "--scope", "admin", "--json"]).json();
    let bearer = format!("Bearer {}", admin["key"].as_str().unwrap());
    let receiver = Receiver::start().await;
    let (served, _) = ready(place).await;
    let body = format!(r#"{{"url":"{}"}}"#, receiver.url());
    let made = served.client().request("POST", "/v1/webhooks", &[("authorization", &bearer)], body.into()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert!(post(served.client(), credentials.clone(), "first".to_owned()).await.1);
    let mut last = served.client().follow(&credentials.key, Some("0-0")).await.next().await.id;
    let another = if has_another { Some(ready(place).await.0) } else { None };
    let mut live = match &another {
        Some(another) => Some(another.client().follow(&credentials.key, Some("0-0")).await),
        None => None,
    };
    let (mut served, mut dice) = (Some(served), Dice(11));
    let (mut acknowledged, mut followed) = (BTreeSet::from(["first".to_owned()]), BTreeSet::from(["first".to_owned()]));
    for cycle in 0..cycles {
        let answers = 1 + usize::try_from(dice.below(u64::from(BOTS))).unwrap();
        acknowledged.extend(posted_until_it_is_killed(served.take().unwrap(), &credentials, cycle, answers).await);
        let (again, _) = ready(place).await;
        let mut events = again.client().follow(&credentials.key, Some(&last)).await;
        while !followed.is_superset(&acknowledged) {
            let event = events.next().await;
            last = event.id;
            assert!(followed.insert(event.data["data"]["session"]["callId"].as_str().unwrap().to_owned()), "told twice: {}", event.data);
        }
        served = Some(again);
    }
    let mut told_live = BTreeSet::new();
    while let Some(live) = live.as_mut().filter(|_| !told_live.is_superset(&acknowledged)) {
        let event = live.next().await;
        let call = event.data["data"]["session"]["callId"].as_str().unwrap().to_owned();
        assert!(told_live.insert(call), "told twice: {}", event.data);
    }
    let told = || -> BTreeSet<_> {
        receiver.messages().iter().map(|message| message.json()["data"]["session"]["callId"].as_str().unwrap().to_owned()).collect()
    };
    eventually("the endpoint is told of all", PATIENCE, async || told().is_superset(&acknowledged)).await;
    format!("{cycles} cycles, {} acknowledged, all told", acknowledged.len())
}

#[test]
fn what_was_acknowledged_is_told_after_kill_9_to_those_who_follow_and_to_endpoints() {
    alone(async {
        let place = Place::new().with("CALLDATA_WEBHOOK_ALLOW", "127.0.0.0/8");
        let figures = killed_again_and_again(&place, times(6, 200), false).await;
        println!("kill -9 between store and push on SQLite: {figures}");
    });
}

#[test]
fn what_was_acknowledged_is_told_after_kill_9_of_one_of_two_instances() {
    let _turn = turn();
    on(&[Engine::Postgres], TestDatabase::new, async |database| {
        let place = Place::with_database(database).with("CALLDATA_WEBHOOK_ALLOW", "127.0.0.0/8");
        let figures = killed_again_and_again(&place, times(6, 100), true).await;
        println!("kill -9 between store and push on PostgreSQL: {figures}");
    });
}
