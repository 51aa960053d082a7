//! `jeton serve`

use std::path::Path;
use std::pin::pin;

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, interval_at, sleep};

use super::service_manager::ServiceManager;
use crate::app::App;
use crate::config::Config;
use crate::domain::schedule::Span;
use crate::http::Connections;
use crate::runtime::clock::Ambient;
use crate::telemetry::{LogLevel, Telemetry};

pub(super) async fn run(config: &Config, file: Option<&Path>, telemetry: Telemetry) -> anyhow::Result<()> {
    note_unread(config, |name| std::env::var_os(name).is_some());
    let mut stop = pin!(stop_signal()?);
    let mut hang_up = signal(SignalKind::hangup())?;
    let ambient = Ambient::system();
    let manager = ServiceManager::of(|name| std::env::var(name).ok(), std::process::id());
    // It may wait for a database, or for the server before it. What is given up half-way is as after a kill.
    let (app, telemetry) = tokio::select! {
        started = start(config, &ambient, telemetry) => started?,
        () = &mut stop => {
            tracing::info!("stopped before it served");
            return Ok(());
        }
    };
    let status = format!("serving {} at {}", app.issuer(), app.address());
    manager.ready(&status);
    let reloading = async {
        let mut config = config.clone();
        while hang_up.recv().await.is_some() {
            manager.reloading(&ambient);
            app.tls().look();
            reload(&mut config, file, telemetry.level());
            manager.ready(&status);
        }
    };
    tokio::select! {
        () = &mut stop => {}
        () = reloading => {}
        () = beating(&manager, app.connections()) => {}
    }
    // From here on another signal ends everything.
    let at_once = stop_signal()?;
    let delay = config.serving.drain_delay;
    tracing::info!(drain_delay = %Span(delay), "stopping");
    manager.stopping("finishing what is under way");
    let in_order = async {
        if !delay.is_zero() {
            app.connections().drain();
            sleep(delay).await;
        }
        // What is sent to a collector at the end has what is left of the time.
        let deadline = Instant::now() + config.serving.shutdown_deadline;
        let stopped = app.stop().await;
        telemetry.flush(deadline.saturating_duration_since(Instant::now())).await;
        stopped
    };
    tokio::select! {
        stopped = in_order => Ok(stopped?),
        () = at_once => bail!("a second signal: ended at once, with what was under way"),
    }
}

/// Starts a server. Where that fails, a collector gets what was said on the way: it is what is looked for then.
pub(super) async fn start(
    config: &Config,
    ambient: &Ambient,
    telemetry: Telemetry,
) -> anyhow::Result<(App, Telemetry)> {
    match App::start(config, ambient.clone(), telemetry.tracing().clone()).await {
        Ok(app) => Ok((app, telemetry)),
        Err(fault) => {
            telemetry.flush(config.serving.shutdown_deadline).await;
            Err(fault.into())
        }
    }
}

/// Says that the server runs, for as long as it does.
async fn beating(manager: &ServiceManager, connections: &Connections) {
    let Some(every) = manager.beat() else { return std::future::pending().await };
    let mut beats = interval_at(Instant::now(), every);
    loop {
        beats.tick().await;
        tell(manager, connections.check_running());
    }
}

/// Says that the server runs, if it does: who hears nothing starts it anew.
fn tell(manager: &ServiceManager, running: Result<(), &str>) {
    match running {
        Ok(()) => manager.runs(),
        Err(problem) => tracing::error!("the service manager is not told that the server runs: {problem}"),
    }
}

/// Reads the configuration again: the level of the log changes, and the log says what needs a restart.
fn reload(config: &mut Config, file: Option<&Path>, level: &LogLevel) {
    let new = match Config::load(file, super::environment()) {
        Ok(new) => new,
        Err(error) => {
            tracing::error!("the configuration stays as it is: {error}");
            return;
        }
    };
    let mut differing = config.differing(&new);
    differing.retain(|name| name != "log.level");
    if !differing.is_empty() {
        tracing::warn!(settings = differing.join(", "), "these settings have changed: they need a restart");
    }
    if new.log_level == config.log_level {
        tracing::info!("the configuration was read again");
        return;
    }
    match level.set(&new.log_level) {
        Ok(()) => {
            tracing::info!(level = new.log_level, "the level of the log has changed");
            // What the server works with is the rest of the old one.
            config.log_level_is_now(&new);
        }
        Err(error) => tracing::error!("the level of the log stays as it is: {error}"),
    }
}

/// Says that a collector which is set for SDKs of OpenTelemetry gets nothing, where nothing says what does.
fn note_unread(config: &Config, is_set: impl Fn(&str) -> bool) {
    const OF_SDKS: [&str; 3] = [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    ];
    if config.otlp.is_none()
        && let Some(name) = OF_SDKS.into_iter().find(|name| is_set(name))
    {
        tracing::info!(
            "{name} is not read: set otlp.endpoint (JETON_OTLP__ENDPOINT) to send traces and logs"
        );
    }
}

/// Ends at Ctrl-C or SIGTERM. Call it before the server is ready: a signal that comes earlier would kill it.
pub(super) fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use super::*;

    #[test]
    fn the_watchdog_hears_nothing_while_a_thread_hangs() {
        let name = format!("jeton-watchdog-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let place = format!("@{name}");
        let manager = ServiceManager::of(|wanted| (wanted == "NOTIFY_SOCKET").then(|| place.clone()), 1);
        let heard = || socket.recv(&mut [0; 64]).is_ok();
        tell(&manager, Ok(()));
        assert!(heard());
        tell(&manager, Err("a thread that serves is stuck"));
        assert!(!heard(), "it is to be started anew");
    }
}
