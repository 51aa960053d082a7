//! What only PostgreSQL does: connecting, migrating under a lock, notifying.

use std::str::FromStr;
use std::time::Duration;

use sqlx::error::ErrorKind;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, PgConnection, PgExecutor, PgPool, Postgres, Row};

use super::rows::IdRow;
use super::{LossySetting, Store, StoreError};
use crate::domain::audit::Recorded;
use crate::domain::doctor::PostgresFacts;
use crate::domain::error::Fault;
use crate::domain::time::{DAY, Timestamp};

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// How long a caller waits for a connection before it hears that the database is away.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long an idle connection is believed to be alive.
const TRUSTED: Duration = Duration::from_secs(1);

/// How long a connection that is given back may take to answer. One that a broken network has swallowed would never,
/// and there is room for few.
const GIVEN_BACK: Duration = Duration::from_secs(2);

/// Begins a transaction, in one round trip. When nobody goes on with it, for example because the network has swallowed
/// the connection and its COMMIT, the server ends it: else it would keep its rows, and whoever waits for them, until
/// TCP gives up, after two hours.
pub(super) const BEGIN: &str = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '10s'";

/// How long to wait before a server that only reads is asked again.
const STANDBY_PAUSE: Duration = Duration::from_millis(300);

const CHANNEL: &str = "jeton_changes";

/// A setting that means nothing to PostgreSQL, and that no pooler hands on.
const LISTENS: &str = "jeton.listens";

pub(super) async fn connect(
    url: &str,
    password: Option<&str>,
    max_connections: u32,
    may_be_standby: bool,
) -> Result<Store, StoreError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|error| Fault::setup(format!("the database's URL cannot be read: {error}")))?;
    let options = options.application_name("jeton").disable_statement_logging();
    // There is none in the schema, and PgBouncer refuses connections that ask for it.
    let mut options = options.extra_float_digits(None);
    if let Some(password) = password {
        options = options.password(password);
    }
    let pool = PgPoolOptions::new()
        // What listens has a connection of its own.
        .max_connections(max_connections.saturating_sub(1).max(1))
        .acquire_timeout(PATIENCE)
        // A connection that was in use a moment ago is taken as it is: asking first would double what a
        // batch of the ledger costs.
        .test_before_acquire(false)
        .before_acquire(move |connection, idle| {
            Box::pin(async move {
                Ok(idle.idle_for <= TRUSTED || !is_standby(connection).await? || may_be_standby)
            })
        })
        // What a standby says may be of yesterday, and nothing can be recorded there. The address leads to another one
        // later, or it is promoted.
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if may_be_standby || !is_standby(connection).await? {
                    return Ok(());
                }
                tokio::time::sleep(STANDBY_PAUSE).await;
                Err(sqlx::Error::Configuration("the server is a standby, which only reads".into()))
            })
        })
        .after_release(|connection, _| {
            Box::pin(async move {
                match tokio::time::timeout(GIVEN_BACK, connection.ping()).await {
                    Ok(answered) => answered.map(|()| true),
                    Err(_) => Err(sqlx::Error::PoolTimedOut),
                }
            })
        })
        .connect_with(options)
        .await?;
    // Texts of callers are recorded as they came; another encoding could not hold them all.
    let encoding: String = sqlx::query_scalar("SHOW server_encoding").fetch_one(&pool).await?;
    if encoding != "UTF8" {
        return Err(
            Fault::setup(format!("the database's encoding is {encoding}; create it with UTF8")).into()
        );
    }
    Ok(Store::Postgres(pool))
}

/// Whether the server at the other end only reads. By a query that is not prepared, in one round trip.
async fn is_standby(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::raw_sql("SELECT pg_is_in_recovery()").fetch_one(connection).await?.try_get(0)
}

/// One process at a time migrates; until the end of its transaction.
const LOCK_MIGRATIONS: &str = "SELECT pg_advisory_xact_lock(hashtextextended('jeton migrations', 0))";

