//! What only SQLite does: opening the file, and letting one process migrate at a time.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, SqliteExecutor, SqlitePool};

use super::{Store, StoreError};
use crate::domain::audit::Recorded;
use crate::domain::error::Fault;
use crate::domain::time::Timestamp;

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

const READERS: u32 = 4;

/// How many statements a connection keeps prepared: all that there are, and one for each number of events and of
/// identifiers.
const STATEMENTS: usize = 384;

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
        .statement_cache_capacity(STATEMENTS)
        .busy_timeout(BUSY)
        .disable_statement_logging();
    // Of two that switch a new file to write-ahead logging at the same time SQLite refuses one, without waiting.
    let opening = lock_other_processes_out(path).await?;
    let writer = pool(2).connect_with(options.clone()).await?;
    drop(opening);
    let readers = pool(READERS).connect_with(options.read_only(true)).await?;
    Ok(Store::Sqlite { readers, writer, turn: Arc::default() })
}

/// Connections that stay open: closing the last writer would take the write-ahead log away from the readers.
///
/// No `min_connections`: sqlx opens those in a task of its own, so a new pool may open two at the same time.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(BUSY)
        // On a full disk SQLite rolls a transaction back by itself. sqlx does not notice, fails to roll it back again, and
        // would begin none on this connection any more. (The ping comes after that rollback.)
        .after_release(|connection, _| {
            Box::pin(async move {
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
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

/// The most rows of one statement.
pub(super) const ROWS: usize = 64;

/// A statement with so many rows. Each number of them is a text of its own, prepared once.
fn with_rows(before: &str, row: &str, rows: usize, after: &str) -> AssertSqlSafe<String> {
    let mut text = String::with_capacity(before.len() + rows * (row.len() + 1) + after.len());
    text.push_str(before);
    for number in 0..rows {
        if number > 0 {
            text.push(',');
        }
        text.push_str(row);
    }
    text.push_str(after);
    AssertSqlSafe(text)
}

/// Appends at most [`ROWS`] events. Each place is taken once.
pub(super) async fn append_events(
    executor: impl SqliteExecutor<'_>,
    events: &[Recorded],
) -> Result<(), sqlx::Error> {
    append("", executor, events).await.map(drop)
}

/// Appends at most [`ROWS`] events that may be there already. Answers how many were not.
pub(super) async fn append_events_again(
    executor: impl SqliteExecutor<'_>,
    events: &[Recorded],
) -> Result<u64, sqlx::Error> {
    append(" ON CONFLICT DO NOTHING", executor, events).await
}

async fn append(
    when_taken: &str,
    executor: impl SqliteExecutor<'_>,
    events: &[Recorded],
) -> Result<u64, sqlx::Error> {
    const COLUMNS: &str = "INSERT INTO audit_events \
        (writer, seq, at, prev, hash, kind, outcome, client_id, jti, txn, continues, person, about, event) VALUES ";
    const ROW: &str = "(?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
    if events.is_empty() {
        return Ok(0);
    }
    let mut statement = sqlx::query(with_rows(COLUMNS, ROW, events.len(), when_taken));
    for Recorded { link, event } in events {
        let columns = &event.columns;
        statement = statement
            .bind(link.writer)
            .bind(link.seq.cast_signed())
            .bind(link.at.as_micros())
            .bind(link.prev.as_bytes().as_slice())
            .bind(link.hash.as_bytes().as_slice())
            .bind(&*columns.kind)
            .bind(&*columns.outcome)
            .bind(columns.client_id.as_deref())
            .bind(columns.jti.as_deref())
            .bind(columns.txn.as_deref())
            .bind(columns.continues)
            .bind(columns.person.as_deref())
            .bind(columns.about.as_deref())
            .bind(event.text.as_str());
    }
    Ok(statement.execute(executor).await?.rows_affected())
}

/// Marks at most [`ROWS`] identifiers as used, in this order. Answers the purposes and texts of those that were not.
pub(super) async fn use_ids(
    executor: impl SqliteExecutor<'_>,
    used: &[(&str, &str, Timestamp)],
) -> Result<Vec<(String, String)>, sqlx::Error> {
    const COLUMNS: &str = "INSERT INTO used_ids (purpose, id, expires_at) VALUES ";
    const FIRST: &str = " ON CONFLICT (purpose, id) DO NOTHING RETURNING purpose, id";
    if used.is_empty() {
        return Ok(Vec::new());
    }
    let mut statement = sqlx::query_as(with_rows(COLUMNS, "(?,?,?)", used.len(), FIRST));
    for (purpose, id, expires_at) in used {
        statement = statement.bind(*purpose).bind(*id).bind(expires_at.as_micros());
    }
    statement.fetch_all(executor).await
}

/// Of the newest tokens of a time, how many there were to look at, and how many a key signed that live on.
pub(super) const LIVE_TOKENS: &str = r"
    SELECT COUNT(*) AS seen, COUNT(*) FILTER (WHERE kid = $4 AND SUBSTR(ends, 1, 19) > $5) AS live
    FROM (
        SELECT event ->> 'kid' AS kid, event ->> 'expires_at' AS ends
        FROM audit_events
        WHERE at >= $1 AND at < $2 AND kind = 'token_issued'
        ORDER BY at DESC LIMIT $3
    ) AS newest";

/// Removes a few of the events from before `cut`, oldest first. Answers how many. Few at a time: nobody else
/// writes meanwhile.
pub(super) async fn drop_events(writer: &SqlitePool, cut: Timestamp) -> Result<u64, StoreError> {
    const DROP: &str = "DELETE FROM audit_events WHERE rowid IN \
        (SELECT rowid FROM audit_events WHERE at < ? ORDER BY at LIMIT 500)";
    Ok(sqlx::query(DROP).bind(cut.as_micros()).execute(writer).await?.rows_affected())
}

/// Brings the schema up, one process at a time: sqlx has no lock for SQLite.
pub(super) async fn migrate(writer: &SqlitePool) -> Result<Result<(), MigrateError>, StoreError> {
    let migrating = lock_other_processes_out(writer.connect_options().get_filename()).await?;
    let done = MIGRATIONS.run(writer).await;
    drop(migrating);
    Ok(done)
}

/// A lock on a file beside the database, which lets one process go first. The system releases it when the process
/// ends.
async fn lock_other_processes_out(path: &Path) -> Result<File, StoreError> {
    let path = path.with_extension("migrating");
    let lock = tokio::task::spawn_blocking(move || lock_file(&path)).await.map_err(Fault::internal)?;
    lock.map_err(|error| Fault::unavailable(format!("locking the database: {error}")).into())
}

fn lock_file(path: &Path) -> std::io::Result<File> {
    create_private(path)?;
    let file = fs::File::open(path)?;
    file.lock()?;
    Ok(file)
}
