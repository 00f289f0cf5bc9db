//! The epoch of a database, and the ids of events that carry it.

use std::fmt;
use std::str::FromStr;

use crate::event::Position;

/// Identifies one history of a database. Each backup, copy and restore begins another one, so that an id of one history is never
/// taken for an id of another. Written as ten hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    const DIGITS: usize = 10;
    const BITS: u32 = 40;

    /// A new epoch, different from all others.
    pub fn random() -> Self {
        Self(rand::random::<u64>() >> (u64::BITS - Self::BITS))
    }

    /// Parses exactly what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let is_canonical = text.len() == Self::DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        u64::from_str_radix(text, 16).ok().filter(|_| is_canonical).map(Self)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010x}", self.0)
    }
}

/// The id of an event: its position, and the epoch in which that position was assigned. Written `epoch-commit-place`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId {
    /// The epoch; absent in ids that were handed out before there were epochs (`commit-place`).
    pub epoch: Option<Epoch>,
    /// The position in that epoch.
    pub position: Position,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { commit, place } = self.position;
        match self.epoch {
            Some(epoch) => write!(f, "{epoch}-{commit}-{place}"),
            None => write!(f, "{commit}-{place}"),
        }
    }
}

/// The text is no id of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of an event")]
pub struct InvalidEventId;

impl FromStr for EventId {
    type Err = InvalidEventId;

    fn from_str(text: &str) -> Result<Self, InvalidEventId> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|_| digits).ok_or(InvalidEventId)
        };
        let (before, place) = text.rsplit_once('-').ok_or(InvalidEventId)?;
        let (epoch, commit) = match before.split_once('-') {
            Some((epoch, commit)) => (Some(Epoch::parse(epoch).ok_or(InvalidEventId)?), commit),
            None => (None, before),
        };
        Ok(Self { epoch, position: Position { commit: number(commit)?, place: number(place)? } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_survives_being_written_down_and_nothing_else_is_one() {
        let position = Position { commit: 17, place: 3 };
        let id = EventId { epoch: Epoch::parse("00a1b2c3d4"), position };
        assert_eq!(id.to_string(), "00a1b2c3d4-17-3");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("17-3".parse(), Ok(EventId { epoch: None, position }));
        let epoch = Epoch::random();
        assert_eq!(Epoch::parse(&epoch.to_string()), Some(epoch));
        for none in [
            "",
            "-",
            "1",
            "1-",
            "-1-1",
            "1--1",
            "+1-1",
            "1-1-1",
            "a-1",
            "1 -1",
            "99999999999999999999-1",
            "00a1b2c3d4-17",
            "00A1B2C3D4-17-3",
            "0a1b2c3d4-17-3",
            "000a1b2c3d4-17-3",
            "00a1b2c3d4-17-3-1",
            "00a1b2c3d4--3",
            "+0a1b2c3d4-17-3",
        ] {
            assert_eq!(none.parse::<EventId>(), Err(InvalidEventId), "{none}");
        }
    }

    #[test]
    fn epochs_differ() {
        let epochs: std::collections::HashSet<_> = (0..1_000).map(|_| Epoch::random()).collect();
        assert_eq!(epochs.len(), 1_000);
    }
}
