//! Counting the audit's events: how far each chain has been counted, and adding to the tables of the statistics.
//! What reads those is in [`super::statistics`].

use serde::Serialize;
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::engine::{Inner, execute, read};
use super::{Store, StoreError, Tx, statements};
use crate::domain::tally::Tally;
use crate::domain::time::{DAY, HOUR, Timestamp};

statements! {
    UNCOUNTED_CHAINS = r"
        SELECT writer, ended, settled, counted_seq, counted_at
        FROM audit_chains WHERE NOT counted_whole ORDER BY started_at, writer";

    /// The time is not needed to find them: it spares PostgreSQL the partitions from before.
    UNCOUNTED_EVENTS = r"
        SELECT seq, at, event FROM audit_events
        WHERE writer = $1 AND seq > $2 AND at >= $3 ORDER BY seq LIMIT $4";

    /// Only from where it was when that was read: another replica may have counted the same events.
    ADVANCE_COUNTED = r"
        UPDATE audit_chains SET counted_seq = $3, counted_at = $4, counted_whole = $5
        WHERE writer = $1 AND counted_seq = $2 AND NOT counted_whole";

    NOTE_COUNTED = "UPDATE counters SET value = $1 WHERE name = 'statistics' AND value < $1";

    CLIENT_IS_REGISTERED = "SELECT EXISTS (SELECT 1 FROM clients WHERE client_id = $1)";

    FORGET_CLIENT_USES = "DELETE FROM client_uses WHERE client = $1";

    FORGET_SECRET_USES = "DELETE FROM secret_uses WHERE client = $1 AND (CAST($2 AS TEXT) IS NULL OR secret_id = $2)";

    FORGET_TOTALS = r"
        DELETE FROM token_totals WHERE (hour, grant_type, outcome) IN (
            SELECT hour, grant_type, outcome FROM token_totals WHERE hour < $1 ORDER BY hour LIMIT $2)";

    FORGET_HOURS = r"
        DELETE FROM token_hours WHERE (client_id, hour, grant_type, outcome) IN (
            SELECT client_id, hour, grant_type, outcome FROM token_hours WHERE hour < $1 ORDER BY hour LIMIT $2)";

    FORGET_DAYS = r"
        DELETE FROM token_days WHERE (day, client_id, grant_type, outcome) IN (
            SELECT day, client_id, grant_type, outcome FROM token_days WHERE day < $1 ORDER BY day LIMIT $2)";

    FORGET_AUDIENCES = r"
        DELETE FROM audience_hours WHERE (audience, hour, client_id) IN (
            SELECT audience, hour, client_id FROM audience_hours WHERE hour < $1 ORDER BY hour LIMIT $2)";

    FORGET_DELEGATIONS = r"
        DELETE FROM delegations WHERE (day, subject, actor, audience) IN (
            SELECT day, subject, actor, audience FROM delegations WHERE day < $1 ORDER BY day LIMIT $2)";

    UNCOUNT = "UPDATE audit_chains SET counted_seq = 0, counted_at = 0, counted_whole = FALSE";

    EMPTY_TOTALS = "DELETE FROM token_totals";

    EMPTY_HOURS = "DELETE FROM token_hours";

    EMPTY_DAYS = "DELETE FROM token_days";

    EMPTY_AUDIENCES = "DELETE FROM audience_hours";

    EMPTY_DELEGATIONS = "DELETE FROM delegations";
}

/// For how long tokens and refusals of each client are kept by hour.
pub const HOURS_KEPT: u32 = 14;

/// For how many days everything by day is kept, and the totals by hour.
pub const DAYS_KEPT: u32 = 400;

/// For how many whole hours who got tokens for what is kept.
const AUDIENCES_KEPT: u32 = 2;

/// Adds rows, which come as one JSON value. How that is taken apart is all that the engines differ in.
struct Upsert {
    postgres: &'static str,
    sqlite: &'static str,
}

