//! Webhooks: where a tenant wants to be told of events, and what is on its way there.

mod secret;
mod url;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::event::{EventKind, Position};
use crate::{Epoch, SessionId, TenantId, Timestamp, WebhookId};

pub use secret::{PreviousSecret, WebhookSecret, WebhookSecrets};
pub use url::{InvalidUrl, UrlHost, WebhookUrl};

/// An endpoint that is told of a tenant's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its identifier.
    pub id: WebhookId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where events are sent.
    pub url: WebhookUrl,
    /// What they are signed with.
    pub secrets: WebhookSecrets,
    /// Which events it is told of; at least one kind.
    pub kinds: BTreeSet<EventKind>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Why nothing is sent to it at present.
    pub disabled: Option<Disabled>,
    /// Every event up to here was taken up: it is a delivery, was one, or is none for this endpoint.
    pub taken_up: Position,
}

impl Webhook {
    /// What it is found by.
    pub fn key(&self) -> WebhookKey {
        WebhookKey { tenant: self.tenant, id: self.id.clone() }
    }
}

/// What a webhook is found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WebhookKey {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its identifier.
    pub id: WebhookId,
}

/// Why nothing is sent to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disabled {
    /// It answered that it is gone for good (410).
    Gone,
}

impl Disabled {
    /// Its name: `gone`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gone => "gone",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        (name == Self::Gone.name()).then_some(Self::Gone)
    }
}

/// The number of a delivery among those of its webhook; none is used twice, and a later event has a greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryNumber(i64);

impl DeliveryNumber {
    /// Before all others.
    pub const NONE: Self = Self(0);

    /// The one that was stored.
    pub fn from_stored(number: i64) -> Self {
        Self(number)
    }

    /// The number.
    pub fn number(self) -> i64 {
        self.0
    }
}

/// Names a delivery of a webhook. The epoch tells apart what two histories of a database gave the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryId {
    /// The epoch in which the number was assigned; absent where that was before there were epochs.
    pub epoch: Option<Epoch>,
    /// The number.
    pub number: DeliveryNumber,
}

/// `wh_0123456789abcdef_00a1b2c3d4_17`: the same for every attempt and after every restart, so that whoever receives it twice can tell, and
/// never that of another message, even after a restore. Messages that are older than epochs have no epoch in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MessageId(String);

impl MessageId {
    /// The message that a delivery is, of a webhook.
    pub fn of(webhook: &WebhookId, DeliveryId { epoch, number }: DeliveryId) -> Self {
        Self(match epoch {
            Some(epoch) => format!("{webhook}_{epoch}_{}", number.0),
            None => format!("{webhook}_{}", number.0),
        })
    }

    /// The delivery that it names of that webhook; `None` where it names none.
    pub fn delivery(webhook: &WebhookId, text: &str) -> Option<DeliveryId> {
        let rest = text.strip_prefix(webhook.as_str())?.strip_prefix('_')?;
        let (epoch, digits) = match rest.split_once('_') {
            Some((epoch, digits)) => (Some(Epoch::parse(epoch)?), digits),
            None => (None, rest),
        };
        let id = DeliveryId { epoch, number: DeliveryNumber(digits.parse().ok()?) };
        // Exactly as it is written, so that one message has one name.
        (Self::of(webhook, id).0 == text && id.number > DeliveryNumber::NONE).then_some(id)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event on its way to an endpoint. It names the session and holds nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its number, and the epoch of that.
    pub id: DeliveryId,
    /// What happened.
    pub kind: EventKind,
    /// To which session.
    pub session: SessionId,
    /// When.
    pub at: Timestamp,
    /// How often it was attempted since then.
    pub attempts: u32,
    /// When it was taken up, or last replayed: from here on it is attempted for a day.
    pub since: Timestamp,
    /// Why the last attempt failed.
    pub last_failure: Option<Failure>,
}

/// A delivery that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// What was to be delivered.
    pub delivery: Delivery,
    /// When it was given up.
    pub died_at: Timestamp,
}

