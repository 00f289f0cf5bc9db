//! Webhooks, and what is on its way to them.

use std::time::Duration;

use calldata_core::port::{Change, Lease, Outbox as _, Outcome, Settled};
use calldata_core::webhook::{
    Delivery, DeliveryId, DeliveryNumber, Disabled, Failure, PreviousSecret, Webhook, WebhookKey, WebhookSecret, WebhookSecrets, WebhookUrl,
};
use calldata_core::{DirectoryStore, Epoch, Event, EventKind, Position, StoreError, Tenant, Timestamp, WebhookId, WebhookStore};
use calldata_store::Database;
use calldata_testkit::builders::{a_tenant, session_id, start};
use calldata_testkit::engine::{TestDatabase, on_every_engine};

use super::created_tenant;

const CREATED: EventKind = EventKind::Created;
const FAILED: Failure = Failure::Status(500);

fn a_webhook(tenant: &Tenant, id: &str) -> Webhook {
    Webhook {
        id: WebhookId::new(id).unwrap(),
        tenant: tenant.id,
        url: WebhookUrl::parse("https://hook.example/in?token=O'Neil").unwrap(),
        secrets: WebhookSecrets::new(WebhookSecret::random()),
        kinds: EventKind::ALL.into(),
        created_at: start(),
        disabled: None,
        taken_up: Position { commit: 7, place: i64::MAX },
    }
}

async fn created(database: &Database, tenant: &Tenant, id: &str) -> WebhookKey {
    let webhook = a_webhook(tenant, id);
    database.create_webhook(&webhook).await.unwrap();
    webhook.key()
}

fn after(seconds: u64) -> Timestamp {
    start().plus(Duration::from_secs(seconds))
}

fn lease(key: &WebhookKey, holder: &str) -> Lease {
    Lease { key: key.clone(), holder: holder.to_owned() }
}

/// Takes a webhook for `me` for ever.
async fn held(database: &Database, key: &WebhookKey) -> Lease {
    let mine = lease(key, "me");
    assert!(database.lease(&mine, start(), after(1_000_000)).await.unwrap().is_some());
    mine
}

fn number(number: i64) -> DeliveryNumber {
    DeliveryNumber::from_stored(number)
}

async fn find(database: &Database, key: &WebhookKey) -> Webhook {
    let all = database.webhooks_of(key.tenant).await.unwrap();
    all.into_iter().find(|webhook| webhook.id == key.id).unwrap()
}

/// Events happen to these sessions, and are taken up.
async fn taken_up(database: &Database, key: &WebhookKey, events: &[(EventKind, &str)]) {
    let from = find(database, key).await.taken_up;
    let to = Position { commit: from.commit + 1, place: 1 };
    let event = |(kind, session): &(EventKind, &str)| Event { position: to, kind: *kind, session: session_id(session), at: after(1) };
    let events: Vec<_> = events.iter().map(event).collect();
    assert!(database.take_up(key, from, to, &events, start()).await.unwrap());
}

/// Numbers and sessions of what is due.
async fn due_at(database: &Database, key: &WebhookKey, now: Timestamp) -> Vec<(i64, String)> {
    let due = database.due(key, now, 100).await.unwrap();
    due.into_iter().map(|delivery| (delivery.id.number.number(), delivery.session.to_string())).collect()
}

async fn due(database: &Database, key: &WebhookKey) -> Vec<(i64, String)> {
    due_at(database, key, start()).await
}

fn pairs(expected: &[(i64, &str)]) -> Vec<(i64, String)> {
    expected.iter().map(|(number, session)| (*number, (*session).to_owned())).collect()
}

fn settled(which: i64, session: &str, attempts: u32, outcome: Outcome) -> Settled {
    Settled { number: number(which), session: session_id(session), attempts, outcome }
}

/// What became of one delivery.
async fn settle(database: &Database, lease: &Lease, which: i64, session: &str, outcome: Outcome) {
    assert!(database.settle(lease, &[settled(which, session, 1, outcome)], start()).await.unwrap());
}

/// Numbers of what was given up.
async fn dead(database: &Database, key: &WebhookKey) -> Vec<i64> {
    let letters = database.dead_letters(key, DeliveryNumber::NONE, 100).await.unwrap();
    letters.iter().map(|letter| letter.delivery.id.number.number()).collect()
}

