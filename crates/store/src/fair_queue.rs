//! What waits for its turn: bounded, and shared out fairly among tenants.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use calldata_core::TenantId;
use tokio::sync::Notify;

/// How much may wait, or be taken at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
}

/// What waits: so many rows of so many bytes.
pub(crate) trait Load {
    fn tenant(&self) -> TenantId;
    fn rows(&self) -> usize;
    fn bytes(&self) -> usize;
}

/// A queue in which tenants take turns. With `n` tenants in it, none may hold more than one part in `n + 1`: there is always room for
/// one more, and nobody who floods it makes the others wait for more than their turn.
#[derive(Debug)]
pub(crate) struct FairQueue<L> {
    bounds: Bounds,
    waiting: Mutex<Waiting<L>>,
    filled: Notify,
}

#[derive(Debug)]
struct Waiting<L> {
    of: HashMap<TenantId, Share<L>>,
    turns: VecDeque<TenantId>,
    rows: usize,
    closed: bool,
}

#[derive(Debug)]
struct Share<L> {
    loads: VecDeque<L>,
    rows: usize,
    bytes: usize,
}

impl<L: Load> FairQueue<L> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let waiting = Waiting { of: HashMap::new(), turns: VecDeque::new(), rows: 0, closed: false };
        Self { bounds, waiting: Mutex::new(waiting), filled: Notify::new() }
    }

    /// Puts a load at the end of its tenant's line; gives it back where there is no room for it.
    pub(crate) fn push(&self, load: L) -> Result<(), L> {
        let mut waiting = self.lock();
        let tenant = load.tenant();
        let tenants = waiting.of.len() + usize::from(!waiting.of.contains_key(&tenant));
        let (rows, bytes) = waiting.of.get(&tenant).map_or((0, 0), |share| (share.rows, share.bytes));
        let too_much = |held: usize, more: usize, all: usize| held > 0 && held + more > all / (tenants + 1);
        if waiting.closed || too_much(rows, load.rows(), self.bounds.rows) || too_much(bytes, load.bytes(), self.bounds.bytes) {
            return Err(load);
        }
        waiting.rows += load.rows();
        let is_new = rows == 0;
        if is_new {
            waiting.turns.push_back(tenant);
        }
        let share = waiting.of.entry(tenant).or_insert_with(|| Share { loads: VecDeque::new(), rows: 0, bytes: 0 });
        share.rows += load.rows();
        share.bytes += load.bytes();
        share.loads.push_back(load);
        drop(waiting);
        self.filled.notify_one();
        Ok(())
    }

    /// Takes what waits, by turns, up to `most`, and at least one load; `None` once the queue is closed and empty. Waits while there is
    /// nothing, and for nothing else.
    pub(crate) async fn take(&self, most: Bounds) -> Option<Vec<L>> {
        loop {
            {
                let mut waiting = self.lock();
                let taken = waiting.take(most);
                if !taken.is_empty() {
                    return Some(taken);
                }
                if waiting.closed {
                    // Others who wait for the first are told by the one before them.
                    self.filled.notify_one();
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    /// The same of what waits now, be it nothing.
    pub(crate) fn take_now(&self, most: Bounds) -> Vec<L> {
        self.lock().take(most)
    }

    /// How many rows wait.
    pub(crate) fn rows(&self) -> usize {
        self.lock().rows
    }

    /// Takes no more in; what waits is still taken out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<L>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L: Load> Waiting<L> {
    fn take(&mut self, most: Bounds) -> Vec<L> {
        let mut taken = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        while let Some(tenant) = self.turns.pop_front() {
            let Some(share) = self.of.get_mut(&tenant) else { continue };
            let fits = |load: &L| rows + load.rows() <= most.rows && bytes + load.bytes() <= most.bytes;
            if !taken.is_empty() && !share.loads.front().is_some_and(fits) {
                self.turns.push_front(tenant);
                break;
            }
            let Some(load) = share.loads.pop_front() else { continue };
            share.rows -= load.rows();
            share.bytes -= load.bytes();
            if share.loads.is_empty() {
                self.of.remove(&tenant);
            } else {
                self.turns.push_back(tenant);
            }
            rows += load.rows();
            bytes += load.bytes();
            self.rows -= load.rows();
            taken.push(load);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Parcel {
        tenant: i64,
        number: usize,
        rows: usize,
    }

    impl Load for Parcel {
        fn tenant(&self) -> TenantId {
            TenantId::from_number(self.tenant)
        }

        fn rows(&self) -> usize {
            self.rows
        }

        fn bytes(&self) -> usize {
            self.rows * 10
        }
    }

    fn parcel(tenant: i64, number: usize) -> Parcel {
        Parcel { tenant, number, rows: 1 }
    }

    fn queue(rows: usize) -> FairQueue<Parcel> {
        FairQueue::new(Bounds { rows, bytes: rows * 10 })
    }

    const MANY: Bounds = Bounds { rows: 100, bytes: 1_000 };

    async fn numbers(queue: &FairQueue<Parcel>, most: Bounds) -> Vec<(i64, usize)> {
        queue.take(most).await.unwrap().iter().map(|parcel| (parcel.tenant, parcel.number)).collect()
    }

    #[tokio::test]
    async fn tenants_take_turns_and_each_keeps_its_order() {
        let queue = queue(100);
        for number in 0..4 {
            queue.push(parcel(1, number)).unwrap();
        }
        queue.push(parcel(2, 0)).unwrap();
        assert_eq!(queue.rows(), 5);
        assert_eq!(numbers(&queue, Bounds { rows: 3, bytes: 1_000 }).await, [(1, 0), (2, 0), (1, 1)]);
        assert_eq!(numbers(&queue, MANY).await, [(1, 2), (1, 3)]);
        assert_eq!(queue.rows(), 0);
    }

    #[tokio::test]
    async fn who_floods_it_leaves_room_for_others() {
        let queue = queue(12);
        let held = (0..100).take_while(|number| queue.push(parcel(1, *number)).is_ok()).count();
        assert_eq!(held, 6, "alone: one part in two");
        let held = (0..100).take_while(|number| queue.push(parcel(2, *number)).is_ok()).count();
        assert_eq!(held, 4, "with another: one part in three");
        assert_eq!(queue.push(parcel(1, 9)), Err(parcel(1, 9)));
        queue.push(parcel(3, 0)).unwrap();
    }

    #[tokio::test]
    async fn one_load_larger_than_all_bounds_goes_through_alone() {
        let queue = queue(4);
        queue.push(Parcel { tenant: 1, number: 0, rows: 50 }).unwrap();
        assert!(queue.push(parcel(1, 1)).is_err());
        queue.push(parcel(2, 2)).unwrap();
        assert_eq!(numbers(&queue, Bounds { rows: 2, bytes: 20 }).await, [(1, 0)]);
        assert_eq!(numbers(&queue, MANY).await, [(2, 2)]);
    }

    #[tokio::test]
    async fn bytes_are_bounded_as_well_as_rows() {
        let queue = FairQueue::new(Bounds { rows: 1_000, bytes: 40 });
        queue.push(parcel(1, 0)).unwrap();
        queue.push(parcel(1, 1)).unwrap();
        assert!(queue.push(parcel(1, 2)).is_err());
        assert_eq!(numbers(&queue, Bounds { rows: 100, bytes: 15 }).await, [(1, 0)]);
    }

    #[tokio::test]
    async fn it_waits_for_the_first_and_ends_when_it_is_closed_and_empty() {
        let queue = std::sync::Arc::new(queue(10));
        let taker = tokio::spawn({
            let queue = std::sync::Arc::clone(&queue);
            async move { queue.take(MANY).await }
        });
        tokio::task::yield_now().await;
        queue.push(parcel(1, 0)).unwrap();
        assert_eq!(taker.await.unwrap().unwrap(), [parcel(1, 0)]);
        queue.push(parcel(1, 1)).unwrap();
        queue.close();
        assert!(queue.push(parcel(1, 2)).is_err());
        assert_eq!(queue.take(MANY).await.unwrap(), [parcel(1, 1)]);
        assert_eq!(queue.take(MANY).await, None);
    }

    #[tokio::test]
    async fn all_who_take_from_it_hear_that_it_is_closed() {
        let queue = std::sync::Arc::new(queue(10));
        let takers: Vec<_> = (0..3)
            .map(|_| {
                let queue = std::sync::Arc::clone(&queue);
                tokio::spawn(async move { queue.take(MANY).await })
            })
            .collect();
        tokio::task::yield_now().await;
        queue.close();
        for taker in takers {
            assert_eq!(tokio::time::timeout(std::time::Duration::from_secs(5), taker).await.unwrap().unwrap(), None);
        }
    }
}
