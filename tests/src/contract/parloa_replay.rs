//! The same post again (PAR-P7).

use std::time::Duration;

use calldata_http::Limits;
use calldata_testkit::client::{Answer, Client};
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::Gateway;
use tokio::task::JoinSet;

use super::parloa_requests::{SUCCESS, assert_miss, fetch, records_of, store};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn par_p7_the_same_post_again_is_one_record_refreshed() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let (first, second) = (r#"{"callid":"1","callerid":"a","content":"first"}"#, r#"{"callid":"1","callerid":"a","content":"second"}"#);
        store(&account, first).await;
        gateway.clock.advance(MINUTE);
        store(&account, second).await;
        gateway.clock.advance(MINUTE);
        assert_eq!(fetch(&account, "1", "a").await.json()["content"], "second");
        store(&account, first).await;
        let newest = account.get("callid=1&caller=a&timeLimit=0").await.json();
        assert_eq!(newest["content"], "first", "it is the newest again, and its age starts anew");
        assert_eq!(newest["timestamp"], "2024-02-27T12:18:23.926Z", "the last receipt");
        assert_eq!(records_of(&account, "1").await, 2);
        gateway.stop().await;
    });
}

#[test]
fn par_p7_order_context_and_spelling_make_no_difference() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for body in [
            r#"{"input":{"callid":"1","callerid":"030 1234567","a":{"x":1,"y":"z"},"b":2},"context":{"turn":1}}"#,
            r#"{"context":{"turn":2},"input":{"b":2,"a":{"y":"\u007a","x":1},"callerid":"+49 30 1234567","callid":"1"}}"#,
            r#" { "input" : { "b" : 2 , "callerid" : "0049301234567" , "callid" : "1" , "a" : { "x" : 1 , "y" : "z" } } } "#,
        ] {
            assert_eq!(account.post_body(body).await.text(), SUCCESS);
        }
        assert_eq!(records_of(&account, "1").await, 1);
        assert_eq!(fetch(&account, "1", "0301234567").await.json()["caller"], "030 1234567", "as it was stored first");
        gateway.stop().await;
    });
}

#[test]
fn par_p7_anything_else_is_a_new_record() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let other = gateway.a_tenant("d").await;
        let same = r#"{"callid":"1","callerid":"a","x":1}"#;
        store(&account, same).await;
        store(&other, same).await;
        let different = [
            r#"{"callid":"1","callerid":"b","x":1}"#,
            r#"{"callid":"1","callerid":"a","x":2}"#,
            r#"{"callid":"1","callerid":"a","x":"1"}"#,
            r#"{"callid":"1","callerid":"a","x":1,"y":null}"#,
            r#"{"callid":"1","callerid":"a"}"#,
            r#"{"callid":"1","callerid":"a","x":1,"content":""}"#,
            r#"{"callid":"1","callerid":"a","x":1,"timestamp":0}"#,
            r#"{"callid":"1","callerid":"a","x":1,"countrycode":"CH"}"#,
        ];
        for input in different {
            store(&account, input).await;
        }
        store(&account, r#"{"callid":"2","callerid":"a","x":1}"#).await;
        assert_eq!(records_of(&account, "1").await, 1 + different.len() as u64);
        assert_eq!((records_of(&account, "2").await, records_of(&other, "1").await), (1, 1));
        gateway.stop().await;
    });
}

#[test]
fn par_p7_ten_minutes_count_from_the_first_receipt_and_are_inclusive() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let input = r#"{"callid":"1","callerid":"a"}"#;
        store(&account, input).await;
        gateway.clock.advance(9 * MINUTE);
        store(&account, input).await;
        gateway.clock.advance(MINUTE);
        store(&account, input).await;
        assert_eq!(records_of(&account, "1").await, 1, "exactly ten minutes after the first");
        gateway.clock.advance(Duration::from_millis(1));
        store(&account, input).await;
        assert_eq!(records_of(&account, "1").await, 2, "a refresh does not prolong them");
        store(&account, input).await;
        gateway.clock.advance(10 * MINUTE);
        store(&account, input).await;
        assert_eq!(records_of(&account, "1").await, 2, "the new record has ten minutes of its own");
        gateway.clock.advance(MINUTE);
        store(&account, input).await;
        assert_eq!(records_of(&account, "1").await, 3);
        gateway.stop().await;
    });
}

#[test]
fn par_p7_the_same_post_at_once_is_one_record() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for call in 0..5 {
            all_stored(std::iter::repeat_n(gateway.client.clone(), 20), call).await;
            assert_eq!(records_of(&account, &call.to_string()).await, 1);
        }
        gateway.stop().await;
    });
}

#[test]
fn par_p7_the_same_post_at_once_at_two_instances_is_one_record() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let second = Gateway::start_with(database.open_again().await, gateway.clock.clone(), Limits::default()).await;
        for call in 0..5 {
            let both = [gateway.client.clone(), second.client.clone()].into_iter().cycle();
            all_stored(both.take(20), call).await;
            assert_eq!(records_of(&account, &call.to_string()).await, 1);
        }
        gateway.clock.advance(10 * MINUTE);
        all_stored([second.client.clone()].into_iter(), 0).await;
        assert_eq!(records_of(&account, "0").await, 1, "and later at the other one");
        second.stop().await;
        gateway.stop().await;
    });
}

#[test]
fn par_p7_an_expired_record_is_not_brought_back_by_its_post() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let input = r#"{"callid":"1","callerid":"a"}"#;
        store(&account, input).await;
        gateway.clock.advance(30 * 24 * 60 * MINUTE);
        assert_miss(&fetch(&account, "1", "a").await, "no-such-call");
        store(&account, input).await;
        assert_eq!(fetch(&account, "1", "a").await.json()["timestamp"], "2024-03-28T12:16:23.926Z");
        assert_eq!(records_of(&account, "1").await, 1);
        gateway.stop().await;
    });
}

/// Sends the same post through all of these clients at once.
async fn all_stored(clients: impl Iterator<Item = Client>, call: u32) {
    let body = format!(r#"{{"input":{{"callid":{call},"callerid":"a","x":"y"}}}}"#);
    let mut posts = JoinSet::new();
    for client in clients {
        let body = body.clone().into_bytes();
        posts.spawn(async move { client.request("POST", "/api/CallData?clientId=c", &[("x-functions-key", "secret-of-c")], body).await });
    }
    let answers: Vec<Answer> = posts.join_all().await;
    for answer in answers {
        assert_eq!((answer.status, answer.text()), (200, SUCCESS));
    }
}
