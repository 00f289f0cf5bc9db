//! Recognising clients without letting the unknown ones hold anything that the known ones need.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::Extensions;
use calldata_core::key::SecretHash;
use calldata_core::{Access, AuthError, Credential, KeyId, TenantName};

use crate::admission::{Seat, note};
use crate::{Shared, Source};

/// Requests that may wait for a look at the directory at a time.
const MAX_LOOKUPS: usize = 128;
/// Of those, the ones of a single source.
const MAX_LOOKUPS_PER_SOURCE: usize = 32;

/// Tells the server that a request of a connection was authenticated. The server puts it beside requests until then.
#[derive(Clone)]
pub struct ConnectionTrust(Arc<Inner<dyn Fn() + Send + Sync>>);

struct Inner<F: ?Sized> {
    is_proven: AtomicBool,
    on_proven: F,
}

impl ConnectionTrust {
    /// Of a connection on which nothing was authenticated yet; `on_proven` is called once, when something is.
    pub fn new(on_proven: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { is_proven: AtomicBool::new(false), on_proven }))
    }

    /// Whether a request of the connection was authenticated.
    pub fn is_proven(&self) -> bool {
        self.0.is_proven.load(Ordering::Acquire)
    }

    fn prove(&self) {
        if !self.0.is_proven.swap(true, Ordering::AcqRel) {
            (self.0.on_proven)();
        }
    }
}

impl fmt::Debug for ConnectionTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectionTrust").field(&self.is_proven()).finish()
    }
}

/// Where a request comes from: the address, and the connection as long as nothing was authenticated on it.
#[derive(Clone, Debug, Default)]
pub struct RequestOrigin {
    /// The address; none where no server puts one beside the request.
    pub source: Option<Source>,
    connection: Option<ConnectionTrust>,
}

impl RequestOrigin {
    /// What the server has put beside a request.
    pub fn of(extensions: &Extensions) -> Self {
        Self { source: extensions.get().copied(), connection: extensions.get().cloned() }
    }
}

/// What a client proves itself with.
#[derive(Clone, Copy, Debug)]
pub enum Proof<'a> {
    /// A key's secret.
    Secret(&'a str),
    /// Something derived from it that names the key.
    Key(&'a KeyId),
}

impl Shared {
    /// Recognises a client. One that is not in memory waits for a look at the directory outside of its seat, so that unknown keys, however
    /// many, take no room from requests of known ones; only a few may wait.
    ///
    /// # Errors
    /// When there is no such live key; or when that cannot be found out at present, because too many wait, the seat was taken meanwhile, or
    /// the store cannot be asked.
    pub async fn authenticate(
        &self,
        origin: &RequestOrigin,
        seat: &Seat,
        name: TenantName<'_>,
        proof: Proof<'_>,
    ) -> Result<Access, AuthError> {
        let hash;
        let credential = match proof {
            Proof::Secret(secret) => {
                hash = SecretHash::of(secret);
                Credential::Secret(&hash)
            }
            Proof::Key(id) => Credential::Key(id),
        };
        let access = match self.directory.recognise_known(name, credential)? {
            Some(access) => access,
            None => {
                let Some(_lookup) = self.lookups.enter(origin.source) else {
                    note("lookups");
                    return Err(AuthError::Unavailable);
                };
                seat.leave();
                let access = self.directory.recognise_after_look(name, credential).await?;
                seat.come_back().map_err(|_| AuthError::Unavailable)?;
                access
            }
        };
        if let Some(connection) = &origin.connection {
            connection.prove();
        }
        Ok(access)
    }
}

/// Bounds the requests that wait for a look at the directory, in all and by source.
#[derive(Debug, Default)]
pub(crate) struct LookupLimiter(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    in_all: usize,
    by_source: HashMap<IpAddr, usize>,
}

impl LookupLimiter {
    /// A permit to wait, until it is dropped; none where too many wait.
    fn enter(self: &Arc<Self>, source: Option<Source>) -> Option<LookupPermit> {
        let network = source.map(Source::network);
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.in_all >= MAX_LOOKUPS {
            return None;
        }
        if let Some(network) = network {
            let held = waiting.by_source.entry(network).or_default();
            if *held >= MAX_LOOKUPS_PER_SOURCE {
                return None;
            }
            *held += 1;
        }
        waiting.in_all += 1;
        Some(LookupPermit { limiter: Arc::clone(self), network })
    }
}

#[derive(Debug)]
struct LookupPermit {
    limiter: Arc<LookupLimiter>,
    network: Option<IpAddr>,
}

impl Drop for LookupPermit {
    fn drop(&mut self) {
        let mut waiting = self.limiter.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.in_all = waiting.in_all.saturating_sub(1);
        let Some(network) = self.network else { return };
        if let Some(held) = waiting.by_source.get_mut(&network) {
            *held -= 1;
            if *held == 0 {
                waiting.by_source.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source(text.parse().unwrap())
    }

    #[test]
    fn a_source_has_a_part_of_the_lookups_and_all_sources_have_all_of_them() {
        let limiter = Arc::new(LookupLimiter::default());
        let of = |text: &str| (0..MAX_LOOKUPS).map_while(|_| limiter.enter(Some(source(text)))).collect::<Vec<_>>();
        let first = of("203.0.113.1");
        assert_eq!(first.len(), MAX_LOOKUPS_PER_SOURCE);
        let mut others = of("203.0.113.2");
        assert_eq!(others.len(), MAX_LOOKUPS_PER_SOURCE, "another source finds room");
        for n in 3..20 {
            others.extend(of(&format!("203.0.113.{n}")));
        }
        assert_eq!(first.len() + others.len(), MAX_LOOKUPS);
        assert!(limiter.enter(None).is_none());
        drop(first);
        assert_eq!(of("2001:db8::1").len(), MAX_LOOKUPS_PER_SOURCE);
        drop(others);
        assert!(limiter.0.lock().unwrap().by_source.is_empty(), "who does not wait is not remembered");
    }
}
