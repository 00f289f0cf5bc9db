//! TLS: the same service behind a certificate, which can be changed while it serves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use calldata_testkit::program::{Place, eventually};
use rcgen::{CertifiedKey, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use super::{GONE, LAST_PING, PING, SOON, connect, head, rest, sent, status};

const SERVE: [&str; 4] = ["--tls-certificate", "certificate.pem", "--tls-key", "key.pem"];

fn certificate() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(["gateway.example".to_owned()]).unwrap()
}

fn write(place: &Place, certificate: &CertifiedKey<KeyPair>) {
    place.write("certificate.pem", certificate.cert.pem());
    place.write("key.pem", certificate.signing_key.serialize_pem());
}

/// A connection to a server that has to show this certificate.
async fn handshake(
    address: SocketAddr,
    shown: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(shown.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_protocol_versions(versions).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = "gateway.example".try_into().unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, connect(address).await).await
}

async fn shows(address: SocketAddr, certificate: &CertifiedKey<KeyPair>) -> bool {
    handshake(address, certificate.cert.der(), &[&TLS13], &[]).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_there_through_tls_and_only_there() {
    let (place, certificate) = (Place::new(), certificate());
    write(&place, &certificate);
    let served = place.serve(&SERVE);
    let shown = certificate.cert.der();
    for (version, protocol) in [(&TLS12, "http/1.1"), (&TLS13, "http/1.1"), (&TLS13, "")] {
        let protocols: &[&str] = if protocol.is_empty() { &[] } else { &[protocol] };
        let mut stream = handshake(served.address, shown, &[version], protocols).await.unwrap();
        stream.write_all(LAST_PING.as_bytes()).await.unwrap();
        assert_eq!(status(&rest(&mut stream, SOON).await), Some(200), "{version:?} {protocol}");
    }
    let mut stream = handshake(served.address, shown, &[&TLS13], &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut settings = [0; 9];
    stream.read_exact(&mut settings).await.unwrap();
    assert_eq!(settings[3], 4, "the first frame of an HTTP/2 server is its settings");
    let plain = rest(&mut sent(served.address, PING).await, SOON).await;
    assert!(!plain.contains("HTTP/1.1 200"), "{plain}");
    served.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_felt_through_tls_and_nobody_holds_it() {
    let (place, certificate) = (Place::new(), certificate());
    write(&place, &certificate);
    let served = place.serve(&SERVE);
    let _silent = connect(served.address).await;
    let mut idle = handshake(served.address, certificate.cert.der(), &[&TLS13], &[]).await.unwrap();
    idle.write_all(PING.as_bytes()).await.unwrap();
    assert!(head(&mut idle).await.contains(" 200 "));
    let _http2 = handshake(served.address, certificate.cert.der(), &[&TLS13], &["h2"]).await.unwrap();
    let began = Instant::now();
    served.stop();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_begins_with_tls_is_gone_soon() {
    let (place, certificate) = (Place::new(), certificate());
    write(&place, &certificate);
    let served = place.serve(&SERVE);
    let (address, shown) = (served.address, certificate.cert.der().clone());
    let mut silent = connect(address).await;
    let mut half = sent(address, [0x16, 3, 1, 2, 0, 1]).await;
    let mut mute = handshake(address, &shown, &[&TLS13], &[]).await.unwrap();
    tokio::join!(rest(&mut silent, GONE), rest(&mut half, GONE), rest(&mut mute, GONE));
    served.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_takes_another_certificate_and_keeps_the_old_one_where_the_new_one_is_broken() {
    let (place, first, second) = (Place::new(), certificate(), certificate());
    write(&place, &first);
    let served = place.serve(&SERVE);
    let mut old = handshake(served.address, first.cert.der(), &[&TLS13], &[]).await.unwrap();
    write(&place, &second);
    assert!(shows(served.address, &first).await && !shows(served.address, &second).await, "nothing changes by itself");
    served.signal("HUP");
    eventually("the second certificate is shown", SOON, async || shows(served.address, &second).await).await;
    old.write_all(PING.as_bytes()).await.unwrap();
    assert!(head(&mut old).await.contains(" 200 "), "connections outlive their certificate");

    // A key that does not belong to the certificate, then one that is none.
    place.write("key.pem", first.signing_key.serialize_pem());
    served.signal("HUP");
    eventually("the mismatch is told", SOON, async || served.log().contains("do not belong together")).await;
    place.write("key.pem", "-----BEGIN PRIVATE KEY-----\nhush\n");
    served.signal("HUP");
    eventually("the broken key is told", SOON, async || served.log().contains("holds no private key")).await;
    assert!(shows(served.address, &second).await);
    let log = served.stop();
    assert!(!log.contains("hush"), "{log}");
}

#[test]
fn a_certificate_and_its_key_come_together() {
    let (place, good) = (Place::new(), certificate());
    write(&place, &good);
    place.write("empty.pem", "");
    for (arguments, said) in [
        (&["--tls-certificate", "certificate.pem"][..], "--tls-key"),
        (&["--tls-key", "key.pem"], "--tls-certificate"),
        (&["--tls-certificate", "missing.pem", "--tls-key", "key.pem"], "missing.pem cannot be read"),
        (&["--tls-certificate", "empty.pem", "--tls-key", "key.pem"], "empty.pem holds no certificate"),
        (&["--tls-certificate", "certificate.pem", "--tls-key", "certificate.pem"], "holds no private key"),
    ] {
        let failure = place.run(&[&["serve"], arguments].concat()).failure();
        assert!(failure.contains(said), "{arguments:?}: {failure}");
    }
}
