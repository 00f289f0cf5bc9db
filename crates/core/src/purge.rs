//! Deleting what has expired (PAR-G10). It is invisible before; this frees the room, and makes it unreadable.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::directory::Directory;
use crate::port::{SessionStore, StoreError};
use crate::{Tenant, TenantId, Timestamp};

/// How often it is looked for what has expired.
const ROUND_INTERVAL: Duration = Duration::from_secs(10);
/// The pause after a slice, as a multiple of the time for which it kept others from writing.
const PAUSE: u32 = 2;

/// For how long it is kept what happened.
const EVENT_RETENTION: Duration = Duration::from_hours(7 * 24);
/// For how long a request that has a name is not done twice.
pub const NAME_RETENTION: Duration = Duration::from_hours(24);

/// A clock that runs ahead of time by more than this has been set, or was wrong, or is now.
const LEAP: Duration = Duration::from_mins(1);
/// At the start of a process, a clock that is right rarely finds that nothing has arrived for longer than this.
const LONG_AGO: Duration = Duration::from_hours(24);
/// For how long nothing is purged then: what was deleted by a wrong clock does not come back, and this is the time to notice.
const CAUTION: Duration = Duration::from_hours(1);

/// What one tenant has that expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The tenant.
    pub tenant: TenantId,
    /// How many of its sessions have expired and are still stored.
    pub sessions: u64,
}

/// Deletes what has expired, a little at a time.
pub struct Purge {
    store: Arc<dyn SessionStore>,
    clock: Arc<dyn Clock>,
}

impl Purge {
    /// A purge of `store`, by `clock`.
    pub fn new(store: Arc<dyn SessionStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// What has expired and is still stored, by tenant; tenants without any are left out.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn backlog(&self, tenants: &[Arc<Tenant>]) -> Result<Vec<Expired>, StoreError> {
        let mut backlog = Vec::new();
        for tenant in tenants {
            let sessions = self.store.count_received_until(tenant.id, tenant.horizon(self.clock.now())).await?;
            if sessions > 0 {
                backlog.push(Expired { tenant: tenant.id, sessions });
            }
        }
        Ok(backlog)
    }

    /// Deletes what has expired, and returns how many sessions that were. Ends early where another instance is doing the same.
    ///
    /// # Errors
    /// When the store could not; what was deleted until then is gone, and doing it again is safe.
    pub async fn run(&self, tenants: &[Arc<Tenant>]) -> Result<u64, StoreError> {
        let mut deleted = 0;
        self.forget(tenants).await?;
        for expired in self.backlog(tenants).await? {
            let now = self.clock.now();
            while let Some(slice) = self.store.purge(expired.tenant, now).await? {
                if slice.deleted == 0 {
                    break;
                }
                deleted += slice.deleted;
                metrics::counter!("calldata_purged_sessions_total").increment(slice.deleted);
                tokio::time::sleep(slice.held * PAUSE).await;
            }
        }
        Ok(deleted)
    }

