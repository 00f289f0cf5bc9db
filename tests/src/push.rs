//! Webhooks over real databases: whatever is killed, every event arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use calldata_core::port::{Events, Outbox, OutboxEnd};
use calldata_core::webhook::{Webhook, WebhookSecret, WebhookSecrets, WebhookUrl};
use calldata_core::{
    Clock, DirectoryStore, Epoch, Event, EventKind, ManualClock, Position, Session, SessionId, StoreError, Tenant, TenantId, Timestamp,
    WebhookId, WebhookStore,
};
use calldata_push::{Deliverer, EndpointPolicy, Lookup, Ports, Sender};
use calldata_testkit::builders::{a_clock, a_session, a_tenant, session_id, start};
use calldata_testkit::engine::on_every_engine;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

const SESSIONS: usize = 20;
const EVENTS_OF_EACH: usize = 5;

/// Events of one tenant, all of which have happened, and their sessions.
struct Happened {
    tenant: Arc<Tenant>,
    events: Vec<Event>,
}

#[async_trait]
impl Outbox for Happened {
    async fn events(&self, _: TenantId, after: Position, limit: u64) -> Result<Events, StoreError> {
        let limit = usize::try_from(limit).unwrap();
        let events = self.events.iter().filter(|event| event.position > after).take(limit).cloned().collect();
        Ok(Events { epoch: Epoch::random(), events })
    }
    async fn end(&self) -> Result<OutboxEnd, StoreError> {
        Ok(OutboxEnd { epoch: Epoch::random(), position: Position::default(), unprefixed_until: None })
    }
    async fn dropped_until(&self, _: TenantId) -> Result<Position, StoreError> {
        Ok(Position::default())
    }
    async fn drop_events(&self, _: TenantId, _: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }
}

#[async_trait]
impl Lookup for Happened {
    fn tenant(&self, _: TenantId) -> Option<Arc<Tenant>> {
        Some(Arc::clone(&self.tenant))
    }
    async fn session(&self, _: TenantId, id: &SessionId) -> Result<Option<Session>, StoreError> {
        let details = a_session("call", "110");
        Ok(Some(Session { id: id.clone(), received_first: start(), received_last: start(), details }))
    }
}

/// The first attempt of every fourth message is refused; tells of every message that was taken: its number and its session.
async fn serve(stream: TcpStream, refused: Arc<Mutex<BTreeSet<usize>>>, tell: mpsc::UnboundedSender<(usize, String)>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut number, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                if line.trim_end().is_empty() {
                    break;
                }
                continue;
            };
            match name {
                "webhook-id" => number = value.rsplit('_').next()?.parse().ok()?,
                "content-length" => length = value.parse().ok()?,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let body: serde_json::Value = serde_json::from_slice(&body).ok()?;
        if number % 4 == 0 && refused.lock().unwrap().insert(number) {
            stream.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await.ok()?;
            continue;
        }
        tell.send((number, body["data"]["id"].as_str()?.to_owned())).ok()?;
        stream.write_all(b"HTTP/1.1 204 Taken\r\n\r\n").await.ok()?;
    }
}

async fn listening() -> (SocketAddr, mpsc::UnboundedReceiver<(usize, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, taken) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let refused = Arc::default();
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&refused), tell.clone()));
        }
    });
    (address, taken)
}

/// An instance that delivers until it is dropped.
fn an_instance(webhooks: Arc<dyn WebhookStore>, happened: &Arc<Happened>, clock: &Arc<ManualClock>) -> JoinHandle<()> {
    let ports = Ports { webhooks, outbox: happened.clone(), lookup: happened.clone(), clock: clock.clone() };
    let networks = EndpointPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
    tokio::spawn(Deliverer::new(ports, Sender::new(networks)).keep(|| watch::Sender::new(()).subscribe()))
}

#[test]
fn every_event_arrives_in_order_by_session_whichever_instance_is_killed() {
    on_every_engine(async |test| {
        let tenant = Arc::new(a_tenant("c"));
        test.database().create_tenant(&tenant).await.unwrap();
        let event = |number: usize| Event {
            position: Position { commit: i64::try_from(number).unwrap(), place: 1 },
            kind: EventKind::Updated,
            session: session_id(&format!("s{}", number % SESSIONS)),
            at: start(),
        };
        let all = SESSIONS * EVENTS_OF_EACH;
        let happened = Arc::new(Happened { tenant: Arc::clone(&tenant), events: (1..=all).map(event).collect() });
        let (address, mut taken) = listening().await;
        let webhook = Webhook {
            id: WebhookId::new("wh_1").unwrap(),
            tenant: tenant.id,
            url: WebhookUrl::parse(&format!("http://{address}/")).unwrap(),
            secrets: WebhookSecrets::new(WebhookSecret::random()),
            kinds: EventKind::ALL.into(),
            created_at: start(),
            disabled: None,
            taken_up: Position::default(),
        };
        test.database().create_webhook(&webhook).await.unwrap();
        let clock = Arc::new(a_clock());
        let stores: [Arc<dyn WebhookStore>; 2] = [Arc::new(test.database().clone()), Arc::new(test.open_again().await)];
        let mut instances = [0, 1].map(|which: usize| an_instance(Arc::clone(&stores[which]), &happened, &clock));
        let mut arrived: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let (mut seen, mut killed) = (BTreeSet::new(), 0);
        while seen.len() < all {
            // Where nothing arrives, something waits for its time.
            let Ok(Some((number, session))) = tokio::time::timeout(Duration::from_millis(200), taken.recv()).await else {
                clock.advance(Duration::from_secs(2));
                assert!(clock.now() < start().plus(Duration::from_hours(1)), "{} of {all} arrived", seen.len());
                continue;
            };
            if seen.insert(number) {
                arrived.entry(session).or_default().push(number);
            }
            if seen.len() / 15 > killed {
                let which = killed % 2;
                instances[which].abort();
                instances[which] = an_instance(Arc::clone(&stores[which]), &happened, &clock);
                killed += 1;
            }
        }
        assert_eq!(arrived.len(), SESSIONS);
        for (session, numbers) in arrived {
            assert!(numbers.len() == EVENTS_OF_EACH && numbers.is_sorted(), "{session}: {numbers:?}");
        }
        assert!(killed >= 5);
        instances.iter().for_each(JoinHandle::abort);
    });
}
