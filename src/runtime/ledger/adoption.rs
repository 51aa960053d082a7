//! What killed processes have left in spools is recorded by the next start, before it serves anything.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use tokio::time::timeout;

use super::BATCH;
use super::committer::{Committer, own};
use super::entry::{Entry, What};
use super::spool::Spool;
use super::spools::Spools;
use crate::domain::audit::{Event, ProcessKind};
use crate::domain::error::{Fault, FaultKind};
use crate::domain::text::quoted;
use crate::runtime::audit_key::AuditKey;
use crate::runtime::clock::Ambient;
use crate::storage::Store;

/// How long the database may take for a part of a spool: longer than a transaction that nobody goes on with keeps its
/// rows.
const ADOPTING: Duration = Duration::from_secs(20);

/// What a file is called of which something could not be read: somebody may want to look at it.
const UNREAD: &str = "unread";

/// Records what is left in the spools of a directory whose processes do not live any more, in a chain of its own.
///
/// # Errors
/// The database is away, or a file cannot be opened: what it holds would be lost in silence.
pub async fn adopt(spools: &Spools, store: &Store, ambient: &Ambient, key: &AuditKey) -> Result<(), Fault> {
    let (store, ambient, process) = (store.clone(), ambient.clone(), ProcessKind::Server);
    let mut committer = Committer::new(store, ambient, key.clone(), process, true);
    for path in spools.left().map_err(|error| problem(&spools.settings.directory, &error))? {
        match Spool::adopt(&path, key.spool()) {
            Ok(Some(spool)) => record(&mut committer, spool).await?,
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                tracing::error!(%error, spool = %path.display(), "a spool is not recorded, and set aside");
                announce(&mut committer, &path, (0, 0), Some(error.to_string())).await?;
                set_aside(&path);
            }
            Err(error) => return Err(problem(&path, &error)),
        }
    }
    committer.sign_or_warn().await;
    committer.close().await;
    Ok(())
}

fn problem(path: &Path, error: &io::Error) -> Fault {
    Fault {
        kind: FaultKind::of_path(error.kind()),
        detail: format!(
            "{} may hold audit events of an outage: {error}; let this server read and write it, or move it away to \
             start without them",
            path.display()
        ),
    }
}

async fn record(committer: &mut Committer, mut spool: Spool) -> Result<(), Fault> {
    let (mut events, path) = (0, spool.path().to_owned());
    loop {
        let (frames, place) = spool.salvage(BATCH).await?;
        if frames.is_empty() {
            break;
        }
        let taken = timeout(ADOPTING, committer.replay(&frames)).await;
        taken.unwrap_or_else(|_| {
            Err(Fault::unavailable(format!(
                "the database does not take in time what an outage has left in {}",
                path.display()
            )))
        })?;
        events += frames.iter().map(|(_, frame)| frame.events.len() as u64).sum::<u64>();
        spool.replayed(place);
    }
    let unread = spool.unread().map_err(|error| problem(&path, &error))?;
    if events > 0 || unread > 0 {
        tracing::warn!(events, unread, spool = %path.display(), "what an outage has left is recorded");
        announce(committer, &path, (events, unread), None).await?;
    }
    if unread > 0 {
        set_aside(&path);
    } else if let Err(error) = spool.remove() {
        tracing::warn!(%error, spool = %path.display(), "a recorded spool could not be removed");
    }
    Ok(())
}

async fn announce(
    committer: &mut Committer,
    path: &Path,
    (events, unread_bytes): (u64, u64),
    problem: Option<String>,
) -> Result<(), Fault> {
    let file = quoted(&path.file_name().map(OsStr::to_string_lossy).unwrap_or_default());
    let event = Event::SpoolAdopted { file, events, unread_bytes, problem };
    let event = own(committer.ambient.now(), event)?;
    committer.commit(&[Entry { what: What::Event(event, Vec::new()), done: None }]).await.map(drop)
}

fn set_aside(path: &Path) {
    if let Err(error) = fs::rename(path, path.with_extension(UNREAD)) {
        tracing::warn!(%error, spool = %path.display(), "a spool could not be set aside");
    }
}