#[test]
fn a_webhook_comes_back_as_it_was_created_and_as_it_was_changed() {
    on_every_engine(async |test| {
        let database = test.database();
        let (tenant, other) = (created_tenant(database, "c").await, created_tenant(database, "d").await);
        let first = Webhook { kinds: [EventKind::Erased].into(), ..a_webhook(&tenant, "wh_2") };
        let until = after(100);
        let previous = Some(PreviousSecret { secret: WebhookSecret::random(), until });
        let secrets = WebhookSecrets { current: WebhookSecret::random(), previous };
        let second = Webhook { secrets, created_at: after(1), disabled: Some(Disabled::Gone), ..a_webhook(&tenant, "wh_1") };
        for webhook in [&second, &first] {
            database.create_webhook(webhook).await.unwrap();
        }
        assert_eq!(database.webhooks_of(tenant.id).await.unwrap(), [first.clone(), second.clone()]);
        assert_eq!(database.webhooks_of(other.id).await.unwrap(), []);
        let secret = WebhookSecret::random();
        let change = Change::Secret { secret: secret.clone(), previous_until: until };
        let previous = Some(PreviousSecret { secret: first.secrets.current.clone(), until });
        let rotated = Webhook { secrets: WebhookSecrets { current: secret, previous }, ..first.clone() };
        assert_eq!(database.change_webhook(&first.key(), change).await.unwrap(), Some(rotated.clone()));
        let enabled = Webhook { disabled: None, ..second.clone() };
        assert_eq!(database.change_webhook(&second.key(), Change::Enabled).await.unwrap(), Some(enabled.clone()));
        assert_eq!(database.webhooks_of(tenant.id).await.unwrap(), [rotated.clone(), enabled]);
        let of_other = WebhookKey { tenant: other.id, id: first.id };
        assert_eq!(database.change_webhook(&of_other, Change::Enabled).await.unwrap(), None);
        assert!(!database.delete_webhook(&of_other).await.unwrap());
        assert!(database.delete_webhook(&second.key()).await.unwrap());
        assert!(!database.delete_webhook(&second.key()).await.unwrap());
        assert_eq!(database.webhooks_of(tenant.id).await.unwrap(), [rotated]);
        let stranger = database.create_webhook(&a_webhook(&a_tenant("nobody"), "wh_3")).await;
        assert!(matches!(stranger, Err(StoreError::NoSuchTenant)), "{stranger:?}");
    });
}

#[test]
fn events_are_taken_up_once_in_their_order() {
    on_every_engine(async |test| {
        let database = test.database();
        let key = created(database, &created_tenant(database, "c").await, "wh_1").await;
        taken_up(database, &key, &[(CREATED, "b"), (CREATED, "a")]).await;
        let from = find(database, &key).await.taken_up;
        assert_eq!(from, Position { commit: 8, place: 1 });
        taken_up(database, &key, &[]).await;
        taken_up(database, &key, &[(EventKind::Erased, "c")]).await;
        let late = Event { position: from, kind: CREATED, session: session_id("late"), at: start() };
        assert!(!database.take_up(&key, from, Position { commit: 20, place: 1 }, &[late], start()).await.unwrap());
        assert_eq!(find(database, &key).await.taken_up, Position { commit: 10, place: 1 });
        let taken = database.due(&key, start(), 100).await.unwrap();
        let epoch = database.end().await.unwrap().epoch;
        let expected = |which, kind, session| Delivery {
            id: DeliveryId { epoch: Some(epoch), number: number(which) },
            kind,
            session: session_id(session),
            at: after(1),
            attempts: 0,
            since: start(),
            last_failure: None,
        };
        assert_eq!(taken, [expected(1, CREATED, "b"), expected(2, CREATED, "a"), expected(3, EventKind::Erased, "c")]);
        assert_eq!(database.due(&key, start(), 2).await.unwrap().len(), 2);
    });
}

