//! The epoch of a database: what belongs to which history.

use std::time::Duration;

use calldata_core::port::{Lease, Outbox, WebhookStore};
use calldata_core::webhook::{Webhook, WebhookKey, WebhookSecret, WebhookSecrets, WebhookUrl};
use calldata_core::{Epoch, EventId, EventKind, Position, StoreError, Tenant, WebhookId};
use calldata_http::Limits;
use calldata_store::{Database, Direction, Url};
use calldata_testkit::builders::{a_clock, a_post, a_session, start};
use calldata_testkit::engine::{Engine, TestDatabase, on, on_every_engine};
use calldata_testkit::gateway::Gateway;
use calldata_testkit::program::eventually;

use super::{created_tenant, stored};

const EPOCHS: &str = "m20261201_000001_epoch";

async fn epoch(database: &Database) -> Epoch {
    database.end().await.unwrap().epoch
}

/// A webhook of the tenant for all events from the beginning.
async fn created(database: &Database, tenant: &Tenant, id: &str) -> WebhookKey {
    let webhook = Webhook {
        id: WebhookId::new(id).unwrap(),
        tenant: tenant.id,
        url: WebhookUrl::parse("https://hook.example/").unwrap(),
        secrets: WebhookSecrets::new(WebhookSecret::random()),
        kinds: EventKind::ALL.into(),
        created_at: start(),
        disabled: None,
        taken_up: Position::default(),
    };
    database.create_webhook(&webhook).await.unwrap();
    webhook.key()
}

async fn posted(database: &Database, tenant: &Tenant, session: &str) {
    stored(database, a_post(tenant, session, &a_clock(), a_session(session, "110"))).await;
}

/// Takes up what a webhook has not taken up yet, once it is handed out: others that write into the same cluster may hold it back.
async fn take_up(database: &Database, key: &WebhookKey) {
    eventually("events are taken up", Duration::from_secs(60), async || {
        let webhook = database.webhooks_of(key.tenant).await.unwrap().pop().unwrap();
        let events = database.events(key.tenant, webhook.taken_up, 100).await.unwrap().events;
        let Some(last) = events.last() else { return false };
        database.take_up(key, webhook.taken_up, last.position, &events, start()).await.unwrap()
    })
    .await;
}

/// Sessions and epochs of what is due.
async fn due(database: &Database, key: &WebhookKey) -> Vec<(String, Option<Epoch>)> {
    let due = database.due(key, start().plus(Duration::from_hours(1)), 100).await.unwrap();
    due.into_iter().map(|delivery| (delivery.session.to_string(), delivery.id.epoch)).collect()
}

#[test]
fn an_epoch_stays_and_differs_from_that_of_every_other_database() {
    on_every_engine(async |test| {
        let database = test.database();
        let mine = epoch(database).await;
        database.migrate(Direction::Up).await.unwrap();
        assert!(!database.confirm_epoch().await.unwrap());
        assert_eq!(epoch(&test.open_again().await).await, mine);
        let other = TestDatabase::new(Engine::Sqlite).await;
        assert_ne!(epoch(other.database()).await, mine);
        database.renew_epoch().await.unwrap();
        assert_ne!(epoch(database).await, mine);
    });
}

#[test]
fn a_backup_has_an_epoch_of_its_own_and_each_of_its_restores_another() {
    on(&[Engine::Sqlite], TestDatabase::new, async |test| {
        let database = test.database();
        let folder = test.file().unwrap().parent().unwrap();
        let backup = folder.join("backup");
        assert!(database.back_up(&backup).await.unwrap());
        let mut epochs = vec![epoch(database).await];
        for name in ["one", "two"] {
            let restored = folder.join(name);
            std::fs::copy(&backup, &restored).unwrap();
            let restored = Database::open(&Url::parse(&format!("sqlite://{}", restored.display())).unwrap()).await.unwrap();
            epochs.push(epoch(&restored).await);
            restored.migrate(Direction::Up).await.unwrap();
            epochs.push(epoch(&restored).await);
            assert!(!restored.confirm_epoch().await.unwrap(), "it is its own from now on");
        }
        assert_eq!(epochs[1], epochs[3], "that of the backup");
        epochs.remove(3);
        let different: std::collections::HashSet<_> = epochs.iter().collect();
        assert_eq!(different.len(), 4, "{epochs:?}");
        assert_eq!(epoch(database).await, epochs[0], "a backup changes nothing here");
    });
}

