//! One store, two engines.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use super::{StoreError, postgres, sqlite};
use crate::domain::doctor::PostgresFacts;
use crate::domain::error::{Fault, FaultKind};
use crate::domain::time::Timestamp;

/// How long connections may take to end.
const CLOSING: Duration = Duration::from_secs(1);

/// Where the data is.
#[derive(Clone, Debug)]
pub enum ConnectOptions {
    /// A SQLite file, made when absent.
    Sqlite {
        /// The file.
        path: PathBuf,
    },
    /// A PostgreSQL database.
    Postgres {
        /// `postgres://user@host/database`, which may hold a password.
        url: SecretString,
        /// A password that replaces the URL's.
        password: Option<SecretString>,
        /// The most connections this process opens.
        max_connections: u32,
        /// Whether a standby will do, as it does for those who only read.
        may_be_standby: bool,
    },
}

/// A pool of connections to one of the engines.
#[derive(Clone, Debug)]
pub enum Store {
    /// PostgreSQL.
    Postgres(PgPool),
    /// SQLite: many readers, and one writer at a time.
    Sqlite {
        /// Connections that only read.
        readers: SqlitePool,
        /// Two that write: one for transactions, one that the ledger keeps.
        writer: SqlitePool,
        /// Whose turn it is to write. SQLite would let the other poll for it.
        turn: Arc<Mutex<()>>,
    },
}

/// What one pool of connections is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUse {
    /// Which pool.
    pub name: &'static str,
    /// Connections that are open and at work.
    pub in_use: u64,
    /// Connections that are open and free.
    pub idle: u64,
    /// How many may be open.
    pub most: u64,
}

/// A setting of PostgreSQL by which it can lose what it has committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossySetting {
    /// `synchronous_commit = off`: a crash loses the last moments. Set by the session, the database or the server.
    SynchronousCommit,
    /// `fsync = off`: a crash can lose everything. Set by whoever runs the server.
    Fsync,
}

/// A transaction. Dropped without [`Tx::commit`], it did nothing.
pub struct Tx {
    pub(super) inner: Inner<'static>,
    pub(super) changed: bool,
}