macro_rules! upsert {
    ($into:literal, $rest:literal) => {
        Upsert {
            postgres: concat!(
                $into,
                " FROM jsonb_to_recordset($1) AS row (a TEXT, b TEXT, c TEXT, at BIGINT, count BIGINT) ",
                $rest
            ),
            sqlite: concat!(
                $into,
                " FROM (SELECT value ->> 'a' AS a, value ->> 'b' AS b, value ->> 'c' AS c, value ->> 'at' AS at,
                    value ->> 'count' AS count FROM json_each($1)) AS row ",
                $rest
            ),
        }
    };
}

const ADD_TOTALS: Upsert = upsert!(
    "INSERT INTO token_totals (hour, grant_type, outcome, tokens) SELECT row.at, row.b, row.c, row.count",
    "WHERE TRUE ON CONFLICT (hour, grant_type, outcome) DO UPDATE SET tokens = token_totals.tokens + excluded.tokens"
);

const ADD_HOURS: Upsert = upsert!(
    "INSERT INTO token_hours (client_id, hour, grant_type, outcome, tokens)
     SELECT row.a, row.at, row.b, row.c, row.count",
    "WHERE TRUE ON CONFLICT (client_id, hour, grant_type, outcome)
     DO UPDATE SET tokens = token_hours.tokens + excluded.tokens"
);

const ADD_DAYS: Upsert = upsert!(
    "INSERT INTO token_days (client_id, day, grant_type, outcome, tokens)
     SELECT row.a, row.at, row.b, row.c, row.count",
    "WHERE TRUE ON CONFLICT (day, client_id, grant_type, outcome)
     DO UPDATE SET tokens = token_days.tokens + excluded.tokens"
);

const ADD_AUDIENCES: Upsert = upsert!(
    "INSERT INTO audience_hours (audience, client_id, hour, tokens) SELECT row.a, row.b, row.at, row.count",
    "WHERE TRUE ON CONFLICT (audience, hour, client_id)
     DO UPDATE SET tokens = audience_hours.tokens + excluded.tokens"
);

/// Its `at` is when it was last; the day is made from that.
const ADD_DELEGATIONS: Upsert = upsert!(
    "INSERT INTO delegations (subject, actor, audience, day, last_at, exchanges)
     SELECT row.a, row.b, row.c, row.at - row.at % 86400000000, row.at, row.count",
    "WHERE TRUE ON CONFLICT (day, subject, actor, audience) DO UPDATE SET
         exchanges = delegations.exchanges + excluded.exchanges,
         last_at = CASE WHEN excluded.last_at > delegations.last_at THEN excluded.last_at ELSE delegations.last_at END"
);

/// A client that was registered later is another one of the same name.
const ADD_CLIENT_USES: Upsert = upsert!(
    "INSERT INTO client_uses (client, last_token_at) SELECT clients.uid, row.at",
    "JOIN clients ON clients.client_id = row.a WHERE row.at >= clients.created_at ORDER BY 1
     ON CONFLICT (client) DO UPDATE SET last_token_at = excluded.last_token_at
     WHERE client_uses.last_token_at < excluded.last_token_at"
);

const ADD_SECRET_USES: Upsert = upsert!(
    "INSERT INTO secret_uses (client, secret_id, last_used_at) SELECT clients.uid, row.b, row.at",
    "JOIN clients ON clients.client_id = row.a WHERE row.at >= clients.created_at ORDER BY 1, 2
     ON CONFLICT (client, secret_id) DO UPDATE SET last_used_at = excluded.last_used_at
     WHERE secret_uses.last_used_at < excluded.last_used_at"
);

/// A chain whose events may not all be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UncountedChain {
    /// The chain.
    pub writer: Uuid,
    /// Whether it ended in order: nothing follows what is there.
    pub ended: bool,
    /// Whether a later chain has named it to its end.
    pub settled: bool,
    /// How far it is counted.
    pub counted: Place,
}

/// A place in a chain: that of an event, or the one before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The event's, from 1.
    pub seq: i64,
    /// When it was recorded.
    pub at: Timestamp,
}

