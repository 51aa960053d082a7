//! File descriptors: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Config, Database};

/// How many connections there are at most, if nobody says. With TLS each may take about 40 KiB.
const USUAL: usize = 16_384;

/// What the process needs beside connections: files, listeners, calls to other issuers, and a margin for those that
/// are just being closed.
const RESERVED: usize = 256;

/// Fewer make no server.
const LEAST: usize = 16;

/// Takes as many descriptors as the process may have, and answers how many connections there may be.
pub(super) fn most_connections(config: &Config) -> usize {
    let database = match &config.database {
        Database::Sqlite => 32,
        Database::Postgres { max_connections, .. } => usize::try_from(*max_connections).unwrap_or(usize::MAX),
    };
    let fit = raised().map_or(usize::MAX, |limit| limit.saturating_sub(RESERVED + database)).max(LEAST);
    match config.serving.max_connections {
        None => fit.min(USUAL),
        Some(wanted) => {
            if wanted.get() > fit {
                tracing::warn!(
                    "server.max_connections is {wanted}, but this process may have descriptors for {fit} connections: \
                     raise its limit (LimitNOFILE, ulimit -n)"
                );
            }
            fit
        }
    }
}

/// Raises the limit on descriptors as far as that needs nobody's leave. Answers what it is now; `None` is no limit.
fn raised() -> Option<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let number = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    if current == maximum {
        return current.map(number);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.map(number),
        Err(error) => {
            tracing::warn!(%error, "the limit on descriptors cannot be raised");
            current.map(number)
        }
    }
}
