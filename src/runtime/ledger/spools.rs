//! The directory of the spools, which one server has at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

use super::spool::{EXTENSION, UNFINISHED};
use crate::config::{Outage, OutageMode};
use crate::domain::error::Fault;

/// What the file is called whose lock says that a server has the directory. The lock ends with the process, however
/// that ends; the file stays, and means nothing without.
const LOCK: &str = "lock";

/// The directory, for as long as this is kept.
pub struct Spools {
    pub(super) settings: Outage,
    /// Held, and never read. There is none where the directory is left alone.
    lock: Option<File>,
}

// === impl Spools ===

impl Spools {
    /// Takes the directory, and removes what could never be finished in it. Where the mode is `refuse` and nothing was
    /// left there, or another server has it, it is left alone.
    ///
    /// # Errors
    /// Another server has it, or it cannot be made or written.
    pub fn claim(settings: &Outage) -> Result<Self, Fault> {
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
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if settings.mode == OutageMode::Refuse => {
                return Ok(Self { settings, lock: None });
            }
            Err(TryLockError::WouldBlock) => return Err(taken(directory, &mut file)),
            Err(TryLockError::Error(error)) => return Err(fault(error)),
        }
        if let Err(error) = file.set_len(0).and_then(|()| write!(file, "{}", process::id())) {
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

fn taken(directory: &Path, lock: &mut File) -> Fault {
    let mut holder = String::new();
    // Only to tell: it may be of another machine, and somebody may be writing it just now.
    let known = lock.take(20).read_to_string(&mut holder).is_ok() && !holder.is_empty();
    let holder = if known { format!(" (process {holder})") } else { String::new() };
    Fault::internal(format!(
        "another server{holder} keeps its events in {} while the database is away: stop it first, or give each server \
         an outage.directory of its own. A lock that is left over needs no removing: it ends with its process; on a \
         network file system, when that takes the machine for dead",
        directory.display()
    ))
}

/// Why a directory cannot have a spool.
pub(super) fn unusable(settings: &Outage, error: &io::Error) -> Fault {
    Fault::internal(format!(
        "the directory for events while the database is away, {}: {error}; set outage.directory to one that can be \
         written and locked and has {} MiB free (outage.max_size), or outage.mode to refuse",
        settings.directory.display(),
        settings.max_size / (1_024 * 1_024),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn settings(directory: &Path, mode: OutageMode) -> Outage {
        Outage { mode, grace: Duration::from_secs(1), directory: directory.join("spool"), max_size: 1 << 20 }
    }

    #[test]
    fn one_server_has_the_directory_until_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path(), OutageMode::Spool);
        let first = Spools::claim(&settings).unwrap();
        let refused = Spools::claim(&settings).err().unwrap().to_string();
        let holder = format!("another server (process {})", process::id());
        assert!(refused.contains(&holder) && refused.contains("an outage.directory of its own"), "{refused}");
        drop(first);
        assert!(settings.directory.join(LOCK).exists(), "the file stays");
        Spools::claim(&settings).expect("without a lock on it, it means nothing");
    }

    #[test]
    fn what_could_not_be_finished_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path(), OutageMode::Spool);
        fs::create_dir(&settings.directory).unwrap();
        for name in ["b.spool", "a.spool", "a.unfinished", "a.unread", "notes"] {
            fs::write(settings.directory.join(name), "x").unwrap();
        }
        let spools = Spools::claim(&settings).unwrap();
        let left = spools.left().unwrap();
        assert_eq!(left, ["a.spool", "b.spool"].map(|name| settings.directory.join(name)));
        let mut names: Vec<_> =
            fs::read_dir(&settings.directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a.spool", "a.unread", "b.spool", LOCK, "notes"]);
    }

    #[test]
    fn where_nobody_gets_a_token_only_what_is_left_is_looked_after() {
        let directory = tempfile::tempdir().unwrap();
        let refuse = settings(directory.path(), OutageMode::Refuse);
        assert!(Spools::claim(&refuse).unwrap().lock.is_none());
        assert!(!refuse.directory.exists(), "nothing is made");
        let other = Spools::claim(&settings(directory.path(), OutageMode::Spool)).unwrap();
        fs::write(refuse.directory.join("a.spool"), "x").unwrap();
        let beside = Spools::claim(&refuse).unwrap();
        assert_eq!(beside.left().unwrap(), Vec::<PathBuf>::new(), "another server's");
        drop(other);
        assert_eq!(Spools::claim(&refuse).unwrap().left().unwrap().len(), 1);
    }
}
