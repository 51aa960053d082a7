//! What the statistics are asked. Every text reads a bounded part of a table along its key or an index, which a test
//! asks both engines about.

use sqlx::FromRow;

use super::engine::read;
use super::{Store, StoreError, statements};
use crate::domain::ids::{ClientId, ClientUid, CredentialId, RoleUid};
use crate::domain::time::Timestamp;

statements! {
    /// Steps of any number of hours.
    TOKEN_TOTALS = r"
        SELECT hour - hour % $3 AS at, grant_type, outcome, CAST(SUM(tokens) AS BIGINT) AS tokens
        FROM token_totals WHERE hour >= $1 AND hour < $2 GROUP BY hour - hour % $3, grant_type, outcome";

    TOKEN_HOURS_OF_CLIENT = r"
        SELECT hour AS at, grant_type, outcome, tokens
        FROM token_hours WHERE hour >= $1 AND hour < $2 AND client_id = $3";

    TOKEN_DAYS_OF_CLIENT = r"
        SELECT day AS at, grant_type, outcome, tokens
        FROM token_days WHERE day >= $1 AND day < $2 AND client_id = $3";

    /// Those of one day with the most requests of one sort, and no more than are wanted: a day can have as many rows
    /// as there are clients.
    BUSIEST_CLIENTS_OF_DAY = r"
        SELECT client_id, tokens FROM token_days WHERE day = $1 ORDER BY tokens DESC LIMIT $2";

    DELEGATIONS_OF_DAY = r"
        SELECT subject, actor, audience, exchanges, last_at
        FROM delegations WHERE day = $1 ORDER BY exchanges DESC LIMIT $2";

    DELEGATIONS_OF_SUBJECT = r"
        SELECT subject, actor, audience, exchanges, last_at
        FROM delegations WHERE day = $1 AND subject = $3 ORDER BY exchanges DESC LIMIT $2";

    DELEGATIONS_OF_ACTOR = r"
        SELECT subject, actor, audience, exchanges, last_at
        FROM delegations WHERE day = $1 AND actor = $3 ORDER BY exchanges DESC LIMIT $2";

    /// Of so many rows: there are as many in an hour as clients. Each hour is named, so that no plan goes
    /// through the hours of other audiences.
    CLIENTS_OF_AUDIENCE = r"
        SELECT client_id, CAST(SUM(tokens) AS BIGINT) AS tokens
        FROM (SELECT client_id, tokens FROM audience_hours
              WHERE audience = $1 AND hour IN ($2, $3) LIMIT $4) AS bounded
        GROUP BY client_id ORDER BY 2 DESC, client_id LIMIT $5";

    COUNT_AUDIENCE = r"
        SELECT COUNT(DISTINCT client_id) AS clients, CAST(COALESCE(SUM(tokens), 0) AS BIGINT) AS tokens,
            COUNT(*) AS rows_seen
        FROM (SELECT client_id, tokens FROM audience_hours
              WHERE audience = $1 AND hour IN ($2, $3) LIMIT $4) AS bounded";

    /// The newest tokens of a client, as the audit has them: what lives is not old.
    TOKENS_OF_CLIENT = r"
        SELECT at, event FROM audit_events
        WHERE client_id = $1 AND at >= $2 AND kind = 'token_issued' ORDER BY at DESC LIMIT $3";

    LAST_TOKEN_OF_CLIENT = "SELECT last_token_at FROM client_uses WHERE client = $1";

    LAST_USES_OF_SECRETS = "SELECT secret_id, last_used_at FROM secret_uses WHERE client = $1";

    COUNTED_UNTIL = "SELECT value FROM counters WHERE name = 'statistics' AND value > 0";

    COUNT_CLIENTS_WITH_ROLE = "SELECT COUNT(*) FROM client_roles WHERE role = $1";
}