#[test]
fn of_two_instances_that_take_up_the_same_events_one_does() {
    on_every_engine(async |test| {
        let (database, other) = (test.database(), test.open_again().await);
        let key = created(database, &created_tenant(database, "c").await, "wh_1").await;
        for commit in 8..28 {
            let from = find(database, &key).await.taken_up;
            let to = Position { commit, place: 1 };
            let events = [Event { position: to, kind: CREATED, session: session_id(&format!("s{commit}")), at: start() }];
            let (one, two) =
                tokio::join!(database.take_up(&key, from, to, &events, start()), other.take_up(&key, from, to, &events, start()));
            assert!(one.unwrap() ^ two.unwrap());
        }
        let numbers: Vec<_> = due(database, &key).await.into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    });
}

#[test]
fn of_a_session_only_the_first_delivery_is_due() {
    on_every_engine(async |test| {
        let database = test.database();
        let key = created(database, &created_tenant(database, "c").await, "wh_1").await;
        let mine = held(database, &key).await;
        taken_up(database, &key, &[(CREATED, "a"), (CREATED, "b"), (EventKind::Updated, "a")]).await;
        taken_up(database, &key, &[(EventKind::Updated, "a"), (CREATED, "c")]).await;
        assert_eq!(due(database, &key).await, pairs(&[(1, "a"), (2, "b"), (5, "c")]));
        settle(database, &mine, 1, "a", Outcome::PutOff { until: after(5), failure: FAILED }).await;
        assert_eq!(due(database, &key).await, pairs(&[(2, "b"), (5, "c")]));
        assert_eq!(due_at(database, &key, after(5)).await, pairs(&[(2, "b"), (5, "c"), (1, "a")]));
        settle(database, &mine, 1, "a", Outcome::Done).await;
        assert_eq!(due(database, &key).await, pairs(&[(2, "b"), (3, "a"), (5, "c")]));
        settle(database, &mine, 3, "a", Outcome::Dead(FAILED)).await;
        assert_eq!(due(database, &key).await, pairs(&[(2, "b"), (4, "a"), (5, "c")]));
        assert_eq!(dead(database, &key).await, [3]);
        settle(database, &mine, 4, "a", Outcome::Done).await;
        settle(database, &mine, 2, "b", Outcome::Done).await;
        settle(database, &mine, 5, "c", Outcome::Done).await;
        assert_eq!(due_at(database, &key, after(1_000)).await, pairs(&[]));
        taken_up(database, &key, &[(CREATED, "a")]).await;
        assert_eq!(due(database, &key).await, pairs(&[(6, "a")]), "what was given up holds nothing up, and no number comes twice");
    });
}

#[test]
fn an_attempt_that_failed_is_told_of_and_noting_it_again_changes_nothing() {
    on_every_engine(async |test| {
        let database = test.database();
        let key = created(database, &created_tenant(database, "c").await, "wh_1").await;
        let mine = held(database, &key).await;
        taken_up(database, &key, &[(CREATED, "a"), (CREATED, "b"), (EventKind::Updated, "b")]).await;
        let noted =
            [settled(1, "a", 3, Outcome::PutOff { until: after(5), failure: Failure::TimedOut }), settled(2, "b", 1, Outcome::Done)];
        for _ in 0..2 {
            assert!(database.settle(&mine, &noted, start()).await.unwrap());
            assert_eq!(due_at(database, &key, after(5)).await, pairs(&[(3, "b"), (1, "a")]));
        }
        let due = database.due(&key, after(5), 100).await.unwrap();
        assert_eq!((due[1].attempts, due[1].last_failure, due[1].since), (3, Some(Failure::TimedOut), start()));
    });
}