/// An event to count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UncountedEvent {
    /// Where it stands.
    pub place: Place,
    /// What it says.
    pub text: String,
}

#[derive(FromRow)]
struct ChainRow {
    writer: Uuid,
    ended: bool,
    settled: bool,
    counted_seq: i64,
    counted_at: i64,
}

#[derive(Serialize)]
struct Row<'a> {
    a: &'a str,
    b: &'a str,
    c: &'a str,
    at: i64,
    count: u64,
}

// === impl Store ===

impl Store {
    /// The chains that may have events that are not counted.
    ///
    /// # Errors
    /// The database is away.
    pub async fn uncounted_chains(&self) -> Result<Vec<UncountedChain>, StoreError> {
        let rows: Vec<ChainRow> =
            read!(self, pool => sqlx::query_as(UNCOUNTED_CHAINS).fetch_all(pool).await)?;
        let chain = |row: ChainRow| UncountedChain {
            writer: row.writer,
            ended: row.ended,
            settled: row.settled,
            counted: Place { seq: row.counted_seq, at: Timestamp::from_micros(row.counted_at) },
        };
        Ok(rows.into_iter().map(chain).collect())
    }

    /// At most `limit` of the events of a chain that follow a place, in their order.
    ///
    /// # Errors
    /// The database is away.
    pub async fn uncounted_events(
        &self,
        writer: Uuid,
        after: Place,
        limit: u32,
    ) -> Result<Vec<UncountedEvent>, StoreError> {
        let rows: Vec<(i64, i64, String)> = read!(self, pool => sqlx::query_as(UNCOUNTED_EVENTS)
            .bind(writer)
            .bind(after.seq)
            .bind(after.at.as_micros())
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)?;
        let event =
            |(seq, at, text)| UncountedEvent { place: Place { seq, at: Timestamp::from_micros(at) }, text };
        Ok(rows.into_iter().map(event).collect())
    }

    /// Whether there is a client of this name.
    ///
    /// # Errors
    /// The database is away.
    pub async fn is_registered(&self, client_id: &str) -> Result<bool, StoreError> {
        Ok(read!(self, pool => {
            sqlx::query_scalar(CLIENT_IS_REGISTERED).bind(client_id).fetch_one(pool).await
        })?)
    }
}

// === impl Tx ===

