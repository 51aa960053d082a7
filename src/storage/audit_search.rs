//! Finding audit events. Each way to look has a text of its own, because each needs another index; a test
//! asks both engines for their plans.

use futures_util::TryStreamExt;
use sqlx::FromRow;
use uuid::Uuid;

use super::engine::read;
use super::{Store, StoreError, statements};
use crate::domain::audit::Columns;
use crate::domain::chain_check::{Found, Window};
use crate::domain::time::Timestamp;

/// What is read of an event.
macro_rules! columns {
    () => {
        "writer, seq, at, prev, hash, kind, outcome, client_id, jti, txn, continues, person, about, event"
    };
}

/// A page of what fits the filter in a window, after a cursor, found in a certain way. A `+` before a column keeps both
/// engines from using an index on it.
macro_rules! page {
    (@select $access:literal, $at:literal, $after:literal) => {
        concat!(
            "SELECT ", columns!(), " FROM audit_events WHERE ", $access,
            " AND ", $at, " >= $1 AND ", $at, " <= $2 AND (", $after, ")
            AND (CAST($5 AS TEXT) IS NULL OR client_id = $5) AND (CAST($6 AS TEXT) IS NULL OR kind = $6)
            AND (CAST($7 AS TEXT) IS NULL OR outcome = $7) AND (CAST($8 AS TEXT) IS NULL OR jti = $8)
            AND (CAST($9 AS TEXT) IS NULL OR txn = $9) AND (CAST($13 AS TEXT) IS NULL OR person = $13)
            AND (CAST($14 AS TEXT) IS NULL OR client_id = $14 OR about = $14)
            AND (CAST($11 AS BIGINT) IS NULL OR CAST($12 AS BIGINT) IS NOT NULL)"
        )
    };
    (@both $after:literal, $order:literal, $access:literal) => {
        concat!(page!(@select $access, "at", $after), " ORDER BY ", $order, " LIMIT $10")
    };
    (@both $after:literal, $order:literal, $first:literal or $at:literal $second:literal) => {
        concat!(
            page!(@select $first, "at", $after), " UNION ALL ", page!(@select $second, $at, $after),
            " ORDER BY ", $order, " LIMIT $10"
        )
    };
    (newest $($access:tt)+) => {
        page!(@both "at < $2 OR writer < $3 OR (writer = $3 AND seq < $4)", "at DESC, writer DESC, seq DESC", $($access)+)
    };
    (oldest $($access:tt)+) => {
        page!(@both "at > $1 OR writer > $3 OR (writer = $3 AND seq > $4)", "at, writer, seq", $($access)+)
    };
}

