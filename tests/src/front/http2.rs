//! HTTP/2 by prior knowledge: the same service, and the same bounds.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use calldata_testkit::gateway::Options;

use super::{IDLE, SOON, gateway, impatient, rest, sent};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
/// `GET http://a/` in the compressed form of headers.
const GET: &[u8] = &[0x82, 0x84, 0x86, 0x41, 0x01, b'a'];

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn hello() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// The kinds of the frames that an answer consists of.
fn kinds(mut answer: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [a, b, c, kind, ..] = answer {
        kinds.push(*kind);
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
        answer = answer.get(9 + length..).unwrap_or_default();
    }
    kinds
}

/// How many answers have begun.
fn heads(answers: &[u8]) -> usize {
    kinds(answers).into_iter().map(|kind| usize::from(kind == HEADERS)).sum()
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().http2_prior_knowledge().build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_dialects_speak_http2_as_well() {
    let (gateway, _database) = gateway(Options::default()).await;
    gateway.a_tenant("c").await;
    let (client, base) = (client(), format!("http://{}", gateway.address));
    let url = format!("{base}/api/CallData?clientId=c&code=secret-of-c");
    let posted = client.post(&url).body(r#"{"input":{"callid":"1","callerid":"a"}}"#).send().await.unwrap();
    assert_eq!((posted.version(), posted.status().as_u16()), (reqwest::Version::HTTP_2, 200));
    assert_eq!(posted.headers()["x-content-type-options"], "nosniff");
    assert!(posted.text().await.unwrap().contains("success"));
    let query = r#"{"tenantId":"oifde-c","authToken":"secret-of-c","callId":"1"}"#;
    let found = client.post(format!("{base}/oifde/rest/api/queryRecordHistory")).body(query).send().await.unwrap();
    assert!(found.text().await.unwrap().contains(r#""total":1"#));
    for (path, status) in [(format!("/livez?{}", "x".repeat(8 * 1024)), 414), ("/nowhere".into(), 404)] {
        let answer = client.get(format!("{base}{path}")).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["cache-control"]), (status, &"no-store".parse().unwrap()), "{path:.20}");
    }
    let foreign = client.post(&url).header("origin", "https://evil.example").body("{}").send().await.unwrap();
    assert_eq!(foreign.status().as_u16(), 403);
    let large = client.get(format!("{base}/livez")).header("x", "x".repeat(17_000)).send().await;
    assert!(large.is_err() || large.is_ok_and(|answer| answer.status().as_u16() == 431));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_connection_without_a_request_ends() {
    let (gateway, _database) = gateway(impatient()).await;
    let address = gateway.address;
    let mut all = tokio::task::JoinSet::new();
    let half = frame(HEADERS, END_STREAM, 1, GET);
    for (what, begun) in
        [("nothing after the preface", PREFACE.to_vec()), ("no request", hello()), ("half a head", [hello(), half].concat())]
    {
        all.spawn(async move {
            let began = Instant::now();
            rest(&mut sent(address, begun).await, 2 * IDLE).await;
            assert!(began.elapsed() > IDLE / 2, "{what}: {:?}", began.elapsed());
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_its_requests_back_at_once_is_cut_off() {
    let (gateway, _database) = gateway(Options::default()).await;
    let mut flood = hello();
    for stream in (1..20_001).step_by(2) {
        flood.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, GET));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    let mut connection = sent(gateway.address, "").await;
    // It may be closed while this is sent.
    let _ = connection.write_all(&flood).await;
    let mut answer = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut connection, &mut answer);
    let ended = tokio::time::timeout(SOON, read).await.expect("it is cut off");
    assert!(ended.is_err() || kinds(&answer).contains(&GOAWAY), "{:?}", kinds(&answer));
    assert_eq!(client().get(format!("http://{}/livez", gateway.address)).send().await.unwrap().status().as_u16(), 200);
    gateway.stop().await;
}

/// `POST http://a/oifde/rest/api/gettoken`, whose body is to follow.
fn post_of_gettoken() -> Vec<u8> {
    let path = b"/oifde/rest/api/gettoken";
    [&[0x83, 0x86, 0x04, u8::try_from(path.len()).unwrap()][..], path, &[0x41, 0x01, b'a']].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn until_one_is_authenticated_few_requests_are_under_way_on_a_connection() {
    let (gateway, _database) = gateway(Options::default()).await;
    let gettoken = post_of_gettoken();
    let requests = (1..200).step_by(2).flat_map(|stream| frame(HEADERS, END_HEADERS, stream, &gettoken));
    let began = Instant::now();
    let mut connection = sent(gateway.address, hello().into_iter().chain(requests).collect::<Vec<u8>>()).await;
    let mut answers = Vec::new();
    let mut refused_after = None;
    while heads(&answers) < 100 {
        let read = tokio::time::timeout(SOON, tokio::io::AsyncReadExt::read_buf(&mut connection, &mut answers)).await;
        assert!(read.unwrap().unwrap() > 0, "all are answered");
        if refused_after.is_none() && heads(&answers) == 92 {
            refused_after = Some(began.elapsed());
        }
    }
    // The body of each is waited for longer than that.
    assert!(refused_after.is_some_and(|after| after < Duration::from_secs(2)), "{refused_after:?} of {:?}", began.elapsed());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_key_may_begin_with_as_many_requests_as_there_are_streams() {
    let (gateway, _database) = gateway(Options::default()).await;
    gateway.a_tenant("c").await;
    let client = gateway.client.over_http2();
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..100 {
        let client = client.clone();
        let path = format!("/api/CallData?clientId=c&code=secret-of-c&callid={number}&caller=a");
        asking.spawn(async move { client.request("GET", &path, &[], Vec::new()).await.status });
    }
    while let Some(status) = asking.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http2_after_its_preface_is_cut_off() {
    let (gateway, _database) = gateway(Options::default()).await;
    for garbage in [&b"garbage, and more garbage"[..], &[0xff; 100], &frame(HEADERS, END_HEADERS, 0, GET)] {
        rest(&mut sent(gateway.address, [PREFACE, garbage].concat()).await, SOON).await;
    }
    gateway.stop().await;
}
