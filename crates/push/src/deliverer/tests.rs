mod fake;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};

use calldata_core::port::Change;
use calldata_core::webhook::{Failure, WebhookSecret, WebhookSecrets, WebhookUrl};
use calldata_core::{EventKind, ManualClock, WebhookId};
use secrecy::ExposeSecret;

use super::*;
use crate::connection::loopback;
use crate::receiver::{Received, Receiver, status};
use crate::signature::sign;
use fake::{Fake, last_failure};

const MINUTE: Duration = Duration::from_mins(1);

/// A webhook for all kinds of events of an endpoint, and who delivers them.
struct Rig {
    fake: Arc<Fake>,
    clock: Arc<ManualClock>,
    key: WebhookKey,
    deliverer: Arc<Deliverer>,
}

impl Rig {
    async fn telling(url: &str) -> Self {
        let (fake, clock) = (Fake::new(), Arc::new(ManualClock::at(Timestamp::clamped(1_709_036_183_926))));
        let webhook = Webhook {
            id: WebhookId::new("wh_1").unwrap(),
            tenant: fake.tenant.id,
            url: WebhookUrl::parse(url).unwrap(),
            secrets: WebhookSecrets::new(WebhookSecret::random()),
            kinds: EventKind::ALL.into(),
            created_at: clock.now(),
            disabled: None,
            taken_up: Position::default(),
        };
        fake.create_webhook(&webhook).await.unwrap();
        let deliverer = deliverer(&fake, &clock);
        Self { fake, clock, key: webhook.key(), deliverer }
    }

    fn happens(&self, kind: EventKind, session: &str) {
        self.fake.happens(kind, session, self.clock.now());
    }

    /// Delivers all that is due.
    async fn round(&self) {
        round(&self.deliverer).await;
    }

    /// Lets time pass, and delivers all that is due then.
    async fn round_after(&self, span: Duration) {
        self.clock.advance(span);
        self.round().await;
    }
}

fn deliverer(fake: &Arc<Fake>, clock: &Arc<ManualClock>) -> Arc<Deliverer> {
    let ports = Ports { webhooks: fake.clone(), outbox: fake.clone(), lookup: fake.clone(), clock: clock.clone() };
    Deliverer::lingering(ports, Sender::new(loopback()), Duration::ZERO)
}

async fn round(deliverer: &Arc<Deliverer>) {
    let mut turns = JoinSet::new();
    deliverer.look(&mut turns).await.unwrap();
    turns.join_all().await;
}

/// What was sent: message and session, in the order of arrival.
fn told(received: &[Received]) -> Vec<(String, String)> {
    received.iter().map(|received| (received.id().to_owned(), received.session())).collect()
}

fn sessions(received: &[Received]) -> Vec<String> {
    let mut sessions: Vec<_> = received.iter().map(Received::session).collect();
    sessions.sort();
    sessions
}

fn pair(message: &str, session: &str) -> (String, String) {
    (message.to_owned(), session.to_owned())
}

/// A receiver whose answer is set, and the setter.
async fn settable() -> (Receiver, Arc<AtomicU16>) {
    let answer = Arc::new(AtomicU16::new(200));
    let set = Arc::clone(&answer);
    (Receiver::answering(move |_| status(answer.load(Ordering::Relaxed), "")).await, set)
}

#[tokio::test]
async fn an_event_is_told_with_its_session_and_signed_and_then_nothing_is_left() {
    let (mut receiver, _) = settable().await;
    let rig = Rig::telling(&receiver.url()).await;
    rig.happens(EventKind::Created, "s1");
    rig.round().await;
    let received = receiver.next().await;
    let secrets = rig.fake.state().webhook.clone().unwrap().secrets;
    let signature = sign(secrets.at(rig.clock.now()), "wh_1_1", 1_709_036_183, &received.body);
    assert_eq!(received.header("webhook-id"), Some("wh_1_1"));
    assert_eq!(received.header("webhook-timestamp"), Some("1709036183"));
    assert_eq!(received.header("webhook-signature"), Some(signature.as_str()));
    let body: serde_json::Value = serde_json::from_str(&received.body).unwrap();
    assert_eq!(body["type"], "session.created");
    assert_eq!(body["timestamp"], "2024-02-27T12:16:23.926Z");
    assert_eq!((&body["data"]["id"], &body["data"]["session"]["callId"]), (&"s1".into(), &"c1".into()));
    assert_eq!(rig.fake.numbers(), (vec![], vec![]));
    rig.round_after(MINUTE).await;
    assert_eq!(told(&receiver.so_far()), []);
}

