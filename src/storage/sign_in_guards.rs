//! One-time links that set a password, and how often somebody has tried to sign in.

use sqlx::FromRow;
use uuid::Uuid;

use super::engine::{execute, read, within};
use super::{Store, StoreError, Tx, statements};
use crate::domain::ids::AdministratorUid;
use crate::domain::time::Timestamp;

statements! {
    LINK_BY_HASH = "SELECT administrator, ends_at FROM administrator_links WHERE hash = $1 AND ends_at > $2";

    INSERT_LINK = r"
        INSERT INTO administrator_links (hash, administrator, created_at, ends_at) VALUES ($1, $2, $3, $4)";

    /// Whoever removes it has used it.
    USE_LINK = "DELETE FROM administrator_links WHERE hash = $1 AND ends_at > $2";

    VOID_LINKS_OF = "DELETE FROM administrator_links WHERE administrator = $1";

    VOID_FIRST_LINKS = "DELETE FROM administrator_links WHERE administrator IS NULL";

    FORGET_LINKS = "DELETE FROM administrator_links WHERE ends_at < $1";

    /// Counts an attempt before it is looked at, so that many at once are no more than one after the other. No row
    /// comes back while attempts have to wait.
    COUNT_ATTEMPT = r"
        INSERT INTO sign_in_attempts (subject, failures, tried_at, opens_at) VALUES ($1, 1, $2, $2)
        ON CONFLICT (subject) DO UPDATE
        SET failures = CASE WHEN sign_in_attempts.tried_at < $3 THEN 1 ELSE sign_in_attempts.failures + 1 END,
            tried_at = $2
        WHERE sign_in_attempts.opens_at <= $2
        RETURNING failures";

    SHUT_ATTEMPTS = "UPDATE sign_in_attempts SET opens_at = $2 WHERE subject = $1";

    ATTEMPTS_OPEN_AT = "SELECT opens_at FROM sign_in_attempts WHERE subject = $1";

    CLEAR_ATTEMPTS = "DELETE FROM sign_in_attempts WHERE subject = $1";

    /// An attempt that succeeded was no failure.
    TAKE_ATTEMPT_BACK = r"
        UPDATE sign_in_attempts SET failures = failures - 1, opens_at = tried_at
        WHERE subject = $1 AND failures > 0";

    FORGET_ATTEMPTS = "DELETE FROM sign_in_attempts WHERE tried_at < $1";
}

/// A link that is still good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredLink {
    /// Whose password it sets; `None`: it makes the first administrator.
    pub administrator: Option<AdministratorUid>,
    /// Its end.
    pub ends_at: Timestamp,
}

#[derive(FromRow)]
struct LinkRow {
    administrator: Option<Uuid>,
    ends_at: i64,
}

// === impl Store ===

impl Store {
    /// The link that this is the hash of, if it is good at `now`.
    ///
    /// # Errors
    /// The database is away.
    pub async fn administrator_link(
        &self,
        hash: &[u8],
        now: Timestamp,
    ) -> Result<Option<StoredLink>, StoreError> {
        let row = read!(self, pool => {
            sqlx::query_as::<_, LinkRow>(LINK_BY_HASH)
                .bind(hash)
                .bind(now.as_micros())
                .fetch_optional(pool)
                .await
        })?;
        Ok(row.map(|row| StoredLink {
            administrator: row.administrator.map(AdministratorUid),
            ends_at: Timestamp::from_micros(row.ends_at),
        }))
    }
}

// === impl Tx ===

impl Tx {
    /// Makes a link, and voids those for the same before: at any time one is good.
    ///
    /// # Errors
    /// The database is away.
    pub async fn replace_link(
        &mut self,
        hash: &[u8],
        link: &StoredLink,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        match link.administrator {
            Some(uid) => self.void_links_of(uid).await?,
            None => self.void_first_links().await?,
        }
        let uid = link.administrator.map(|uid| uid.0);
        execute!(self, INSERT_LINK, hash, uid, now.as_micros(), link.ends_at.as_micros())?;
        Ok(())
    }

    /// Uses a link up. Answers whether it was still good.
    ///
    /// # Errors
    /// The database is away.
    pub async fn use_link(&mut self, hash: &[u8], now: Timestamp) -> Result<bool, StoreError> {
        Ok(execute!(self, USE_LINK, hash, now.as_micros())? > 0)
    }

    /// Voids the links that set this administrator's password.
    ///
    /// # Errors
    /// The database is away.
    pub async fn void_links_of(&mut self, uid: AdministratorUid) -> Result<(), StoreError> {
        execute!(self, VOID_LINKS_OF, uid.0)?;
        Ok(())
    }

    /// Voids the links that make the first administrator.
    ///
    /// # Errors
    /// The database is away.
    pub async fn void_first_links(&mut self) -> Result<(), StoreError> {
        execute!(self, VOID_FIRST_LINKS)?;
        Ok(())
    }

    /// Counts an attempt, unless attempts have to wait. Those from before `forgotten` do not count.
    ///
    /// # Errors
    /// The database is away.
    pub async fn count_attempt(
        &mut self,
        subject: &str,
        now: Timestamp,
        forgotten: Timestamp,
    ) -> Result<Option<u32>, StoreError> {
        let failures: Option<i64> = within!(self, connection => {
            sqlx::query_scalar(COUNT_ATTEMPT)
                .bind(subject)
                .bind(now.as_micros())
                .bind(forgotten.as_micros())
                .fetch_optional(connection)
                .await
        })?;
        Ok(failures.map(|failures| u32::try_from(failures).unwrap_or(u32::MAX)))
    }

    /// Lets further attempts wait.
    ///
    /// # Errors
    /// The database is away.
    pub async fn shut_attempts(&mut self, subject: &str, until: Timestamp) -> Result<(), StoreError> {
        execute!(self, SHUT_ATTEMPTS, subject, until.as_micros())?;
        Ok(())
    }

    /// Until when attempts have to wait.
    ///
    /// # Errors
    /// The database is away.
    pub async fn attempts_open_at(&mut self, subject: &str) -> Result<Option<Timestamp>, StoreError> {
        let at: Option<i64> = within!(self, connection => {
            sqlx::query_scalar(ATTEMPTS_OPEN_AT).bind(subject).fetch_optional(connection).await
        })?;
        Ok(at.map(Timestamp::from_micros))
    }

    /// Forgets the attempts counted for this.
    ///
    /// # Errors
    /// The database is away.
    pub async fn clear_attempts(&mut self, subject: &str) -> Result<(), StoreError> {
        execute!(self, CLEAR_ATTEMPTS, subject)?;
        Ok(())
    }

    /// Counts an attempt that succeeded no longer.
    ///
    /// # Errors
    /// The database is away.
    pub async fn take_attempt_back(&mut self, subject: &str) -> Result<(), StoreError> {
        execute!(self, TAKE_ATTEMPT_BACK, subject)?;
        Ok(())
    }

    /// Removes links that ended before `now`, and attempts from before `forgotten`.
    ///
    /// # Errors
    /// The database is away.
    pub async fn forget_sign_in_guards(
        &mut self,
        now: Timestamp,
        forgotten: Timestamp,
    ) -> Result<(), StoreError> {
        execute!(self, FORGET_LINKS, now.as_micros())?;
        execute!(self, FORGET_ATTEMPTS, forgotten.as_micros())?;
        Ok(())
    }
}
