//! Who may read next: no tenant keeps all readers busy.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use calldata_core::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lets each tenant have so many queries under way; its others wait for these, and not for a reader. So in the line for readers stand
/// few of each tenant, and whoever comes there waits for those and not for a flood.
#[derive(Debug)]
pub(crate) struct ReadTurns {
    of_each: usize,
    taken: Mutex<HashMap<TenantId, Weak<Semaphore>>>,
}

/// A query under way; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct ReadTurn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl ReadTurns {
    pub(crate) fn new(of_each: usize) -> Self {
        Self { of_each, taken: Mutex::default() }
    }

    /// Waits until the tenant may begin another query.
    pub(crate) async fn take(&self, tenant: TenantId) -> ReadTurn {
        let turns = self.turns_of(tenant);
        // Nobody closes it; if somebody did, nobody would have to wait.
        ReadTurn { _permit: turns.acquire_owned().await.ok() }
    }

    fn turns_of(&self, tenant: TenantId) -> Arc<Semaphore> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = taken.get(&tenant).and_then(Weak::upgrade) {
            return turns;
        }
        let turns = Arc::new(Semaphore::new(self.of_each));
        taken.insert(tenant, Arc::downgrade(&turns));
        turns
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    #[test]
    fn each_tenant_has_so_many_and_none_takes_those_of_another() {
        let turns = ReadTurns::new(2);
        let (one, two) = (TenantId::from_number(1), TenantId::from_number(2));
        let held = [now(turns.take(one)).unwrap(), now(turns.take(one)).unwrap()];
        assert!(now(turns.take(one)).is_none());
        assert!(now(turns.take(two)).is_some());
        drop(held);
        assert!(now(turns.take(one)).is_some());
    }
}
