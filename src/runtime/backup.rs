//! Backups of SQLite as they lie on the disk: a directory with a copy of the database and a manifest.
//!
//! Nobody ever sees half of one: it is made under another name and renamed when it is whole and on the disk.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;

use super::clock::Ambient;
use super::fault;
use super::sealed::Survey;
use crate::config::SQLITE_FILE;
use crate::domain::backup::{Manifest, name};
use crate::domain::error::Fault;
use crate::domain::time::Timestamp;
use crate::storage::{Store, StoredPrivate};

/// What the files are called.
const DATABASE: &str = SQLITE_FILE;
const MANIFEST: &str = "manifest.json";

/// A backup that is written, but not under its name yet. Dropped without [`Draft::publish`], it is removed.
pub struct Draft {
    staging: PrivateDirectory,
    place: PathBuf,
    manifest: Manifest,
}

/// A directory that only its owner can look into, and that goes when this does.
pub struct PrivateDirectory {
    path: PathBuf,
    /// Locked for as long as it is in use: what of its sort nobody has locked was left by a process that was killed.
    _lock: File,
}

/// What a directory is called until it is locked.
const UNLOCKED: &str = "new";

// === impl Draft ===

impl Draft {
    /// Takes a backup of a store that others may be writing to. In a directory that exists it gets a name with the
    /// time.
    ///
    /// # Errors
    /// The place is taken, a backup itself, or cannot be written to; the disk is full, or the database is damaged.
    pub async fn take(store: &Store, place: &Path, ambient: &Ambient) -> Result<Self, Fault> {
        let taken_at = ambient.now();
        if place.join(MANIFEST).exists() {
            return Err(Fault::internal(format!(
                "{} is a backup already, and another one does not go into it: name another place, or a directory of \
                 backups such as {}, in which each gets a name with the time",
                place.display(),
                parent(place).display()
            )));
        }
        let place = if place.is_dir() { place.join(name(taken_at)) } else { place.to_owned() };
        if place.exists() {
            return Err(Fault::internal(format!(
                "{} exists already, and a backup replaces nothing: name another place",
                place.display()
            )));
        }
        let staging = PrivateDirectory::create(parent(&place), ".jeton-backup", ambient)?;
        let file = staging.path().join(DATABASE);
        store.copy_into(&file).await.map_err(fault)?;
        let manifest = describe(&file, taken_at).await?;
        let text = serde_json::to_string_pretty(&manifest).map_err(Fault::internal)?;
        write_private(&staging.path().join(MANIFEST), &text)?;
        sync(staging.path())?;
        Ok(Self { staging, place, manifest })
    }

    /// What it says of itself.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Gives it its name. Answers where it is.
    ///
    /// # Errors
    /// The place was taken meanwhile.
    pub fn publish(self) -> Result<(PathBuf, Manifest), Fault> {
        let Self { staging, place, manifest } = self;
        // Of a directory this replaces an empty one at most.
        fs::rename(staging.path(), &place).map_err(|error| at(&place, &error))?;
        sync(parent(&place))?;
        Ok((place, manifest))
    }
}

/// Looks at a copy: whether it is whole, and what is needed to use it.
async fn describe(file: &Path, taken_at: Timestamp) -> Result<Manifest, Fault> {
    let copy = Store::open_copy(file).await.map_err(fault)?;
    if let Some(damage) = copy.damage().await.map_err(fault)? {
        return Err(Fault::internal(format!(
            "the database is damaged, so its copy is worth nothing: {damage}"
        )));
    }
    let (schema, ..) = copy.schema().await.map_err(fault)?;
    let master_keys = Survey::of(&copy).await?.ids().iter().map(ToString::to_string).collect();
    let keys = copy.signing_keys().await.map_err(fault)?;
    let mut pkcs11_tokens: Vec<String> = keys
        .into_iter()
        .filter_map(|key| match key.private {
            StoredPrivate::InToken(token) => Some(token),
            StoredPrivate::Sealed(_) => None,
        })
        .collect();
    pkcs11_tokens.sort_unstable();
    pkcs11_tokens.dedup();
    let newest_event = copy.newest_event().await.map_err(fault)?;
    copy.close().await;
    sync(file)?;
    let (bytes, sha256) = off_thread(file.to_owned(), |file| hash(&file, &mut std::io::sink())).await?;
    Ok(Manifest {
        format: Manifest::FORMAT,
        jeton: env!("CARGO_PKG_VERSION").to_owned(),
        taken_at,
        schema,
        sha256,
        bytes,
        master_keys,
        pkcs11_tokens,
        newest_event,
    })
}

/// What a backup says of itself.
///
/// # Errors
/// It is none.
pub fn read_manifest(backup: &Path) -> Result<Manifest, Fault> {
    let path = backup.join(MANIFEST);
    let text = fs::read_to_string(&path).map_err(|error| {
        Fault::internal(format!(
            "{}: {error}; name the directory that `jeton backup` has made, with {DATABASE} and {MANIFEST} in it",
            path.display()
        ))
    })?;
    serde_json::from_str(&text)
        .map_err(|error| Fault::internal(format!("{} is no manifest of a backup: {error}", path.display())))
}

