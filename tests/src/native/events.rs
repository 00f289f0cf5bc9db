//! Following what happens.

use std::time::Duration;

use calldata_core::{Clock, DirectoryStore};
use calldata_http::Limits;
use calldata_testkit::builders::DAY;
use calldata_testkit::engine::{Engine, TestDatabase, on, on_every_engine};
use calldata_testkit::gateway::Gateway;

use super::{created, id, of, problem};

#[test]
fn whatever_is_stored_in_any_dialect_is_told_in_order() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let theirs = gateway.a_tenant("d").await;
        let mut events = account.follow(None).await;
        theirs.post(r#"{"callid":"theirs","callerid":"110"}"#).await;
        account.post(r#"{"callid":"c1","callerid":"110","content":"x"}"#).await;
        account.post(r#"{"callid":"c1","callerid":"110","content":"x"}"#).await;
        let native = created(&account, r#"{"callId":"c2","caller":"112","content":"y"}"#).await;
        account.native("POST", &format!("/sessions/{}/turns", id(&native)), r#"{"turns":[{"no":"1"}]}"#).await;
        account
            .native(
                "POST",
                "/sessions:batch",
                "{\"id\":\"b1\",\"callId\":\"c3\",\"caller\":\"1\"}\n{\"id\":\"b2\",\"callId\":\"c3\",\"caller\":\"1\"}",
            )
            .await;
        let mut told = Vec::new();
        for _ in 0..6 {
            told.push(events.next().await);
        }
        let shown: Vec<_> =
            told.iter().map(|event| format!("{} {}", event.name, event.data["data"]["session"]["callId"].as_str().unwrap())).collect();
        let expected = [
            "session.created c1",
            "session.updated c1",
            "session.created c2",
            "session.updated c2",
            "session.created c3",
            "session.created c3",
        ];
        assert_eq!(shown, expected);
        assert!(told.iter().all(|event| event.data["type"] == event.name.as_str()));
        assert_eq!(told[0].data["timestamp"], "2024-02-27T12:16:23.926Z");
        assert_eq!(told[3].data["data"]["session"]["turns"][0]["no"], "1");
        assert_eq!(told[2].data["data"]["id"], native["id"]);
        gateway.stop().await;
    });
}

#[test]
fn what_happened_while_nobody_listened_is_told_from_where_one_left_off() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let mut events = account.follow(None).await;
        created(&account, r#"{"id":"s0","callId":"c","caller":"110"}"#).await;
        let last = events.next().await;
        drop(events);
        for number in 1..250 {
            account.post(&format!(r#"{{"callid":"c{number}","callerid":"110"}}"#)).await;
        }
        let mut again = account.follow(Some(&last.id)).await;
        for number in 1..250 {
            assert_eq!(again.next().await.data["data"]["session"]["callId"], format!("c{number}"));
        }
        created(&account, r#"{"id":"live","callId":"c","caller":"110"}"#).await;
        assert_eq!(again.next().await.data["data"]["id"], "live", "and then what happens now");
        let mut from_the_beginning = account.follow(Some("0-0")).await;
        assert_eq!(from_the_beginning.next().await.data["data"]["id"], "s0");
        gateway.stop().await;
    });
}

#[test]
fn an_id_of_no_event_is_refused() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        created(&account, r#"{"id":"s","callId":"c","caller":"110"}"#).await;
        for unknown in ["x", "1", "-1-1", "9223372036854775806-0", "999999999999-1"] {
            let answer = account.native_with("GET", "/events", &[("last-event-id", unknown)], "").await;
            assert_eq!(problem(&answer), of("invalid-cursor", Some("Last-Event-ID"), 400), "{unknown}");
        }
        gateway.stop().await;
    });
}

#[test]
fn events_are_dropped_after_a_week_and_whoever_missed_some_is_told_so() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let mut events = account.follow(None).await;
        created(&account, r#"{"id":"s1","callId":"c","caller":"110"}"#).await;
        created(&account, r#"{"id":"s2","callId":"c","caller":"110"}"#).await;
        let (first, second) = (events.next().await, events.next().await);
        gateway.clock.advance(DAY * 8);
        let dropped =
            calldata_core::port::Outbox::drop_events(gateway.database(), account.tenant.id, gateway.clock.now().minus(DAY * 7)).await;
        assert_eq!(dropped.unwrap(), 2);
        let missed = account.native_with("GET", "/events", &[("last-event-id", &first.id)], "").await;
        assert_eq!(problem(&missed), of("invalid-cursor", Some("Last-Event-ID"), 400));
        let mut nothing_missed = account.follow(Some(&second.id)).await;
        created(&account, r#"{"id":"s3","callId":"c","caller":"110"}"#).await;
        assert_eq!(nothing_missed.next().await.data["data"]["id"], "s3");
        gateway.stop().await;
    });
}

#[test]
fn what_has_expired_is_not_told() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        created(&account, r#"{"id":"old","callId":"c","caller":"110"}"#).await;
        gateway.clock.advance(DAY * 31);
        created(&account, r#"{"id":"new","callId":"c","caller":"110"}"#).await;
        let mut events = account.follow(Some("0-0")).await;
        assert_eq!(events.next().await.data["data"]["id"], "new");
        gateway.stop().await;
    });
}

#[test]
fn what_another_instance_stores_is_told_within_a_second_or_so_and_in_one_order() {
    on(&[Engine::Sqlite, Engine::Postgres], TestDatabase::new, async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let elsewhere = Gateway::start_with(database.open_again().await, gateway.clock.clone(), Limits::default()).await;
        let there = elsewhere.account(&account);
        let (mut here_told, mut there_told) = (account.follow(None).await, there.follow(None).await);
        let mut posts = tokio::task::JoinSet::new();
        for number in 0..100 {
            let account = if number % 2 == 0 { account.clone() } else { there.clone() };
            posts.spawn(async move { account.post(&format!(r#"{{"callid":"c{number}","callerid":"110"}}"#)).await.status });
        }
        assert!(posts.join_all().await.iter().all(|status| *status == 200));
        let (mut one, mut two) = (Vec::new(), Vec::new());
        for _ in 0..100 {
            one.push(here_told.next().await);
            two.push(there_told.next().await);
        }
        let ids = |events: &[calldata_testkit::events::Event]| events.iter().map(|event| event.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&one), ids(&two), "whoever tells");
        let mut calls: Vec<_> = one.iter().map(|event| event.data["data"]["session"]["callId"].as_str().unwrap().to_owned()).collect();
        calls.sort();
        calls.dedup();
        assert_eq!(calls.len(), 100, "none left out, none twice");
        elsewhere.stop().await;
        gateway.stop().await;
    });
}

#[test]
fn a_stop_ends_the_events_and_a_revoked_key_sees_no_more() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let mut revoked = account.follow(None).await;
        let key = gateway.database().keys_of(account.tenant.id).await.unwrap().remove(0);
        gateway.database().revoke_key(&key.id, gateway.clock.now()).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(20), revoked.next_or_end()).await;
        assert!(ended.expect("it ends").is_none());
        let other = gateway.a_tenant("d").await;
        let mut stopped = other.follow(None).await;
        let (ended, ()) = tokio::join!(stopped.next_or_end(), gateway.stop());
        assert!(ended.is_none());
    });
}
