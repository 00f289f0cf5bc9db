//! What systemd is told: when the service answers, that it still lives, when it ends. Without systemd nobody is told.

use std::convert::Infallible;

use sd_notify::NotifyState;

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(error = &error as &dyn std::error::Error, "the supervisor could not be told");
    }
}

/// Requests are answered from now on.
pub(crate) fn ready() {
    tell(NotifyState::Ready);
}

/// No further requests are taken.
pub(crate) fn stopping() {
    tell(NotifyState::Stopping);
}

/// Says again and again that tasks get their turn, as often as the supervisor wants to hear it.
pub(crate) async fn keep_alive() -> Infallible {
    let Some(patience) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    loop {
        tell(NotifyState::Watchdog);
        tokio::time::sleep(patience / 3).await;
    }
}
