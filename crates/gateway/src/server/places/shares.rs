//! Which source holds how many connections.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Notify;

/// One part in so many is kept from every single source.
const RESERVE_PART: usize = 4;

/// Connections by source. A connection is unproven until a request on it was authenticated.
#[derive(Debug)]
pub(super) struct Shares {
    all: usize,
    in_all: usize,
    by_source: HashMap<IpAddr, Share>,
    /// Sources with unproven connections.
    unproven_sources: usize,
    next: u64,
}

#[derive(Debug, Default)]
struct Share {
    /// In the order in which they came; told where they are to end.
    unproven: BTreeMap<u64, Arc<Notify>>,
    proven: HashSet<u64>,
}

/// A connection among those of its source. Those of trusted proxies are of no source: many clients share them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    source: Option<IpAddr>,
    number: u64,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum NoPlace {
    /// All are taken, and no source holds more than this one.
    Full,
    /// The source has its share.
    Share,
}

impl Shares {
    pub(super) fn new(all: usize) -> Self {
        Self { all, in_all: 0, by_source: HashMap::new(), unproven_sources: 0, next: 0 }
    }

    /// Counts a connection; what is returned with it is notified where the connection is to end.
    ///
    /// Once more than half of all places are taken, a source may hold one part in `n + 1` of them with unproven connections, where `n`
    /// sources do so; and never more than three in four, proven or not. Where all are taken nevertheless, the oldest unproven connection of
    /// the source with the most of them ends in favour of a source with fewer.
    pub(super) fn take(&mut self, source: Option<IpAddr>) -> Result<(Entry, Arc<Notify>), NoPlace> {
        let share = source.and_then(|source| self.by_source.get(&source));
        let (unproven, held) = share.map_or((0, 0), |share| (share.unproven.len(), share.unproven.len() + share.proven.len()));
        if source.is_some() {
            let sources = self.unproven_sources + usize::from(unproven == 0);
            let is_short = self.in_all * 2 > self.all;
            if held >= self.all - self.all / RESERVE_PART || is_short && unproven >= (self.all / (sources + 1)).max(1) {
                return Err(NoPlace::Share);
            }
        }
        if self.in_all >= self.all {
            self.end_one_of_the_largest(unproven)?;
        }
        let (number, end) = (self.next, Arc::new(Notify::new()));
        self.next += 1;
        self.in_all += 1;
        if let Some(source) = source {
            let share = self.by_source.entry(source).or_default();
            self.unproven_sources += usize::from(share.unproven.is_empty());
            share.unproven.insert(number, Arc::clone(&end));
        }
        Ok((Entry { source, number }, end))
    }

    /// Ends a connection of a source that has at least two unproven ones more than `unproven`.
    fn end_one_of_the_largest(&mut self, unproven: usize) -> Result<(), NoPlace> {
        let largest = self.by_source.iter().max_by_key(|(_, share)| share.unproven.len());
        let Some((&source, share)) = largest.filter(|(_, share)| share.unproven.len() > unproven + 1) else { return Err(NoPlace::Full) };
        let Some((&number, end)) = share.unproven.first_key_value() else { return Err(NoPlace::Full) };
        end.notify_one();
        // Its place is given on at once; when it has ended, it is not counted any more.
        self.release(Entry { source: Some(source), number });
        Ok(())
    }

    /// A request of this connection was authenticated: it does not end in favour of others any more.
    pub(super) fn prove(&mut self, entry: Entry) {
        let Some(share) = entry.source.and_then(|source| self.by_source.get_mut(&source)) else { return };
        if share.unproven.remove(&entry.number).is_some() {
            share.proven.insert(entry.number);
            self.unproven_sources -= usize::from(share.unproven.is_empty());
        }
    }

    /// A connection has ended; one whose place was given on before counts no more.
    pub(super) fn release(&mut self, entry: Entry) {
        let Some(source) = entry.source else {
            self.in_all -= 1;
            return;
        };
        let Some(share) = self.by_source.get_mut(&source) else { return };
        if share.unproven.remove(&entry.number).is_some() {
            self.unproven_sources -= usize::from(share.unproven.is_empty());
        } else if !share.proven.remove(&entry.number) {
            return;
        }
        self.in_all -= 1;
        if share.unproven.is_empty() && share.proven.is_empty() {
            self.by_source.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(number: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, number])
    }

    fn all_of(shares: &mut Shares, number: u8) -> Vec<(Entry, Arc<Notify>)> {
        (0..1_000).map_while(|_| shares.take(Some(source(number))).ok()).collect()
    }

    /// Whether a connection is to end.
    fn is_told(end: &Notify) -> bool {
        std::pin::pin!(end.notified()).as_mut().enable()
    }

    #[test]
    fn one_source_leaves_room_for_others_and_few_leave_it_for_more() {
        let mut shares = Shares::new(100);
        let first = all_of(&mut shares, 1);
        assert_eq!(first.len(), 51, "a part of two, once more than half are taken");
        let second = all_of(&mut shares, 2);
        assert_eq!(second.len(), 33);
        let third = all_of(&mut shares, 3);
        assert_eq!((third.len(), shares.in_all), (25, 100), "some of them instead of the first one's");
        for number in 4..40 {
            assert!(shares.take(Some(source(number))).is_ok(), "{number}");
        }
        assert_eq!(shares.in_all, 100);
        for (entry, _) in first.into_iter().chain(second).chain(third) {
            shares.release(entry);
        }
        assert!(shares.in_all <= 36 && shares.by_source.len() <= 36, "{shares:?}");
    }

    #[test]
    fn a_proven_connection_does_not_end_for_others_and_leaves_room_for_the_next_one() {
        let mut shares = Shares::new(100);
        let mut clients = Vec::new();
        while let Ok((entry, end)) = shares.take(Some(source(1))) {
            shares.prove(entry);
            shares.prove(entry);
            clients.push((entry, end));
        }
        assert_eq!(clients.len(), 75, "a quarter is kept from each single source");
        let strangers = all_of(&mut shares, 2);
        assert_eq!(strangers.len(), 25);
        assert_eq!(shares.take(Some(source(3))).map(|_| ()), Ok(()), "instead of a stranger");
        for (entry, end) in clients {
            shares.release(entry);
            assert!(!is_told(&end), "it goes on");
        }
        let ended = strangers.iter().filter(|(_, end)| is_told(end)).count();
        assert_eq!((ended, shares.in_all), (1, 25));
    }

    #[test]
    fn who_holds_as_many_as_anybody_finds_no_place_when_all_are_taken() {
        let mut shares = Shares::new(4);
        for number in 1..=4 {
            assert!(shares.take(Some(source(number))).is_ok());
        }
        assert_eq!(shares.take(Some(source(5))).map(|_| ()), Err(NoPlace::Full));
        assert_eq!(shares.take(Some(source(1))).map(|_| ()), Err(NoPlace::Share));
        assert_eq!(shares.take(None).map(|_| ()), Err(NoPlace::Full));
    }

    #[test]
    fn connections_of_trusted_proxies_have_all_the_room_that_there_is() {
        let mut shares = Shares::new(100);
        let proxied: Vec<_> = (0..1_000).map_while(|_| shares.take(None).ok()).collect();
        assert_eq!(proxied.len(), 100);
        for (entry, _) in proxied {
            shares.release(entry);
        }
        assert_eq!(shares.in_all, 0);
    }
}