/// Brings the schema up, one process at a time, and all of it or nothing.
///
/// Not by sqlx's own lock, which belongs to the session: behind a pooler that hands each transaction to another
/// connection, it would be taken on one and given back on another, and the next process would wait for ever.
pub(super) async fn migrate(pool: &PgPool) -> Result<Result<(), MigrateError>, StoreError> {
    let mut migrator = Migrator::with_migrations(MIGRATIONS.migrations.to_vec());
    migrator.set_locking(false);
    let mut tx = pool.begin_with(BEGIN).await?;
    sqlx::query(LOCK_MIGRATIONS).execute(&mut *tx).await?;
    let done = migrator.run(&mut *tx).await;
    if done.is_ok() {
        tx.commit().await?;
    }
    Ok(done)
}

const APPEND_EVENTS: &str = r"
    INSERT INTO audit_events
        (writer, seq, at, prev, hash, kind, outcome, client_id, jti, txn, continues, person, about, event)
    SELECT * FROM UNNEST($1::UUID[], $2::BIGINT[], $3::BIGINT[], $4::BYTEA[], $5::BYTEA[], $6::TEXT[],
        $7::TEXT[], $8::TEXT[], $9::TEXT[], $10::TEXT[], $11::BOOLEAN[], $12::TEXT[], $13::TEXT[],
        $14::TEXT[])";

/// A batch whose outcome is not known.
const APPEND_EVENTS_AGAIN: &str = r"
    INSERT INTO audit_events
        (writer, seq, at, prev, hash, kind, outcome, client_id, jti, txn, continues, person, about, event)
    SELECT * FROM UNNEST($1::UUID[], $2::BIGINT[], $3::BIGINT[], $4::BYTEA[], $5::BYTEA[], $6::TEXT[],
        $7::TEXT[], $8::TEXT[], $9::TEXT[], $10::TEXT[], $11::BOOLEAN[], $12::TEXT[], $13::TEXT[],
        $14::TEXT[])
    ON CONFLICT DO NOTHING";

/// Appends events. Each place is taken once.
pub(super) async fn append_events(
    executor: impl PgExecutor<'_>,
    events: &[Recorded],
) -> Result<(), sqlx::Error> {
    append(APPEND_EVENTS, executor, events).await.map(drop)
}

/// Appends events that may be there already. Answers how many were not.
pub(super) async fn append_events_again(
    executor: impl PgExecutor<'_>,
    events: &[Recorded],
) -> Result<u64, sqlx::Error> {
    append(APPEND_EVENTS_AGAIN, executor, events).await
}

async fn append(
    statement: &'static str,
    executor: impl PgExecutor<'_>,
    events: &[Recorded],
) -> Result<u64, sqlx::Error> {
    Ok(with_events(statement, events).execute(executor).await?.rows_affected())
}

