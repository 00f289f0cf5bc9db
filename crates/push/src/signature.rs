//! What proves to an endpoint that a message is from the gateway.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use calldata_core::webhook::WebhookSecret;
use hmac::{Hmac, Mac};
use secrecy::ExposeSecret;
use sha2::Sha256;

/// `v1,…`, once for each secret, with a space in between: the base64 of HMAC-SHA256 of identifier, moment (in seconds) and body, with
/// dots in between.
pub fn sign<'a>(secrets: impl Iterator<Item = &'a WebhookSecret>, id: &str, timestamp_s: i64, body: &str) -> String {
    let signatures = secrets.filter_map(|secret| {
        // No length of a key is refused.
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes().expose_secret()).ok()?;
        for part in [id, ".", &timestamp_s.to_string(), ".", body] {
            mac.update(part.as_bytes());
        }
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    });
    signatures.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "wh_0123456789abcdef_17";
    const BODY: &str = r#"{"type":"session.created","data":{"id":"é"}}"#;

    /// The bytes 1 to 32, and 33 to 64.
    const SECRETS: [&str; 2] = ["whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=", "whsec_ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A="];

    fn signed(secrets: &[&str]) -> String {
        let secrets: Vec<_> = secrets.iter().map(|text| WebhookSecret::parse(text).unwrap()).collect();
        sign(secrets.iter(), ID, 1_709_036_183, BODY)
    }

    /// Computed with Python: `base64.b64encode(hmac.new(bytes(range(1, 33)), f"{id}.1709036183.{body}".encode(), "sha256").digest())`.
    #[test]
    fn a_signature_is_the_one_that_others_compute() {
        assert_eq!(signed(&SECRETS[..1]), "v1,enIqW11B7vbBLKc7AaQ7GNXowDq4FtdkCnMAJXO651M=");
        assert_eq!(signed(&SECRETS), "v1,enIqW11B7vbBLKc7AaQ7GNXowDq4FtdkCnMAJXO651M= v1,pB3vrY4zM5GVXtWePJXpezgPHJpoDi9CGMmRlo71ONQ=");
    }
}