statements! {
    EVENTS_BY_TIME = page!(newest "TRUE");
    EVENTS_BY_TIME_OLDEST_FIRST = page!(oldest "TRUE");

    EVENTS_OF_CLIENT = page!(newest "client_id = $5");
    EVENTS_OF_CLIENT_OLDEST_FIRST = page!(oldest "client_id = $5");

    /// What a client did, and what was done to it; both at once are among the first.
    EVENTS_ABOUT_CLIENT = page!(newest "client_id = $14" or "at" "about = $14 AND (client_id IS NULL OR client_id <> $14)");
    EVENTS_ABOUT_CLIENT_OLDEST_FIRST = page!(oldest "client_id = $14" or "at" "about = $14 AND (client_id IS NULL OR client_id <> $14)");

    EVENTS_OF_PERSON = page!(newest "person = $13");
    EVENTS_OF_PERSON_OLDEST_FIRST = page!(oldest "person = $13");

    EVENTS_OF_KIND = page!(newest "kind = $6 AND kind <> 'token_issued'");
    EVENTS_OF_KIND_OLDEST_FIRST = page!(oldest "kind = $6 AND kind <> 'token_issued'");

    EVENTS_REFUSED = page!(newest "outcome = 'refused'");
    EVENTS_REFUSED_OLDEST_FIRST = page!(oldest "outcome = 'refused'");

    /// Its own event is near the time that it tells; others are few.
    EVENTS_OF_TOKEN = page!(newest
        "at >= $11 AND at <= $12 AND jti = $8 AND kind = 'token_issued'"
        or "+at" "jti = $8 AND jti IS NOT NULL AND kind <> 'token_issued'"
    );
    EVENTS_OF_TOKEN_OLDEST_FIRST = page!(oldest
        "at >= $11 AND at <= $12 AND jti = $8 AND kind = 'token_issued'"
        or "+at" "jti = $8 AND jti IS NOT NULL AND kind <> 'token_issued'"
    );

    /// The event that began it is near the time that it tells; the others continue it.
    EVENTS_OF_TXN = page!(newest
        "at >= $11 AND at <= $12 AND txn = $9 AND NOT continues" or "+at" "txn = $9 AND continues"
    );
    EVENTS_OF_TXN_OLDEST_FIRST = page!(oldest
        "at >= $11 AND at <= $12 AND txn = $9 AND NOT continues" or "+at" "txn = $9 AND continues"
    );

    EVENTS_IN_CHAINS = concat!(
        "SELECT ", columns!(), " FROM audit_events WHERE at >= $1 AND at < $2 ORDER BY writer, seq"
    );

    /// The same for SQLite, which would sort every event of the window in a file: without the index on the
    /// time it reads them in the order that they are wanted in.
    EVENTS_IN_CHAINS_AS_STORED = concat!(
        "SELECT ", columns!(), " FROM audit_events WHERE +at >= $1 AND +at < $2 ORDER BY writer, seq"
    );

    EVENTS_IN_TIME = concat!(
        "SELECT ", columns!(), " FROM audit_events WHERE at >= $1 AND at < $2 ORDER BY at, writer, seq"
    );

    /// The events that say something about others.
    EVENT_MARKS = concat!(
        "SELECT ", columns!(), " FROM audit_events
        WHERE kind IN ('started', 'events_dropped') AND kind <> 'token_issued' ORDER BY at"
    );

    EVENT = concat!("SELECT ", columns!(), " FROM audit_events WHERE writer = $1 AND seq = $2");

    CHAIN_EVENTS = concat!(
        "SELECT ", columns!(), " FROM audit_events WHERE writer = $1 AND seq >= $2 AND seq <= $3 ORDER BY seq"
    );

    EVENTS_BEFORE = "SELECT EXISTS (SELECT 1 FROM audit_events WHERE at < $1)";

    EVENTS_NEWEST = "SELECT at FROM audit_events WHERE at > $1 AND at <= $2 ORDER BY at DESC LIMIT 1";
}

/// Which events a list shows. What is absent fits all.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// From this time on.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
    /// Of this client.
    pub client_id: Option<String>,
    /// Of this client, or done to it.
    pub about: Option<String>,
    /// Of this person.
    pub person: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// About this token, or done with it. The times between which it was issued, if that can be told.
    pub jti: Option<(String, Option<Window>)>,
    /// Of this chain of tokens. The times between which that was begun, if that can be told.
    pub txn: Option<(String, Option<Window>)>,
}

/// Where a page of events starts: after this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventCursor {
    /// When it was recorded.
    pub at: Timestamp,
    /// Its chain.
    pub writer: Uuid,
    /// Its place.
    pub seq: u64,
}

/// A way to find events, in both orders.
struct Way {
    newest_first: &'static str,
    oldest_first: &'static str,
}

/// Where a page begins and the window ends.
struct Place {
    from: i64,
    to: i64,
    writer: Uuid,
    seq: i64,
}

/// In which order events are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventOrder {
    /// Chain after chain.
    Chains,
    /// As time went on.
    Time,
}

#[derive(FromRow)]
struct EventRow {
    writer: Uuid,
    seq: i64,
    at: i64,
    prev: Vec<u8>,
    hash: Vec<u8>,
    kind: String,
    outcome: String,
    client_id: Option<String>,
    jti: Option<String>,
    txn: Option<String>,
    continues: bool,
    person: Option<String>,
    about: Option<String>,
    event: String,
}

// === impl EventRow ===