/// Copies the database of a backup, and makes sure that what was copied is what was written. Answers the copy.
///
/// # Errors
/// The file is another one, or damaged; the disk is full.
pub async fn unpack(backup: &Path, manifest: &Manifest, into: &PrivateDirectory) -> Result<PathBuf, Fault> {
    let (from, to) = (backup.join(DATABASE), into.path().join(DATABASE));
    let paths = (from.clone(), to.clone());
    let (bytes, sha256) = off_thread(paths, |(from, to)| {
        let mut options = OpenOptions::new();
        let mut copy = options.write(true).create_new(true).mode(0o600).open(&to)?;
        let found = hash(&from, &mut copy)?;
        copy.sync_all()?;
        Ok(found)
    })
    .await?;
    manifest
        .check_file(bytes, &sha256)
        .map_err(|unusable| Fault::internal(format!("{}: {unusable}", from.display())))?;
    Ok(to)
}

/// Puts a database in the place of another, which goes into a directory beside it with whatever belongs to it.
/// Answers where the other one is, if there was one.
///
/// # Errors
/// The directory cannot be written to.
pub fn exchange(fresh: &Path, place: &Path, aside: &str) -> Result<Option<PathBuf>, Fault> {
    sync(fresh)?;
    let directory = parent(place);
    let aside = directory.join(aside);
    let mut moved = None;
    for suffix in ["-wal", "-shm", ""] {
        let mut old = place.as_os_str().to_owned();
        old.push(suffix);
        let old = PathBuf::from(old);
        if !old.exists() {
            continue;
        }
        if moved.is_none() {
            DirBuilder::new().mode(0o700).create(&aside).map_err(|error| at(&aside, &error))?;
            moved = Some(aside.clone());
        }
        let name = old.file_name().map(ToOwned::to_owned).unwrap_or_default();
        let kept = aside.join(name);
        // A second name, where the file system has such: then there is a database in the place at every moment.
        let linked = suffix.is_empty() && fs::hard_link(&old, &kept).is_ok();
        if !linked {
            fs::rename(&old, &kept).map_err(|error| at(&old, &error))?;
        }
    }
    fs::rename(fresh, place).map_err(|error| at(place, &error))?;
    sync(directory)?;
    Ok(moved)
}

// === impl PrivateDirectory ===

impl PrivateDirectory {
    /// Makes one with a name of its own, and removes those that killed processes have left.
    ///
    /// # Errors
    /// It cannot be made there.
    pub fn create(beside: &Path, name: &str, ambient: &Ambient) -> Result<Self, Fault> {
        remove_left(beside, name);
        let path = beside.join(format!("{name}-{}", ambient.uuid()?.simple()));
        let unlocked = path.with_extension(UNLOCKED);
        let create = || {
            DirBuilder::new().mode(0o700).create(&unlocked)?;
            let lock = File::open(&unlocked)?;
            // Where the file system has no locks, nobody else gets one either, and nothing is removed.
            let _ = lock.try_lock();
            fs::rename(&unlocked, &path)?;
            Ok(lock)
        };
        let lock = create().map_err(|error| at(&path, &error))?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes the directories of this sort that nobody uses. Whatever cannot be removed stays, and is in nobody's way.
fn remove_left(beside: &Path, name: &str) {
    for entry in fs::read_dir(beside).into_iter().flatten().flatten() {
        let file_name = entry.file_name();
        let id = file_name.to_str().and_then(|file_name| file_name.strip_prefix(name)?.strip_prefix('-'));
        let is_ours = id.is_some_and(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        if File::open(&path).is_ok_and(|directory| directory.try_lock().is_ok()) {
            tracing::info!(path = %path.display(), "a copy that was not finished is removed");
            let _ = fs::remove_dir_all(&path);
        }
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        // Nothing is there when it was renamed, and there is nobody to tell if it cannot be removed.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The length and the SHA-256 of a file, which is copied on the way.
fn hash(file: &Path, copy: &mut dyn Write) -> std::io::Result<(u64, String)> {
    let mut file = File::open(file)?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut part = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut part)?;
        if read == 0 {
            let mut sha256 = String::new();
            for byte in context.finish().as_ref() {
                let _ = write!(sha256, "{byte:02x}");
            }
            return Ok((bytes, sha256));
        }
        context.update(&part[..read]);
        copy.write_all(&part[..read])?;
        bytes += read as u64;
    }
}

async fn off_thread<P: Send + 'static, T: Send + 'static>(
    path: P,
    work: impl FnOnce(P) -> std::io::Result<T> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(move || work(path)).await.map_err(Fault::internal)?;
    done.map_err(|error| Fault::internal(format!("the backup's file: {error}")))
}

fn write_private(path: &Path, text: &str) -> Result<(), Fault> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    };
    write().map_err(|error| at(path, &error))
}

/// Makes a file, or the names in a directory, durable.
fn sync(path: &Path) -> Result<(), Fault> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| at(path, &error))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn at(path: &Path, error: &std::io::Error) -> Fault {
    Fault::internal(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_has_left_is_removed_and_what_is_in_use_is_not() {
        let place = tempfile::tempdir().unwrap();
        let make = || PrivateDirectory::create(place.path(), ".copy", &Ambient::system()).unwrap();
        let left = place.path().join(format!(".copy-{}", "0a".repeat(16)));
        let others =
            [".copy-of-mine", ".copying-0a", "jeton-20261128T021507Z"].map(|name| place.path().join(name));
        for path in others.iter().chain([&left]) {
            fs::create_dir(path).unwrap();
            fs::write(path.join(DATABASE), b"half").unwrap();
        }
        let used = make();
        assert!(!left.exists());
        let other = make();
        assert!(used.path().exists() && others.iter().all(|path| path.exists()));
        let gone = used.path().to_owned();
        drop(used);
        assert!(!gone.exists() && other.path().exists());
    }
}
