//! A tenant: one customer, whose data no other tenant sees.

use std::time::Duration;

use crate::access::Scope;
use crate::{Country, Masking, TenantId, Timestamp, Zone};

/// What [`Tenant::expired_until`] is while nothing that expired once is stored.
pub const NOTHING_EXPIRED: Timestamp = Timestamp::EARLIEST;

/// How many entries an audit trail may have, unless it is set: about a quarter of a gigabyte.
pub const DEFAULT_AUDIT_ROWS: u64 = 1_000_000;
/// The fewest that it can be set to.
pub const MIN_AUDIT_ROWS: u64 = 1_000;

/// One customer and what was agreed with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its identifier inside the gateway.
    pub id: TenantId,
    /// Its name, for people.
    pub name: String,
    /// Its name in the Parloa dialect (`clientId`).
    pub client_id: String,
    /// Its name in the OIFDE dialect (`tenantId`).
    pub oifde_id: String,
    /// The country of local numbers that come without one.
    pub default_country: Country,
    /// The zone of dates written for people.
    pub zone: Zone,
    /// The zone of local times in OIFDE queries.
    pub oifde_zone: Zone,
    /// How long sessions live.
    pub retention: Retention,
    /// How long it is kept who did what.
    pub audit_retention: Retention,
    /// How many entries its audit trail may have; the oldest ones go.
    pub audit_rows: u64,
    /// How many bytes of sessions it may store; `None` where that is not limited.
    pub quota_bytes: Option<u64>,
    /// Whether a miss is told as an absence rather than as an answer (`--miss-status 404`).
    pub misses_are_absences: bool,
    /// Whether a miss says why.
    pub explains_misses: bool,
    /// Whether keys are accepted in a URL.
    pub accepts_key_in_url: bool,
    /// What is masked some time after a call; `None` where everything is told as long as it is stored.
    pub masking: Option<Masking>,
    /// Whether the tenant may use the gateway at present.
    pub suspended: bool,
    /// Sessions first received up to here have expired once, and stay so whatever the retention is set to later.
    pub expired_until: Timestamp,
    /// When it was created.
    pub created_at: Timestamp,
}

impl Tenant {
    /// A tenant with nothing agreed but its names: German numbers, dates for people in Berlin, queries in UTC, 30 days of retention.
    pub fn new(name: &str, client_id: &str, oifde_id: &str, created_at: Timestamp) -> Self {
        Self {
            id: TenantId::random(),
            name: name.to_owned(),
            client_id: client_id.to_owned(),
            oifde_id: oifde_id.to_owned(),
            default_country: Country::GERMANY,
            zone: Zone::berlin(),
            oifde_zone: Zone::utc(),
            retention: Retention::default(),
            audit_retention: Retention::AUDIT,
            audit_rows: DEFAULT_AUDIT_ROWS,
            quota_bytes: None,
            misses_are_absences: false,
            explains_misses: true,
            accepts_key_in_url: true,
            masking: None,
            suspended: false,
            expired_until: NOTHING_EXPIRED,
            created_at,
        }
    }

    /// The handle through which this tenant's sessions are reached at `now`.
    pub fn scope(&self, now: Timestamp) -> Scope {
        Scope::new(self.id, self.horizon(now))
    }

    /// Sessions first received at this moment or before have expired (PAR-G10).
    pub fn horizon(&self, now: Timestamp) -> Timestamp {
        now.minus(self.retention.span()).max(self.expired_until)
    }

    /// Sets another retention from `now` on; what the present one has let expire stays expired (PAR-G10).
    pub fn set_retention(&mut self, retention: Retention, now: Timestamp) {
        self.expired_until = self.horizon(now);
        self.retention = retention;
    }
}

/// How long sessions live, in whole days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention(u16);

/// A retention outside its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("retention is 1 to {} days", Retention::MAX_DAYS)]
pub struct RetentionOutOfRange;

impl Retention {
    /// How long it is kept who did what, unless it is set.
    pub const AUDIT: Self = Self(90);
    /// The longest retention.
    pub const MAX_DAYS: u16 = 3_650;

    /// That many days, from 1 to 3 650 (PAR-G10).
    ///
    /// # Errors
    /// Outside these.
    pub fn days(days: u16) -> Result<Self, RetentionOutOfRange> {
        if (1..=Self::MAX_DAYS).contains(&days) { Ok(Self(days)) } else { Err(RetentionOutOfRange) }
    }

    /// The number of days.
    pub fn in_days(self) -> u16 {
        self.0
    }

    /// The same as a span of time.
    pub fn span(self) -> Duration {
        Duration::from_secs(u64::from(self.0) * 86_400)
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self(30)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn tenant(client_id: &str) -> Tenant {
        Tenant::new(&client_id.to_uppercase(), client_id, &format!("oifde-{client_id}"), Timestamp::clamped(0))
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn par_g10_retention_is_bounded() {
        assert_eq!(Retention::days(0), Err(RetentionOutOfRange));
        assert_eq!(Retention::days(3_651), Err(RetentionOutOfRange));
        assert_eq!(Retention::days(1).unwrap().span(), DAY);
        assert_eq!(Retention::days(3_650).unwrap().in_days(), 3_650);
        assert_eq!(Retention::default().in_days(), 30);
    }

    #[test]
    fn par_g10_what_expired_once_stays_expired_when_the_retention_is_raised() {
        let now = Timestamp::clamped(1_700_000_000_000);
        let mut tenant = tenant("c");
        tenant.set_retention(Retention::days(1).unwrap(), now);
        assert_eq!(tenant.horizon(now), now.minus(DAY * 1).max(now.minus(DAY * 30)));
        let later = now.plus(DAY);
        tenant.set_retention(Retention::days(30).unwrap(), later);
        assert_eq!(tenant.horizon(later), later.minus(DAY), "the lowered setting had expired everything older than a day");
        assert_eq!(tenant.horizon(later.plus(DAY * 40)), later.plus(DAY * 10), "from then on the raised one counts");
    }
}