#[test]
fn a_copy_has_another_epoch_and_what_waited_keeps_its_own() {
    on_every_engine(async |target| {
        let source = TestDatabase::new(Engine::Sqlite).await;
        let (from, to) = (source.database(), target.database());
        let tenant = created_tenant(from, "c").await;
        let (key, disabled) = (created(from, &tenant, "wh_1").await, created(from, &created_tenant(from, "d").await, "wh_2").await);
        posted(from, &tenant, "s1").await;
        source.execute("UPDATE webhook SET disabled = 'gone' WHERE id = 'wh_2'").await;
        stored(from, a_post(&tenant_of(&disabled, &tenant), "s2", &a_clock(), a_session("s2", "110"))).await;
        let before = epoch(to).await;
        from.copy_to(to, |_| ()).await.unwrap();
        let (ours, theirs) = (epoch(from).await, epoch(to).await);
        assert!(theirs != ours && theirs != before);
        assert_eq!(due(to, &key).await, [("s1".to_owned(), Some(ours))], "it is the same message");
        assert_eq!(due(to, &disabled).await, [("s2".to_owned(), Some(ours))], "also for one that is disabled");
        posted(to, &tenant, "s3").await;
        take_up(to, &key).await;
        assert_eq!(due(to, &key).await.pop(), Some(("s3".to_owned(), Some(theirs))));
    });
}

fn tenant_of(key: &WebhookKey, like: &Tenant) -> Tenant {
    Tenant { id: key.tenant, ..like.clone() }
}

#[test]
fn a_database_of_another_server_begins_anew_and_webhooks_miss_nothing() {
    on(&[Engine::Postgres], TestDatabase::new, async |test| {
        let database = test.database();
        let tenant = created_tenant(database, "c").await;
        let (key, late) = (created(database, &tenant, "wh_1").await, "s2");
        posted(database, &tenant, "s1").await;
        take_up(database, &key).await;
        posted(database, &tenant, late).await;
        let before = database.end().await.unwrap();
        // The numbers of a cluster that has committed far more than this one.
        test.execute(
            "UPDATE event SET commit_no = commit_no + 1000000000; UPDATE webhook SET taken_up_commit = taken_up_commit + 1000000000; \
             UPDATE database_epoch SET bound_to = '7/16384/16400/00000001'",
        )
        .await;
        let from = database.webhooks_of(tenant.id).await.unwrap().pop().unwrap().taken_up;
        let refused = database.take_up(&key, from, from, &[], start()).await;
        assert!(matches!(refused, Err(StoreError::Busy(_))), "nothing is numbered meanwhile");
        let others = [test.open_again().await, test.open_again().await];
        let (one, two) = tokio::join!(others[0].confirm_epoch(), others[1].confirm_epoch());
        assert_eq!(u8::from(one.unwrap()) + u8::from(two.unwrap()), 1, "one of two instances begins it");
        let after = database.end().await.unwrap();
        assert_ne!(after.epoch, before.epoch);
        let (old, new) = (Some(before.epoch), Some(after.epoch));
        let ours = [("s1".to_owned(), old), (late.to_owned(), old)];
        assert_eq!(due(database, &key).await, ours.map(|(session, _)| (session.clone(), if session == late { new } else { old })));
        posted(database, &tenant, "s3").await;
        // At once, and not when the numbers of the other cluster come again.
        take_up(database, &key).await;
        assert_eq!(due(database, &key).await.pop(), Some(("s3".to_owned(), new)));
        assert!(database.dropped_until(tenant.id).await.unwrap() > Position::default(), "who begins at the beginning has missed some");
    });
}

