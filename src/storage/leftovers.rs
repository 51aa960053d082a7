//! Pairs in PKCS#11 tokens that no signing key stands for: those that are being made, and those of removed keys.
//!
//! A token may be shared with others, so nothing in it is destroyed for being unknown: what may be is written
//! down here first.

use super::engine::{execute, read};
use super::{Store, StoreError, Tx, statements};
use crate::domain::ids::KeyId;
use crate::domain::time::Timestamp;

statements! {
    DUE_LEFTOVERS = "SELECT name, due_at FROM pkcs11_leftovers WHERE token = $1 AND due_at <= $2 ORDER BY name";

    INSERT_LEFTOVER = "INSERT INTO pkcs11_leftovers (name, token, due_at) VALUES ($1, $2, $3)";

    /// Due at once. Another replica may be removing the same key.
    LEAVE_REMOVED_PAIR = r"
        INSERT INTO pkcs11_leftovers (name, token, due_at)
        SELECT kid, pkcs11_token, CAST($2 AS BIGINT) FROM signing_keys WHERE kid = $1 AND pkcs11_token IS NOT NULL
        ON CONFLICT (name) DO NOTHING";

    DELETE_LEFTOVER = "DELETE FROM pkcs11_leftovers WHERE name = $1";
}

// === impl Store ===

impl Store {
    /// The pairs that are to be destroyed in this token by now, each by its label or `CKA_ID`, and since when.
    ///
    /// # Errors
    /// The database is away.
    pub async fn due_leftovers(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Vec<(String, Timestamp)>, StoreError> {
        let now = now.as_micros();
        let due: Vec<(String, i64)> =
            read!(self, pool => sqlx::query_as(DUE_LEFTOVERS).bind(token).bind(now).fetch_all(pool).await)?;
        Ok(due.into_iter().map(|(name, since)| (name, Timestamp::from_micros(since))).collect())
    }
}

// === impl Tx ===

impl Tx {
    /// Writes down that the pair with this label is to be destroyed when it is due.
    ///
    /// # Errors
    /// The database is away.
    pub async fn insert_leftover(
        &mut self,
        name: &str,
        token: &str,
        due_at: Timestamp,
    ) -> Result<(), StoreError> {
        execute!(self, INSERT_LEFTOVER, name, token, due_at.as_micros())?;
        Ok(())
    }

    /// Strikes a pair off the list: it is destroyed, or a signing key stands for it now. Answers whether it was
    /// there.
    ///
    /// # Errors
    /// The database is away.
    pub async fn delete_leftover(&mut self, name: &str) -> Result<bool, StoreError> {
        Ok(execute!(self, DELETE_LEFTOVER, name)? == 1)
    }

    pub(super) async fn leave_removed_pair(&mut self, kid: &KeyId, now: Timestamp) -> Result<(), StoreError> {
        execute!(self, LEAVE_REMOVED_PAIR, kid.as_str(), now.as_micros())?;
        Ok(())
    }
}
