//! What only PostgreSQL does: connecting, migrating under a lock, notifying.

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::types::Json;
use sqlx::{PgPool, Postgres, Transaction};

use super::{Store, StoreError};
use crate::domain::audit::AuditEvent;
use crate::domain::error::Fault;
use crate::domain::ids::ClientId;

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// How long a caller waits for a connection before it hears that the database is away.
const PATIENCE: Duration = Duration::from_secs(2);

const CHANNEL: &str = "jeton_changes";

pub(super) async fn connect(
    url: &str,
    password: Option<&str>,
    max_connections: u32,
) -> Result<Store, StoreError> {
    let mut options = PgConnectOptions::from_str(url)?.application_name("jeton");
    if let Some(password) = password {
        options = options.password(password);
    }
    let pool = PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(PATIENCE)
        .connect_with(options)
        .await?;
    // Texts of callers are recorded as they came; another encoding could not hold them all.
    let encoding: String = sqlx::query_scalar("SHOW server_encoding").fetch_one(&pool).await?;
    if encoding != "UTF8" {
        return Err(
            Fault::internal(format!("the database's encoding is {encoding}; create it with UTF8")).into()
        );
    }
    Ok(Store::Postgres(pool))
}

const APPEND_EVENTS: &str = r"
    INSERT INTO audit_events (id, at, kind, outcome, client_id, jti, txn, origin, detail)
    SELECT * FROM UNNEST($1::UUID[], $2::BIGINT[], $3::TEXT[], $4::TEXT[], $5::TEXT[],
        $6::TEXT[], $7::TEXT[], $8::JSONB[], $9::JSONB[])";

/// A column a bind, so that the statement is the same for any number of events and is planned once.
pub(super) async fn append_events(
    tx: &mut Transaction<'static, Postgres>,
    events: &[&AuditEvent],
) -> Result<(), sqlx::Error> {
    sqlx::query(APPEND_EVENTS)
        .bind(events.iter().map(|event| event.id).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.at.as_micros()).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.event.kind()).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.event.outcome()).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.event.client_id().map(ClientId::as_str)).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.event.jti()).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.event.txn()).collect::<Vec<_>>())
        .bind(events.iter().map(|event| Json(&event.origin)).collect::<Vec<_>>())
        .bind(events.iter().map(|event| Json(&event.event)).collect::<Vec<_>>())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Wakes the replicas that listen. Only a hint: whoever misses it finds the change by polling.
pub(super) async fn notify(tx: &mut Transaction<'static, Postgres>) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL).execute(&mut **tx).await?;
    Ok(())
}

/// Hears of changes as they are committed.
pub struct Notifications(PgListener);

// === impl Notifications ===

impl Notifications {
    /// Starts to listen, where the engine can tell: PostgreSQL.
    ///
    /// # Errors
    /// The database is away.
    pub async fn listen(store: &Store) -> Result<Option<Self>, StoreError> {
        let Store::Postgres(pool) = store else { return Ok(None) };
        Ok(Some(Self(listen_on(pool).await?)))
    }

    /// Waits for the next hint.
    ///
    /// # Errors
    /// The connection broke; listen again later, and poll until then.
    pub async fn next(&mut self) -> Result<(), StoreError> {
        self.0.recv().await?;
        Ok(())
    }
}

async fn listen_on(pool: &PgPool) -> Result<PgListener, StoreError> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}
