//! Something that is made of files, and made again when one of them changes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::domain::time::Timestamp;

/// Something made of files.
pub(super) struct FromFiles<T> {
    /// What it is, for the log.
    name: &'static str,
    files: Vec<PathBuf>,
    make: Box<dyn Fn() -> Result<Made<T>, String> + Send + Sync>,
    current: ArcSwap<Made<T>>,
    seen: Mutex<Seen>,
}

/// What was made, and when which of its files stops counting.
pub(super) struct Made<T> {
    pub(super) value: T,
    pub(super) ends: Vec<(PathBuf, Timestamp)>,
}

/// What was seen when the files were looked at last.
struct Seen {
    stamps: Vec<Option<Stamp>>,
    at: Timestamp,
}

/// Tells a file that was written again or replaced from the one before, without reading it.
#[derive(PartialEq, Eq)]
pub(in crate::runtime) struct Stamp {
    inode: u64,
    length: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

// === impl FromFiles ===

impl<T> FromFiles<T> {
    /// Makes it.
    ///
    /// # Errors
    /// Why it cannot be made of these files.
    pub(super) fn open(
        name: &'static str,
        files: Vec<PathBuf>,
        make: impl Fn() -> Result<Made<T>, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        // Looked at first: what is written while it is being read counts as changed later.
        let stamps = files.iter().map(|file| Stamp::of(file)).collect();
        let current = ArcSwap::from_pointee(make()?);
        let seen = Mutex::new(Seen { stamps, at: Timestamp::from_micros(0) });
        Ok(Self { name, files, make: Box::new(make), current, seen })
    }

    /// What was made last.
    pub(super) fn current(&self) -> Arc<Made<T>> {
        self.current.load_full()
    }

    /// Makes it again if a file has changed. If that fails, what was made before stays.
    pub(super) fn look(&self, now: Timestamp) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps: Vec<_> = self.files.iter().map(|file| Stamp::of(file)).collect();
        if stamps != seen.stamps {
            seen.stamps = stamps;
            match (self.make)() {
                Ok(made) => {
                    self.current.store(Arc::new(made));
                    // An end that has passed already is told again: somebody has just tried to change it.
                    seen.at = Timestamp::from_micros(0);
                    tracing::info!("{} was read again and is in use", self.name);
                }
                Err(problem) => {
                    tracing::error!(
                        "{} has changed and cannot be used, what it was stays: {problem}",
                        self.name
                    );
                }
            }
        }
        for (file, end) in &self.current().ends {
            if seen.at <= *end && *end < now {
                tracing::error!(file = %file.display(), %end, "{} has ended: put a newer file there", self.name);
            }
        }
        seen.at = now;
    }
}

// === impl Stamp ===

impl Stamp {
    /// Nothing, when there is no such file.
    pub(in crate::runtime) fn of(file: &Path) -> Option<Self> {
        let metadata = fs::metadata(file).ok()?;
        Some(Self {
            inode: metadata.ino(),
            length: metadata.len(),
            written: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(file: &Path) -> Result<Made<u32>, String> {
        let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
        let value = text.parse().map_err(|_| "no number".to_owned())?;
        Ok(Made { value, ends: Vec::new() })
    }

    #[test]
    fn what_cannot_be_used_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("number");
        let open = |file: PathBuf| FromFiles::open("the number", vec![file.clone()], move || number(&file));
        assert!(open(file.clone()).is_err());
        fs::write(&file, "1").unwrap();
        let made = open(file.clone()).unwrap();
        let look = |what: u32| {
            made.look(Timestamp::from_micros(1));
            assert_eq!(made.current().value, what);
        };
        look(1);
        fs::write(&file, "twenty").unwrap();
        look(1);
        fs::remove_file(&file).unwrap();
        look(1);
        fs::write(&file, "30").unwrap();
        look(30);
        // As an atomic replacement does it, and with the same length.
        let next = directory.path().join("next");
        fs::write(&next, "31").unwrap();
        fs::rename(&next, &file).unwrap();
        look(31);
    }
}
