//! Sign-ins by another provider that have begun and not come back yet.

use sqlx::FromRow;

use super::engine::{execute, read, within};
use super::{Store, StoreError, Tx, statements};
use crate::domain::time::Timestamp;

statements! {
    INSERT_START = r"
        INSERT INTO sign_in_starts (state, browser, salt, issuer, next, network, created_at, ends_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

    /// Those that still count.
    COUNT_STARTS = "SELECT COUNT(*) FROM sign_in_starts WHERE ends_at > $1";

    /// All of a network but the newest.
    DROP_OLDER_STARTS = r"
        DELETE FROM sign_in_starts
        WHERE network = $1 AND state NOT IN (
            SELECT state FROM sign_in_starts WHERE network = $1 ORDER BY created_at DESC, state LIMIT $2)";

    /// Whoever removes it has used it. Another browser cannot.
    TAKE_START = r"
        DELETE FROM sign_in_starts WHERE state = $1 AND browser = $2 AND ends_at > $3
        RETURNING salt, issuer, next";

    START_EXISTS = "SELECT EXISTS (SELECT 1 FROM sign_in_starts WHERE state = $1 AND ends_at > $2)";

    FORGET_STARTS = "DELETE FROM sign_in_starts WHERE ends_at < $1";
}

/// A sign-in that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInStart {
    /// What makes it unlike any other, together with what the browser has.
    pub salt: Vec<u8>,
    /// The provider that it was sent to.
    pub issuer: String,
    /// The page to go to when it is done.
    pub next: String,
}

#[derive(FromRow)]
struct StartRow {
    salt: Vec<u8>,
    issuer: String,
    next: String,
}

// === impl Store ===

impl Store {
    /// How many sign-ins have begun and still count.
    ///
    /// # Errors
    /// The database is away.
    pub async fn sign_in_starts(&self, now: Timestamp) -> Result<i64, StoreError> {
        Ok(read!(self, pool => {
            sqlx::query_scalar(COUNT_STARTS).bind(now.as_micros()).fetch_one(pool).await
        })?)
    }

    /// Whether one with the state of this hash has begun, in whatever browser.
    ///
    /// # Errors
    /// The database is away.
    pub async fn has_sign_in_start(&self, state: &[u8], now: Timestamp) -> Result<bool, StoreError> {
        Ok(read!(self, pool => {
            sqlx::query_scalar(START_EXISTS).bind(state).bind(now.as_micros()).fetch_one(pool).await
        })?)
    }
}

// === impl Tx ===

impl Tx {
    /// Notes that a sign-in has begun, in the browser of the second hash. Of those from the same network only the
    /// newest `kept` stay.
    ///
    /// # Errors
    /// The database is away.
    pub async fn begin_sign_in(
        &mut self,
        (state, browser): (&[u8], &[u8]),
        start: &SignInStart,
        (network, kept): (&str, u32),
        (now, ends_at): (Timestamp, Timestamp),
    ) -> Result<(), StoreError> {
        execute!(
            self,
            INSERT_START,
            state,
            browser,
            &start.salt[..],
            start.issuer.as_str(),
            start.next.as_str(),
            network,
            now.as_micros(),
            ends_at.as_micros(),
        )?;
        execute!(self, DROP_OLDER_STARTS, network, i64::from(kept))?;
        Ok(())
    }

    /// Takes the sign-in that has begun with this state in this browser. It is there once.
    ///
    /// # Errors
    /// The database is away.
    pub async fn take_sign_in(
        &mut self,
        (state, browser): (&[u8], &[u8]),
        now: Timestamp,
    ) -> Result<Option<SignInStart>, StoreError> {
        let row: Option<StartRow> = within!(self, connection => {
            sqlx::query_as(TAKE_START)
                .bind(state)
                .bind(browser)
                .bind(now.as_micros())
                .fetch_optional(connection)
                .await
        })?;
        Ok(row.map(|StartRow { salt, issuer, next }| SignInStart { salt, issuer, next }))
    }

    /// Removes those whose time was over before `now`.
    ///
    /// # Errors
    /// The database is away.
    pub async fn forget_sign_in_starts(&mut self, now: Timestamp) -> Result<(), StoreError> {
        execute!(self, FORGET_STARTS, now.as_micros())?;
        Ok(())
    }
}
