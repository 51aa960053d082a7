//! Audit events: appended, never changed. What chains them is in [`super::chains`], what finds them in
//! [`super::audit_search`].

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, FromRow, Postgres, Sqlite};
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use super::engine::{Inner, execute, within};
use super::rows::IdRow;
use super::{Store, StoreError, Tx, postgres, sqlite, statements};
use crate::domain::audit::{Recorded, WrittenEvent};
use crate::domain::once::Purpose;
use crate::domain::time::Timestamp;

statements! {
    LEAVE_EVENT = "INSERT INTO audit_outbox (id, at, event) VALUES ($1, $2, $3)";

    /// Two processes at once: the second waits for the first, and finds the rows gone.
    TAKE_EVENTS = r"
        DELETE FROM audit_outbox
        WHERE id IN (SELECT id FROM audit_outbox ORDER BY at, id LIMIT $1)
        RETURNING id, at, event";

    FORGET_IDS = r"
        DELETE FROM used_ids WHERE (purpose, id) IN (
            SELECT purpose, id FROM used_ids WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
}

/// An identifier that counts once: the `jti` of a client assertion (RFC 7523 §3) or of a DPoP proof
/// (RFC 9449 §11.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsedId {
    /// What it is an identifier of.
    pub purpose: Purpose,
    /// The identifier, with whatever it is unique within: the issuer's or the key's name.
    pub id: String,
    /// When what it is of was made, if that says so, by the clock of whoever made it. It is believed in an outage, where
    /// a clock that is ahead is found out afterwards ([`crate::domain::once`]).
    pub issued_at: Option<Timestamp>,
    /// When it may be forgotten: the end of what it guards, and the leeway beyond.
    pub expires_at: Timestamp,
    /// Before this instant nobody can have used it, whatever its maker's clock says: what it guards would not have been
    /// accepted yet. A database that was restored since then may have forgotten the use, and nothing finds that out.
    pub possible_since: Timestamp,
}

#[derive(FromRow)]
struct LeftRow {
    id: Uuid,
    at: i64,
    event: String,
}

/// Where the ledger's connection is kept between batches: taking one from the pool and giving it back asks the
/// database twice more, which would double what a batch costs.
pub struct LedgerConnection {
    store: Store,
    held: Option<Held>,
}

/// The connection, for one batch. What fails, or is given up half-way, is dropped with it.
pub struct Held {
    connection: Connection,
    since: Instant,
    used: Instant,
}

/// A transaction on it. Dropped without [`LedgerTx::commit`], it did nothing.
pub struct LedgerTx<'c> {
    pub(super) inner: Inner<'c>,
}

enum Connection {
    Postgres(PoolConnection<Postgres>),
    Sqlite(PoolConnection<Sqlite>, Arc<Mutex<()>>),
}

/// How long a connection that nobody used is believed to be alive.
const TRUSTED: Duration = Duration::from_secs(1);

/// How long a connection is kept, so that the pool can renew it.
const KEPT: Duration = Duration::from_mins(10);

// === impl LedgerConnection ===

impl LedgerConnection {
    /// Of this store. It connects when there is something to write.
    #[must_use]
    pub const fn new(store: Store) -> Self {
        Self { store, held: None }
    }

    /// The connection, until it is given back; another one if it has died meanwhile.
    ///
    /// # Errors
    /// The database is away.
    pub async fn hold(&mut self) -> Result<Held, StoreError> {
        if let Some(mut held) = self.held.take().filter(|held| held.since.elapsed() < KEPT)
            && held.is_alive().await
        {
            return Ok(held);
        }
        Held::take(&self.store).await
    }

    /// Takes back the connection, on which nothing has failed.
    pub fn give_back(&mut self, held: Held) {
        self.held = Some(Held { used: Instant::now(), ..held });
    }
}

// === impl Held ===

impl Held {
    /// Appends events and marks identifiers as used, in this order; all of it durable, or nothing. Answers whether it is
    /// done: not where one of the identifiers was used before, as [`LedgerTx::use_ids`] counts.
    ///
    /// # Errors
    /// The database is away. Whether it is done is not known then.
    pub async fn append(&mut self, events: &[Recorded], used: &[&UsedId]) -> Result<bool, StoreError> {
        match &mut self.connection {
            Connection::Postgres(connection) if used.is_empty() => {
                postgres::append_events(&mut **connection, events).await?;
            }
            Connection::Postgres(connection) => {
                return Ok(postgres::append_events_using(&mut **connection, events, &rows(used)).await?);
            }
            Connection::Sqlite(connection, turn) if used.is_empty() && events.len() <= sqlite::ROWS => {
                let _turn = turn.lock().await;
                sqlite::append_events(&mut **connection, events).await?;
            }
            Connection::Sqlite(..) => {
                let mut tx = self.begin().await?;
                if tx.use_ids(used).await?.len() < used.len() {
                    return Ok(false);
                }
                tx.append_events(events).await?;
                tx.commit().await?;
            }
        }
        Ok(true)
    }

    /// Opens a transaction on it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn begin(&mut self) -> Result<LedgerTx<'_>, StoreError> {
        let inner = match &mut self.connection {
            Connection::Postgres(connection) => {
                Inner::Postgres(connection.begin_with(postgres::BEGIN).await?)
            }
            Connection::Sqlite(connection, turn) => {
                let turn = Arc::clone(turn).lock_owned().await;
                Inner::Sqlite(connection.begin_with("BEGIN IMMEDIATE").await?, turn)
            }
        };
        Ok(LedgerTx { inner })
    }

    async fn take(store: &Store) -> Result<Self, StoreError> {
        let connection = match store {
            Store::Postgres(pool) => {
                let mut connection = pool.acquire().await?;
                // It comes back only when something has failed on it, and then it is not for the pool: the server may have
                // become one that only reads, or a batch that was given up may still be on its way.
                connection.close_on_drop();
                Connection::Postgres(connection)
            }
            Store::Sqlite { writer, turn, .. } => {
                Connection::Sqlite(writer.acquire().await?, Arc::clone(turn))
            }
        };
        let now = Instant::now();
        Ok(Self { connection, since: now, used: now })
    }

    async fn is_alive(&mut self) -> bool {
        match &mut self.connection {
            Connection::Postgres(connection) => {
                self.used.elapsed() < TRUSTED || connection.ping().await.is_ok()
            }
            Connection::Sqlite(..) => true,
        }
    }
}