impl From<EventRow> for Found {
    fn from(row: EventRow) -> Self {
        Self {
            writer: row.writer,
            seq: row.seq.unsigned_abs(),
            at: Timestamp::from_micros(row.at),
            prev: row.prev,
            hash: row.hash,
            columns: Some(Columns {
                kind: row.kind.into(),
                outcome: row.outcome.into(),
                client_id: row.client_id,
                jti: row.jti,
                txn: row.txn,
                continues: row.continues,
                person: row.person,
                about: row.about,
            }),
            text: row.event,
        }
    }
}

// === impl Store ===

impl Store {
    /// Events that fit, newest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn events(
        &self,
        filter: &EventFilter,
        after: Option<EventCursor>,
        limit: u32,
    ) -> Result<Vec<Found>, StoreError> {
        let newest = filter.newest();
        let after = after.unwrap_or(EventCursor {
            at: Timestamp::from_micros(i64::MAX),
            writer: Uuid::max(),
            seq: i64::MAX.unsigned_abs(),
        });
        // A cursor from beyond the window is before all of it.
        let (at, writer, seq) = if after.at.as_micros() > newest {
            (newest, Uuid::max(), i64::MAX)
        } else {
            (after.at.as_micros(), after.writer, after.seq.cast_signed())
        };
        let (way, near) = filter.way();
        let place = Place { from: filter.oldest(), to: at, writer, seq };
        self.found(way.newest_first, filter, (place, near), limit).await
    }

    /// Events that fit, oldest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn events_oldest_first(
        &self,
        filter: &EventFilter,
        after: Option<EventCursor>,
        limit: u32,
    ) -> Result<Vec<Found>, StoreError> {
        let (oldest, to) = (filter.oldest(), filter.newest());
        let place = match after.filter(|after| after.at.as_micros() >= oldest) {
            Some(after) => {
                Place { from: after.at.as_micros(), to, writer: after.writer, seq: after.seq.cast_signed() }
            }
            None => Place { from: oldest, to, writer: Uuid::nil(), seq: -1 },
        };
        let (way, near) = filter.way();
        self.found(way.oldest_first, filter, (place, near), limit).await
    }

    async fn found(
        &self,
        sql: &'static str,
        filter: &EventFilter,
        (place, near): (Place, Option<Window>),
        limit: u32,
    ) -> Result<Vec<Found>, StoreError> {
        let rows = read!(self, pool => {
            sqlx::query_as::<_, EventRow>(sql)
                .bind(place.from)
                .bind(place.to)
                .bind(place.writer)
                .bind(place.seq)
                .bind(&filter.client_id)
                .bind(&filter.kind)
                .bind(&filter.outcome)
                .bind(filter.jti.as_ref().map(|(jti, _)| jti))
                .bind(filter.txn.as_ref().map(|(txn, _)| txn))
                .bind(i64::from(limit))
                .bind(near.map(|near| near.from.as_micros()))
                .bind(near.map(|near| near.to.as_micros()))
                .bind(&filter.person)
                .bind(&filter.about)
                .fetch_all(pool)
                .await
        })?;
        Ok(rows.into_iter().map(Found::from).collect())
    }

    /// Hands over every event of a window, one after the other, until one is refused.
    ///
    /// # Errors
    /// The database is away, or what the receiver answers.
    pub async fn each_event<E: From<StoreError>>(
        &self,
        window: Window,
        order: EventOrder,
        mut receive: impl FnMut(Found) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = match (order, self) {
            (EventOrder::Chains, Self::Postgres(_)) => EVENTS_IN_CHAINS,
            (EventOrder::Chains, Self::Sqlite { .. }) => EVENTS_IN_CHAINS_AS_STORED,
            (EventOrder::Time, _) => EVENTS_IN_TIME,
        };
        read!(self, pool => {
            let mut rows = sqlx::query_as::<_, EventRow>(sql)
                .bind(window.from.as_micros())
                .bind(window.to.as_micros())
                .fetch(pool);
            while let Some(row) = rows.try_next().await.map_err(StoreError::from)? {
                receive(row.into())?;
            }
        });
        Ok(())
    }

    /// Whether there are events from before `cut`.
    ///
    /// # Errors
    /// The database is away.
    pub async fn has_events_before(&self, cut: Timestamp) -> Result<bool, StoreError> {
        Ok(read!(self, pool => {
            sqlx::query_scalar(EVENTS_BEFORE).bind(cut.as_micros()).fetch_one(pool).await
        })?)
    }

    /// The events that say something about others: starts of chains, and retention; oldest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn marks(&self) -> Result<Vec<Found>, StoreError> {
        let rows = read!(self, pool => sqlx::query_as::<_, EventRow>(EVENT_MARKS).fetch_all(pool).await)?;
        Ok(rows.into_iter().map(Found::from).collect())
    }

    /// The events of a chain in these places, in their order.
    ///
    /// # Errors
    /// The database is away.
    pub async fn events_of_chain(
        &self,
        writer: Uuid,
        places: std::ops::RangeInclusive<u64>,
    ) -> Result<Vec<Found>, StoreError> {
        let (first, last) = (places.start().cast_signed(), places.end().cast_signed());
        let rows = read!(self, pool => {
            sqlx::query_as::<_, EventRow>(CHAIN_EVENTS)
                .bind(writer)
                .bind(first)
                .bind(last)
                .fetch_all(pool)
                .await
        })?;
        Ok(rows.into_iter().map(Found::from).collect())
    }

    /// When the newest event after a time happened, of those that are no newer than another.
    ///
    /// # Errors
    /// The database is away.
    pub async fn newest_event_between(
        &self,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let at: Option<i64> = read!(self, pool => {
            sqlx::query_scalar(EVENTS_NEWEST)
                .bind(after.as_micros())
                .bind(until.as_micros())
                .fetch_optional(pool)
                .await
        })?;
        Ok(at.map(Timestamp::from_micros))
    }

    /// The event in this place.
    ///
    /// # Errors
    /// The database is away.
    pub async fn event(&self, writer: Uuid, seq: u64) -> Result<Option<Found>, StoreError> {
        let row: Option<EventRow> = read!(self, pool => {
            sqlx::query_as(EVENT).bind(writer).bind(seq.cast_signed()).fetch_optional(pool).await
        })?;
        Ok(row.map(Found::from))
    }
}

