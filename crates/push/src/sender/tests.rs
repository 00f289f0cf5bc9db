use rcgen::{CertifiedKey, KeyPair};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use calldata_core::WebhookId;
use calldata_core::webhook::{DeliveryId, DeliveryNumber};

use super::*;
use crate::connection::{KnownHosts, loopback};
use crate::receiver::{Receiver, serve, status};

const NOW: Timestamp = Timestamp::EARLIEST;

/// A name that stands for this machine.
const NAME: &str = "hook.example";

fn sender(networks: EndpointPolicy, roots: Option<RootCertStore>) -> Arc<Sender> {
    let hosts = KnownHosts(vec![(NAME, vec!["127.0.0.1".parse().unwrap()])]);
    Arc::new(Sender { networks, hosts: Box::new(hosts), roots, tls: OnceCell::new() })
}

fn endpoint(url: &str) -> Endpoint {
    sender(loopback(), Some(RootCertStore::empty())).to(WebhookUrl::parse(url).unwrap())
}

fn message() -> Message {
    let id = MessageId::of(&WebhookId::new("wh_1").unwrap(), DeliveryId { epoch: None, number: DeliveryNumber::from_stored(17) });
    Message { id, timestamp_s: 1_709_036_183, signature: "v1,c2ln".into(), body: r#"{"a":"é"}"#.into() }
}

async fn sent(url: &str) -> Answer {
    endpoint(url).send(message(), NOW).await
}

#[tokio::test]
async fn a_message_is_posted_with_its_headers_to_the_address_that_was_looked_up() {
    let mut receiver = Receiver::answering(|_| status(204, "")).await;
    let port = receiver.address.port();
    assert_eq!(sent(&format!("http://{NAME}:{port}/in/%C3%BC?token=hush")).await, Answer::Took);
    let received = receiver.next().await;
    assert_eq!(received.request_line, "POST /in/%C3%BC?token=hush HTTP/1.1");
    for (name, value) in [
        ("host", format!("{NAME}:{port}").as_str()),
        ("content-type", "application/json"),
        ("content-length", "10"),
        ("user-agent", AGENT),
        ("webhook-id", "wh_1_17"),
        ("webhook-timestamp", "1709036183"),
        ("webhook-signature", "v1,c2ln"),
    ] {
        assert_eq!(received.header(name), Some(value), "{name}");
    }
    assert_eq!(received.body, r#"{"a":"é"}"#);
}

#[tokio::test]
async fn no_connection_is_made_to_an_address_that_is_not_allowed() {
    let receiver = Receiver::answering(|_| status(200, "")).await;
    let port = receiver.address.port();
    for url in [format!("http://127.0.0.1:{port}/"), format!("http://{NAME}:{port}/"), format!("http://0x7f.1:{port}/")] {
        let endpoint = sender(EndpointPolicy::default(), None).to(WebhookUrl::parse(&url).unwrap());
        assert_eq!(endpoint.send(message(), NOW).await, Failure::NoAllowedAddress.into(), "{url}");
    }
    assert_eq!(*receiver.connections.lock().unwrap(), 0);
    assert_eq!(sent("http://unknown.example/").await, Failure::NoAllowedAddress.into());
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let elsewhere = Receiver::answering(|_| status(200, "")).await;
    let to = format!("location: {}\r\n", elsewhere.url());
    let receiver = Receiver::answering(move |_| status(307, &to)).await;
    assert_eq!(sent(&receiver.url()).await, Failure::Status(307).into());
    assert_eq!(*elsewhere.connections.lock().unwrap(), 0);
}

#[tokio::test]
async fn what_an_endpoint_says_is_heard() {
    let receiver = Receiver::answering(|_| status(503, "retry-after: 120\r\n")).await;
    assert_eq!(sent(&receiver.url()).await, Answer::Failed(Failure::Status(503), Some(Duration::from_secs(120))));
    let receiver = Receiver::answering(|_| status(410, "")).await;
    assert_eq!(sent(&receiver.url()).await, Answer::Gone);
    let receiver = Receiver::answering(|_| Some("SSH-2.0-OpenSSH\r\n".into())).await;
    assert_eq!(sent(&receiver.url()).await, Failure::NotHttp.into());
    let receiver = Receiver::answering(|_| Some(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(MAX_BODY_FOR_TEST)))).await;
    assert_eq!(sent(&receiver.url()).await, Failure::NotHttp.into(), "a head without end");
}

/// More than is read of anything.
const MAX_BODY_FOR_TEST: usize = 2 * BODY_BYTES;

#[tokio::test]
async fn one_connection_serves_one_message_after_the_other_until_it_is_closed() {
    let mut receiver = Receiver::answering(|_| status(200, "")).await;
    let endpoint = endpoint(&receiver.url());
    for _ in 0..3 {
        assert_eq!(endpoint.send(message(), NOW).await, Answer::Took);
    }
    assert_eq!((receiver.so_far().len(), *receiver.connections.lock().unwrap()), (3, 1));
    // A listener in the same place, as after a restart: what is open already is of no use.
    let address = receiver.address;
    drop(receiver);
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let (tell, mut arrivals) = mpsc::unbounded_channel();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream, Arc::new(Box::new(|_| status(200, ""))), tell).await
    });
    assert_eq!(endpoint.send(message(), NOW).await, Answer::Took);
    assert_eq!(arrivals.recv().await.unwrap().id(), "wh_1_17");
    serving.abort();
}