fn rows<'u>(used: &[&'u UsedId]) -> Vec<IdRow<'u>> {
    let row = |used: &&'u UsedId| IdRow {
        purpose: used.purpose.as_str(),
        id: &used.id,
        expires_at: used.expires_at,
        possible_since: Some(used.possible_since),
    };
    used.iter().map(row).collect()
}

// === impl Tx ===

impl Tx {
    /// Leaves an event for the ledger, which chains it once this transaction is committed.
    ///
    /// # Errors
    /// The database is away.
    pub async fn leave_event(&mut self, id: Uuid, event: &WrittenEvent) -> Result<(), StoreError> {
        execute!(self, LEAVE_EVENT, id, event.at.as_micros(), &event.text)?;
        Ok(())
    }

    /// Forgets at most `limit` identifiers whose time is over. Answers how many.
    ///
    /// # Errors
    /// The database is away.
    pub async fn forget_ids(&mut self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        Ok(execute!(self, FORGET_IDS, now.as_micros(), i64::from(limit))?)
    }
}

// === impl LedgerTx ===

impl LedgerTx<'_> {
    /// Makes everything in it durable.
    ///
    /// # Errors
    /// The database is away. Whether it is done is not known then.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.inner.commit().await
    }

    /// Appends events.
    ///
    /// # Errors
    /// The database is away.
    pub async fn append_events(&mut self, events: &[Recorded]) -> Result<(), StoreError> {
        match &mut self.inner {
            Inner::Postgres(tx) => postgres::append_events(&mut **tx, events).await?,
            Inner::Sqlite(tx, _) => {
                for events in events.chunks(sqlite::ROWS) {
                    sqlite::append_events(&mut **tx, events).await?;
                }
            }
        }
        Ok(())
    }

    /// Appends events in places where they may be already: a batch whose outcome is not known, once more. If it is
    /// still on its way, this waits for it. Answers how many were not there.
    ///
    /// # Errors
    /// The database is away.
    pub async fn append_events_again(&mut self, events: &[Recorded]) -> Result<u64, StoreError> {
        let mut appended = 0;
        match &mut self.inner {
            Inner::Postgres(tx) => appended = postgres::append_events_again(&mut **tx, events).await?,
            Inner::Sqlite(tx, _) => {
                for events in events.chunks(sqlite::ROWS) {
                    appended += sqlite::append_events_again(&mut **tx, events).await?;
                }
            }
        }
        Ok(appended)
    }

    /// Takes at most `limit` of the events that were left, oldest first: when each happened, and its text.
    ///
    /// # Errors
    /// The database is away.
    pub async fn take_events(&mut self, limit: u32) -> Result<Vec<(Timestamp, String)>, StoreError> {
        let mut rows: Vec<LeftRow> = within!(self, connection => {
            sqlx::query_as(TAKE_EVENTS).bind(i64::from(limit)).fetch_all(connection).await
        })?;
        rows.sort_by_key(|row| (row.at, row.id));
        Ok(rows.into_iter().map(|row| (Timestamp::from_micros(row.at), row.event)).collect())
    }

    /// Marks identifiers as used, in this order. Answers those, by purpose and text, whose first use this is. The same
    /// one in another transaction: this waits for the end of that. One that can have been used before the database
    /// was restored counts as used: what was used between the backup and the restore is forgotten.
    ///
    /// # Errors
    /// The database is away.
    pub async fn use_ids<'u>(
        &mut self,
        used: &[&'u UsedId],
    ) -> Result<HashSet<(Purpose, &'u str)>, StoreError> {
        let rows = self.mark_used(&rows(used)).await?;
        let first: HashSet<(&str, &str)> = rows.iter().map(|(purpose, id)| (&**purpose, &**id)).collect();
        let is_first = |used: &&&UsedId| first.contains(&(used.purpose.as_str(), &*used.id));
        Ok(used.iter().filter(is_first).map(|used| (used.purpose, &*used.id)).collect())
    }

    /// The same for identifiers of any purpose that no restore matters to: the purpose's text, the identifier's, and when
    /// that may be forgotten.
    ///
    /// # Errors
    /// The database is away.
    pub async fn use_up(
        &mut self,
        used: &[(&str, &str, Timestamp)],
    ) -> Result<Vec<(String, String)>, StoreError> {
        let row = |&(purpose, id, expires_at)| IdRow { purpose, id, expires_at, possible_since: None };
        self.mark_used(&used.iter().map(row).collect::<Vec<_>>()).await
    }

    async fn mark_used(&mut self, used: &[IdRow<'_>]) -> Result<Vec<(String, String)>, StoreError> {
        let mut rows = Vec::new();
        match &mut self.inner {
            Inner::Postgres(tx) => rows = postgres::use_ids(&mut **tx, used).await?,
            Inner::Sqlite(tx, _) => {
                for used in used.chunks(sqlite::ROWS) {
                    rows.extend(sqlite::use_ids(&mut **tx, used).await?);
                }
            }
        }
        Ok(rows)
    }
}