#[test]
fn a_lease_does_not_survive_the_server_that_it_was_given_by() {
    on(&[Engine::Postgres], TestDatabase::new, async |test| {
        let database = test.database();
        let key = created(database, &created_tenant(database, "c").await, "wh_1").await;
        let lease = |holder: &str| Lease { key: key.clone(), holder: holder.to_owned() };
        assert!(database.lease(&lease("gone"), start(), start().plus(Duration::from_hours(9))).await.unwrap().is_some());
        database.renew_epoch().await.unwrap();
        assert!(database.lease(&lease("me"), start(), start().plus(Duration::from_secs(1))).await.unwrap().is_some());
    });
}

#[test]
fn ids_of_before_there_were_epochs_are_accepted_up_to_the_upgrade_and_no_longer_than_the_epoch_lasts() {
    on_every_engine(async |test| {
        let gateway = Gateway::start(test).await;
        let account = gateway.a_tenant("c").await;
        let mut events = account.follow(None).await;
        for session in ["s1", "s2"] {
            account.post(&format!(r#"{{"callid":"{session}","callerid":"110"}}"#)).await;
        }
        let first: EventId = events.next().await.id.parse().unwrap();
        let second: EventId = events.next().await.id.parse().unwrap();
        drop(events);
        let database = gateway.database();
        while database.migrations().await.unwrap().iter().any(|change| change.name == EPOCHS && change.applied) {
            database.migrate(Direction::Down).await.unwrap();
        }
        database.migrate(Direction::Up).await.unwrap();
        let unprefixed = |id: EventId| EventId { epoch: None, ..id }.to_string();
        let status = async |id: &str| account.native_with("GET", "/events", &[("last-event-id", id)], "").await.status;
        let mut events = account.follow(Some(&unprefixed(first))).await;
        let next = events.next().await;
        assert_eq!(next.data["data"]["session"]["callId"], "s2", "nothing is missed by an upgrade");
        let next: EventId = next.id.parse().unwrap();
        assert!(next.position == second.position && next.epoch.is_some_and(|epoch| Some(epoch) != second.epoch));
        account.post(r#"{"callid":"s3","callerid":"110"}"#).await;
        let third: EventId = events.next().await.id.parse().unwrap();
        assert_eq!(status(&unprefixed(third)).await, 400, "a database that knows this event gives it an epoch");
        assert_eq!(status(&first.to_string()).await, 400, "of another epoch");
        database.renew_epoch().await.unwrap();
        assert_eq!(status(&unprefixed(first)).await, 400);
        gateway.stop().await;
    });
}

#[test]
fn a_new_database_knows_no_ids_of_before_there_were_epochs() {
    on_every_engine(async |test| {
        let end = test.database().end().await.unwrap();
        assert_eq!(end.unprefixed_until, None);
    });
}

#[test]
fn those_who_follow_through_any_process_hear_of_a_changed_epoch() {
    on_every_engine(async |test| {
        let gateway = Gateway::start(test).await;
        let account = gateway.a_tenant("c").await;
        let elsewhere = Gateway::start_with(test.open_again().await, gateway.clock.clone(), Limits::default()).await;
        let mut events = account.follow(None).await;
        account.post(r#"{"callid":"c1","callerid":"110"}"#).await;
        let last = events.next().await.id;
        elsewhere.database().renew_epoch().await.unwrap();
        account.post(r#"{"callid":"c2","callerid":"110"}"#).await;
        assert!(events.next_or_end().await.is_none(), "it ends rather than go on in another history");
        for there in [account.clone(), elsewhere.account(&account)] {
            let answer = there.native_with("GET", "/events", &[("last-event-id", &last)], "").await;
            assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("invalid-cursor")));
        }
        gateway.stop().await;
        elsewhere.stop().await;
    });
}
