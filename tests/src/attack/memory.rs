//! Memory: the process runs in a control group with the limit of the chart, and must never come near it.

use std::time::{Duration, Instant};

use calldata_testkit::client::Client;
use calldata_testkit::engine::{TestDatabase, on_every_engine};
use calldata_testkit::load::Credentials;
use calldata_testkit::memory_cgroup::MemoryCgroup;
use calldata_testkit::program::{Place, Served, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::http2::{Asked, ask_and_take_nothing};
use super::many;
use crate::faults::turn;

const MIB: usize = 1 << 20;
/// The limit of the chart (packaging/helm), and how much of it may be used.
const LIMIT_BYTES: usize = 256 * MIB;
const ALLOWED_BYTES: usize = LIMIT_BYTES / 10 * 8;
/// How large the attacker's sessions are, and how many there are.
const LARGE_BYTES: usize = 1_000_000;
const LARGE_SESSIONS: usize = 60;
/// How often the other tenant posts and fetches during an attack.
const PROBES: usize = 25;
/// How long answers of an attack are waited for.
const SETTLED: Duration = Duration::from_secs(20);

/// A gateway under attack.
struct Siege {
    served: Served,
    attacker: Credentials,
    other: Credentials,
    probes: usize,
    _cgroup: Option<MemoryCgroup>,
}

impl Siege {
    async fn begin(test: &TestDatabase) -> Self {
        // So that its memory can be measured without being root.
        let place = Place::with_database(test).with("CALLDATA_CORE_DUMPS", "true");
        let (attacker, other) = (Credentials::make(&place, "attacker"), Credentials::make(&place, "other"));
        let cgroup = MemoryCgroup::new(LIMIT_BYTES);
        let served = match &cgroup {
            Some(cgroup) => place.serve_within(cgroup, &[]),
            None => {
                println!("not covered here: no control group can be made, so the limit is only measured");
                place.serve(&["--memory-budget", "128MiB"])
            }
        };
        let siege = Self { served, attacker, other, probes: 0, _cgroup: cgroup };
        let client = siege.served.client();
        let large = "x".repeat(LARGE_BYTES);
        for number in 0..LARGE_SESSIONS {
            let body = format!(r#"{{"input":{{"callid":"large","callerid":"110","n":{number},"content":"{large}"}}}}"#);
            let posted = async || post(&client, &siege.attacker, &body).await == 200;
            eventually("a large session is stored", SETTLED, posted).await;
        }
        siege
    }

    /// Does this, and meanwhile posts and fetches as another tenant, who must be answered each time.
    async fn endure<T>(&mut self, what: &str, attack: impl AsyncFnOnce(&Self) -> T) {
        let quiet = self.probe().await;
        self.served.forget_peak_memory();
        let began = Instant::now();
        let held = attack(self).await;
        let during = self.probe().await;
        assert!(self.served.is_running(), "{what}: the process has ended: {}", self.served.log());
        let peak = self.served.peak_memory_bytes();
        println!(
            "{what}: at most {} MiB; another tenant's p99 {} ms, before {} ms; {} ms in all",
            peak / MIB,
            during.as_millis(),
            quiet.as_millis(),
            began.elapsed().as_millis()
        );
        assert!(peak <= ALLOWED_BYTES, "{what}: {} MiB are more than {}", peak / MIB, ALLOWED_BYTES / MIB);
        drop(held);
    }

    /// The 99th percentile of how long another tenant waits for a post and a fetch.
    async fn probe(&mut self) -> Duration {
        let client = self.served.client();
        let mut took = Vec::new();
        for number in self.probes..self.probes + PROBES {
            let began = Instant::now();
            let body = format!(r#"{{"input":{{"callid":"{number}","callerid":"110","content":"small"}}}}"#);
            assert_eq!(post(&client, &self.other, &body).await, 200, "another tenant's post");
            let path = format!("/api/CallData?clientId={}&code={}&callid={number}&caller=110", self.other.client_id, self.other.key);
            let fetched = client.request("GET", &path, &[], Vec::new()).await;
            assert_eq!((fetched.status, &fetched.json()["content"]), (200, &"small".into()), "another tenant's fetch");
            took.push(began.elapsed());
        }
        self.probes += PROBES;
        took.sort();
        took[took.len() * 99 / 100]
    }

    async fn http1(&self, request: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.served.address).await.expect("the gateway accepts");
        // What the gateway refuses it may end before all of it is sent.
        let _ = stream.write_all(request).await;
        stream
    }

    fn authorized(&self, method: &str, path: &str) -> String {
        format!("{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n", self.attacker.key)
    }

    /// The same request on many connections, none of which reads an answer.
    async fn unread(&self, connections: usize, request: &str) -> Vec<TcpStream> {
        let mut all = Vec::with_capacity(connections);
        for _ in 0..connections {
            all.push(self.http1(request.as_bytes()).await);
        }
        all
    }

    async fn streams(&self, connections: usize, asked: Asked<'_>) -> Vec<TcpStream> {
        let mut all = Vec::with_capacity(connections);
        for _ in 0..connections {
            all.push(ask_and_take_nothing(self.served.address, 100, asked).await);
        }
        all
    }
}

async fn post(client: &Client, who: &Credentials, body: &str) -> u16 {
    let path = format!("/api/CallData?clientId={}", who.client_id);
    client.request("POST", &path, &[("x-functions-key", &who.key)], body.as_bytes().to_vec()).await.status
}

#[test]
fn a_client_without_a_key_does_not_fill_the_memory() {
    let _turn = turn();
    on_every_engine(async |test| {
        let mut siege = Siege::begin(test).await;
        let connections = many(40, 200);
        for path in ["/openapi.json", "/docs/swagger-ui-bundle.js", "/readyz", "/livez", "/nowhere"] {
            let asked = Asked { path, key: None, is_post: false };
            siege
                .endure(&format!("{path}, 100 streams each on {connections} connections, never taken"), async |siege| {
                    siege.streams(connections, asked).await
                })
                .await;
        }
        let asked = Asked { path: "/oifde/rest/api/gettoken", key: None, is_post: true };
        let what = format!("gettoken without its body, 100 streams each on {connections} connections");
        siege.endure(&what, async |siege| siege.streams(connections, asked).await).await;
        let request = "POST /oifde/rest/api/gettoken HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n".to_owned() + &"x".repeat(50_000);
        let connections = many(300, 1_300);
        let what = format!("gettoken with a body that does not end, {connections} connections");
        siege.endure(&what, async |siege| siege.unread(connections, &request).await).await;
        let what = format!("{connections} connections with half a head");
        let half = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(8_000));
        siege.endure(&what, async |siege| siege.unread(connections, &half).await).await;
    });
}

#[test]
fn a_tenant_with_an_ordinary_key_does_not_fill_the_memory() {
    let _turn = turn();
    on_every_engine(async |test| {
        let mut siege = Siege::begin(test).await;
        let pages = many(40, 200);
        for path in ["/v1/sessions?limit=100", "/v1/calls?limit=100", "/v1/sessions?limit=100&text=nothing-like-it"] {
            let request = siege.authorized("GET", path) + "\r\n";
            siege.endure(&format!("{pages} unread {path} over 1 MB sessions"), async |siege| siege.unread(pages, &request).await).await;
        }
        for path in ["/v1/sessions:export", "/v1/sessions:export?format=csv", "/v1/sessions:export?format=vcon"] {
            let request = siege.authorized("GET", path) + "\r\n";
            siege.endure(&format!("{pages} unread {path}"), async |siege| siege.unread(pages, &request).await).await;
        }
        let asked = format!("/api/CallData?clientId={}&code={}&callid=large&caller=110", siege.attacker.client_id, siege.attacker.key);
        let request = format!("GET {asked} HTTP/1.1\r\nHost: a\r\n\r\n");
        let fetches = many(200, 1_000);
        siege.endure(&format!("{fetches} unread fetches of 1 MB"), async |siege| siege.unread(fetches, &request).await).await;
        let query = format!(r#"{{"tenantId":"{}","authToken":"{}","callId":"large"}}"#, siege.attacker.tenant_id, siege.attacker.key);
        let head = "POST /oifde/rest/api/queryRecordHistory HTTP/1.1\r\nHost: a\r\nContent-Length: ";
        let request = format!("{head}{}\r\n\r\n{query}", query.len());
        siege.endure(&format!("{pages} unread queries of 100 records of 1 MB"), async |siege| siege.unread(pages, &request).await).await;
        let query = format!(
            r#"{{"tenantId":"{}","authToken":"{}","params":{{"userMobile":"110"}}}}"#,
            siege.attacker.tenant_id, siege.attacker.key
        );
        let request = format!("POST /oifde/rest/api/queryHistory HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{query}", query.len());
        siege.endure(&format!("{pages} unread latest calls of 100 MB"), async |siege| siege.unread(pages, &request).await).await;
    });
}

#[test]
fn what_a_tenant_sends_does_not_fill_the_memory() {
    let _turn = turn();
    on_every_engine(async |test| {
        let mut siege = Siege::begin(test).await;
        let posts = many(100, 500);
        siege
            .endure(&format!("{posts} posts of 1 MB at once"), async |siege| all_at_once(siege, posts, &large_post("content")).await)
            .await;
        let turns = format!(r#"{{"input":{{"callid":"turns","callerid":"110","turns":[{}]}}}}"#, vec!["{}"; 300_000].join(","));
        siege.endure(&format!("{posts} posts of 300 000 turns each"), async |siege| all_at_once(siege, posts, &turns).await).await;
        let fields = (0..60_000).map(|n| format!(r#""f{n}":{n}"#)).collect::<Vec<_>>().join(",");
        let fields = format!(r#"{{"input":{{"callid":"fields","callerid":"110",{fields}}}}}"#);
        siege.endure(&format!("{posts} posts of 60 000 fields each"), async |siege| all_at_once(siege, posts, &fields).await).await;
        let batches = many(12, 50);
        let line = "{\"callId\":\"b\",\"caller\":\"110\"}\n".repeat(20_000);
        let request = format!(
            "{}Content-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n{line}",
            siege.authorized("POST", "/v1/sessions:batch"),
            line.len()
        );
        siege
            .endure(&format!("{batches} batches of 20 000 lines that nobody reads"), async |siege| {
                let mut all = JoinSet::new();
                for _ in 0..batches {
                    let mut stream = siege.http1(b"").await;
                    let request = request.clone();
                    all.spawn(async move {
                        // The gateway reads no more than it has room for, so this may never end.
                        let _ = stream.write_all(request.as_bytes()).await;
                        std::future::pending::<()>().await;
                    });
                }
                // Until they had the time to fill what there is.
                siege.wait_for_memory_to_settle().await;
                all
            })
            .await;
        let followers = many(500, 6_000);
        let request = siege.authorized("GET", "/v1/events") + "\r\n";
        siege
            .endure(&format!("{followers} who follow and read nothing, and sessions of 1 MB"), async |siege| {
                let all = siege.unread(followers, &request).await;
                let client = siege.served.client();
                for _ in 0..10 {
                    post(&client, &siege.attacker, &large_post("told")).await;
                }
                siege.wait_for_memory_to_settle().await;
                all
            })
            .await;
    });
}

fn large_post(name: &str) -> String {
    format!(r#"{{"input":{{"callid":"{name}","callerid":"110","content":"{}"}}}}"#, "x".repeat(LARGE_BYTES))
}

/// Many posts of one body at a time; each is stored or refused, and none is answered otherwise.
async fn all_at_once(siege: &Siege, posts: usize, body: &str) {
    let path = format!("/api/CallData?clientId={}", siege.attacker.client_id);
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nx-functions-key: {}\r\n", siege.attacker.key);
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let mut all = JoinSet::new();
    for _ in 0..posts {
        let (request, address) = (request.clone(), siege.served.address);
        all.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("the gateway accepts");
            // A refusal may come before all of it is sent.
            let _ = stream.write_all(request.as_bytes()).await;
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(SETTLED, stream.read_to_end(&mut answer)).await;
            String::from_utf8_lossy(&answer).get(9..12).unwrap_or_default().to_owned()
        });
    }
    let mut stored = 0;
    while let Some(status) = all.join_next().await {
        match status.expect("it is asked").as_str() {
            "200" => stored += 1,
            "408" | "429" | "503" | "" => {}
            other => unreachable!("answered {other}"),
        }
    }
    assert!(stored > 0, "some of them are stored");
}

impl Siege {
    /// Waits until the process has not taken more memory for a while.
    async fn wait_for_memory_to_settle(&self) {
        let mut last = 0;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = self.served.peak_memory_bytes();
            if now == last {
                return;
            }
            last = now;
        }
    }
}
