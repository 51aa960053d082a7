//! The directory of the spools, which one server has at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::spool::{EXTENSION, UNFINISHED};
use crate::config::{Outage, OutageMode};
use crate::domain::error::{Fault, FaultKind};
use crate::domain::schedule::Span;

/// What the file is called whose lock says that a server has the directory. The lock ends with the process, however
/// that ends; the file stays, and means nothing without.
const LOCK: &str = "lock";

/// How often it is asked whether the other server has ended.
const ASK: Duration = Duration::from_millis(100);

/// The directory, for as long as this is kept.
pub struct Spools {
    pub(super) settings: Outage,
    /// Held, and never read. There is none where the directory is left alone.
    lock: Option<File>,
}

// === impl Spools ===

impl Spools {
    /// Takes the directory, and removes what could never be finished in it. A server that has it may be about to stop:
    /// its end is waited for, for as long as `patience` says. Where the mode is `refuse` and nothing was left there, or
    /// another server goes on having it, it is left alone.
    ///
    /// # Errors
    /// Another server goes on having it, or it cannot be made or written.
    pub async fn claim(settings: &Outage, patience: Duration) -> Result<Self, Fault> {
        let directory = &settings.directory;
        let fault = |error: io::Error| unusable(settings, &error);
        let wanted =
            settings.mode == OutageMode::Spool || !files(directory, EXTENSION).map_err(fault)?.is_empty();
        let settings = settings.clone();
        if !wanted {
            return Ok(Self { settings, lock: None });
        }
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fault)?;
        let path = directory.join(LOCK);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let mut file = file.map_err(fault)?;
        if !lock(&mut file, directory, patience).await.map_err(fault)? {
            return match settings.mode {
                OutageMode::Refuse => Ok(Self { settings, lock: None }),
                OutageMode::Spool => Err(taken(directory, &mut file)),
            };
        }
        // Whoever has waited has read it.
        let emptied = file.rewind().and_then(|()| file.set_len(0));
        if let Err(error) = emptied.and_then(|()| write!(file, "{}", process::id())) {
            // Only to tell others. The disk may be full of what is about to be recorded.
            tracing::debug!(%error, "the lock does not say whose it is");
        }
        // Whoever was making these has died: it held the lock.
        for path in files(directory, UNFINISHED).map_err(fault)? {
            fs::remove_file(path).map_err(fault)?;
        }
        Ok(Self { settings, lock: Some(file) })
    }

    /// The spools in it, oldest first; none where it is left alone.
    pub(super) fn left(&self) -> io::Result<Vec<PathBuf>> {
        self.lock.as_ref().map_or_else(|| Ok(Vec::new()), |_| files(&self.settings.directory, EXTENSION))
    }
}

/// Takes the lock, which another server may have until it ends. Answers whether it did in time.
async fn lock(file: &mut File, directory: &Path, patience: Duration) -> io::Result<bool> {
    let (until, mut told) = (Instant::now() + patience, false);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => return Ok(false),
            Err(TryLockError::WouldBlock) if !told => {
                tracing::warn!(
                    "waiting until another server{} ends, which has {} (outage.directory): {} at most",
                    holder(file),
                    directory.display(),
                    Span(patience)
                );
                told = true;
            }
            Err(TryLockError::WouldBlock) => {}
        }
        sleep(ASK).await;
    }
}