    /// Drops what was told long ago, and at the latest with what it was about; and the names of requests that nobody repeats any more.
    async fn forget(&self, tenants: &[Arc<Tenant>]) -> Result<(), StoreError> {
        let now = self.clock.now();
        for tenant in tenants {
            let until = tenant.horizon(now).max(now.minus(EVENT_RETENTION));
            while self.store.drop_events(tenant.id, until).await? > 0 {
                tokio::task::yield_now().await;
            }
        }
        for tenant in tenants {
            while self.store.drop_audit(tenant.id, now.minus(tenant.audit_retention.span())).await? > 0 {
                tokio::task::yield_now().await;
            }
        }
        while self.store.forget_names(now.minus(NAME_RETENTION)).await? > 0 {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// When the newest session of all was received; `None` where nothing is known.
    async fn last_arrival(&self, tenants: &[Arc<Tenant>]) -> Option<Timestamp> {
        let mut last = None;
        for tenant in tenants {
            last = last.max(self.store.last_arrival(tenant.id).await.ok().flatten());
        }
        last
    }

    /// Purges from time to time, until the task is dropped.
    pub async fn keep(&self, directory: &Directory) {
        // An earlier process may have been stopped between a deletion and the wipe.
        let mut unwiped = true;
        let mut wiping: Option<JoinHandle<Result<bool, StoreError>>> = None;
        let mut caution = Caution::default();
        loop {
            tokio::time::sleep(ROUND_INTERVAL).await;
            let tenants = directory.tenants();
            let last_arrival = if caution.is_first() { self.last_arrival(&tenants).await } else { None };
            if caution.holds(self.clock.now(), Instant::now(), last_arrival) {
                continue;
            }
            match self.run(&tenants).await {
                Ok(0) => {}
                Ok(deleted) => {
                    unwiped = true;
                    tracing::info!(deleted, "expired sessions deleted");
                }
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "expired sessions could not be deleted"),
            }
            // Beside the rounds, for a server takes its time for it.
            if let Some(wiped) = wiping.take_if(|wiping| wiping.is_finished()) {
                match wiped.await {
                    Ok(Ok(done)) => unwiped |= !done,
                    Ok(Err(error)) => {
                        unwiped = true;
                        tracing::warn!(error = &error as &dyn std::error::Error, "what was deleted could not be wiped from the files");
                    }
                    Err(_) => unwiped = true,
                }
            }
            if unwiped && wiping.is_none() {
                unwiped = false;
                let store = Arc::clone(&self.store);
                wiping = Some(tokio::spawn(async move { store.wipe_deleted().await }));
            }
            if let Ok(backlog) = self.backlog(&tenants).await {
                let sessions = backlog.iter().map(|expired| expired.sessions).sum::<u64>();
                metrics::gauge!("calldata_purge_backlog_sessions").set(f64::from(u32::try_from(sessions).unwrap_or(u32::MAX)));
            }
        }
    }
}

/// Remembers what time it was, to notice a clock that leaps ahead.
#[derive(Debug, Default)]
struct Caution {
    last: Option<(Timestamp, Instant)>,
    until: Option<Instant>,
}

impl Caution {
    /// Whether nothing was compared yet.
    fn is_first(&self) -> bool {
        self.last.is_none()
    }

    /// Whether nothing should be deleted at present. The first time there is no earlier look to compare with, but the newest session
    /// of all: a machine that starts with a clock that is ahead finds it to be old.
    fn holds(&mut self, now: Timestamp, at: Instant, last_arrival: Option<Timestamp>) -> bool {
        let leapt = match self.last.replace((now, at)) {
            Some((last, last_at)) => now.since(last) > at.duration_since(last_at) + LEAP,
            None => last_arrival.is_some_and(|last| now.since(last) > LONG_AGO),
        };
        if leapt {
            tracing::warn!("the clock leapt ahead, or nothing has arrived for long; nothing is purged for an hour");
            self.until = Some(at + CAUTION);
        }
        self.until.is_some_and(|until| at < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_leap_of_the_clock_nothing_is_purged_for_an_hour() {
        let (start, began) = (Timestamp::clamped(1_700_000_000_000), Instant::now());
        let mut caution = Caution::default();
        let mut holds =
            |clock_s, real_s| caution.holds(start.plus(Duration::from_secs(clock_s)), began + Duration::from_secs(real_s), Some(start));
        assert!(!holds(0, 0));
        assert!(!holds(10, 10));
        assert!(!holds(79, 20), "a little drift is none");
        assert!(holds(200, 30));
        assert!(holds(210, 40));
        assert!(holds(3_799, 3_629));
        assert!(!holds(3_800, 3_630));
        assert!(!holds(3_000, 3_640), "back is no leap ahead: nothing expires by it");
    }

    #[test]
    fn at_the_start_the_newest_session_tells_whether_the_clock_can_be_right() {
        let (now, at) = (Timestamp::clamped(1_700_000_000_000), Instant::now());
        let holds = |last_arrival| Caution::default().holds(now, at, last_arrival);
        assert!(!holds(None));
        assert!(!holds(Some(now.minus(LONG_AGO))));
        assert!(!holds(Some(now.plus(LONG_AGO))));
        assert!(holds(Some(now.minus(LONG_AGO + Duration::from_millis(1)))));
    }
}
