//! What was taken back before its end.

use sqlx::FromRow;

use super::engine::{execute, read};
use super::{Store, StoreError, Tx, corrupt, statements};
use crate::domain::revocation::{Revocation, RevokedKind};
use crate::domain::time::Timestamp;

statements! {
    LIVE_REVOCATIONS = r"
        SELECT kind, subject, revoked_at, ends_at FROM revocations
        WHERE ends_at > $1 AND (kind, subject) > ($2, $3) ORDER BY kind, subject LIMIT $4";

    REVOCATION = "SELECT kind, subject, revoked_at, ends_at FROM revocations WHERE kind = $1 AND subject = $2";

    /// A second one only ever reaches further.
    REVOKE = r"
        INSERT INTO revocations (kind, subject, revoked_at, ends_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (kind, subject) DO UPDATE SET
            revoked_at = CASE WHEN excluded.revoked_at > revocations.revoked_at
                THEN excluded.revoked_at ELSE revocations.revoked_at END,
            ends_at = CASE WHEN excluded.ends_at > revocations.ends_at
                THEN excluded.ends_at ELSE revocations.ends_at END
        WHERE revocations.revoked_at < excluded.revoked_at OR revocations.ends_at < excluded.ends_at";

    FORGET_REVOCATIONS = "DELETE FROM revocations WHERE ends_at <= $1";
}

#[derive(FromRow)]
struct RevocationRow {
    kind: String,
    subject: String,
    revoked_at: i64,
    ends_at: i64,
}

// === impl RevocationRow ===

impl TryFrom<RevocationRow> for Revocation {
    type Error = StoreError;

    fn try_from(row: RevocationRow) -> Result<Self, StoreError> {
        Ok(Self {
            kind: RevokedKind::from_word(&row.kind)
                .ok_or_else(|| corrupt("kind of revocation", &row.kind))?,
            subject: row.subject,
            revoked_at: Timestamp::from_micros(row.revoked_at),
            ends_at: Timestamp::from_micros(row.ends_at),
        })
    }
}

// === impl Store ===

impl Store {
    /// Some of the revocations that still matter at `now`, from behind one on.
    ///
    /// # Errors
    /// The database is away.
    pub async fn live_revocations(
        &self,
        now: Timestamp,
        after: Option<&Revocation>,
        limit: u32,
    ) -> Result<Vec<Revocation>, StoreError> {
        let (kind, subject) = after.map_or(("", ""), |after| (after.kind.as_str(), after.subject.as_str()));
        let rows = read!(self, pool => {
            sqlx::query_as::<_, RevocationRow>(LIVE_REVOCATIONS)
                .bind(now.as_micros())
                .bind(kind)
                .bind(subject)
                .bind(i64::from(limit))
                .fetch_all(pool)
                .await
        })?;
        rows.into_iter().map(Revocation::try_from).collect()
    }

    /// One revocation.
    ///
    /// # Errors
    /// The database is away.
    pub async fn revocation(
        &self,
        kind: RevokedKind,
        subject: &str,
    ) -> Result<Option<Revocation>, StoreError> {
        let row = read!(self, pool => {
            sqlx::query_as::<_, RevocationRow>(REVOCATION)
                .bind(kind.as_str())
                .bind(subject)
                .fetch_optional(pool)
                .await
        })?;
        row.map(Revocation::try_from).transpose()
    }
}

// === impl Tx ===

impl Tx {
    /// Takes something back. Answers whether that was not so already.
    ///
    /// # Errors
    /// The database is away.
    pub async fn revoke(&mut self, revocation: &Revocation) -> Result<bool, StoreError> {
        let Revocation { kind, subject, revoked_at, ends_at } = revocation;
        Ok(execute!(self, REVOKE, kind.as_str(), subject, revoked_at.as_micros(), ends_at.as_micros())? == 1)
    }

    /// Removes revocations of what has ended by itself.
    ///
    /// # Errors
    /// The database is away.
    pub async fn forget_revocations(&mut self, now: Timestamp) -> Result<(), StoreError> {
        execute!(self, FORGET_REVOCATIONS, now.as_micros())?;
        Ok(())
    }
}