#[test]
fn an_endpoint_is_one_instance_s_until_its_time_is_up_or_it_lets_go() {
    on_every_engine(async |test| {
        let (database, other) = (test.database(), test.open_again().await);
        let key = created(database, &created_tenant(database, "c").await, "wh_1").await;
        let (one, two) = (lease(&key, "one"), lease(&key, "two"));
        let take = async |database: &Database, lease: &Lease, now, until| {
            database.lease(lease, now, until).await.unwrap().map(|webhook| webhook.id.into_string())
        };
        let mine = Some("wh_1".to_owned());
        let (a, b) = tokio::join!(take(database, &one, start(), after(10)), take(&other, &two, start(), after(10)));
        assert!(a.is_some() ^ b.is_some(), "{a:?} {b:?}");
        let (first, second) = if a.is_some() { (&one, &two) } else { (&two, &one) };
        assert_eq!(take(database, first, after(5), after(15)).await, mine, "for longer");
        assert_eq!(take(&other, second, after(14), after(24)).await, None);
        assert_eq!(database.standings().await.unwrap()[0].held_until, after(15));
        taken_up(database, &key, &[(CREATED, "a")]).await;
        assert!(!other.settle(second, &[settled(1, "a", 1, Outcome::Done)], after(14)).await.unwrap());
        assert_eq!(due(database, &key).await, pairs(&[(1, "a")]), "nothing is noted by whom it is not");
        assert_eq!(take(&other, second, after(15), after(25)).await, mine, "its time is up");
        assert!(!database.settle(first, &[settled(1, "a", 1, Outcome::Done)], after(15)).await.unwrap());
        assert_eq!(take(&other, second, after(16), after(16)).await, mine);
        assert_eq!(take(database, first, after(16), after(26)).await, mine, "it was let go");
        let nobody = WebhookKey { id: WebhookId::new("wh_2").unwrap(), ..key };
        assert_eq!(take(database, &lease(&nobody, "one"), start(), after(10)).await, None);
    });
}

#[test]
fn an_endpoint_that_is_gone_is_disabled_and_what_waits_stays() {
    on_every_engine(async |test| {
        let database = test.database();
        let key = created(database, &created_tenant(database, "c").await, "wh_1").await;
        let mine = held(database, &key).await;
        taken_up(database, &key, &[(CREATED, "a")]).await;
        settle(database, &mine, 1, "a", Outcome::Gone(Failure::Status(410))).await;
        let webhook = find(database, &key).await;
        assert_eq!(webhook.disabled, Some(Disabled::Gone));
        assert_eq!(database.lease(&mine, start(), after(10)).await.unwrap(), None);
        let from = webhook.taken_up;
        assert!(!database.take_up(&key, from, Position { commit: 20, place: 1 }, &[], start()).await.unwrap());
        database.change_webhook(&key, Change::Enabled).await.unwrap();
        assert!(database.lease(&mine, start(), after(10)).await.unwrap().is_some());
        let due = database.due(&key, start(), 100).await.unwrap();
        assert_eq!((due[0].id.number, due[0].last_failure), (number(1), Some(Failure::Status(410))));
    });
}

#[test]
fn dead_letters_are_listed_page_by_page_and_replayed() {
    on_every_engine(async |test| {
        let database = test.database();
        let key = created(database, &created_tenant(database, "c").await, "wh_1").await;
        let mine = held(database, &key).await;
        taken_up(database, &key, &["a", "b", "c", "d"].map(|session| (CREATED, session))).await;
        let give_up = [(1, "a"), (2, "b"), (3, "c")].map(|(number, session)| settled(number, session, 13, Outcome::Dead(FAILED)));
        assert!(database.settle(&mine, &give_up, after(9)).await.unwrap());
        let page = database.dead_letters(&key, number(1), 1).await.unwrap();
        assert_eq!((page.len(), page[0].delivery.id.number, page[0].died_at), (1, number(2), after(9)));
        assert_eq!((page[0].delivery.attempts, page[0].delivery.last_failure), (13, Some(FAILED)));
        assert_eq!(dead(database, &key).await, [1, 2, 3]);
        let epoch = database.end().await.unwrap().epoch;
        let id = |epoch, which| DeliveryId { epoch, number: number(which) };
        let replay =
            async |one: Option<i64>, now, limit| database.replay(&key, one.map(|which| id(Some(epoch), which)), now, limit).await.unwrap();
        for other in [None, Some(Epoch::random())] {
            let replayed = database.replay(&key, Some(id(other, 2)), after(10), 100).await.unwrap();
            assert_eq!(replayed, 0, "it has that number in another epoch");
        }
        assert_eq!(replay(Some(4), after(10), 100).await, 0, "it was not given up");
        assert_eq!(replay(Some(2), after(10), 100).await, 1);
        assert_eq!(dead(database, &key).await, [1, 3]);
        let replayed = database.due(&key, after(10), 100).await.unwrap().pop().unwrap();
        assert_eq!((replayed.id.number, replayed.attempts, replayed.since, replayed.last_failure), (number(2), 0, after(10), None));
        assert_eq!(replay(None, after(8), 100).await, 0, "what was given up later");
        assert_eq!(replay(None, after(10), 1).await, 1);
        assert_eq!(replay(None, after(10), 1).await, 1);
        assert_eq!(replay(None, after(10), 1).await, 0);
        assert_eq!(dead(database, &key).await, [0_i64; 0]);
    });
}