/// Why an attempt failed. In our own words: what the endpoint said is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It answered with this status.
    Status(u16),
    /// It did not answer in time.
    TimedOut,
    /// Its name has no address that something may be sent to. Whether it has another one is not told: that would tell which names
    /// exist in networks that only the gateway reaches.
    NoAllowedAddress,
    /// It took no connection, or broke it.
    NotConnected,
    /// It did not prove who it is.
    NotTrusted,
    /// What it answered is not HTTP.
    NotHttp,
}

impl Failure {
    /// What was written down by versions that told the two apart.
    const OLD_WORDS: [&str; 2] = ["no address", "refused address"];
    const WORDS: [(Self, &str); 5] = [
        (Self::TimedOut, "timed out"),
        (Self::NoAllowedAddress, "no allowed address"),
        (Self::NotConnected, "not connected"),
        (Self::NotTrusted, "not trusted"),
        (Self::NotHttp, "not http"),
    ];
}

/// `status 500`, `timed out`
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = Self::WORDS.iter().find(|(failure, _)| failure == self);
        match (self, words) {
            (_, Some((_, words))) => f.write_str(words),
            (Self::Status(status), None) => write!(f, "status {status}"),
            (_, None) => f.write_str("failed"),
        }
    }
}

/// The text names no failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a failure")]
pub struct NoFailure;

impl FromStr for Failure {
    type Err = NoFailure;

    fn from_str(text: &str) -> Result<Self, NoFailure> {
        if let Some(status) = text.strip_prefix("status ") {
            return status.parse().map(Self::Status).map_err(|_| NoFailure);
        }
        if Self::OLD_WORDS.contains(&text) {
            return Ok(Self::NoAllowedAddress);
        }
        Self::WORDS.into_iter().find(|(_, words)| *words == text).map(|(failure, _)| failure).ok_or(NoFailure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_survive_being_written_down() {
        for (failure, words) in Failure::WORDS.into_iter().chain([(Failure::Status(500), "status 500")]) {
            assert_eq!(failure.to_string(), words);
            assert_eq!(words.parse(), Ok(failure));
        }
        for old in Failure::OLD_WORDS {
            assert_eq!(old.parse::<Failure>().unwrap().to_string(), "no allowed address");
        }
        for none in ["", "status", "status x", "status 70000", "Timed out", "failed"] {
            assert_eq!(none.parse::<Failure>(), Err(NoFailure), "{none}");
        }
    }

    #[test]
    fn a_message_has_one_name_and_tells_its_delivery_to_its_webhook_alone() {
        let (mine, other) = (WebhookId::new("wh_1").unwrap(), WebhookId::new("wh_2").unwrap());
        let number = DeliveryNumber(17);
        for (epoch, text) in [(Epoch::parse("00a1b2c3d4"), "wh_1_00a1b2c3d4_17"), (None, "wh_1_17")] {
            let id = DeliveryId { epoch, number };
            assert_eq!(MessageId::of(&mine, id).as_str(), text);
            assert_eq!(MessageId::delivery(&mine, text), Some(id));
            assert_eq!(MessageId::delivery(&other, text), None);
        }
        for none in [
            "",
            "17",
            "wh_1",
            "wh_1_",
            "wh_1_017",
            "wh_1_+17",
            "wh_1_0",
            "wh_1_-1",
            "wh_1_99999999999999999999",
            "wh_1_00a1b2c3d4_017",
            "wh_1_00A1B2C3D4_17",
            "wh_1_1_17",
            "wh_1__17",
        ] {
            assert_eq!(MessageId::delivery(&mine, none), None, "{none}");
        }
    }

    #[test]
    fn reasons_have_names() {
        assert_eq!(Disabled::parse("gone"), Some(Disabled::Gone));
        assert_eq!(Disabled::parse(""), None);
    }
}
