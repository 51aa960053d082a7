//! Something that is made of files, and made again when one of them changes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::domain::error::Fault;
use crate::domain::time::Timestamp;

/// Something made of files.
pub(super) struct FromFiles<T> {
    /// What it is, for the log.
    name: &'static str,
    files: Vec<PathBuf>,
    make: Box<dyn Fn() -> Result<Made<T>, Fault> + Send + Sync>,
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
    /// Why it could not be made of them.
    problem: Option<String>,
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
        make: impl Fn() -> Result<Made<T>, Fault> + Send + Sync + 'static,
    ) -> Result<Self, Fault> {
        // Looked at first: what is written while it is being read counts as changed later.
        let stamps = files.iter().map(|file| Stamp::of(file)).collect();
        let current = ArcSwap::from_pointee(make()?);
        let seen = Mutex::new(Seen { stamps, problem: None, at: Timestamp::from_micros(0) });
        Ok(Self { name, files, make: Box::new(make), current, seen })
    }

    /// What was made last.
    pub(super) fn current(&self) -> Arc<Made<T>> {
        self.current.load_full()
    }

    /// Makes it again if a file has changed. If that fails, what was made before stays, and it is tried again with every
    /// look, because what was in the way (too many open files, the other half of a pair) may leave no trace on the
    /// files.
    pub(super) fn look(&self, now: Timestamp) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at first: what is written while it is being read counts as changed later.
        let stamps: Vec<_> = self.files.iter().map(|file| Stamp::of(file)).collect();
        let changed = stamps != seen.stamps;
        if changed || seen.problem.is_some() {
            seen.stamps = stamps;
            match (self.make)() {
                Ok(made) => {
                    self.current.store(Arc::new(made));
                    seen.problem = None;
                    // An end that has passed already is told again: somebody has just tried to change it.
                    seen.at = Timestamp::from_micros(0);
                    tracing::info!("{} was read again and is in use", self.name);
                }
                Err(Fault { detail: problem, .. }) => {
                    if changed || seen.problem.as_ref() != Some(&problem) {
                        tracing::error!(
                            "{} has changed and cannot be used, what it was stays, and it is tried again: {problem}",
                            self.name
                        );
                    }
                    seen.problem = Some(problem);
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
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A log in memory.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Log {
        /// How often it says that something cannot be used.
        fn told(&self) -> usize {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap().matches("cannot be used").count()
        }
    }

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn number(file: &Path) -> Result<Made<u32>, Fault> {
        let text = fs::read_to_string(file).map_err(Fault::unavailable)?;
        let value = text.parse().map_err(|_| Fault::unavailable("no number"))?;
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

    #[test]
    fn what_failed_is_tried_again_and_told_once() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let _told = tracing::subscriber::set_default(subscriber);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("number");
        fs::write(&file, "1").unwrap();
        let hindered = Arc::new(AtomicBool::new(false));
        let reading = {
            let (file, hindered) = (file.clone(), Arc::clone(&hindered));
            move || {
                if hindered.load(Ordering::SeqCst) {
                    return Err(Fault::unavailable("too many open files"));
                }
                number(&file)
            }
        };
        let made = FromFiles::open("the number", vec![file.clone()], reading).unwrap();
        let look = || {
            made.look(Timestamp::from_micros(1));
            made.current().value
        };
        hindered.store(true, Ordering::SeqCst);
        assert_eq!((look(), log.told()), (1, 0), "nothing has changed");
        fs::write(&file, "20").unwrap();
        for _ in 0..3 {
            assert_eq!((look(), log.told()), (1, 1));
        }
        hindered.store(false, Ordering::SeqCst);
        assert_eq!((look(), log.told()), (20, 1), "although the file is as it was");
        fs::write(&file, "three").unwrap();
        for _ in 0..3 {
            assert_eq!((look(), log.told()), (20, 2));
        }
        // Another problem, and another try of somebody's, are told.
        hindered.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            assert_eq!((look(), log.told()), (20, 3));
        }
        fs::write(&file, "three hundred").unwrap();
        for _ in 0..3 {
            assert_eq!((look(), log.told()), (20, 4));
        }
    }
}