impl Tx {
    /// Says that a chain is counted to another place, and whether that is its end. Answers whether it was counted
    /// to the place before until now: if not, somebody else has counted it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn advance_counted(
        &mut self,
        chain: &UncountedChain,
        to: Place,
        whole: bool,
    ) -> Result<bool, StoreError> {
        let (writer, from) = (chain.writer, chain.counted.seq);
        Ok(execute!(self, ADVANCE_COUNTED, writer, from, to.seq, to.at.as_micros(), whole)? == 1)
    }

    /// Adds what events add up to.
    ///
    /// # Errors
    /// The database is away.
    pub async fn add_tally(&mut self, tally: &Tally) -> Result<(), StoreError> {
        let row = |a, b, c, at: Timestamp, count| Row { a, b, c, at: at.as_micros(), count };
        let mut totals = std::collections::BTreeMap::new();
        let mut days = std::collections::BTreeMap::new();
        let mut hours = Vec::with_capacity(tally.requests.len());
        for (requests, count) in &tally.requests {
            let (grant, outcome) = (requests.grant_type, requests.outcome.as_str());
            *totals.entry((requests.hour, grant, outcome)).or_insert(0) += count;
            let client_id = requests.client_id.as_str();
            *days.entry((requests.hour.start_of_day(), client_id, grant, outcome)).or_insert(0) += count;
            hours.push(row(client_id, grant, outcome, requests.hour, *count));
        }
        let totals =
            totals.into_iter().map(|((hour, grant, outcome), count)| row("", grant, outcome, hour, count));
        let days = days
            .into_iter()
            .map(|((day, client, grant, outcome), count)| row(client, grant, outcome, day, count));
        let addressed = tally.addressed.iter();
        let addressed = addressed.map(|(to, count)| row(&to.audience, &to.client_id, "", to.hour, *count));
        let passages = tally.passages.iter();
        let passages = passages.map(|(who, passed)| {
            row(&who.subject, &who.actor, &who.audience, passed.last_at, passed.exchanges)
        });
        let clients = tally.tokens_at.iter().map(|(client, at)| row(client, "", "", *at, 0));
        let secrets = tally.secrets_at.iter().map(|((client, secret), at)| row(client, secret, "", *at, 0));
        // Always in this order, and each in the order of its rows: two replicas never wait for each other.
        self.upsert(&ADD_TOTALS, totals.collect()).await?;
        self.upsert(&ADD_HOURS, hours).await?;
        self.upsert(&ADD_DAYS, days.collect()).await?;
        self.upsert(&ADD_AUDIENCES, addressed.collect()).await?;
        self.upsert(&ADD_DELEGATIONS, passages.collect()).await?;
        self.upsert(&ADD_CLIENT_USES, clients.collect()).await?;
        self.upsert(&ADD_SECRET_USES, secrets.collect()).await
    }

    async fn upsert(&mut self, upsert: &Upsert, rows: Vec<Row<'_>>) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        match &mut self.inner {
            Inner::Postgres(tx) => {
                sqlx::query(upsert.postgres).bind(Json(rows)).execute(&mut **tx).await?;
            }
            Inner::Sqlite(tx, _) => {
                sqlx::query(upsert.sqlite).bind(Json(rows)).execute(&mut **tx).await?;
            }
        }
        Ok(())
    }

    /// Says that everything that was there at this time is counted.
    ///
    /// # Errors
    /// The database is away.
    pub async fn note_counted(&mut self, at: Timestamp) -> Result<(), StoreError> {
        execute!(self, NOTE_COUNTED, at.as_micros())?;
        Ok(())
    }

    /// Forgets a few of the numbers whose time is over, of each sort. Answers whether there may be more.
    ///
    /// # Errors
    /// The database is away.
    pub async fn forget_statistics(&mut self, now: Timestamp, limit: u32) -> Result<bool, StoreError> {
        let hours = now.minus(DAY * HOURS_KEPT).start_of_hour().as_micros();
        // The first hour and the first day of what is asked for may have begun before that.
        let days = now.minus(DAY * DAYS_KEPT + HOUR).start_of_day().as_micros();
        let audiences = now.minus(HOUR * AUDIENCES_KEPT).start_of_hour().as_micros();
        let mut more = false;
        for (text, before) in [
            (FORGET_TOTALS, days),
            (FORGET_HOURS, hours),
            (FORGET_DAYS, days),
            (FORGET_AUDIENCES, audiences),
            (FORGET_DELEGATIONS, days),
        ] {
            more |= execute!(self, text, before, i64::from(limit))? == u64::from(limit);
        }
        Ok(more)
    }

    /// Forgets everything that was counted, but when clients and secrets were last used, so that all of it is
    /// counted anew.
    ///
    /// # Errors
    /// The database is away.
    pub async fn uncount(&mut self) -> Result<(), StoreError> {
        // First, so that whoever is counting is done.
        for text in [UNCOUNT, EMPTY_TOTALS, EMPTY_HOURS, EMPTY_DAYS, EMPTY_AUDIENCES, EMPTY_DELEGATIONS] {
            execute!(self, text)?;
        }
        Ok(())
    }

    pub(super) async fn forget_client_uses(&mut self, client: Uuid) -> Result<(), StoreError> {
        execute!(self, FORGET_CLIENT_USES, client)?;
        self.forget_secret_uses(client, None).await
    }

    pub(super) async fn forget_secret_uses(
        &mut self,
        client: Uuid,
        secret: Option<&str>,
    ) -> Result<(), StoreError> {
        execute!(self, FORGET_SECRET_USES, client, secret)?;
        Ok(())
    }
}