/// A column a bind, so that the statement is the same for any number of events and is planned once.
fn with_events(statement: &'static str, events: &[Recorded]) -> Query<'static, Postgres, PgArguments> {
    fn column<'a, T>(events: &'a [Recorded], value: impl Fn(&'a Recorded) -> T) -> Vec<T> {
        events.iter().map(value).collect()
    }
    sqlx::query(statement)
        .bind(column(events, |event| event.link.writer))
        .bind(column(events, |event| event.link.seq.cast_signed()))
        .bind(column(events, |event| event.link.at.as_micros()))
        .bind(column(events, |event| event.link.prev.as_bytes().as_slice()))
        .bind(column(events, |event| event.link.hash.as_bytes().as_slice()))
        .bind(column(events, |event| &*event.event.columns.kind))
        .bind(column(events, |event| &*event.event.columns.outcome))
        .bind(column(events, |event| event.event.columns.client_id.as_deref()))
        .bind(column(events, |event| event.event.columns.jti.as_deref()))
        .bind(column(events, |event| event.event.columns.txn.as_deref()))
        .bind(column(events, |event| event.event.columns.continues))
        .bind(column(events, |event| event.event.columns.person.as_deref()))
        .bind(column(events, |event| event.event.columns.about.as_deref()))
        .bind(column(events, |event| event.event.text.as_str()))
}

/// One statement, so one round trip, and a transaction of its own. An identifier that was used before ends it: it is
/// there already, or, where a restore may have forgotten it, is nothing at all, which the column does not take.
const APPEND_EVENTS_USING: &str = r"
    WITH used AS (
        INSERT INTO used_ids (purpose, id, expires_at)
        SELECT purpose, CASE WHEN possible_since IS NULL
            OR possible_since > COALESCE((SELECT value FROM counters WHERE name = 'restored'), $19) THEN id END,
            expires_at
        FROM UNNEST($15::TEXT[], $16::TEXT[], $17::BIGINT[], $18::BIGINT[])
            AS shown (purpose, id, expires_at, possible_since)
    )
    INSERT INTO audit_events
        (writer, seq, at, prev, hash, kind, outcome, client_id, jti, txn, continues, person, about, event)
    SELECT * FROM UNNEST($1::UUID[], $2::BIGINT[], $3::BIGINT[], $4::BYTEA[], $5::BYTEA[], $6::TEXT[],
        $7::TEXT[], $8::TEXT[], $9::TEXT[], $10::TEXT[], $11::BOOLEAN[], $12::TEXT[], $13::TEXT[],
        $14::TEXT[])";

/// Appends events and marks identifiers as used, in this order. Answers whether that is done: nothing is where an
/// identifier was used before, or was possible before the database was restored.
pub(super) async fn append_events_using(
    executor: impl PgExecutor<'_>,
    events: &[Recorded],
    used: &[IdRow<'_>],
) -> Result<bool, sqlx::Error> {
    let done = with_ids(with_events(APPEND_EVENTS_USING, events), used).execute(executor).await;
    match done {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(refused))
            if matches!(refused.kind(), ErrorKind::UniqueViolation | ErrorKind::NotNullViolation) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

const USE_IDS: &str = r"
    INSERT INTO used_ids (purpose, id, expires_at)
    SELECT purpose, id, expires_at
    FROM UNNEST($1::TEXT[], $2::TEXT[], $3::BIGINT[], $4::BIGINT[]) AS shown (purpose, id, expires_at, possible_since)
    WHERE possible_since IS NULL
        OR possible_since > COALESCE((SELECT value FROM counters WHERE name = 'restored'), $5)
    ON CONFLICT (purpose, id) DO NOTHING
    RETURNING purpose, id";

/// Marks identifiers as used, in this order. Answers the purposes and texts of those that were not, and were not
/// possible before the database was restored.
pub(super) async fn use_ids(
    executor: impl PgExecutor<'_>,
    used: &[IdRow<'_>],
) -> Result<Vec<(String, String)>, sqlx::Error> {
    let rows = with_ids(sqlx::query(USE_IDS), used).fetch_all(executor).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

fn with_ids<'q>(
    query: Query<'q, Postgres, PgArguments>,
    used: &[IdRow<'_>],
) -> Query<'q, Postgres, PgArguments> {
    query
        .bind(used.iter().map(|row| row.purpose).collect::<Vec<_>>())
        .bind(used.iter().map(|row| row.id).collect::<Vec<_>>())
        .bind(used.iter().map(|row| row.expires_at.as_micros()).collect::<Vec<_>>())
        .bind(used.iter().map(|row| row.possible_since.map(Timestamp::as_micros)).collect::<Vec<_>>())
        .bind(i64::MIN)
}

/// Of the newest tokens of a time, how many there were to look at, and how many a key signed that live on.
pub(super) const LIVE_TOKENS: &str = r"
    SELECT COUNT(*) AS seen, COUNT(*) FILTER (WHERE kid = $4 AND LEFT(ends, 19) > $5) AS live
    FROM (
        SELECT event::JSON ->> 'kid' AS kid, event::JSON ->> 'expires_at' AS ends
        FROM audit_events
        WHERE at >= $1 AND at < $2 AND kind = 'token_issued'
        ORDER BY at DESC LIMIT $3
    ) AS newest";

/// What its clock says, in microseconds.
const CLOCK: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";

/// What the server's clock says.
pub(super) async fn clock(pool: &PgPool) -> Result<Timestamp, StoreError> {
    Ok(Timestamp::from_micros(sqlx::query_scalar(CLOCK).fetch_one(pool).await?))
}

/// The setting of this server by which a commit is less than durable.
pub(super) async fn lossy_setting(pool: &PgPool) -> Result<Option<LossySetting>, StoreError> {
    let setting = async |name: &'static str| -> Result<String, sqlx::Error> {
        sqlx::query_scalar("SELECT current_setting($1)").bind(name).fetch_one(pool).await
    };
    if setting("synchronous_commit").await? == "off" {
        return Ok(Some(LossySetting::SynchronousCommit));
    }
    Ok((setting("fsync").await? == "off").then_some(LossySetting::Fsync))
}

const FACTS: &str = r"
    SELECT CAST(current_setting('server_version_num') AS BIGINT), current_setting('synchronous_commit'),
        current_setting('fsync'), current_setting('full_page_writes'),
        CAST(current_setting('max_connections') AS BIGINT), pg_is_in_recovery()";

/// Prepared, so that whatever is in between has to know prepared statements.
const PROCESS: &str = "SELECT pg_backend_pid()";

/// Whether two connections that are open at the same time may have the same process of the server. A pooler that hands
/// on transactions gives the next one mostly to the process that was used last.
async fn is_pooled(pool: &PgPool) -> Result<bool, sqlx::Error> {
    if pool.options().get_max_connections() < 2 {
        return Ok(false);
    }
    let (mut one, mut other) = (pool.acquire().await?, pool.acquire().await?);
    for _ in 0..3 {
        let here: i32 = sqlx::query_scalar(PROCESS).fetch_one(&mut *one).await?;
        let there: i32 = sqlx::query_scalar(PROCESS).fetch_one(&mut *other).await?;
        if here == there {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How the server is set up, as it is in force for this session.
pub(super) async fn facts(pool: &PgPool) -> Result<PostgresFacts, StoreError> {
    let (version, synchronous_commit, fsync, full_page_writes, max_connections, standby): (
        i64,
        String,
        String,
        String,
        i64,
        bool,
    ) = sqlx::query_as(FACTS).fetch_one(pool).await?;
    let number = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
    Ok(PostgresFacts {
        version: number(version),
        synchronous_commit,
        fsync,
        full_page_writes,
        max_connections: number(max_connections),
        standby,
        pooled: is_pooled(pool).await?,
    })
}

/// One process at a time makes and drops partitions; until the end of its transaction.
const LOCK_PARTITIONS: &str = "SELECT pg_advisory_xact_lock(hashtextextended('jeton audit partitions', 0))";

/// How long the rest of a transaction waits for locks.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '1s'";

/// What the partition of a day is called; their names sort as their days do.
fn partition(day: Timestamp) -> String {
    format!("audit_events_{}", day.date())
}

/// Makes the partition for the events of a day. Safe when several processes do it at once.
///
/// Made beside the table and then attached: that locks out neither those who read it nor those who write. It waits for
/// whoever analyses the table, and gives up rather than hold up the ledger; the next try comes.
pub(super) async fn make_partition(pool: &PgPool, day: Timestamp) -> Result<(), StoreError> {
    // Not to_regclass: a connection may remember that there was none, and goes on saying so after it has waited.
    const IS_THERE: &str = "SELECT EXISTS (SELECT 1 FROM pg_class WHERE relname = $1 AND relnamespace = \
        (SELECT relnamespace FROM pg_class WHERE oid = 'audit_events'::regclass))";
    let name = partition(day);
    let mut tx = pool.begin_with(BEGIN).await?;
    // Nearly always: then nobody is waited for.
    if sqlx::query_scalar(IS_THERE).bind(&name).fetch_one(&mut *tx).await? {
        return Ok(());
    }
    sqlx::query(LOCK_TIMEOUT).execute(&mut *tx).await?;
    sqlx::query(LOCK_PARTITIONS).execute(&mut *tx).await?;
    let there: bool = sqlx::query_scalar(IS_THERE).bind(&name).fetch_one(&mut *tx).await?;
    if !there {
        let (from, to) = (day.start_of_day(), day.start_of_day().plus(DAY));
        let (from, to) = (from.as_micros(), to.as_micros());
        for ddl in [
            format!("CREATE TABLE {name} (LIKE audit_events INCLUDING ALL)"),
            format!("ALTER TABLE audit_events ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to})"),
        ] {
            sqlx::query(AssertSqlSafe(ddl)).execute(&mut *tx).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}

/// Drops the oldest partition whose every event is older than `cut`. Answers whether there was one.
///
/// Dropping needs the table for itself for a moment. It gives up rather than hold up the ledger behind
/// somebody's long export; the next try comes.
pub(super) async fn drop_partition(pool: &PgPool, cut: Timestamp) -> Result<bool, StoreError> {
    let mut tx = pool.begin_with(BEGIN).await?;
    sqlx::query(LOCK_TIMEOUT).execute(&mut *tx).await?;
    sqlx::query(LOCK_PARTITIONS).execute(&mut *tx).await?;
    let oldest: Option<String> = sqlx::query_scalar(
        "SELECT MIN(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'audit_events'::regclass",
    )
    .fetch_one(&mut *tx)
    .await?;
    let Some(oldest) = oldest.filter(|name| *name < partition(cut)) else { return Ok(false) };
    sqlx::query(AssertSqlSafe(format!("DROP TABLE {oldest}"))).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(true)
}

/// Wakes the replicas that listen. Only a hint: whoever misses it finds the change by polling.
pub(super) async fn notify(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL).execute(connection).await?;
    Ok(())
}

/// Hears of changes as they are committed.
pub struct Notifications(PgListener);

// === impl Notifications ===

impl Notifications {
    /// Starts to listen, where the engine can tell: PostgreSQL without a pooler in between.
    ///
    /// # Errors
    /// The database is away, or a pooler refuses a connection that wants to listen.
    pub async fn listen(store: &Store) -> Result<Option<Self>, StoreError> {
        let Store::Postgres(pool) = store else { return Ok(None) };
        Ok(listen_on(pool).await?.map(Self))
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

/// Listens on a connection of its own, unless a pooler is in between.
///
/// One that hands each transaction to another connection would leave the `LISTEN` on whichever it was, and from then on
/// hand notifications to whoever has that: sqlx fails a statement to whose answer they do not belong. So the connection
/// asks for a setting of ours when it begins. A pooler refuses what it does not know, or leaves it out.
async fn listen_on(pool: &PgPool) -> Result<Option<PgListener>, StoreError> {
    let options = PgConnectOptions::clone(&pool.connect_options()).options([(LISTENS, "on")]);
    let own = PgPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE).connect_with(options).await?;
    let direct: Option<String> =
        sqlx::query_scalar("SELECT current_setting($1, TRUE)").bind(LISTENS).fetch_one(&own).await?;
    if direct.as_deref() != Some("on") {
        own.close().await;
        return Ok(None);
    }
    let mut listener = PgListener::connect_with(&own).await?;
    listener.listen(CHANNEL).await?;
    Ok(Some(listener))
}
