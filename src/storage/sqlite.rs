//! What only SQLite does: opening the file, and letting one process migrate at a time.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::types::Json;
use sqlx::{QueryBuilder, Sqlite, SqlitePool, Transaction};

use super::{Store, StoreError, migration_fault};
use crate::domain::audit::AuditEvent;
use crate::domain::error::Fault;
use crate::domain::ids::ClientId;

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

/// The most events of one statement: SQLite takes 32,766 values, and an event has nine.
const EVENTS: usize = 3_000;

pub(super) async fn append_events(
    tx: &mut Transaction<'static, Sqlite>,
    events: &[&AuditEvent],
) -> Result<(), sqlx::Error> {
    for events in events.chunks(EVENTS) {
        let mut statement = QueryBuilder::<Sqlite>::new(
            "INSERT INTO audit_events (id, at, kind, outcome, client_id, jti, txn, origin, detail) ",
        );
        statement.push_values(events, |mut row, event| {
            row.push_bind(event.id)
                .push_bind(event.at.as_micros())
                .push_bind(event.event.kind())
                .push_bind(event.event.outcome())
                .push_bind(event.event.client_id().map(ClientId::as_str))
                .push_bind(event.event.jti())
                .push_bind(event.event.txn())
                .push_bind(Json(&event.origin))
                .push_bind(Json(&event.event));
        });
        // Each number of rows is a text of its own: kept prepared, they would push the others out.
        statement.build().persistent(false).execute(&mut **tx).await?;
    }
    Ok(())
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