/// How many requests of one sort there were.
#[derive(Clone, Debug, FromRow, PartialEq, Eq)]
pub struct Counted {
    /// When the hour or day began, in microseconds.
    pub at: i64,
    /// The grant.
    pub grant_type: String,
    /// `issued`, or the error.
    pub outcome: String,
    /// How many.
    pub tokens: i64,
}

/// Who has acted for whom towards what.
#[derive(Clone, Debug, FromRow, PartialEq, Eq)]
pub struct Delegation {
    /// Whose identity was passed on.
    pub subject: String,
    /// Who passed it on.
    pub actor: String,
    /// What the new tokens were for.
    pub audience: String,
    /// How often.
    pub exchanges: i64,
    /// When last, in microseconds.
    pub last_at: i64,
}

/// Where a client stands in a delegation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side<'a> {
    /// Whoever stands where.
    Any,
    /// Its identity is passed on.
    Subject(&'a str),
    /// It passes one on.
    Actor(&'a str),
}

/// From when until before when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// From here on.
    pub from: Timestamp,
    /// Before here.
    pub to: Timestamp,
}

/// How much an audience is used.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Eq)]
pub struct AudienceUse {
    /// By how many clients.
    pub clients: i64,
    /// How many tokens they got for it.
    pub tokens: i64,
    /// How many rows that was counted from.
    pub rows_seen: i64,
}

/// How many rows of an audience are looked at.
pub const AUDIENCE_ROWS: u32 = 50_000;

// === impl Store ===

impl Store {
    /// Requests of all clients together, in steps of so many microseconds.
    ///
    /// # Errors
    /// The database is away.
    pub async fn token_totals(&self, span: Span, step: i64) -> Result<Vec<Counted>, StoreError> {
        Ok(read!(self, pool => sqlx::query_as(TOKEN_TOTALS)
            .bind(span.from.as_micros())
            .bind(span.to.as_micros())
            .bind(step)
            .fetch_all(pool)
            .await)?)
    }

    /// Requests of one client, by hour. Of no registered one, when its name is empty.
    ///
    /// # Errors
    /// The database is away.
    pub async fn token_hours_of(&self, client_id: &str, span: Span) -> Result<Vec<Counted>, StoreError> {
        self.counted_of(TOKEN_HOURS_OF_CLIENT, client_id, span).await
    }

    /// Requests of one client, by day. Of no registered one, when its name is empty.
    ///
    /// # Errors
    /// The database is away.
    pub async fn token_days_of(&self, client_id: &str, span: Span) -> Result<Vec<Counted>, StoreError> {
        self.counted_of(TOKEN_DAYS_OF_CLIENT, client_id, span).await
    }

    async fn counted_of(
        &self,
        sql: &'static str,
        client_id: &str,
        span: Span,
    ) -> Result<Vec<Counted>, StoreError> {
        Ok(read!(self, pool => sqlx::query_as(sql)
            .bind(span.from.as_micros())
            .bind(span.to.as_micros())
            .bind(client_id)
            .fetch_all(pool)
            .await)?)
    }

    /// The most frequent requests of one sort on a day, by whom and how many, most first. An empty name stands for no
    /// registered client.
    ///
    /// # Errors
    /// The database is away.
    pub async fn busiest_clients_of(
        &self,
        day: Timestamp,
        limit: u32,
    ) -> Result<Vec<(String, i64)>, StoreError> {
        Ok(read!(self, pool => sqlx::query_as(BUSIEST_CLIENTS_OF_DAY)
            .bind(day.as_micros())
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)?)
    }

    /// Who has acted for whom towards what on a day, most often first; with a client on one side, if one is named.
    ///
    /// # Errors
    /// The database is away.
    pub async fn delegations_of(
        &self,
        day: Timestamp,
        side: &Side<'_>,
        limit: u32,
    ) -> Result<Vec<Delegation>, StoreError> {
        let (sql, client_id) = match side {
            Side::Any => (DELEGATIONS_OF_DAY, None),
            Side::Subject(client_id) => (DELEGATIONS_OF_SUBJECT, Some(client_id)),
            Side::Actor(client_id) => (DELEGATIONS_OF_ACTOR, Some(client_id)),
        };
        Ok(read!(self, pool => {
            let query = sqlx::query_as(sql).bind(day.as_micros()).bind(i64::from(limit));
            match client_id {
                Some(client_id) => query.bind(*client_id).fetch_all(pool).await,
                None => query.fetch_all(pool).await,
            }
        })?)
    }

