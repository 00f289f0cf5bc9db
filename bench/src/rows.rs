//! The rows that a store is filled with: those that the gateway would have written, and the same for the peers.

use crate::names::{self, Random};
use crate::work::users;

const DAY_MS: i64 = 24 * 3_600 * 1_000;
/// Over how many days sessions are spread; the tenant keeps them for 30.
const SPREAD_DAYS: i64 = 25;

/// What a store is filled with. In this order of time, but ordinary and heavy sessions are mixed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filling {
    /// Sessions that have expired, each of a caller of its own.
    pub expired: u64,
    /// Sessions, [`names::RECORDS_A_USER`] for each user.
    pub ordinary: u64,
    /// Sessions of one user.
    pub heavy: u64,
    /// Sessions of the last seconds, each of a caller of its own.
    pub recent: u64,
}

/// A session.
#[derive(Clone, Debug)]
pub struct Row {
    /// When it was received.
    pub received_ms: i64,
    /// The number of its caller.
    pub caller: u64,
    /// The number of its call.
    pub call: u64,
    /// Its identifier.
    pub id: String,
    /// Its digest; a post's digest is as good as random.
    pub digest: [u8; 16],
}

impl Filling {
    /// How many sessions these are.
    pub fn count(&self) -> u64 {
        self.expired + self.ordinary + self.heavy + self.recent
    }

    /// The sessions, by time, the last one received at `now_ms`.
    pub fn rows(self, now_ms: i64) -> impl Iterator<Item = Row> {
        let mut random = Random::new(self.count());
        let spread = |count: u64, from_ms: i64, until_ms: i64| {
            let step = (until_ms - from_ms) as f64 / (count.max(1) as f64);
            move |at: u64| from_ms + offset(at, step)
        };
        let expired_at = spread(self.expired, now_ms - 60 * DAY_MS, now_ms - 31 * DAY_MS);
        let expired = (0..self.expired).map(move |at| (expired_at(at), names::EXPIRED + at, names::EXPIRED + at));
        let mixed_at = spread(self.ordinary + self.heavy, now_ms - SPREAD_DAYS * DAY_MS, now_ms - 20_000);
        // Every so many rows one is of the heavy user.
        let every = (self.ordinary + self.heavy).checked_div(self.heavy).unwrap_or(u64::MAX);
        let mixed = (0..self.ordinary + self.heavy).scan((0, 0), move |(ordinary, heavy), at| {
            let of_heavy = *heavy < self.heavy && (at % every == 0 || *ordinary == self.ordinary);
            let (caller, call) = if of_heavy {
                *heavy += 1;
                (names::HEAVY, names::HEAVY + *heavy)
            } else {
                *ordinary += 1;
                ((*ordinary - 1) % users(self.ordinary), *ordinary - 1)
            };
            Some((mixed_at(at), caller, call))
        });
        let recent_at = spread(self.recent, now_ms - 10_000, now_ms);
        let recent = (0..self.recent).map(move |at| (recent_at(at), names::RECENT + at, names::RECENT + at));
        expired.chain(mixed).chain(recent).map(move |(received_ms, caller, call)| {
            let (high, low) = (random.draw(), random.draw());
            let mut digest = [0; 16];
            for (to, from) in digest.iter_mut().zip(high.to_ne_bytes().into_iter().chain(low.to_ne_bytes())) {
                *to = from;
            }
            Row { received_ms, caller, call, id: identifier(received_ms, random.draw(), random.draw()), digest }
        })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "milliseconds of a few weeks")]
fn offset(at: u64, step: f64) -> i64 {
    (at as f64 * step) as i64
}

/// A UUID of version 7.
fn identifier(ms: i64, high: u64, low: u64) -> String {
    let (a, b) = (ms >> 16, ms & 0xffff);
    format!("{a:08x}-{b:04x}-7{:03x}-{:04x}-{:012x}", high & 0xfff, 0x8000 | (low >> 50), low & 0xffff_ffff_ffff)
}

/// The columns of the gateway's session; those that are left out are null.
pub const COLUMNS: &str = "tenant_id, id, call_id, caller, caller_key, intent_key, received_first, received_last, started_at, source, \
    replay_digest, content, fields, details";
/// The column of what is known and not searched, after such a post.
pub const DETAILS: &str = r#"{"dialogType":"voice","intent":"doSomeCoolThing"}"#;
/// The number of the Parloa dialect.
pub const SOURCE: i32 = 1;

impl Row {
    /// The peers' text of all that was posted besides caller and call.
    pub fn posted_fields(&self) -> String {
        format!(r#"{{"content":{},{}"#, names::content(self.call), names::FIELDS.trim_start_matches('{'))
    }

    /// The peers' record, the same text that the gateway answers.
    pub fn document(&self) -> String {
        let Self { received_ms, caller, call, id, .. } = self;
        let (caller, call, client) = (names::caller(*caller), names::call(*call), names::CLIENT);
        let data = self.posted_fields().replace('"', "\\\"");
        format!(
            r#"{{"logId":"{id}","tenantId":"{client}","callSorId":"{caller}","callId":"{call}","ctiCallId":null,"callingNumber":"{caller}","calledNumber":"","startTime":{received_ms},"lastUpdateTime":{received_ms},"flowInstId":"","dialogType":"1","callData":"{data}","businessInfo":null,"businessInfoStr":"","recordDetials":[],"qaRecords":[]}}"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_has_twenty_and_one_has_many() {
        let filling = Filling { expired: 3, ordinary: 200, heavy: 50, recent: 7 };
        let rows: Vec<_> = filling.rows(1_795_264_965_321).collect();
        assert_eq!(u64::try_from(rows.len()).unwrap(), filling.count());
        assert!(rows.is_sorted_by_key(|row| row.received_ms));
        let of = |caller: u64| rows.iter().filter(|row| row.caller == caller).count();
        assert!((0..10).all(|user| of(user) == 20));
        assert_eq!(of(names::HEAVY), 50);
        assert!(rows.iter().all(|row| row.id.len() == 36 && row.id.starts_with("01")), "{}", rows[0].id);
        assert!(serde_json::from_str::<serde_json::Value>(&rows[0].document()).is_ok());
    }
}
