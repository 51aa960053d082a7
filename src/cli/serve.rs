//! `jeton serve`

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::config::Config;
use crate::runtime::clock::Ambient;

pub(super) async fn run(config: &Config) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let app = App::start(config, Ambient::system()).await?;
    let tls = Arc::clone(app.tls());
    let looking = async {
        while hang_up.recv().await.is_some() {
            tls.look();
        }
    };
    tokio::select! {
        () = stop => {}
        () = looking => {}
    }
    tracing::info!("stopping");
    app.stop().await?;
    Ok(())
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