    /// The clients that got the most tokens for an audience in two hours, each with how many; and how many there are
    /// in all.
    ///
    /// # Errors
    /// The database is away.
    pub async fn audience_use(
        &self,
        audience: &str,
        hours: [Timestamp; 2],
        limit: u32,
    ) -> Result<(AudienceUse, Vec<(String, i64)>), StoreError> {
        let all = read!(self, pool => sqlx::query_as(COUNT_AUDIENCE)
            .bind(audience)
            .bind(hours[0].as_micros())
            .bind(hours[1].as_micros())
            .bind(i64::from(AUDIENCE_ROWS))
            .fetch_one(pool)
            .await)?;
        let most = read!(self, pool => sqlx::query_as(CLIENTS_OF_AUDIENCE)
            .bind(audience)
            .bind(hours[0].as_micros())
            .bind(hours[1].as_micros())
            .bind(i64::from(AUDIENCE_ROWS))
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)?;
        Ok((all, most))
    }

    /// The newest tokens of a client since a time, newest first: when each was recorded, and its event.
    ///
    /// # Errors
    /// The database is away.
    pub async fn tokens_of(
        &self,
        client_id: &ClientId,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<(Timestamp, String)>, StoreError> {
        let rows: Vec<(i64, String)> = read!(self, pool => sqlx::query_as(TOKENS_OF_CLIENT)
            .bind(client_id.as_str())
            .bind(since.as_micros())
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)?;
        Ok(rows.into_iter().map(|(at, text)| (Timestamp::from_micros(at), text)).collect())
    }

    /// When a client last got a token, as far as is counted.
    ///
    /// # Errors
    /// The database is away.
    pub async fn last_token(&self, client: ClientUid) -> Result<Option<Timestamp>, StoreError> {
        let at: Option<i64> = read!(self, pool => {
            sqlx::query_scalar(LAST_TOKEN_OF_CLIENT).bind(client.0).fetch_optional(pool).await
        })?;
        Ok(at.map(Timestamp::from_micros))
    }

    /// When each credential of a client was last used, as far as is counted.
    ///
    /// # Errors
    /// The database is away.
    pub async fn last_uses(&self, client: ClientUid) -> Result<Vec<(CredentialId, Timestamp)>, StoreError> {
        let rows: Vec<(String, i64)> = read!(self, pool => {
            sqlx::query_as(LAST_USES_OF_SECRETS).bind(client.0).fetch_all(pool).await
        })?;
        // One that is no credential's identifier is of a sort that this version does not know.
        let uses = rows.into_iter().filter_map(|(id, at)| Some((CredentialId::new(id).ok()?, at)));
        Ok(uses.map(|(id, at)| (id, Timestamp::from_micros(at))).collect())
    }

    /// Until when everything is counted; not at all yet, when absent.
    ///
    /// # Errors
    /// The database is away.
    pub async fn counted_until(&self) -> Result<Option<Timestamp>, StoreError> {
        let at: Option<i64> =
            read!(self, pool => sqlx::query_scalar(COUNTED_UNTIL).fetch_optional(pool).await)?;
        Ok(at.map(Timestamp::from_micros))
    }

    /// How many clients have a role.
    ///
    /// # Errors
    /// The database is away.
    pub async fn count_with_role(&self, role: RoleUid) -> Result<u64, StoreError> {
        let count: i64 = read!(self, pool => {
            sqlx::query_scalar(COUNT_CLIENTS_WITH_ROLE).bind(role.0).fetch_one(pool).await
        })?;
        Ok(count.unsigned_abs())
    }
}