// === impl EventFilter ===

impl EventFilter {
    fn oldest(&self) -> i64 {
        self.from.map_or(i64::MIN, Timestamp::as_micros)
    }

    fn newest(&self) -> i64 {
        self.to.map_or(i64::MAX, |to| to.as_micros().saturating_sub(1))
    }

    /// The way whose index leaves the least to look at, and where a token's own event can only be.
    fn way(&self) -> (Way, Option<Window>) {
        let never = Window { from: Timestamp::from_micros(1), to: Timestamp::from_micros(0) };
        if let Some((_, near)) = &self.jti {
            (way(EVENTS_OF_TOKEN, EVENTS_OF_TOKEN_OLDEST_FIRST), Some(near.unwrap_or(never)))
        } else if let Some((_, near)) = &self.txn {
            (way(EVENTS_OF_TXN, EVENTS_OF_TXN_OLDEST_FIRST), Some(near.unwrap_or(never)))
        } else if self.person.is_some() {
            (way(EVENTS_OF_PERSON, EVENTS_OF_PERSON_OLDEST_FIRST), None)
        } else if self.client_id.is_some() {
            (way(EVENTS_OF_CLIENT, EVENTS_OF_CLIENT_OLDEST_FIRST), None)
        } else if self.about.is_some() {
            (way(EVENTS_ABOUT_CLIENT, EVENTS_ABOUT_CLIENT_OLDEST_FIRST), None)
        } else if self.kind.as_deref().is_some_and(|kind| kind != "token_issued") {
            (way(EVENTS_OF_KIND, EVENTS_OF_KIND_OLDEST_FIRST), None)
        } else if self.outcome.as_deref() == Some("refused") {
            (way(EVENTS_REFUSED, EVENTS_REFUSED_OLDEST_FIRST), None)
        } else {
            (way(EVENTS_BY_TIME, EVENTS_BY_TIME_OLDEST_FIRST), None)
        }
    }
}

const fn way(newest_first: &'static str, oldest_first: &'static str) -> Way {
    Way { newest_first, oldest_first }
}
