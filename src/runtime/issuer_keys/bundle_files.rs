//! SPIFFE bundles in files: one directory, which the configuration names, and in it a file for each trust domain.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use tokio::time::Instant;

use crate::domain::error::Fault;
use crate::domain::spiffe::is_bundle_name;
use crate::jose::read_bundle;
use crate::runtime::clock::Ambient;
use crate::runtime::remote_keys::{KeySet, NoKeys};
use crate::runtime::tls::Stamp;

/// How often a file is looked at, and how often while somebody looks for a key that it does not have. One that cannot be
/// read is not tried more often for that.
pub(super) const LOOK: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How many files are kept read.
const FILES: u64 = 1_000;

/// The largest file, in bytes.
const LARGEST: u64 = 1_024 * 1_024;

/// Bundles in files.
pub(super) struct BundleFiles {
    directory: Option<PathBuf>,
    files: Cache<String, Arc<BundleFile>>,
    ambient: Ambient,
}

/// One of them.
struct BundleFile {
    path: PathBuf,
    seen: Mutex<Seen>,
}

/// What was seen when it was looked at last.
#[derive(Default)]
struct Seen {
    at: Option<Instant>,
    stamp: Option<Stamp>,
    /// What it was when it could be read last.
    known: Option<Arc<KeySet>>,
    /// Why it cannot be read, if it cannot.
    problem: Option<String>,
}

// === impl BundleFiles ===

impl BundleFiles {
    pub(super) fn new(directory: Option<PathBuf>, ambient: Ambient) -> Self {
        Self { directory, files: Cache::new(FILES), ambient }
    }

    /// The keys in a file. While it cannot be read, those that it had.
    ///
    /// # Errors
    /// It cannot be read and never could, or there is no directory.
    pub(super) async fn keys(&self, name: &str) -> Result<Arc<KeySet>, NoKeys> {
        self.look(self.file(name)?, LOOK).await
    }

    /// The same, where these do not have the one that is looked for.
    ///
    /// # Errors
    /// As there.
    pub(super) async fn after(&self, name: &str, than: &Arc<KeySet>) -> Result<Option<Arc<KeySet>>, NoKeys> {
        let set = self.look(self.file(name)?, LOOK_AGAIN).await?;
        Ok((!Arc::ptr_eq(&set, than)).then_some(set))
    }

    fn file(&self, name: &str) -> Result<Arc<BundleFile>, NoKeys> {
        let Some(directory) = &self.directory else {
            let why = format!(
                "the bundle file '{name}' is in no directory: set federation.bundle_dir \
                 (JETON_FEDERATION__BUNDLE_DIR) to the one where it is"
            );
            return Err(NoKeys::None(why));
        };
        if !is_bundle_name(name) {
            return Err(NoKeys::None(
                "the name of the bundle file is not that of a file in a directory".into(),
            ));
        }
        let new = || Arc::new(BundleFile { path: directory.join(name), seen: Mutex::default() });
        Ok(self.files.get_with_by_ref(name, new))
    }

    /// Off the threads that serve: files may be on a slow file system.
    async fn look(&self, file: Arc<BundleFile>, within: Duration) -> Result<Arc<KeySet>, NoKeys> {
        let lately = file.seen.lock().unwrap_or_else(PoisonError::into_inner).lately(within, &file.path);
        if let Some(lately) = lately {
            return lately;
        }
        let ambient = self.ambient.clone();
        tokio::task::spawn_blocking(move || file.look(within, &ambient)).await.map_err(Fault::internal)?
    }
}

// === impl Seen ===

impl Seen {
    /// What there is to say, if it was looked at within this time.
    fn lately(&self, within: Duration, path: &Path) -> Option<Result<Arc<KeySet>, NoKeys>> {
        let within = if self.problem.is_some() { LOOK } else { within };
        self.at.filter(|at| at.elapsed() < within).map(|_| self.answer(path))
    }

    fn answer(&self, path: &Path) -> Result<Arc<KeySet>, NoKeys> {
        let problem = self.problem.as_deref().unwrap_or_default();
        let none = || Fault::unavailable(format!("the SPIFFE bundle {}: {problem}", path.display()));
        Ok(self.known.clone().ok_or_else(none)?)
    }
}

// === impl BundleFile ===

impl BundleFile {
    /// Reads it again if it has changed, or could not be read.
    fn look(&self, within: Duration, ambient: &Ambient) -> Result<Arc<KeySet>, NoKeys> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have looked while this one waited.
        if let Some(lately) = seen.lately(within, &self.path) {
            return lately;
        }
        // Looked at first: what is written while it is being read counts as changed later.
        let stamp = Stamp::of(&self.path);
        let changed = stamp != seen.stamp || (seen.known.is_none() && seen.problem.is_none());
        if changed || seen.problem.is_some() {
            seen.stamp = stamp;
            match read(&self.path, ambient) {
                Ok(set) => {
                    seen.known = Some(Arc::new(set));
                    seen.problem = None;
                    tracing::info!(file = %self.path.display(), "a SPIFFE bundle was read");
                }
                Err(problem) => {
                    if changed || seen.problem.as_ref() != Some(&problem) {
                        let file = self.path.display();
                        tracing::error!(%file, "a SPIFFE bundle cannot be used, what it was stays: {problem}");
                    }
                    seen.problem = Some(problem);
                }
            }
        }
        seen.at = Some(Instant::now());
        seen.answer(&self.path)
    }
}

fn read(path: &Path, ambient: &Ambient) -> Result<KeySet, String> {
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let length = file.take(LARGEST + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if u64::try_from(length).is_ok_and(|length| length > LARGEST) {
        return Err(format!("it has more than {LARGEST} bytes"));
    }
    let bundle = read_bundle(&text).ok_or("it is no SPIFFE bundle: a JWK Set (RFC 7517)")?;
    if bundle.keys.is_empty() && bundle.authorities.is_empty() {
        return Err("it has no key whose use is jwt-svid or x509-svid; write it with \
                    `spire-server bundle show -format spiffe`"
            .to_owned());
    }
    Ok(KeySet::configured(bundle, ambient.now()))
}