pub(super) enum Inner<'c> {
    Postgres(Transaction<'c, Postgres>),
    Sqlite(Transaction<'c, Sqlite>, OwnedMutexGuard<()>),
}

/// Runs one expression against whichever pool reads.
macro_rules! read {
    ($store:expr, $pool:ident => $run:expr) => {
        match $store {
            $crate::storage::Store::Postgres($pool) => $run,
            $crate::storage::Store::Sqlite { readers: $pool, .. } => $run,
        }
    };
}
pub(super) use read;

/// Runs one expression inside whichever transaction is open.
macro_rules! within {
    ($tx:expr, $connection:ident => $run:expr) => {
        match &mut $tx.inner {
            $crate::storage::engine::Inner::Postgres(tx) => {
                let $connection = &mut **tx;
                $run
            }
            $crate::storage::engine::Inner::Sqlite(tx, _) => {
                let $connection = &mut **tx;
                $run
            }
        }
    };
}
pub(super) use within;

/// Runs a statement with these values inside whichever transaction is open, and answers how many rows it
/// changed.
macro_rules! execute {
    ($tx:expr, $sql:expr $(, $value:expr)* $(,)?) => {
        $crate::storage::engine::within!($tx, connection => {
            sqlx::query($sql)$(.bind($value))*.execute(connection).await.map(|done| done.rows_affected())
        })
    };
}
pub(super) use execute;

fn pool_use<D: sqlx::Database>(name: &'static str, pool: &sqlx::Pool<D>) -> PoolUse {
    let (open, idle) = (u64::from(pool.size()), pool.num_idle() as u64);
    PoolUse {
        name,
        in_use: open.saturating_sub(idle),
        idle,
        most: pool.options().get_max_connections().into(),
    }
}

// === impl Store ===

impl Store {
    /// Connects. The schema is not touched: see [`Store::migrate`].
    ///
    /// # Errors
    /// The database cannot be reached or opened.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, StoreError> {
        match options {
            ConnectOptions::Sqlite { path } => sqlite::connect(path).await,
            ConnectOptions::Postgres { url, password, max_connections, may_be_standby } => {
                let password = password.as_ref().map(ExposeSecret::expose_secret);
                postgres::connect(url.expose_secret(), password, *max_connections, *may_be_standby).await
            }
        }
    }

    /// Brings the schema up to this version. Safe when several processes do it at once. A schema that is newer will do
    /// when the newer version has said so.
    ///
    /// # Errors
    /// The database is away, or its schema is newer than this program can use.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let (done, known) = match self {
            Self::Postgres(pool) => (Box::pin(postgres::migrate(pool)).await?, &postgres::MIGRATIONS),
            Self::Sqlite { writer, .. } => (Box::pin(sqlite::migrate(writer)).await?, &sqlite::MIGRATIONS),
        };
        match done {
            Ok(()) => Ok(()),
            Err(MigrateError::VersionMissing(newer)) if self.serves_older(known).await? => {
                tracing::warn!(
                    newer,
                    "the database was migrated by a newer Jeton, which left it usable for this one"
                );
                Ok(())
            }
            Err(error) => Err(super::migration_fault(&error)),
        }
    }

    /// Whether the schema, although newer, serves a program that knows these migrations.
    async fn serves_older(&self, known: &Migrator) -> Result<bool, StoreError> {
        let newest = known.iter().map(|migration| migration.version).max();
        let needed = self.oldest_schema().await?;
        Ok(needed.is_some() && needed <= newest)
    }

    /// What the connections are doing.
    #[must_use]
    pub fn pools(&self) -> Vec<PoolUse> {
        match self {
            Self::Postgres(pool) => vec![pool_use("main", pool)],
            Self::Sqlite { readers, writer, .. } => {
                vec![pool_use("readers", readers), pool_use("writers", writer)]
            }
        }
    }

    /// Opens a transaction that may write.
    ///
    /// # Errors
    /// The database is away.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let inner = match self {
            Self::Postgres(pool) => Inner::Postgres(pool.begin_with(postgres::BEGIN).await?),
            // IMMEDIATE takes the write lock at once: a deferred one could fail half-way.
            Self::Sqlite { writer, turn, .. } => {
                let turn = Arc::clone(turn).lock_owned().await;
                Inner::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?, turn)
            }
        };
        Ok(Tx { inner, changed: false })
    }

    /// The setting of the engine, if there is one, by which it loses what it has committed when it crashes.
    ///
    /// # Errors
    /// The database is away.
    pub async fn lossy_setting(&self) -> Result<Option<LossySetting>, StoreError> {
        match self {
            Self::Postgres(pool) => postgres::lossy_setting(pool).await,
            Self::Sqlite { .. } => Ok(None),
        }
    }

    /// What the engine's own clock says, when it has one: `SQLite` has this process's.
    ///
    /// # Errors
    /// The database is away.
    pub async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        match self {
            Self::Postgres(pool) => postgres::clock(pool).await.map(Some),
            Self::Sqlite { .. } => Ok(None),
        }
    }

    /// How PostgreSQL is set up; nothing on another engine.
    ///
    /// # Errors
    /// The database is away.
    pub async fn postgres_facts(&self) -> Result<Option<PostgresFacts>, StoreError> {
        match self {
            Self::Postgres(pool) => postgres::facts(pool).await.map(Some),
            Self::Sqlite { .. } => Ok(None),
        }
    }

    /// Makes room for the events of a day: on PostgreSQL, its partition.
    ///
    /// # Errors
    /// The database is away.
    pub async fn make_room(&self, day: Timestamp) -> Result<(), StoreError> {
        match self {
            Self::Postgres(pool) => postgres::make_partition(pool, day).await,
            Self::Sqlite { .. } => Ok(()),
        }
    }

    /// Removes some of the events from before `cut`, a time at which a day begins: on PostgreSQL a whole
    /// partition. Answers whether there may be more.
    ///
    /// # Errors
    /// The database is away, or somebody reads the table just now: try again later.
    pub async fn drop_events(&self, cut: Timestamp) -> Result<bool, StoreError> {
        match self {
            Self::Postgres(pool) => postgres::drop_partition(pool, cut).await,
            Self::Sqlite { writer, turn, .. } => {
                let _turn = turn.lock().await;
                Ok(sqlite::drop_events(writer, cut).await? > 0)
            }
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        read!(self, pool => sqlx::query("SELECT 1").execute(pool).await.map(drop))?;
        Ok(())
    }

    /// Closes every connection. One that PostgreSQL does not let go of, because it hangs, is given up.
    pub async fn close(&self) {
        match self {
            Self::Postgres(pool) => drop(timeout(CLOSING, pool.close()).await),
            Self::Sqlite { readers, writer, .. } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }

    /// The engine's name, for messages.
    #[must_use]
    pub const fn engine(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "PostgreSQL",
            Self::Sqlite { .. } => "SQLite",
        }
    }
}

// === impl Tx ===

impl Tx {
    /// Makes everything in it durable.
    ///
    /// # Errors
    /// The database is away, and whether it was done is not known.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        if self.changed
            && let Inner::Postgres(tx) = &mut self.inner
        {
            postgres::notify(tx).await?;
        }
        self.inner.commit().await.map_err(|error| match error {
            StoreError::Fault(fault) if fault.kind == FaultKind::Unavailable => {
                Fault::uncertain(fault.detail).into()
            }
            other => other,
        })
    }
}

// === impl Inner ===

impl Inner<'_> {
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(tx) => tx.commit().await?,
            Self::Sqlite(tx, _turn) => tx.commit().await?,
        }
        Ok(())
    }
}
