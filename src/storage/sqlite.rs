//! What only SQLite does: opening the file, and letting one process migrate at a time.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, SqliteExecutor, SqlitePool};

use super::rows::IdRow;
use super::{Store, StoreError};
use crate::domain::audit::Recorded;
use crate::domain::error::{Fault, FaultKind};
use crate::domain::time::Timestamp;

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

const READERS: u32 = 4;

/// How many statements a connection keeps prepared: all that there are, and one for each number of events and of
/// identifiers.
const STATEMENTS: usize = 384;

/// How long a writer waits for another process (the command line, while a server runs).
const BUSY: Duration = Duration::from_secs(5);

pub(super) async fn connect(path: &Path) -> Result<Store, StoreError> {
    create_private(path).map_err(|error| Fault {
        kind: FaultKind::of_path(error.kind()),
        detail: format!("the database file {}: {error}", path.display()),
    })?;
    // Of two that switch a new file to write-ahead logging at the same time SQLite refuses one, without waiting.
    let opening = lock_other_processes_out(path).await?;
    let store = open(path).await?;
    drop(opening);
    Ok(store)
}

/// [`connect`] for whoever has locked the others out.
async fn open(path: &Path) -> Result<Store, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .statement_cache_capacity(STATEMENTS)
        .busy_timeout(BUSY)
        // What a statement would undo within a transaction goes into a temporary file otherwise: each page that a batch
        // of identifiers touches, once more.
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging();
    let writer = pool(2).connect_with(options.clone()).await?;
    let readers = pool(READERS).connect_with(options.read_only(true)).await?;
    Ok(Store::Sqlite { readers, writer, turn: Arc::default() })
}

/// Opens a file that nobody writes to, for reading. Nothing is made beside it.
pub(super) async fn open_copy(path: &Path) -> Result<Store, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .immutable(true)
        .disable_statement_logging();
    let readers = pool(1).connect_with(options).await?;
    Ok(Store::Sqlite { writer: readers.clone(), readers, turn: Arc::default() })
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

/// Marks at most [`ROWS`] identifiers as used, in this order. Answers the purposes and texts of those that were not, and
/// were not possible before the database was restored.
pub(super) async fn use_ids(
    executor: impl SqliteExecutor<'_>,
    used: &[IdRow<'_>],
) -> Result<Vec<(String, String)>, sqlx::Error> {
    const COLUMNS: &str = "INSERT INTO used_ids (purpose, id, expires_at) \
        SELECT column1, column2, column3 FROM (VALUES ";
    const FIRST: &str = ") WHERE column4 IS NULL \
        OR column4 > COALESCE((SELECT value FROM counters WHERE name = 'restored'), ?) \
        ON CONFLICT (purpose, id) DO NOTHING RETURNING purpose, id";
    if used.is_empty() {
        return Ok(Vec::new());
    }
    let mut statement = sqlx::query_as(with_rows(COLUMNS, "(?,?,?,?)", used.len(), FIRST));
    for IdRow { purpose, id, expires_at, possible_since } in used {
        statement = statement.bind(*purpose).bind(*id);
        statement = statement.bind(expires_at.as_micros()).bind(possible_since.map(Timestamp::as_micros));
    }
    statement.bind(i64::MIN).fetch_all(executor).await
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

/// Writes everything as it is at one moment into a new file. Others go on reading and writing meanwhile; only the
/// write-ahead log grows, because none of it can be given up before the end.
pub(super) async fn copy_into(readers: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    let text = path.to_str().ok_or_else(|| {
        Fault::internal(format!("the path {} is no UTF-8, which SQLite needs", path.display()))
    })?;
    // Empty and private: SQLite would make it readable by all.
    create_private(path).map_err(|error| Fault::unavailable(format!("{}: {error}", path.display())))?;
    sqlx::query("VACUUM INTO ?").bind(text).execute(readers).await?;
    Ok(())
}

/// What is wrong with the file itself; nothing, most likely.
pub(super) async fn damage(readers: &SqlitePool) -> Result<Option<String>, StoreError> {
    let found: String = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(readers).await?;
    Ok((found != "ok").then_some(found))
}

/// A database file that nobody has open, and that nobody can open while this exists.
pub struct ClaimedFile {
    path: PathBuf,
    /// Whether SQLite can read it at all.
    readable: bool,
    _locked: File,
}

// === impl ClaimedFile ===

impl ClaimedFile {
    /// Takes the file, which need not exist, for this process alone.
    ///
    /// # Errors
    /// Somebody has it open, or the directory cannot be written to.
    pub async fn claim(path: &Path) -> Result<Self, StoreError> {
        let locked = lock_other_processes_out(path).await?;
        let mut claimed = Self { path: path.to_owned(), readable: false, _locked: locked };
        if claimed.exists() {
            claimed.readable = claimed.fold().await?;
        }
        Ok(claimed)
    }

    /// Whether there is anything. Whoever was about to make a new database may have left an empty file.
    #[must_use]
    pub fn exists(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|file| file.len() > 0)
    }

    /// Whether everything that was written is in the file itself.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.readable
    }

    /// Opens it. `None` when SQLite cannot read it, or finds damage in it.
    pub async fn open(&self) -> Option<Store> {
        if !self.readable {
            return None;
        }
        let store = open(&self.path).await.ok()?;
        if matches!(store.damage().await, Ok(None)) {
            return Some(store);
        }
        store.close().await;
        None
    }

    /// Brings what is in the write-ahead log into the file, so that the file is all there is. SQLite does that only
    /// for whoever has it alone. Answers whether it is a database at all.
    ///
    /// # Errors
    /// Somebody has it open.
    pub async fn fold(&self) -> Result<bool, StoreError> {
        match fold(&self.path).await {
            Ok(()) => Ok(true),
            Err(error) if is_busy(&error) => Err(Fault::unavailable(format!(
                "a server or a command has {} open: stop it first",
                self.path.display()
            ))
            .into()),
            Err(_) => Ok(false),
        }
    }
}

async fn fold(path: &Path) -> Result<(), sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(Duration::from_millis(100))
        .disable_statement_logging();
    let mut connection = options.connect().await?;
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode = DELETE").fetch_one(&mut connection).await?;
    connection.close().await?;
    // It answers the mode that it has, also when it could not leave the other one.
    if mode != "delete" {
        return Err(sqlx::Error::Protocol(format!("the journal mode is still {mode}")));
    }
    Ok(())
}

/// Whether somebody else has the file. The lowest byte of SQLite's codes is the kind of the error.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|refused| refused.code()?.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6))
}