#[test]
fn what_is_replayed_waits_for_what_is_due_of_its_session() {
    on_every_engine(async |test| {
        let database = test.database();
        let key = created(database, &created_tenant(database, "c").await, "wh_1").await;
        let mine = held(database, &key).await;
        taken_up(database, &key, &[(CREATED, "a"), (EventKind::Updated, "a"), (EventKind::Updated, "a")]).await;
        settle(database, &mine, 1, "a", Outcome::Dead(FAILED)).await;
        assert_eq!(due(database, &key).await, pairs(&[(2, "a")]));
        assert_eq!(database.replay(&key, None, start(), 100).await.unwrap(), 1);
        assert_eq!(due(database, &key).await, pairs(&[(2, "a")]));
        settle(database, &mine, 2, "a", Outcome::Done).await;
        assert_eq!(due(database, &key).await, pairs(&[(1, "a")]), "before what came later");
        settle(database, &mine, 1, "a", Outcome::Done).await;
        assert_eq!(due(database, &key).await, pairs(&[(3, "a")]));
    });
}

#[test]
fn of_an_erased_session_nothing_is_kept_but_that_it_was_erased() {
    on_every_engine(async |test| {
        let database = test.database();
        let (tenant, other) = (created_tenant(database, "c").await, created_tenant(database, "d").await);
        let (key, second, foreign) =
            (created(database, &tenant, "wh_1").await, created(database, &tenant, "wh_2").await, created(database, &other, "wh_1").await);
        let mine = held(database, &key).await;
        let events = [(CREATED, "a"), (CREATED, "b"), (EventKind::Updated, "a"), (EventKind::Erased, "a"), (CREATED, "c")];
        for key in [&key, &second, &foreign] {
            taken_up(database, key, &events).await;
        }
        settle(database, &mine, 1, "a", Outcome::Dead(FAILED)).await;
        let forgotten = database.forget_deliveries(tenant.id, &[session_id("a"), session_id("c"), session_id("x")], start()).await;
        assert_eq!(forgotten.unwrap(), 6);
        assert_eq!(dead(database, &key).await, [0_i64; 0]);
        for key in [&key, &second] {
            assert_eq!(due(database, key).await, pairs(&[(2, "b"), (4, "a")]));
        }
        assert_eq!(due(database, &foreign).await, pairs(&[(1, "a"), (2, "b"), (5, "c")]));
        assert_eq!(database.forget_deliveries(tenant.id, &[], start()).await.unwrap(), 0);
    });
}

#[test]
fn old_dead_letters_are_dropped() {
    on_every_engine(async |test| {
        let database = test.database();
        let key = created(database, &created_tenant(database, "c").await, "wh_1").await;
        let mine = held(database, &key).await;
        taken_up(database, &key, &[(CREATED, "a"), (CREATED, "b"), (CREATED, "c")]).await;
        for (which, session, at) in [(1, "a", after(10)), (2, "b", after(11))] {
            assert!(database.settle(&mine, &[settled(which, session, 1, Outcome::Dead(FAILED))], at).await.unwrap());
        }
        assert_eq!(database.drop_dead_letters(&key, after(10)).await.unwrap(), 1);
        assert_eq!(database.drop_dead_letters(&key, after(10)).await.unwrap(), 0);
        assert_eq!(dead(database, &key).await, [2]);
        assert_eq!(due(database, &key).await, pairs(&[(3, "c")]));
    });
}