#[tokio::test]
async fn what_failed_is_sent_again_after_a_while_as_the_same_message() {
    let (mut receiver, answer) = settable().await;
    let rig = Rig::telling(&receiver.url()).await;
    answer.store(500, Ordering::Relaxed);
    rig.happens(EventKind::Created, "s1");
    rig.round().await;
    assert_eq!(told(&receiver.so_far()), [pair("wh_1_1", "s1")]);
    assert_eq!(last_failure(&rig.fake), Some(Failure::Status(500)));
    rig.round_after(Duration::from_millis(3_999)).await;
    assert_eq!(told(&receiver.so_far()), []);
    rig.round_after(Duration::from_millis(1_001)).await;
    assert_eq!(told(&receiver.so_far()), [pair("wh_1_1", "s1")]);
    answer.store(204, Ordering::Relaxed);
    rig.round_after(Duration::from_secs(30)).await;
    assert_eq!(told(&receiver.so_far()), [pair("wh_1_1", "s1")]);
    assert_eq!(rig.fake.numbers(), (vec![], vec![]));
}

#[tokio::test]
async fn a_session_s_events_stay_in_order_and_other_sessions_go_on() {
    let fails = Arc::new(AtomicBool::new(true));
    let failing = Arc::clone(&fails);
    let answers =
        move |received: &Received| status(if received.session() == "bad" && failing.load(Ordering::Relaxed) { 503 } else { 200 }, "");
    let mut receiver = Receiver::answering(answers).await;
    let rig = Rig::telling(&receiver.url()).await;
    rig.happens(EventKind::Created, "bad");
    rig.happens(EventKind::Updated, "bad");
    rig.happens(EventKind::Created, "good");
    rig.round().await;
    let mut first = told(&receiver.so_far());
    first.sort();
    assert_eq!(first, [pair("wh_1_1", "bad"), pair("wh_1_3", "good")]);
    rig.happens(EventKind::Erased, "bad");
    rig.happens(EventKind::Updated, "good");
    rig.round_after(Duration::from_secs(1)).await;
    assert_eq!(told(&receiver.so_far()), [pair("wh_1_5", "good")]);
    fails.store(false, Ordering::Relaxed);
    rig.round_after(Duration::from_secs(10)).await;
    // What was to be told of the session before it was erased is moot by now.
    assert_eq!(told(&receiver.so_far()), [pair("wh_1_4", "bad")]);
    assert_eq!(rig.fake.numbers(), (vec![], vec![]));
}

#[tokio::test]
async fn after_a_day_it_is_given_up_and_a_replay_sends_the_same_message() {
    let (mut receiver, answer) = settable().await;
    let rig = Rig::telling(&receiver.url()).await;
    answer.store(500, Ordering::Relaxed);
    rig.happens(EventKind::Created, "s1");
    rig.round().await;
    let began = rig.clock.now();
    while rig.fake.numbers().1.is_empty() {
        assert!(rig.clock.now().since(began) < Duration::from_hours(25), "it has to end");
        rig.round_after(MINUTE).await;
    }
    assert_eq!(receiver.so_far().len(), 13);
    assert!(rig.clock.now().since(began) > Duration::from_hours(18));
    rig.round_after(Duration::from_hours(24)).await;
    assert_eq!(told(&receiver.so_far()), []);
    answer.store(200, Ordering::Relaxed);
    assert_eq!(rig.fake.replay(&rig.key, None, rig.clock.now(), 10).await.unwrap(), 1);
    rig.round().await;
    assert_eq!(told(&receiver.so_far()), [pair("wh_1_1", "s1")]);
    assert_eq!(rig.fake.numbers(), (vec![], vec![]));
}

