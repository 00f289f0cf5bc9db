//! Authorisation lasts only as long as the right: an answer that goes on, and a request that waits, feel each change of their key and tenant.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use calldata_core::catalog::Filter;
use calldata_core::key::AccessKey;
use calldata_core::{Access, Clock, Country, DirectoryStore, Masking, Scopes, Tenant};
use calldata_http::{BatchLimits, Limits};
use calldata_interchange::SessionDocument;
use calldata_testkit::builders::{a_clock, a_key, a_tenant};
use calldata_testkit::client::Answer;
use calldata_testkit::engine::{TestDatabase, on_every_engine};
use calldata_testkit::gateway::Gateway;
use calldata_testkit::program::eventually;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Media types of answers that go on while they are read.
const STREAMED: [&str; 3] = ["application/x-ndjson", "text/csv", "text/event-stream"];
/// More than an export reads at a time, and the follower's answer holds.
const SESSIONS: usize = 450;
/// So few bytes are on their way to a client that has not asked for more.
const WINDOW: u32 = 1 << 10;
const HOUR: Duration = Duration::from_hours(1);
const SOON: Duration = Duration::from_secs(20);

/// Every operation that goes on, or waits, after its request was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    StoreSessions,
    ExportSessions,
    ExportCaller,
    FollowEvents,
    FetchCallData,
}

const OPERATIONS: [Operation; 5] =
    [Operation::StoreSessions, Operation::ExportSessions, Operation::ExportCaller, Operation::FollowEvents, Operation::FetchCallData];

impl Operation {
    fn id(self) -> &'static str {
        match self {
            Self::StoreSessions => "storeSessions",
            Self::ExportSessions => "exportSessions",
            Self::ExportCaller => "exportCaller",
            Self::FollowEvents => "followEvents",
            Self::FetchCallData => "fetchCallData",
        }
    }

    /// The scope without which it is not permitted.
    fn scope(self) -> &'static str {
        match self {
            Self::StoreSessions => "write",
            Self::ExportSessions | Self::FollowEvents | Self::FetchCallData => "read",
            Self::ExportCaller => "admin",
        }
    }
}

/// What an operator does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    KeyRevoked,
    KeyExpired,
    KeyDeleted,
    ScopeRemoved,
    MaskingSet,
    TenantSuspended,
    TenantDeleted,
}

/// The last one cannot be undone.
const CHANGES: [Change; 7] = [
    Change::KeyRevoked,
    Change::KeyExpired,
    Change::KeyDeleted,
    Change::ScopeRemoved,
    Change::MaskingSet,
    Change::TenantSuspended,
    Change::TenantDeleted,
];

impl Change {
    /// Status and code of the refusal; none where the right goes on.
    fn refusal(self) -> Option<(u16, &'static str)> {
        match self {
            Self::KeyRevoked | Self::KeyExpired | Self::KeyDeleted | Self::TenantSuspended | Self::TenantDeleted => {
                Some((401, "not-authenticated"))
            }
            Self::ScopeRemoved => Some((403, "not-permitted")),
            Self::MaskingSet => None,
        }
    }
}

#[test]
fn every_operation_whose_answer_goes_on_is_tested_here() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi/gateway.json");
    let document: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let operations = document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    let goes_on = |operation: &&Value| {
        let mut answers = operation["responses"].as_object().unwrap().values().filter_map(|response| response["content"].as_object());
        let is_streamed = answers.any(|content| STREAMED.iter().any(|streamed| content.contains_key(*streamed)));
        let waits = operation["parameters"].as_array().is_some_and(|all| all.iter().any(|parameter| parameter["name"] == "wait"));
        is_streamed || waits
    };
    let described: BTreeSet<_> =
        operations.filter(goes_on).map(|operation| operation["operationId"].as_str().unwrap().to_owned()).collect();
    // One JSON document, which no description tells from one that is whole at once.
    let tested = OPERATIONS.into_iter().filter(|operation| *operation != Operation::ExportCaller);
    assert_eq!(described, tested.map(|operation| operation.id().to_owned()).collect());
}

