//! Logs, on standard error, so that standard output stays for what a command answers.

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;

use tracing_subscriber::{EnvFilter, reload};

use crate::config::LogFormat;

/// What sets the level of the log while the program runs.
#[derive(Clone)]
pub struct LogLevel(Arc<Set>);

type Set = dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync;

// === impl LogLevel ===

impl LogLevel {
    /// Another level from now on.
    ///
    /// # Errors
    /// Nothing is logged here any more.
    pub fn set(&self, level: &str) -> Result<(), impl fmt::Display + use<>> {
        (self.0)(filter(level))
    }
}

/// Starts logging. `level` was checked when the configuration was read; a wrong one falls back to `info`.
#[must_use]
pub fn start(level: &str, format: LogFormat) -> LogLevel {
    let builder =
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    // A second start (tests in one process) keeps the first.
    match format {
        LogFormat::Text => {
            let builder = builder.with_env_filter(filter(level)).with_filter_reloading();
            let handle = builder.reload_handle();
            let _ = builder.try_init();
            LogLevel(Arc::new(move |filter| handle.reload(filter)))
        }
        LogFormat::Json => {
            let builder = builder.json().with_env_filter(filter(level)).with_filter_reloading();
            let handle = builder.reload_handle();
            let _ = builder.try_init();
            LogLevel(Arc::new(move |filter| handle.reload(filter)))
        }
    }
}

fn filter(level: &str) -> EnvFilter {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    // PostgreSQL's "already exists, skipping" at every start is news to nobody.
    match "sqlx::postgres::notice=warn".parse() {
        Ok(quiet) => filter.add_directive(quiet),
        Err(_) => filter,
    }
}
