//! TLS: the certificate, and another one without a restart.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{Error as TlsError, ServerConfig};

use crate::Failure;

/// The certificate that the gateway shows, and where it is from.
#[derive(Clone, Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Tls {
    /// TLS with the certificate (and what it was signed with) and the private key in these files, both PEM.
    ///
    /// # Errors
    /// When they cannot be read, or do not belong together.
    pub fn load(certificate: PathBuf, key: PathBuf) -> Result<Self, Failure> {
        let current = Arc::new(RwLock::new(Arc::new(read(&certificate, &key)?)));
        Ok(Self { certificate, key, current })
    }

    /// Reads both files again; when they are not good, those of before stay.
    pub fn reload(&self) {
        match read(&self.certificate, &self.key) {
            Ok(read) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
                tracing::info!("the certificate was read again");
            }
            Err(failure) => tracing::error!("{failure}; the certificate of before stays"),
        }
    }

    /// Begins TLS with the certificate of now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Reads certificate and key again whenever SIGHUP comes, from now on; without any, the signal does nothing, and does not end the process
/// either. The future never completes.
///
/// # Errors
/// When the signal cannot be heard.
pub fn heed_hangup(tls: Option<Tls>) -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            match &tls {
                Some(tls) => tls.reload(),
                None => tracing::info!("there is no certificate to be read again"),
            }
        }
    })
}

fn read(certificate: &Path, key: &Path) -> Result<ServerConfig, Failure> {
    let certificates = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| unreadable(&error, certificate, "certificate", "--tls-certificate"))?;
    if certificates.is_empty() {
        return Err(unreadable(&PemError::NoItemsFound, certificate, "certificate", "--tls-certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(&error, key, "private key", "--tls-key"))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, private));
    let mut config = config.map_err(|error| {
        let why = match error {
            TlsError::InconsistentKeys(_) => "do not belong together",
            _ => "cannot be used",
        };
        Failure::new(format!("the certificate {} and the private key {} {why}", certificate.display(), key.display()))
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Says what is wrong with a file, and nothing of what is in it: it may be the key.
fn unreadable(error: &PemError, path: &Path, what: &str, setting: &str) -> Failure {
    match error {
        PemError::Io(error) => Failure::because(format!("the file {} cannot be read; see {setting}", path.display()), error),
        _ => Failure::new(format!("the file {} holds no {what} in PEM; see {setting}", path.display())),
    }
}