#[tokio::test]
async fn the_next_event_of_a_session_is_told_when_an_earlier_one_was_given_up() {
    let answers = |received: &Received| status(if received.id() == "wh_1_1" { 400 } else { 200 }, "");
    let mut receiver = Receiver::answering(answers).await;
    let rig = Rig::telling(&receiver.url()).await;
    rig.happens(EventKind::Created, "s1");
    rig.happens(EventKind::Updated, "s1");
    for _ in 0..25 * 60 {
        rig.round_after(MINUTE).await;
    }
    assert_eq!(told(&receiver.so_far()).last(), Some(&pair("wh_1_2", "s1")));
    assert_eq!(rig.fake.numbers(), (vec![], vec![1]));
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_told_of_nothing_until_it_is_enabled_again() {
    let (mut receiver, answer) = settable().await;
    let rig = Rig::telling(&receiver.url()).await;
    answer.store(410, Ordering::Relaxed);
    rig.happens(EventKind::Created, "s1");
    rig.round().await;
    assert_eq!(told(&receiver.so_far()), [pair("wh_1_1", "s1")]);
    rig.happens(EventKind::Created, "s2");
    rig.round_after(MINUTE).await;
    assert_eq!(told(&receiver.so_far()), []);
    answer.store(200, Ordering::Relaxed);
    rig.fake.change_webhook(&rig.key, Change::Enabled).await.unwrap();
    rig.round().await;
    assert_eq!(sessions(&receiver.so_far()), ["s1", "s2"], "it goes on where it stopped");
}

#[tokio::test]
async fn what_was_taken_up_by_an_instance_that_was_killed_is_sent_by_another_as_the_same_message() {
    let mut silent = Receiver::answering(|_| None).await;
    let rig = Rig::telling(&silent.url()).await;
    rig.happens(EventKind::Created, "s1");
    let mut turns = JoinSet::new();
    rig.deliverer.look(&mut turns).await.unwrap();
    assert_eq!(silent.next().await.id(), "wh_1_1");
    turns.abort_all();
    while turns.join_next().await.is_some() {}
    let (mut receiver, _) = settable().await;
    rig.fake.state().webhook.as_mut().unwrap().url = WebhookUrl::parse(&receiver.url()).unwrap();
    let other = deliverer(&rig.fake, &rig.clock);
    round(&other).await;
    assert_eq!(told(&receiver.so_far()), [], "as long as the other may be alive");
    rig.clock.advance(Duration::from_secs(10));
    round(&other).await;
    assert_eq!(told(&receiver.so_far()), [pair("wh_1_1", "s1")]);
    assert_eq!(rig.fake.numbers(), (vec![], vec![]));
}

#[tokio::test]
async fn two_instances_tell_an_endpoint_once() {
    let (mut receiver, _) = settable().await;
    let rig = Rig::telling(&receiver.url()).await;
    let other = deliverer(&rig.fake, &rig.clock);
    for round_no in 0..20 {
        rig.happens(EventKind::Created, &format!("s{round_no}"));
        tokio::join!(rig.round(), round(&other));
    }
    rig.round().await;
    let received = receiver.so_far();
    let mut ids: Vec<_> = received.iter().map(Received::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((received.len(), ids.len()), (20, 20));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_held_for_as_long_as_it_is_sent_to() {
    let silent = Receiver::answering(|_| None).await;
    let rig = Rig::telling(&silent.url()).await;
    rig.happens(EventKind::Created, "s1");
    let began = Instant::now();
    rig.round().await;
    assert_eq!(began.elapsed().as_secs(), 15);
    assert_eq!(last_failure(&rig.fake), Some(Failure::TimedOut));
    // Taken at the beginning, every three seconds again, and let go at the end.
    assert!((6..=7).contains(&rig.fake.leases.load(Ordering::Relaxed)));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_lost_an_endpoint_stops_before_another_one_begins() {
    let mut silent = Receiver::answering(|_| None).await;
    let rig = Rig::telling(&silent.url()).await;
    rig.happens(EventKind::Created, "s1");
    let began = Instant::now();
    let (deliverer, fake, clock) = (Arc::clone(&rig.deliverer), Arc::clone(&rig.fake), Arc::clone(&rig.clock));
    let steal = async {
        silent.next().await;
        fake.state().lease = Some(("other".into(), clock.now().plus(MINUTE)));
    };
    tokio::join!(round(&deliverer), steal);
    assert_eq!(began.elapsed().as_secs(), 8);
    assert_eq!(rig.fake.numbers(), (vec![1], vec![]));
    assert_eq!(last_failure(&rig.fake), None, "what it did is noted by nobody");
}

#[tokio::test]
async fn what_an_instance_could_not_note_it_notes_later_and_sends_nothing_twice() {
    let (mut receiver, _) = settable().await;
    let rig = Rig::telling(&receiver.url()).await;
    rig.happens(EventKind::Created, "s1");
    rig.fake.settles_not.store(true, Ordering::Relaxed);
    rig.round().await;
    rig.round().await;
    assert_eq!(told(&receiver.so_far()), [pair("wh_1_1", "s1")]);
    assert_eq!(rig.fake.numbers(), (vec![], vec![]));
}

#[tokio::test]
async fn what_is_gone_by_then_is_not_told_and_that_it_was_erased_is() {
    let (mut receiver, _) = settable().await;
    let rig = Rig::telling(&receiver.url()).await;
    rig.happens(EventKind::Created, "s1");
    rig.happens(EventKind::Erased, "s1");
    rig.happens(EventKind::Updated, "expired");
    rig.fake.state().sessions.clear();
    rig.round().await;
    let received = receiver.so_far();
    assert_eq!(told(&received), [pair("wh_1_2", "s1")]);
    let body: serde_json::Value = serde_json::from_str(&received[0].body).unwrap();
    assert_eq!(body["data"], serde_json::json!({"id": "s1"}));
    assert_eq!(rig.fake.numbers(), (vec![], vec![]));
}

#[tokio::test]
async fn an_endpoint_is_told_of_the_kinds_that_it_asked_for() {
    let (mut receiver, _) = settable().await;
    let rig = Rig::telling(&receiver.url()).await;
    rig.fake.state().webhook.as_mut().unwrap().kinds = [EventKind::Erased].into();
    for session in 0..2 * EVENTS {
        rig.happens(EventKind::Created, &format!("s{session}"));
    }
    rig.happens(EventKind::Erased, "s7");
    for _ in 0..3 {
        rig.round().await;
    }
    assert_eq!(told(&receiver.so_far()), [pair("wh_1_1", "s7")]);
}

#[tokio::test]
async fn a_suspended_tenant_s_endpoints_are_told_of_nothing() {
    let (mut receiver, _) = settable().await;
    let rig = Rig::telling(&receiver.url()).await;
    rig.happens(EventKind::Created, "s1");
    rig.fake.suspended.store(true, Ordering::Relaxed);
    rig.round().await;
    assert_eq!(told(&receiver.so_far()), []);
    rig.fake.suspended.store(false, Ordering::Relaxed);
    rig.round().await;
    assert_eq!(told(&receiver.so_far()), [pair("wh_1_1", "s1")]);
}

/// A turn lasts for seconds: what is next is not sent any more, and stays due.
#[tokio::test]
async fn a_tenant_that_is_suspended_during_a_turn_is_told_of_nothing_more() {
    let telling: Arc<OnceLock<Arc<Fake>>> = Arc::default();
    let fake = Arc::clone(&telling);
    let mut receiver = Receiver::answering(move |_| {
        if let Some(fake) = fake.get() {
            fake.suspended.store(true, Ordering::Relaxed);
        }
        status(200, "")
    })
    .await;
    let rig = Rig::telling(&receiver.url()).await;
    assert!(telling.set(Arc::clone(&rig.fake)).is_ok());
    rig.happens(EventKind::Created, "s1");
    rig.happens(EventKind::Updated, "s1");
    rig.round().await;
    assert_eq!(told(&receiver.so_far()), [pair("wh_1_1", "s1")]);
    assert_eq!(rig.fake.numbers(), (vec![2], vec![]));
    rig.fake.suspended.store(false, Ordering::Relaxed);
    rig.round().await;
    assert_eq!(told(&receiver.so_far()), [pair("wh_1_2", "s1")]);
}

#[tokio::test]
async fn while_a_secret_is_rotated_messages_carry_both_signatures() {
    let (mut receiver, _) = settable().await;
    let rig = Rig::telling(&receiver.url()).await;
    let old = rig.fake.state().webhook.clone().unwrap().secrets.current;
    let until = WebhookSecrets::previous_until(rig.clock.now());
    let change = Change::Secret { secret: WebhookSecret::random(), previous_until: until };
    let new = rig.fake.change_webhook(&rig.key, change).await.unwrap().unwrap().secrets.current;
    assert_ne!(new.text().expose_secret(), old.text().expose_secret());
    rig.happens(EventKind::Created, "s1");
    rig.round().await;
    let received = receiver.next().await;
    let expected = sign([&new, &old].into_iter(), "wh_1_1", 1_709_036_183, &received.body);
    assert_eq!(received.header("webhook-signature"), Some(expected.as_str()));
    assert_eq!(expected.matches("v1,").count(), 2);
    rig.clock.advance(Duration::from_hours(24));
    rig.happens(EventKind::Created, "s2");
    rig.round().await;
    assert_eq!(receiver.next().await.header("webhook-signature").unwrap().matches("v1,").count(), 1);
}

#[tokio::test]
async fn an_endpoint_that_asks_to_be_left_alone_is() {
    let mut receiver = Receiver::answering(|_| status(429, "retry-after: 600\r\n")).await;
    let rig = Rig::telling(&receiver.url()).await;
    rig.happens(EventKind::Created, "s1");
    rig.round().await;
    assert_eq!(receiver.so_far().len(), 1);
    rig.round_after(Duration::from_secs(599)).await;
    assert_eq!(receiver.so_far().len(), 0);
    rig.round_after(Duration::from_secs(1)).await;
    assert_eq!(receiver.so_far().len(), 1);
}

#[tokio::test]
async fn an_endpoint_that_fails_whatever_it_is_sent_is_tried_with_one_at_a_time() {
    let (mut receiver, answer) = settable().await;
    let rig = Rig::telling(&receiver.url()).await;
    answer.store(500, Ordering::Relaxed);
    for session in 0..40 {
        rig.happens(EventKind::Created, &format!("s{session:02}"));
    }
    rig.round().await;
    let at_first = receiver.so_far().len();
    assert!((8..12).contains(&at_first), "{at_first}");
    rig.round().await;
    assert_eq!(receiver.so_far().len(), 0, "it rests");
    rig.round_after(Duration::from_secs(8)).await;
    assert_eq!(receiver.so_far().len(), 1);
    answer.store(200, Ordering::Relaxed);
    rig.round_after(MINUTE).await;
    rig.round_after(MINUTE).await;
    assert_eq!(rig.fake.numbers(), (vec![], vec![]), "all of them, once it is well again");
}

#[tokio::test]
async fn old_events_are_taken_up_before_the_outbox_drops_them_though_the_endpoint_rests() {
    let (receiver, answer) = settable().await;
    let rig = Rig::telling(&receiver.url()).await;
    answer.store(500, Ordering::Relaxed);
    for session in 0..300 {
        rig.happens(EventKind::Created, &format!("s{session:03}"));
    }
    rig.round().await;
    let (waiting, _) = rig.fake.numbers();
    assert_eq!(waiting.len(), 256, "what is read at a time");
    rig.round_after(Duration::from_mins(59)).await;
    assert_eq!(rig.fake.numbers().0.len(), 256);
    rig.round_after(MINUTE).await;
    assert_eq!(rig.fake.numbers().0.len(), 300);
}

#[tokio::test]
async fn four_sessions_at_a_time_and_no_more() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (at_once, seen) = (Arc::clone(&now), Arc::clone(&most));
    let answers = move |_: &Received| {
        seen.fetch_max(at_once.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        // Nobody is answered, so all of them are there at once.
        None
    };
    let mut receiver = Receiver::answering(answers).await;
    let rig = Rig::telling(&receiver.url()).await;
    for session in 0..20 {
        rig.happens(EventKind::Created, &format!("s{session:02}"));
    }
    let mut turns = JoinSet::new();
    rig.deliverer.look(&mut turns).await.unwrap();
    for _ in 0..4 {
        receiver.next().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!((now.load(Ordering::Relaxed), most.load(Ordering::Relaxed)), (4, 4));
}

#[tokio::test]
async fn dead_letters_are_kept_for_30_days() {
    let (receiver, answer) = settable().await;
    let rig = Rig::telling(&receiver.url()).await;
    answer.store(404, Ordering::Relaxed);
    rig.happens(EventKind::Created, "s1");
    for _ in 0..25 * 60 {
        rig.round_after(MINUTE).await;
    }
    assert_eq!(rig.fake.numbers(), (vec![], vec![1]));
    rig.clock.advance(Duration::from_hours(29 * 24));
    rig.deliverer.drop_dead_letters().await;
    assert_eq!(rig.fake.numbers(), (vec![], vec![1]));
    rig.clock.advance(Duration::from_hours(24));
    rig.deliverer.drop_dead_letters().await;
    assert_eq!(rig.fake.numbers(), (vec![], vec![]));
}

#[tokio::test]
async fn what_is_stored_is_heard_of() {
    let (mut receiver, _) = settable().await;
    let rig = Rig::telling(&receiver.url()).await;
    let stored = watch::Sender::new(());
    let keeping = tokio::spawn(Arc::clone(&rig.deliverer).keep({
        let stored = stored.clone();
        move || stored.subscribe()
    }));
    for session in ["s1", "s2", "s3"] {
        rig.happens(EventKind::Created, session);
        stored.send_replace(());
        assert_eq!(receiver.next().await.session(), session);
    }
    keeping.abort();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_keeps_a_delivery_waiting_leaves_its_slot_to_those_that_answer() {
    let mut receiver = Receiver::answering(|_| None).await;
    let rig = Rig::telling(&receiver.url()).await;
    let taken = || (rig.deliverer.slots.taken(), rig.deliverer.slow_slots.taken());
    for (session, before) in [("s1", (1, 0)), ("s2", (0, 1))] {
        rig.happens(EventKind::Created, session);
        let mut turns = JoinSet::new();
        rig.deliverer.look(&mut turns).await.unwrap();
        receiver.next().await;
        assert_eq!(taken(), before, "it is slow from the first time on");
        let began = Instant::now();
        while taken() != (0, 1) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(began.elapsed() <= Duration::from_secs(2), "{:?}", began.elapsed());
        turns.join_all().await;
        assert_eq!(taken(), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_slot_for_slow_endpoints_what_is_under_way_is_finished_and_nothing_more_is_begun() {
    let mut receiver = Receiver::answering(|_| None).await;
    let rig = Rig::telling(&receiver.url()).await;
    let others: Vec<_> = (1_000..).map_while(|number| rig.deliverer.slow_slots.try_acquire(TenantId::from_number(number))).collect();
    for session in ["a", "b", "c", "d", "e"] {
        rig.happens(EventKind::Created, session);
    }
    rig.round().await;
    assert_eq!(receiver.so_far().len(), 4, "the fifth waits for a slot");
    assert_eq!((rig.fake.numbers().0.len(), rig.deliverer.slots.taken()), (5, 0));
    drop(others);
}
