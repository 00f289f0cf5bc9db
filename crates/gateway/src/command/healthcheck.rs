//! `healthcheck`: asks the gateway that runs with these settings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme};

use crate::settings::Settings;
use crate::{Failure, output};

/// An answer is a line of JSON.
const MAX_ANSWER_BYTES: u64 = 64 << 10;

pub(super) async fn run(settings: &Settings, patience: Duration) -> Result<(), Failure> {
    let at = settings.listen();
    let answer = ask(settings, at, "/readyz", patience).await?;
    if answer.status == 200 {
        return output::line("ready");
    }
    Err(Failure::new(format!("the gateway on {at} is not ready (status {}): {}", answer.status, answer.body.trim())))
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Asks the gateway of these settings.
pub(super) async fn ask(settings: &Settings, at: SocketAddr, path: &str, patience: Duration) -> Result<Answer, Failure> {
    let asked = async {
        let stream =
            TcpStream::connect(reachable(at)).await.map_err(|error| Failure::because(format!("nobody answers on {at}"), &error))?;
        match &settings.tls_certificate {
            None => exchange(stream, path).await,
            Some(_) => exchange(encrypted(stream).await?, path).await,
        }
    };
    tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| Err(Failure::new(format!("{at} does not answer within {patience:?}"))))
}

/// Where one that listens everywhere is found on this machine.
fn reachable(mut at: SocketAddr) -> SocketAddr {
    match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => at.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => at.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    at
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> Result<Answer, Failure> {
    let broken = |error| Failure::because("the answer breaks off", &error);
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut bytes = Vec::new();
    // A peer may close TLS without a word; what has arrived is judged by itself.
    let read = stream.take(MAX_ANSWER_BYTES).read_to_end(&mut bytes).await;
    let text = String::from_utf8_lossy(&bytes);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    match (status, text.split_once("\r\n\r\n"), read) {
        (Some(status), Some((_, body)), _) => Ok(Answer { status, body: body.to_owned() }),
        (_, _, Err(error)) => Err(broken(error)),
        (_, _, Ok(_)) => Err(Failure::new("what answers there is no gateway")),
    }
}

/// TLS with whoever listens there. Nothing is told to them but a question, and their certificate may have been renewed since.
async fn encrypted(stream: TcpStream) -> Result<impl AsyncRead + AsyncWrite + Unpin + use<>, Failure> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let config = config.map_err(|error| Failure::because("TLS cannot be begun", &error))?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(Anybody { provider })).with_no_client_auth();
    let name = ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST));
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    stream.map_err(|error| Failure::because("TLS cannot be begun", &error))
}

/// Takes every certificate, as long as whoever shows it has its key.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_listens_everywhere_is_asked_on_this_machine() {
        for (at, expected) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:2", "[::1]:2"), ("192.0.2.1:3", "192.0.2.1:3")] {
            assert_eq!(reachable(at.parse().unwrap()).to_string(), expected);
        }
    }
}