#[test]
fn what_goes_on_ends_with_its_right_and_masks_what_is_masked_from_then_on() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        for operation in OPERATIONS {
            let tenant = a_tenant(operation.id());
            gateway.database().create_tenant(&tenant).await.unwrap();
            if matches!(operation, Operation::ExportSessions | Operation::ExportCaller | Operation::FollowEvents) {
                let sessions: Vec<_> = (0..SESSIONS).map(|number| format!("s{number}")).collect();
                store(&gateway, &tenant, &sessions).await;
            }
            for change in CHANGES {
                println!("{operation:?}: {change:?}");
                let case = Case::new(&gateway, database, &tenant, operation, change).await;
                match operation {
                    Operation::StoreSessions => batch(&case).await,
                    Operation::ExportSessions => export(&case, "GET", "/v1/sessions:export", "").await,
                    Operation::ExportCaller => export(&case, "POST", "/v1/callers:export", r#"{"caller":"110"}"#).await,
                    Operation::FollowEvents => follow(&case).await,
                    Operation::FetchCallData => wait(&case).await,
                }
                case.undo().await;
            }
        }
        gateway.stop().await;
    });
}

/// An operation under way, and what changes meanwhile.
struct Case<'g> {
    gateway: &'g Gateway,
    database: &'g TestDatabase,
    tenant: &'g Tenant,
    operation: Operation,
    change: Change,
    key: AccessKey,
    secret: String,
}

impl<'g> Case<'g> {
    async fn new(gateway: &'g Gateway, database: &'g TestDatabase, tenant: &'g Tenant, operation: Operation, change: Change) -> Self {
        let secret = format!("{}-{change:?}", operation.id());
        let scopes = Scopes { admin: true, ..Scopes::READ_WRITE };
        let key = AccessKey { scopes, expires_at: Some(gateway.clock.now().plus(HOUR)), ..a_key(tenant, &secret) };
        gateway.database().create_key(&key).await.unwrap();
        Self { gateway, database, tenant, operation, change, key, secret }
    }

    /// Makes the change, and has the gateway look.
    async fn make(&self) {
        let database = self.gateway.database();
        match self.change {
            Change::KeyRevoked => assert!(database.revoke_key(&self.key.id, self.gateway.clock.now()).await.unwrap()),
            Change::KeyExpired => self.gateway.clock.advance(HOUR),
            Change::KeyDeleted => self.execute(&format!("DELETE FROM access_key WHERE id = '{}'", self.key.id)).await,
            Change::ScopeRemoved => {
                let left: Vec<_> = self.key.scopes.names().filter(|scope| *scope != self.operation.scope()).collect();
                self.execute(&format!("UPDATE access_key SET scopes = '{}' WHERE id = '{}'", left.join(","), self.key.id)).await;
            }
            Change::MaskingSet => {
                let masking = Some(Masking::new(0, vec!["content".to_owned()]).unwrap());
                database.update_tenant(&Tenant { masking, ..self.tenant.clone() }).await.unwrap();
            }
            Change::TenantSuspended => database.suspend_tenant(self.tenant.id, true).await.unwrap(),
            Change::TenantDeleted => drop(database.delete_tenant(self.tenant.id).await.unwrap()),
        }
        self.gateway.look().await;
    }

    async fn execute(&self, statement: &str) {
        self.database.execute(&format!("{statement}; UPDATE directory SET version = version + 1")).await;
    }

    async fn undo(&self) {
        match self.change {
            Change::MaskingSet => self.gateway.database().update_tenant(self.tenant).await.unwrap(),
            Change::TenantSuspended => self.gateway.database().suspend_tenant(self.tenant.id, false).await.unwrap(),
            Change::KeyRevoked | Change::KeyExpired | Change::KeyDeleted | Change::ScopeRemoved | Change::TenantDeleted => {}
        }
        self.gateway.look().await;
    }

