//! `kill -9` between what is stored and what is told.

use std::collections::BTreeSet;

use calldata_testkit::load::Credentials;
use calldata_testkit::program::{Place, Served};
use calldata_testkit::receiver::Receiver;

use super::{Dice, alone, ready, times};

async fn post(served: &Served, credentials: &Credentials, call: &str) -> bool {
    let path = format!("/api/CallData?clientId={}", credentials.client_id);
    let body = format!(r#"{{"input":{{"callid":"{call}","callerid":"110"}}}}"#);
    let sent = served.client().try_request("POST", &path, &[("x-functions-key", &credentials.key)], body.into_bytes()).await;
    sent.is_ok_and(|answer| answer.text().contains("success"))
}

/// Whoever follows from where he left off, and an endpoint, are told of everything that was acknowledged, however often the gateway was killed.
#[test]
fn what_was_acknowledged_is_told_after_kill_9_to_those_who_follow_and_to_endpoints() {
    alone(async {
        let place = Place::new().with("CALLDATA_WEBHOOK_ALLOW", "127.0.0.0/8");
        let credentials = Credentials::make(&place, "c");
        let admin = place.run(&["key", "create", "--client-id", "c", "--scope", "admin", "--json"]).json();
        let bearer = format!("Bearer {}", admin["key"].as_str().unwrap());
        let receiver = Receiver::start().await;
        let (served, _) = ready(&place).await;
        let body = format!(r#"{{"url":"{}"}}"#, receiver.url());
        let made = served.client().request("POST", "/v1/webhooks", &[("authorization", &bearer)], body.into()).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let mut last = {
            assert!(post(&served, &credentials, "first").await);
            served.client().follow(&credentials.key, Some("0-0")).await.next().await.id
        };
        let (mut served, mut dice) = (Some(served), Dice(11));
        let (mut acknowledged, mut followed) = (BTreeSet::from(["first".to_owned()]), BTreeSet::from(["first".to_owned()]));
        let cycles = times(6, 200);
        for cycle in 0..cycles {
            let running = served.take().unwrap();
            for number in 0..=dice.below(20) {
                let call = format!("{cycle}-{number}");
                if post(&running, &credentials, &call).await {
                    acknowledged.insert(call);
                }
            }
            // At once after the last answer: nothing of it need be told yet.
            drop(running);
            let (again, _) = ready(&place).await;
            let mut events = again.client().follow(&credentials.key, Some(&last)).await;
            while followed.len() < acknowledged.len() {
                let event = events.next().await;
                last = event.id;
                followed.insert(event.data["data"]["session"]["callId"].as_str().unwrap().to_owned());
            }
            served = Some(again);
        }
        assert_eq!(followed, acknowledged);
        let told = || -> BTreeSet<_> {
            receiver.messages().iter().map(|message| message.json()["data"]["session"]["callId"].as_str().unwrap().to_owned()).collect()
        };
        calldata_testkit::program::eventually("the endpoint is told of all", super::PATIENCE, async || told().len() >= acknowledged.len())
            .await;
        assert_eq!(told(), acknowledged);
        println!("kill -9 between store and push: {cycles} cycles, {} acknowledged, all told", acknowledged.len());
    });
}