#[test]
fn it_is_known_for_whom_there_is_something_to_do() {
    on_every_engine(async |test| {
        let database = test.database();
        let (tenant, other) = (created_tenant(database, "c").await, created_tenant(database, "d").await);
        assert_eq!(database.standings().await.unwrap(), []);
        let (key, idle) = (created(database, &tenant, "wh_1").await, created(database, &other, "wh_2").await);
        let mine = held(database, &key).await;
        taken_up(database, &key, &[(CREATED, "a"), (EventKind::Updated, "a"), (CREATED, "b"), (CREATED, "c")]).await;
        settle(database, &mine, 1, "a", Outcome::PutOff { until: after(5), failure: FAILED }).await;
        settle(database, &mine, 3, "b", Outcome::PutOff { until: after(7), failure: FAILED }).await;
        settle(database, &mine, 4, "c", Outcome::Dead(FAILED)).await;
        let standing = async |key: &WebhookKey| {
            let all = database.standings().await.unwrap();
            assert_eq!(all.len(), 2);
            all.into_iter().find(|standing| standing.webhook.key() == *key).unwrap()
        };
        assert_eq!((standing(&key).await.due, standing(&key).await.held_until), (Some(after(5)), after(1_000_000)));
        assert_eq!(standing(&idle).await.due, None);
        assert!(standing(&idle).await.held_until <= start());
        assert_eq!(database.backlog().await.unwrap(), 2);
    });
}

#[test]
fn with_a_webhook_or_its_tenant_goes_all_that_waits() {
    on_every_engine(async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        let (key, other) = (created(database, &tenant, "wh_1").await, created(database, &tenant, "wh_2").await);
        let names: Vec<_> = (0..1_200).map(|session| format!("s{session}")).collect();
        let events: Vec<_> = names.iter().map(|name| (CREATED, name.as_str())).collect();
        for key in [&key, &other] {
            taken_up(database, key, &events).await;
        }
        assert_eq!(database.backlog().await.unwrap(), 2_400);
        assert!(database.delete_webhook(&key).await.unwrap());
        assert_eq!(database.backlog().await.unwrap(), 1_200);
        database.delete_tenant(tenant.id).await.unwrap();
        assert_eq!(database.backlog().await.unwrap(), 0);
        assert_eq!(database.standings().await.unwrap(), []);
    });
}

#[test]
fn whoever_takes_up_while_another_settles_leaves_nothing_behind() {
    on_every_engine(async |test| {
        let (database, other) = (test.database(), test.open_again().await);
        let key = created(database, &created_tenant(database, "c").await, "wh_1").await;
        let mine = held(database, &key).await;
        taken_up(database, &key, &[(CREATED, "a")]).await;
        for last in 1..=40 {
            assert_eq!(due(database, &key).await, pairs(&[(last, "a")]));
            let done = [settled(last, "a", 1, Outcome::Done)];
            let (settled, ()) = tokio::join!(database.settle(&mine, &done, start()), taken_up(&other, &key, &[(EventKind::Updated, "a")]));
            assert!(settled.unwrap());
        }
    });
}

#[test]
fn webhooks_and_what_waits_for_them_are_copied() {
    on_every_engine(async |test| {
        let source = test.database();
        let tenant = created_tenant(source, "c").await;
        let key = created(source, &tenant, "wh_1").await;
        let mine = held(source, &key).await;
        taken_up(source, &key, &[(CREATED, "a"), (CREATED, "b"), (EventKind::Updated, "b")]).await;
        settle(source, &mine, 1, "a", Outcome::Dead(FAILED)).await;
        let place = TestDatabase::new(calldata_testkit::engine::Engine::Sqlite).await;
        let target = place.database();
        source.copy_to(target, |_| {}).await.unwrap();
        let mut copied = target.webhooks_of(tenant.id).await.unwrap();
        assert_eq!(
            copied[0].taken_up,
            calldata_core::port::Outbox::end(target).await.unwrap().position,
            "events stay behind, and their places mean nothing there"
        );
        copied[0].taken_up = source.webhooks_of(tenant.id).await.unwrap()[0].taken_up;
        assert_eq!(copied, source.webhooks_of(tenant.id).await.unwrap());
        assert_eq!(dead(target, &key).await, [1]);
        assert_eq!(due(target, &key).await, pairs(&[(2, "b")]));
        assert!(target.lease(&lease(&key, "other"), start(), after(10)).await.unwrap().is_some(), "nobody has it there");
        taken_up(target, &key, &[(CREATED, "c")]).await;
        assert_eq!(due(target, &key).await, pairs(&[(2, "b"), (4, "c")]));
    });
}
