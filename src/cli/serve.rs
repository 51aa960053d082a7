//! `jeton serve`

use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::config::Config;
use crate::runtime::clock::Ambient;

pub(super) async fn run(config: &Config) -> anyhow::Result<()> {
    let app = App::start(config, Ambient::system()).await?;
    asked_to_stop().await?;
    tracing::info!("stopping");
    app.stop().await?;
    Ok(())
}

/// Waits for Ctrl-C or SIGTERM.
pub(super) async fn asked_to_stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
