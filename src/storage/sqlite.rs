//! What only SQLite does: opening the file, and letting one process migrate at a time.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{Store, StoreError, migration_fault};
use crate::domain::error::Fault;

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

const READERS: u32 = 4;

/// How long a writer waits for another process (the command line, while a server runs).
const BUSY: Duration = Duration::from_secs(5);

pub(super) async fn connect(path: &Path) -> Result<Store, StoreError> {
    create_private(path)
        .map_err(|error| Fault::unavailable(format!("the database file {}: {error}", path.display())))?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY);
    let writer = pool(1).connect_with(options.clone()).await?;
    let readers = pool(READERS).connect_with(options.read_only(true)).await?;
    Ok(Store::Sqlite { readers, writer })
}

/// Connections that stay open: closing the last writer would take the write-ahead log away from the readers.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(BUSY)
}

/// Makes the file readable by its owner only, before SQLite could make it otherwise. The write-ahead
/// log and its index take the same mode from it.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

pub(super) async fn migrate(writer: &SqlitePool) -> Result<(), StoreError> {
    let path = writer.connect_options().get_filename().with_extension("migrating");
    // sqlx has no lock for SQLite, so two processes could apply the same migration: a lock on a file
    // beside the database, which the system releases when the process ends, lets one go first.
    let lock = tokio::task::spawn_blocking(move || lock_file(&path))
        .await
        .map_err(Fault::internal)?
        .map_err(|error| Fault::unavailable(format!("locking the database for migration: {error}")))?;
    let done = MIGRATIONS.run(writer).await.map_err(|error| migration_fault(&error));
    drop(lock);
    done
}

fn lock_file(path: &Path) -> std::io::Result<File> {
    create_private(path)?;
    let file = fs::File::open(path)?;
    file.lock()?;
    Ok(file)
}