#[tokio::test]
async fn a_body_without_end_does_not_change_what_its_head_said() {
    let body = |status: u16| format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 1000000\r\n\r\n{}", "x".repeat(MAX_BODY_FOR_TEST));
    let receiver = Receiver::answering(move |_| Some(body(200))).await;
    let endpoint = endpoint(&receiver.url());
    for connections in 1..=2 {
        assert_eq!(endpoint.send(message(), NOW).await, Answer::Took);
        assert_eq!(*receiver.connections.lock().unwrap(), connections, "a connection that is not read to its end serves no more");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_answer_is_waited_for_15_seconds_and_no_longer() {
    let receiver = Receiver::answering(|_| None).await;
    let began = Instant::now();
    assert_eq!(sent(&receiver.url()).await, Failure::TimedOut.into());
    assert_eq!(began.elapsed().as_secs(), 15);
    // It speaks, but not to an end.
    let receiver = Receiver::answering(|_| Some("HTTP/1.1 200 OK\r\n".into())).await;
    assert_eq!(sent(&receiver.url()).await, Failure::TimedOut.into());
    // A body that does not come is waited for a moment.
    let receiver = Receiver::answering(|_| Some("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n".into())).await;
    let began = Instant::now();
    assert_eq!(sent(&receiver.url()).await, Answer::Took);
    assert!(began.elapsed() <= BODY + Duration::from_millis(1));
}

#[tokio::test]
async fn informational_responses_are_read_up_to_a_bound() {
    let hint = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n";
    let receiver = Receiver::answering(move |_| Some(format!("{}HTTP/1.1 204 Taken\r\n\r\n", hint.repeat(8)))).await;
    let endpoint = endpoint(&receiver.url());
    for _ in 0..3 {
        assert_eq!(endpoint.send(message(), NOW).await, Answer::Took, "each request may be answered by a few");
    }
    assert_eq!(*receiver.connections.lock().unwrap(), 1);
    let receiver = Receiver::answering(move |_| Some(hint.repeat(100_000))).await;
    assert_eq!(sent(&receiver.url()).await, Failure::NotHttp.into(), "too many of them");
    let long = format!("HTTP/1.1 103 Early Hints\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    let receiver = Receiver::answering(move |_| Some(long.repeat(5))).await;
    assert_eq!(sent(&receiver.url()).await, Failure::NotHttp.into(), "too much of them");
}

fn certificate(name: &str) -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap()
}

/// An endpoint that shows this certificate; returns its port, and the name that it was asked for.
async fn listening(certificate: &CertifiedKey<KeyPair>) -> (u16, mpsc::UnboundedReceiver<Option<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let key = PrivateKeyDer::try_from(certificate.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_protocol_versions(&[&TLS13, &TLS12]);
    let config = config.unwrap().with_no_client_auth().with_single_cert(vec![certificate.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (tell, names) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (arrived, _arrivals) = mpsc::unbounded_channel();
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            tell.send(stream.get_ref().1.server_name().map(str::to_owned)).unwrap();
            tokio::spawn(serve(stream, Arc::new(Box::new(|_| status(200, ""))), arrived.clone()));
        }
    });
    (port, names)
}

fn trusting(certificate: &CertifiedKey<KeyPair>) -> Arc<Sender> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.cert.der().clone()).unwrap();
    sender(loopback(), Some(roots))
}

#[tokio::test]
async fn by_https_the_endpoint_has_to_be_who_the_url_says() {
    let good = certificate(NAME);
    let (port, mut names) = listening(&good).await;
    let url = WebhookUrl::parse(&format!("https://{NAME}:{port}/")).unwrap();
    let endpoint = trusting(&good).to(url.clone());
    assert_eq!(endpoint.send(message(), NOW).await, Answer::Took);
    assert_eq!(names.recv().await.unwrap().as_deref(), Some(NAME));
    assert_eq!(trusting(&certificate(NAME)).to(url).send(message(), NOW).await, Failure::NotTrusted.into());
    let other = certificate("other.example");
    let (port, _names) = listening(&other).await;
    let url = WebhookUrl::parse(&format!("https://{NAME}:{port}/")).unwrap();
    assert_eq!(trusting(&other).to(url).send(message(), NOW).await, Failure::NotTrusted.into());
    let plain = Receiver::answering(|_| status(200, "")).await;
    let url = WebhookUrl::parse(&format!("https://{}/", plain.address)).unwrap();
    assert_eq!(trusting(&other).to(url).send(message(), NOW).await, Failure::NotConnected.into(), "it hangs up");
}