/// What there is with this extension. Names begin with the time.
fn files(directory: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|its| its == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Which process has the lock, where the file says so. Only to tell: it may be of another machine, and somebody may be
/// writing it just now.
fn holder(lock: &mut File) -> String {
    let mut holder = String::new();
    let known = lock.rewind().and_then(|()| lock.take(20).read_to_string(&mut holder)).is_ok();
    if known && !holder.is_empty() { format!(" (process {holder})") } else { String::new() }
}

fn taken(directory: &Path, lock: &mut File) -> Fault {
    let holder = holder(lock);
    Fault::unavailable(format!(
        "another server{holder} keeps its events in {} while the database is away: stop it first, or give each server \
         an outage.directory of its own. A lock that is left over needs no removing: it ends with its process; on a \
         network file system, when that takes the machine for dead",
        directory.display()
    ))
}

/// Why a directory cannot have a spool.
pub(super) fn unusable(settings: &Outage, error: &io::Error) -> Fault {
    Fault {
        kind: FaultKind::of_path(error.kind()),
        detail: format!(
            "the directory for events while the database is away, {}: {error}; set outage.directory to one that can \
             be written and locked and has {} MiB free (outage.max_size), or outage.mode to refuse",
            settings.directory.display(),
            settings.max_size / (1_024 * 1_024),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    fn settings(directory: &Path, mode: OutageMode) -> Outage {
        Outage { mode, grace: Duration::from_secs(1), directory: directory.join("spool"), max_size: 1 << 20 }
    }

    #[tokio::test]
    async fn one_server_has_the_directory_until_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path(), OutageMode::Spool);
        let first = Spools::claim(&settings, AT_ONCE).await.unwrap();
        let refused = Spools::claim(&settings, AT_ONCE).await.err().unwrap().to_string();
        let holder = format!("another server (process {})", process::id());
        assert!(refused.contains(&holder) && refused.contains("an outage.directory of its own"), "{refused}");
        drop(first);
        assert!(settings.directory.join(LOCK).exists(), "the file stays");
        Spools::claim(&settings, AT_ONCE).await.expect("without a lock on it, it means nothing");
    }

    #[tokio::test]
    async fn who_is_about_to_end_is_waited_for_and_who_goes_on_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path(), OutageMode::Spool);
        let first = Spools::claim(&settings, AT_ONCE).await.unwrap();
        let began = Instant::now();
        let refused = Spools::claim(&settings, Duration::from_millis(250)).await.err().unwrap();
        assert!(began.elapsed() >= Duration::from_millis(250));
        assert_eq!(refused.kind, FaultKind::Unavailable, "it may end later");
        let second = async {
            sleep(Duration::from_millis(150)).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(Spools::claim(&settings, Duration::from_mins(1)), second);
        second.unwrap();
        let holder = fs::read_to_string(settings.directory.join(LOCK)).unwrap();
        assert_eq!(holder, process::id().to_string());
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_used_is_a_wrong_set_up() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("spool"), "no directory").unwrap();
        let settings = settings(&directory.path().join("spool"), OutageMode::Spool);
        let fault = Spools::claim(&settings, AT_ONCE).await.err().unwrap();
        assert!(fault.kind == FaultKind::Setup && fault.detail.contains("set outage.directory"), "{fault}");
    }

    #[tokio::test]
    async fn what_could_not_be_finished_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path(), OutageMode::Spool);
        fs::create_dir(&settings.directory).unwrap();
        for name in ["b.spool", "a.spool", "a.unfinished", "a.unread", "notes"] {
            fs::write(settings.directory.join(name), "x").unwrap();
        }
        let spools = Spools::claim(&settings, AT_ONCE).await.unwrap();
        let left = spools.left().unwrap();
        assert_eq!(left, ["a.spool", "b.spool"].map(|name| settings.directory.join(name)));
        let mut names: Vec<_> =
            fs::read_dir(&settings.directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a.spool", "a.unread", "b.spool", LOCK, "notes"]);
    }

    #[tokio::test]
    async fn where_nobody_gets_a_token_only_what_is_left_is_looked_after() {
        let directory = tempfile::tempdir().unwrap();
        let refuse = settings(directory.path(), OutageMode::Refuse);
        assert!(Spools::claim(&refuse, AT_ONCE).await.unwrap().lock.is_none());
        assert!(!refuse.directory.exists(), "nothing is made");
        let other = Spools::claim(&settings(directory.path(), OutageMode::Spool), AT_ONCE).await.unwrap();
        fs::write(refuse.directory.join("a.spool"), "x").unwrap();
        let beside = Spools::claim(&refuse, AT_ONCE).await.unwrap();
        assert_eq!(beside.left().unwrap(), Vec::<PathBuf>::new(), "another server's");
        drop(other);
        assert_eq!(Spools::claim(&refuse, AT_ONCE).await.unwrap().left().unwrap().len(), 1);
    }
}
