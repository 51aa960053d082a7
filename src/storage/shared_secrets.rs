//! Random bytes that all replicas share, sealed under the master key.

use super::engine::{execute, read};
use super::{Store, StoreError, Tx, statements};
use crate::domain::time::Timestamp;

statements! {
    SHARED_SECRET = "SELECT sealed FROM shared_secrets WHERE name = $1";

    /// Whoever is first wins: the others use theirs.
    INSERT_SHARED_SECRET = r"
        INSERT INTO shared_secrets (name, sealed, created_at) VALUES ($1, $2, $3)
        ON CONFLICT (name) DO NOTHING";
}

// === impl Store ===

impl Store {
    /// The envelope of this name, if there is one.
    ///
    /// # Errors
    /// The database is away.
    pub async fn shared_secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let sealed = read!(self, pool => {
            sqlx::query_scalar::<_, Vec<u8>>(SHARED_SECRET).bind(name).fetch_optional(pool).await
        })?;
        Ok(sealed)
    }
}

// === impl Tx ===

impl Tx {
    /// Adds an envelope, unless there is one of this name. Answers whether there was none.
    ///
    /// # Errors
    /// The database is away.
    pub async fn insert_shared_secret(
        &mut self,
        name: &str,
        sealed: &[u8],
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(execute!(self, INSERT_SHARED_SECRET, name, sealed, at.as_micros())? > 0)
    }
}
