//! Certificates: whether they can be used, and for how long.

use calldata_core::Timestamp;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Finding;
use crate::settings::Settings;

const CHECK: &str = "TLS";
const SOON_DAYS: i64 = 21;
const DAY_S: i64 = 24 * 3_600;

/// Whether the key belongs to it is looked at with the settings.
pub(super) fn of_certificate(settings: &Settings, now: Timestamp) -> Option<Finding> {
    let file = settings.tls_certificate.as_deref()?;
    let certificate = CertificateDer::from_pem_file(file).ok()?;
    let Ok((_, certificate)) = X509Certificate::from_der(&certificate) else {
        return Some(Finding::fault(CHECK, format!("{} holds no certificate", file.display()), "see --tls-certificate"));
    };
    let (from, until) = (certificate.validity().not_before, certificate.validity().not_after);
    let now_s = now.epoch_ms() / 1_000;
    let days = (until.timestamp() - now_s) / DAY_S;
    let renew = "renew it, then send the gateway SIGHUP";
    Some(if now_s < from.timestamp() {
        Finding::fault(CHECK, format!("the certificate is not valid before {from}"), "is the clock right?")
    } else if now_s > until.timestamp() {
        Finding::fault(CHECK, format!("the certificate expired {until}"), renew)
    } else if days < SOON_DAYS {
        Finding::note(CHECK, format!("the certificate expires in {days} days, {until}"), renew)
    } else {
        Finding::fine(CHECK, format!("the certificate is good for {days} days"))
    })
}
