//! Places to go on at, as clients are given them: signed, so that one of another tenant or another list is told apart.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use calldata_core::catalog::{Filter, Place};
use calldata_core::{SessionId, TenantId, Timestamp};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// What a signature of a cursor begins with, so that nothing else that is signed with the same secret is taken for one.
const MARK: &[u8] = b"calldata-gateway cursor\0";
/// The bytes of a signature.
const SIGNATURE_BYTES: usize = 16;

/// Signs cursors with the first secret, and reads those that any of them signed.
#[derive(Clone)]
pub(crate) struct Cursors(Arc<Vec<SecretString>>);

/// A list, as far as a place in another one means nothing in it.
pub(crate) struct List<'l> {
    pub(crate) tenant: TenantId,
    /// What is listed.
    pub(crate) kind: &'static str,
    pub(crate) filter: &'l Filter,
}

/// What a list is made of, part by part.
pub(crate) type Parts = Vec<Option<String>>;

impl Cursors {
    pub(crate) fn new(secrets: Vec<SecretString>) -> Self {
        Self(Arc::new(secrets))
    }

    /// The cursor of a place in a list.
    pub(crate) fn write(&self, list: &List<'_>, place: &Place) -> Option<String> {
        self.sign(&list.parts(), &format!("{} {}", place.started.epoch_ms(), place.id))
    }

    /// The place in a list; `None` for what is no cursor of it.
    pub(crate) fn read(&self, list: &List<'_>, cursor: &str) -> Option<Place> {
        let text = self.signed(&list.parts(), cursor)?;
        let (started, id) = text.split_once(' ')?;
        Some(Place { started: Timestamp::from_epoch_ms(started.parse().ok()?)?, id: SessionId::new(id).ok()? })
    }

    /// The cursor of a place that is written as this text, in a list of these parts.
    pub(crate) fn sign(&self, list: &Parts, text: &str) -> Option<String> {
        let mut bytes = signature(self.0.first()?, list, text)?;
        bytes.extend_from_slice(text.as_bytes());
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The text of which this is the cursor in such a list.
    pub(crate) fn signed(&self, list: &Parts, cursor: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (signed, text) = bytes.split_at_checked(SIGNATURE_BYTES)?;
        let text = std::str::from_utf8(text).ok()?;
        let is_ours = self.0.iter().filter_map(|secret| signature(secret, list, text)).any(|ours| ours == signed);
        is_ours.then(|| text.to_owned())
    }
}

impl List<'_> {
    fn parts(&self) -> Parts {
        let Self { tenant, kind, filter } = self;
        let Filter { call_id, caller, cti_call_id, conversation, intent, from, until, received_until, text } = filter;
        let number = |moment: &Option<Timestamp>| moment.map(|moment| moment.epoch_ms().to_string());
        vec![
            Some(tenant.number().to_string()),
            Some((*kind).to_owned()),
            call_id.as_ref().map(ToString::to_string),
            caller.as_ref().map(|caller| caller.as_str().to_owned()),
            cti_call_id.clone(),
            conversation.clone(),
            intent.clone(),
            number(from),
            number(until),
            number(received_until),
            text.as_ref().map(|needle| needle.as_str().to_owned()),
        ]
    }
}

/// Guessing one leads to nothing but a place in a list that its guesser may read anyway.
fn signature(secret: &SecretString, list: &Parts, text: &str) -> Option<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
    mac.update(MARK);
    for part in list.iter().map(Option::as_deref).chain([Some(text)]) {
        // Each with its length, so that no two lists make the same bytes.
        let length = part.map_or(-1, |part| i64::try_from(part.len()).unwrap_or(i64::MAX));
        mac.update(&length.to_be_bytes());
        mac.update(part.unwrap_or_default().as_bytes());
    }
    mac.finalize().into_bytes().get(..SIGNATURE_BYTES).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use calldata_core::{CallerKey, Country};

    #[test]
    fn a_cursor_is_good_in_its_own_list_only() {
        let secret = |text: &str| SecretString::from(text.repeat(32));
        let of = |caller: &str| Filter { caller: Some(CallerKey::of(caller, Country::GERMANY)), ..Filter::default() };
        let (filter, other) = (of("110"), of("112"));
        let list = List { tenant: TenantId::from_number(1), kind: "sessions", filter: &filter };
        let place = Place { started: Timestamp::clamped(-17), id: SessionId::new("a b\u{e9}").unwrap() };
        let cursors = Cursors::new(vec![secret("a")]);
        let cursor = cursors.write(&list, &place).unwrap();
        assert_eq!(cursors.read(&list, &cursor), Some(place.clone()));
        assert_eq!(Cursors::new(vec![secret("b"), secret("a")]).read(&list, &cursor), Some(place), "while a secret is rotated");
        assert_eq!(Cursors::new(vec![secret("b")]).read(&list, &cursor), None);
        for foreign in [List { tenant: TenantId::from_number(2), ..list }, List { kind: "calls", ..list }, List { filter: &other, ..list }]
        {
            assert_eq!(cursors.read(&foreign, &cursor), None);
        }
        for broken in ["", "x", "%", &cursor[1..], &cursor[..cursor.len() - 2], &format!("{cursor}A")] {
            assert_eq!(cursors.read(&list, broken), None, "{broken}");
        }
    }
}
