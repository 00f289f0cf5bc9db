//! One readiness check for all that ask.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::ReadinessCheck;

/// How long a result is handed out.
const MAX_RESULT_AGE: Duration = Duration::from_secs(1);
/// Requests that may wait for a check that runs. Others get the last result.
const MAX_WAITING: usize = 32;

/// What keeps the gateway from serving, as of the last check.
type Reasons = Arc<[String]>;

/// Answers any number of requests from at most one check a second, of which never two run at a time.
#[derive(Clone)]
pub struct SharedReadiness(Arc<Shared>);

struct Shared {
    check: ReadinessCheck,
    state: Mutex<State>,
    waiting: Semaphore,
    /// Counts the checks that have ended.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    last: Option<(Instant, Reasons)>,
    is_running: bool,
}

impl SharedReadiness {
    /// Shares the results of this check.
    pub fn new(check: ReadinessCheck) -> Self {
        Self(Arc::new(Shared { check, state: Mutex::default(), waiting: Semaphore::new(MAX_WAITING), ended: watch::Sender::new(0) }))
    }

    /// What keeps the gateway from serving, as it was at most a second ago, or a check and a second where too many ask; empty when nothing
    /// does.
    pub(super) async fn reasons(&self) -> Reasons {
        let shared = &self.0;
        let (last, mut ended) = {
            let mut state = shared.state();
            if let Some((_, reasons)) = state.last.as_ref().filter(|(began, _)| began.elapsed() < MAX_RESULT_AGE) {
                return Arc::clone(reasons);
            }
            // Before it begins, so that its end cannot be missed.
            let ended = shared.ended.subscribe();
            if !state.is_running {
                state.is_running = true;
                // A task of its own: a client that hangs up ends no check that others wait for, and begins no second one.
                tokio::spawn(run(Arc::clone(shared)));
            }
            (state.last.as_ref().map(|(_, reasons)| Arc::clone(reasons)), ended)
        };
        let unknown = || last.unwrap_or_else(|| Arc::new(["readiness is being checked".into()]));
        let Ok(_waiting) = shared.waiting.try_acquire() else { return unknown() };
        match ended.changed().await {
            Ok(()) => shared.state().last.as_ref().map_or_else(unknown, |(_, reasons)| Arc::clone(reasons)),
            Err(_) => unknown(),
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the check once.
async fn run(shared: Arc<Shared>) {
    let running = Running(&shared);
    let began = Instant::now();
    let reasons = (shared.check)().await;
    shared.state().last = Some((began, reasons.into()));
    drop(running);
}

/// A check that runs; it has ended when this is dropped, however it ended.
struct Running<'s>(&'s Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.state().is_running = false;
        self.0.ended.send_modify(|ended| *ended += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A check that waits for a permit each time, and says how often it ran.
    fn check() -> (SharedReadiness, Arc<Semaphore>, Arc<AtomicUsize>) {
        let (permits, runs) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (may, ran) = (Arc::clone(&permits), Arc::clone(&runs));
        let readiness = SharedReadiness::new(Arc::new(move || {
            let (may, ran) = (Arc::clone(&may), Arc::clone(&ran));
            Box::pin(async move {
                may.acquire().await.unwrap().forget();
                vec![format!("run {}", ran.fetch_add(1, Ordering::AcqRel))]
            })
        }));
        (readiness, permits, runs)
    }

    #[tokio::test]
    async fn any_number_of_requests_share_a_check_and_only_some_wait_for_it() {
        let (readiness, permits, runs) = check();
        let ask = || {
            tokio::spawn({
                let readiness = readiness.clone();
                async move { readiness.reasons().await.to_vec() }
            })
        };
        let asked: Vec<_> = (0..1_000).map(|_| ask()).collect();
        while asked.iter().filter(|asked| asked.is_finished()).count() < 1_000 - MAX_WAITING {
            tokio::task::yield_now().await;
        }
        permits.add_permits(1);
        let mut answers = std::collections::HashMap::new();
        for asked in asked {
            *answers.entry(asked.await.unwrap().concat()).or_insert(0_usize) += 1;
        }
        assert_eq!(answers.remove("run 0"), Some(MAX_WAITING));
        assert_eq!(answers.remove("readiness is being checked"), Some(1_000 - MAX_WAITING));
        for _ in 0..1_000 {
            assert_eq!(readiness.reasons().await.concat(), "run 0", "for a second");
        }
        assert_eq!(runs.load(Ordering::Acquire), 1);
    }

    #[tokio::test]
    async fn an_old_result_is_checked_again_whoever_hangs_up_and_meanwhile_most_get_the_old_one() {
        let (readiness, permits, _) = check();
        permits.add_permits(1);
        assert_eq!(readiness.reasons().await.concat(), "run 0");
        let ago = Instant::now().checked_sub(MAX_RESULT_AGE).unwrap();
        if let Some((began, _)) = readiness.0.state().last.as_mut() {
            *began = ago;
        }
        let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| Box::pin(readiness.reasons())).collect();
        for asks in &mut waiting {
            assert!(asks.as_mut().now_or_never().is_none());
        }
        assert_eq!(readiness.reasons().await.concat(), "run 0", "one too many to wait");
        drop(waiting);
        permits.add_permits(1);
        assert_eq!(readiness.reasons().await.concat(), "run 1");
        assert_eq!(permits.available_permits(), 0);
    }
}