    fn tenant_is_gone(&self) -> bool {
        self.change == Change::TenantDeleted
    }

    fn about(&self) -> String {
        format!("{:?}: {:?}", self.operation, self.change)
    }
}

/// Stores sessions of the caller 110 past every check.
async fn store(gateway: &Gateway, tenant: &Tenant, ids: &[String]) {
    let session = |id: &String| {
        let text =
            format!(r#"{{"id":"{}-{id}","callId":"{id}","caller":"110","content":"learned{}"}}"#, tenant.client_id, "x".repeat(1_000));
        SessionDocument::parse(&text).and_then(|document| document.into_session(Country::GERMANY)).unwrap()
    };
    let access = Access::of_operator(tenant.clone());
    let stored = gateway.sessions().create_all(&access, ids.iter().map(session).collect()).await;
    assert!(stored.iter().all(Result::is_ok));
}

async fn stored(gateway: &Gateway, tenant: &Tenant) -> u64 {
    gateway.sessions().count(&Access::of_operator(tenant.clone()), &Filter::default()).await.unwrap()
}

/// A batch whose lines are sent one by one over HTTP/1.1.
struct Batch {
    connection: TcpStream,
    answer: String,
}

impl Batch {
    async fn begin(gateway: &Gateway, secret: &str) -> Self {
        let mut connection = TcpStream::connect(gateway.address).await.unwrap();
        let head = format!(
            "POST /v1/sessions:batch HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\nTransfer-Encoding: chunked\r\n\
             Content-Type: application/x-ndjson\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        Self { connection, answer: String::new() }
    }

    async fn send(&mut self, line: &str) {
        let chunk = format!("{:x}\r\n{line}\n\r\n", line.len() + 1);
        self.connection.write_all(chunk.as_bytes()).await.unwrap();
    }

    /// Reads until there are this many results, and returns the last one.
    async fn result(&mut self, count: usize) -> Value {
        loop {
            let results: Vec<_> = self.answer.lines().filter(|line| line.starts_with('{')).collect();
            if results.len() >= count && self.answer.ends_with("\r\n") {
                return serde_json::from_str(results[count - 1]).unwrap();
            }
            let mut piece = [0; 4_096];
            let read = tokio::time::timeout(SOON, self.connection.read(&mut piece)).await.expect("a result comes").unwrap();
            assert!(read > 0, "the answer ended: {}", self.answer);
            self.answer.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        }
    }

    /// Reads to the end of the answer, which has to be one in order.
    async fn end(mut self) {
        while !self.answer.ends_with("\r\n0\r\n\r\n") {
            let byte = tokio::time::timeout(SOON, self.connection.read_u8()).await.expect("the answer ends");
            self.answer.push(char::from(byte.expect("the answer ends in order")));
        }
    }
}

async fn batch(case: &Case<'_>) {
    let mut batch = Batch::begin(case.gateway, &case.secret).await;
    let line = |number: usize| format!(r#"{{"id":"{:?}-{number}","callId":"c","caller":"110"}}"#, case.change);
    batch.send(&line(1)).await;
    assert_eq!(batch.result(1).await["status"], "created", "{}", case.about());
    let before = stored(case.gateway, case.tenant).await;
    case.make().await;
    batch.send(&line(2)).await;
    let result = batch.result(2).await;
    match case.change.refusal() {
        Some((status, code)) => {
            assert_eq!((&result["status"], &result["problem"]["code"]), (&"rejected".into(), &code.into()), "{}", case.about());
            assert_eq!(result["problem"]["status"], status, "{}", case.about());
        }
        None => assert_eq!(result["status"], "created", "{}", case.about()),
    }
    batch.connection.write_all(b"0\r\n\r\n").await.unwrap();
    batch.end().await;
    if !case.tenant_is_gone() {
        let more = u64::from(case.change.refusal().is_none());
        assert_eq!(stored(case.gateway, case.tenant).await, before + more, "{}", case.about());
    }
}

/// An answer that its client reads as it likes: what is not asked for stays with the gateway.
struct Answering {
    response: reqwest::Response,
    text: String,
}

impl Answering {
    async fn begin(case: &Case<'_>, method: &str, path: &str, body: &'static str) -> Self {
        let client = reqwest::Client::builder().http2_prior_knowledge().http2_initial_stream_window_size(WINDOW).build().unwrap();
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = client.request(method, format!("http://{}{path}", case.gateway.address)).bearer_auth(&case.secret);
        let response = request.body(body).send().await.unwrap();
        assert_eq!(response.status(), 200, "{}", case.about());
        let mut answering = Self { response, text: String::new() };
        while !answering.text.contains("learned") {
            assert_eq!(answering.read().await, Some(true), "{}", case.about());
        }
        answering
    }

    /// Reads a piece: whether there was one, or none where the answer broke off.
    async fn read(&mut self) -> Option<bool> {
        let piece = tokio::time::timeout(SOON, self.response.chunk()).await.expect("a piece or the end comes").ok()?;
        self.text.push_str(std::str::from_utf8(piece.as_deref().unwrap_or_default()).unwrap());
        Some(piece.is_some())
    }

    /// How many sessions have come as a whole.
    fn sessions(&self) -> usize {
        self.text.matches(r#""source":"native""#).count()
    }
}

async fn export(case: &Case<'_>, method: &str, path: &str, body: &'static str) {
    let mut answering = Answering::begin(case, method, path, body).await;
    case.make().await;
    let end = loop {
        match answering.read().await {
            Some(true) => {}
            end => break end,
        }
    };
    if case.change.refusal().is_some() {
        assert_eq!(end, None, "{}: a part looks like the whole", case.about());
        assert!(answering.sessions() < SESSIONS, "{}", case.about());
    } else {
        assert_eq!((end, answering.sessions()), (Some(false), SESSIONS), "{}", case.about());
        assert_eq!(contents(&answering.text).last(), Some(&"***"), "{}", case.about());
    }
}

/// The beginnings of the contents, in order.
fn contents(text: &str) -> Vec<&str> {
    text.split(r#""content":""#).skip(1).map(|rest| rest.get(..3).unwrap_or_default()).collect()
}

async fn follow(case: &Case<'_>) {
    let mut answering = Answering::begin(case, "GET", "/v1/events?lastEventId=0-0", "").await;
    case.make().await;
    if case.change.refusal().is_some() {
        while answering.read().await == Some(true) {}
        assert!(answering.sessions() < SESSIONS, "{}: {} were told", case.about(), answering.sessions());
        return;
    }
    while answering.sessions() < SESSIONS {
        assert_eq!(answering.read().await, Some(true), "{}", case.about());
    }
    assert_eq!(contents(&answering.text).last(), Some(&"***"), "{}", case.about());
}

async fn wait(case: &Case<'_>) {
    let call = format!("{:?}", case.change);
    // Nothing can be stored any more for a tenant that is gone: the end of the wait is what wakes this one.
    let seconds = if case.tenant_is_gone() { 3 } else { 30 };
    let (client, secret) = (case.gateway.client.clone(), case.secret.clone());
    let path = format!("/api/CallData?clientId={}&callid={call}&caller=110&wait={seconds}", case.tenant.client_id);
    let waiting: JoinHandle<Answer> =
        tokio::spawn(async move { client.request("GET", &path, &[("x-functions-key", &secret)], Vec::new()).await });
    eventually("the request waits", SOON, async || case.gateway.sessions().waiting() == 1).await;
    case.make().await;
    if !case.tenant_is_gone() {
        store(case.gateway, case.tenant, &[call]).await;
    }
    let answer = tokio::time::timeout(SOON, waiting).await.expect("there is an answer").unwrap();
    match case.change.refusal() {
        Some((status, _)) => assert_eq!((answer.status, answer.text()), (status, ""), "{}", case.about()),
        None => assert_eq!((answer.status, &answer.json()["content"]), (200, &"***".into()), "{}", case.about()),
    }
}

#[test]
fn a_batch_whose_right_has_ended_is_not_kept_open() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let mut batch = Batch::begin(&gateway, &account.key).await;
        batch.send(r#"{"id":"one","callId":"c","caller":"110"}"#).await;
        assert_eq!(batch.result(1).await["status"], "created");
        gateway.database().suspend_tenant(account.tenant.id, true).await.unwrap();
        gateway.look().await;
        batch.send(r#"{"id":"two","callId":"c","caller":"110"}"#).await;
        assert_eq!(batch.result(2).await["problem"]["code"], "not-authenticated");
        let last = batch.result(3).await;
        assert_eq!((&last["line"], &last["problem"]["code"]), (&3.into(), &"not-authenticated".into()), "it is read no further");
        batch.end().await;
        gateway.stop().await;
    });
}

#[test]
fn a_batch_that_brings_next_to_nothing_or_never_ends_is_ended() {
    on_every_engine(async |database| {
        let second = Duration::from_secs(1);
        let patient = BatchLimits::default();
        for (limits, reason) in [
            (BatchLimits { rate_window: second, ..patient }, "fewer than 1024 bytes arrived within 1 s"),
            (BatchLimits { max_duration: second, ..patient }, "the batch took longer than 1 s"),
        ] {
            let limits = Limits { batch: limits, ..Limits::default() };
            let gateway = Gateway::start_with(database.open_again().await, std::sync::Arc::new(a_clock()), limits).await;
            let tenant = a_tenant(if reason.starts_with("fewer") { "slow" } else { "long" });
            let account = gateway.add(tenant).await;
            let mut batch = Batch::begin(&gateway, &account.key).await;
            batch.send(&format!(r#"{{"id":"{}","callId":"c","caller":"110"}}"#, account.tenant.client_id)).await;
            assert_eq!(batch.result(1).await["status"], "created");
            let last = batch.result(2).await;
            assert_eq!(last["problem"]["detail"], format!("{reason}; this line and what follows were not read"));
            batch.end().await;
            assert_eq!(stored(&gateway, &account.tenant).await, 1, "what was stored stays stored");
            gateway.stop().await;
        }
    });
}

#[test]
fn a_page_of_large_records_breaks_off_with_its_right() {
    on_every_engine(async |test| {
        let gateway = Gateway::start(test).await;
        let account = gateway.a_tenant("large").await;
        for call in 0..20 {
            let record = format!(r#"{{"callid":"{call}","callerid":"a","content":"{}"}}"#, "x".repeat(900_000));
            assert_eq!(account.post(&record).await.status, 200);
        }
        let body = format!(r#"{{"tenantId":"{}","authToken":"{}","userMobile":"a"}}"#, account.tenant.oifde_id, account.key);
        let head = format!("POST /oifde/rest/api/queryRecordHistory HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut client = TcpStream::connect(gateway.address).await.unwrap();
        client.write_all((head + &body).as_bytes()).await.unwrap();
        let mut begun = [0; 1_000];
        client.read_exact(&mut begun).await.unwrap();
        assert!(begun.starts_with(b"HTTP/1.1 200"));
        gateway.database().suspend_tenant(account.tenant.id, true).await.unwrap();
        eventually("the tenant is refused", SOON, async || account.get("callid=1&caller=a").await.status == 401).await;
        let mut rest = Vec::new();
        // The connection ends, be it in order or not.
        let _ = client.read_to_end(&mut rest).await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "an answer that was broken off does not look whole");
        assert!(rest.len() < 18 * 900_000, "{}", rest.len());
        gateway.stop().await;
    });
}
