//! Serving, and stopping in order.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::ServiceExt;
use axum::extract::Request;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;

/// Serves until `stop` completes; then requests under way are finished for up to `drain`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(app: &App, listener: TcpListener, drain: Duration, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let (stopping, stopped) = tokio::sync::watch::channel(false);
    let sessions = app.sessions().clone();
    let announce = async move {
        stop.await;
        // Who waits for a record is answered now.
        sessions.close();
        stopping.send_replace(true);
    };
    let service = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(app.service());
    let served = axum::serve(listener, service).with_graceful_shutdown(announce);
    let mut drained = stopped.clone();
    let out_of_time = async move {
        // An error means that serving has ended.
        if drained.wait_for(|stopping| *stopping).await.is_ok() {
            tokio::time::sleep(drain).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    let result = tokio::select! {
        result = served => result,
        () = app.keep() => Ok(()),
        () = out_of_time => {
            tracing::warn!("stopped while requests were still under way");
            Ok(())
        }
    };
    app.directory().write_uses().await;
    result
}

/// Hears SIGTERM and SIGINT from now on; what is returned completes when one of them comes.
///
/// # Errors
/// When they cannot be heard.
pub fn asked_to_stop() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
