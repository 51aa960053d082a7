//! Copies of the whole database, and what is settled in one that went back to an earlier state.

use std::path::Path;

use sqlx::FromRow;
use uuid::Uuid;

use super::engine::{execute, read};
use super::{Store, StoreError, Tx, corrupt, postgres, sqlite, statements};
use crate::domain::chain::{ChainEnd, Hash};
use crate::domain::error::Fault;
use crate::domain::time::Timestamp;

statements! {
    /// The newest migration that was applied.
    SCHEMA = "SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations";

    NEWEST_EVENT = r"
        SELECT writer, seq, at, hash FROM audit_events ORDER BY at DESC, writer DESC, seq DESC LIMIT 1";

    HAS_EVENT = "SELECT COUNT(*) FROM audit_events WHERE writer = $1 AND seq = $2 AND hash = $3";

    NOTE_RESTORED = r"
        INSERT INTO counters (name, value) VALUES ('restored', $1)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";

    RESTORED = "SELECT value FROM counters WHERE name = 'restored'";

    END_SESSIONS = "DELETE FROM administrator_sessions";

    END_LINKS = "DELETE FROM administrator_links";

    END_SIGN_INS = "DELETE FROM sign_in_starts";

    FORGET_SHARED_SECRETS = "DELETE FROM shared_secrets";
}

#[derive(FromRow)]
struct EndRow {
    writer: Uuid,
    seq: i64,
    at: i64,
    hash: Vec<u8>,
}

// === impl Store ===

impl Store {
    /// Opens a SQLite file that nobody writes to, for reading.
    ///
    /// # Errors
    /// It is not there.
    pub async fn open_copy(path: &Path) -> Result<Self, StoreError> {
        sqlite::open_copy(path).await
    }

    /// Writes everything as it is at one moment into a new SQLite file, while others go on.
    ///
    /// # Errors
    /// The file cannot be written, or this is PostgreSQL, which has programs of its own for that.
    pub async fn copy_into(&self, path: &Path) -> Result<(), StoreError> {
        match self {
            Self::Sqlite { readers, .. } => sqlite::copy_into(readers, path).await,
            Self::Postgres(_) => Err(Fault::internal("PostgreSQL is copied by pg_dump").into()),
        }
    }

    /// What is wrong with the database's file, where it is one; nothing, most likely. It reads all of it.
    ///
    /// # Errors
    /// It cannot be read at all.
    pub async fn damage(&self) -> Result<Option<String>, StoreError> {
        match self {
            Self::Sqlite { readers, .. } => sqlite::damage(readers).await,
            Self::Postgres(_) => Ok(None),
        }
    }

    /// The newest migration that was applied, the newest that this program knows, and the one that a program must know
    /// to run on it, where a migration has said so.
    ///
    /// # Errors
    /// The database is away, or none of Jeton's.
    pub async fn schema(&self) -> Result<(i64, i64, Option<i64>), StoreError> {
        let applied = read!(self, pool => sqlx::query_scalar(SCHEMA).fetch_one(pool).await)?;
        let migrations = match self {
            Self::Sqlite { .. } => &sqlite::MIGRATIONS,
            Self::Postgres(_) => &postgres::MIGRATIONS,
        };
        let known = migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
        Ok((applied, known, self.oldest_schema().await?))
    }

    /// The event that was recorded last.
    ///
    /// # Errors
    /// The database is away.
    pub async fn newest_event(&self) -> Result<Option<ChainEnd>, StoreError> {
        let row = read!(self, pool => sqlx::query_as::<_, EndRow>(NEWEST_EVENT).fetch_optional(pool).await)?;
        let end = |EndRow { writer, seq, at, hash }: EndRow| {
            let hash = Hash::from_bytes(&hash).map_err(|_| corrupt("hash", writer))?;
            Ok(ChainEnd { writer, seq: seq.unsigned_abs(), at: Timestamp::from_micros(at), hash })
        };
        row.map(end).transpose()
    }

    /// When the database was last restored; long ago, if it never was.
    ///
    /// # Errors
    /// The database is away.
    pub async fn restored(&self) -> Result<Timestamp, StoreError> {
        let at: Option<i64> = read!(self, pool => sqlx::query_scalar(RESTORED).fetch_optional(pool).await)?;
        Ok(Timestamp::from_micros(at.unwrap_or(i64::MIN)))
    }

    /// Whether an event is there, as it was.
    ///
    /// # Errors
    /// The database is away.
    pub async fn has_event(&self, event: &ChainEnd) -> Result<bool, StoreError> {
        let found: i64 = read!(self, pool => {
            sqlx::query_scalar(HAS_EVENT)
                .bind(event.writer)
                .bind(event.seq.cast_signed())
                .bind(event.hash.as_bytes().as_slice())
                .fetch_one(pool)
                .await
        })?;
        Ok(found > 0)
    }
}

// === impl Tx ===

impl Tx {
    /// Notes that the database went back to an earlier state, and ends what must not come back with it: sessions and
    /// links of people that were over since, and the secret of the nonces that proofs were made with.
    ///
    /// # Errors
    /// The database is away.
    pub async fn settle_restore(&mut self, now: Timestamp) -> Result<(), StoreError> {
        execute!(self, NOTE_RESTORED, now.as_micros())?;
        for sql in [END_SESSIONS, END_LINKS, END_SIGN_INS, FORGET_SHARED_SECRETS] {
            execute!(self, sql)?;
        }
        Ok(())
    }
}
