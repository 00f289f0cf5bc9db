//! `serve`.

use std::convert::Infallible;

use axum::Router;
use calldata_store::Database;
use oifde_api::TokenSecrets;
use tokio::net::TcpListener;

use super::{clock, open};
use crate::app::{App, documents};
use crate::documents::DocsAccess;
use crate::server::Options;
use crate::settings::{Settings, SettingsWarning};
use crate::token_secret::token_secrets;
use crate::{Failure, admin, output, server, supervisor, traces};

pub(super) async fn run(settings: &Settings) -> Result<(), Failure> {
    settings.validate().map_err(|error| Failure::new(error.to_string()))?;
    // What is missing is told before anything is waited for.
    let options = settings.server()?;
    let secrets = token_secrets(settings, &settings.database()?)?;
    settings.webhook_policy()?;
    let (database, _) = open(settings).await?;
    if let Some(endpoint) = settings.otlp_endpoint()? {
        // The library that sends waits for its answers on threads of its own.
        tokio::task::block_in_place(|| traces::begin(endpoint, settings.otlp_share.unwrap_or(1.0)))?;
    }
    let (app, listener) = prepare(settings, database, secrets).await?;
    let admin = admin(settings, &app)?;
    warn(settings);
    let stop = announce(&listener, &options)?;
    let served = tokio::select! {
        served = serve(&app, listener, options, stop) => served,
        never = admin => match never {},
    };
    if served.is_ok() {
        app.leave_in_order().await;
    }
    served
}

/// Logs what makes the gateway less safe than it could be.
pub(super) fn warn(settings: &Settings) {
    for SettingsWarning { risk, advice } in settings.warnings() {
        tracing::warn!(advice, "{risk}");
    }
}

/// Serves metrics, and the API description, where that is asked for.
fn admin<'a>(settings: &Settings, app: &'a App) -> Result<impl Future<Output = Infallible> + use<'a>, Failure> {
    let admin = match settings.admin_listen {
        None => None,
        Some(address) => {
            let listener = server::listen(address);
            let listener = listener.map_err(|error| Failure::because(format!("cannot listen on {address}; see --admin-listen"), &error))?;
            let counted = admin::count().map_err(|error| Failure::because("metrics cannot be counted", &error))?;
            let address = listener.local_addr().map_err(|error| Failure::because("the address is not known", &error))?;
            tracing::info!(%address, "metrics are served");
            let documents = if settings.docs() == DocsAccess::Admin { documents() } else { Router::new() };
            Some((admin::routes(counted.clone(), app.readiness()).merge(documents), counted, listener))
        }
    };
    Ok(async move {
        match admin {
            Some((routes, counted, listener)) => tokio::select! {
                never = server::serve_beside(routes, listener) => never,
                never = admin::keep(counted, || app.note_connections()) => never,
            },
            None => std::future::pending().await,
        }
    })
}

/// Everything that can fail before the first request.
pub(super) async fn prepare(settings: &Settings, database: Database, secrets: TokenSecrets) -> Result<(App, TcpListener), Failure> {
    let app = App::new(database, clock(), settings.limits(), secrets, settings.webhook_policy()?).await;
    let app =
        app.map_err(|error| Failure::because("tenants and keys cannot be read; is the schema up to date? See migrate status", &error))?;
    let address = settings.listen();
    let listener = server::listen(address);
    Ok((app, listener.map_err(|error| Failure::because(format!("cannot listen on {address}; see --listen"), &error))?))
}

/// Says where the service answers, which it does from now on; what is returned completes when it is asked to stop. Whoever reads the
/// line may ask for that at once.
pub(super) fn announce(listener: &TcpListener, options: &Options) -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let stop = server::asked_to_stop().map_err(|error| Failure::because("SIGTERM cannot be heard", &error))?;
    tokio::spawn(server::heed_hangup(options.tls.clone()).map_err(|error| Failure::because("SIGHUP cannot be heard", &error))?);
    output::line(&format!("listening on {}", base(listener, options)?))?;
    supervisor::ready();
    Ok(async move {
        tokio::select! {
            () = stop => supervisor::stopping(),
            never = supervisor::keep_alive() => match never {},
        }
    })
}

/// What every URL of the service begins with.
pub(super) fn base(listener: &TcpListener, options: &Options) -> Result<String, Failure> {
    let address = listener.local_addr().map_err(|error| Failure::because("the address is not known", &error))?;
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{address}"))
}

pub(super) async fn serve(
    app: &App,
    listener: TcpListener,
    options: Options,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Failure> {
    let served = tokio::select! {
        served = server::serve(app, listener, options, stop) => served,
        () = app.disk_failed() => {
            return Err(Failure::new(
                "the disk failed to make data durable; what it holds is not known, so the process ends. Check the disk, then start again: \
                 what was acknowledged is recovered from the log",
            ));
        }
    };
    served.map_err(|error| Failure::because("serving failed", &error))
}
