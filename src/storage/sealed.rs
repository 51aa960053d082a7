//! Everything that a master key seals, wherever it is kept.

use sqlx::FromRow;

use super::engine::{execute, read};
use super::{Store, StoreError, Tx, corrupt, statements};
use crate::domain::ids::KeyId;

statements! {
    SEALED_KEYS = r"
        SELECT 'signing' AS holder, kid, sealed_private, created_at FROM signing_keys
        WHERE sealed_private IS NOT NULL
        UNION ALL
        SELECT 'audit' AS holder, kid, sealed_private, created_at FROM audit_keys
        WHERE LENGTH(sealed_private) > 0
        UNION ALL
        SELECT 'shared' AS holder, name AS kid, sealed AS sealed_private, created_at FROM shared_secrets
        UNION ALL
        SELECT 'person' AS holder, name AS kid, second_factor AS sealed_private, created_at FROM administrators
        WHERE second_factor IS NOT NULL
        ORDER BY created_at, holder, kid";

    RESEAL_SIGNING_KEY = r"
        UPDATE signing_keys SET sealed_private = $3 WHERE kid = $1 AND sealed_private = $2";

    RESEAL_AUDIT_KEY = r"
        UPDATE audit_keys SET sealed_private = $3 WHERE kid = $1 AND sealed_private = $2";

    RESEAL_SECOND_FACTOR = "UPDATE administrators SET second_factor = $3 WHERE name = $1 AND second_factor = $2";

    ABANDON_SIGNING_KEY = "DELETE FROM signing_keys WHERE kid = $1 AND sealed_private = $2";

    /// The password alone must not let its owner make another second factor: with it goes the password.
    ABANDON_SECOND_FACTOR = r"
        UPDATE administrators SET second_factor = NULL, password_hash = NULL, version = version + 1
        WHERE name = $1 AND second_factor = $2";

    ABANDON_SHARED_SECRET = "DELETE FROM shared_secrets WHERE name = $1 AND sealed = $2";

    RESEAL_SHARED_SECRET = "UPDATE shared_secrets SET sealed = $3 WHERE name = $1 AND sealed = $2";
}

/// Where a sealed key is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Among the keys that sign tokens.
    Signing,
    /// Among the keys that sign the audit's checkpoints.
    Audit,
    /// Among the random bytes that all replicas share.
    Shared,
    /// With an administrator.
    Person,
}

/// A sealed private key, or sealed random bytes.
#[derive(Clone, Debug)]
pub struct SealedKey {
    /// Where it is kept.
    pub holder: Holder,
    /// Its identifier; of random bytes, their name; of a second factor, whose it is.
    pub kid: KeyId,
    /// The envelope.
    pub sealed_private: Vec<u8>,
}

#[derive(FromRow)]
struct SealedRow {
    holder: String,
    kid: String,
    sealed_private: Vec<u8>,
}

// === impl SealedRow ===

impl TryFrom<SealedRow> for SealedKey {
    type Error = StoreError;

    fn try_from(row: SealedRow) -> Result<Self, StoreError> {
        let holder = match row.holder.as_str() {
            "audit" => Holder::Audit,
            "shared" => Holder::Shared,
            "person" => Holder::Person,
            _ => Holder::Signing,
        };
        let kid = KeyId::new(&row.kid).map_err(|_| corrupt("key id", &row.kid))?;
        Ok(Self { holder, kid, sealed_private: row.sealed_private })
    }
}

// === impl Store ===

impl Store {
    /// Every sealed key, oldest first; not those that are in a token or were given up.
    ///
    /// # Errors
    /// The database is away.
    pub async fn sealed_keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        let rows = read!(self, pool => sqlx::query_as::<_, SealedRow>(SEALED_KEYS).fetch_all(pool).await)?;
        rows.into_iter().map(SealedKey::try_from).collect()
    }
}

// === impl Tx ===

impl Tx {
    /// Replaces the envelope of a key, unless somebody else has replaced or removed it. Answers whether it did.
    ///
    /// # Errors
    /// The database is away.
    pub async fn reseal(&mut self, key: &SealedKey, envelope: &[u8]) -> Result<bool, StoreError> {
        let sql = match key.holder {
            Holder::Signing => RESEAL_SIGNING_KEY,
            Holder::Audit => RESEAL_AUDIT_KEY,
            Holder::Shared => RESEAL_SHARED_SECRET,
            Holder::Person => RESEAL_SECOND_FACTOR,
        };
        Ok(execute!(self, sql, key.kid.as_str(), &key.sealed_private, envelope)? > 0)
    }

    /// Gives up a key that cannot be opened any more, unless somebody else has replaced or removed it. Of a key of the
    /// audit the public part stays, with nothing sealed; whose second factor it was loses the password too. Answers
    /// whether it did.
    ///
    /// # Errors
    /// The database is away.
    pub async fn abandon(&mut self, key: &SealedKey) -> Result<bool, StoreError> {
        let sql = match key.holder {
            Holder::Signing => ABANDON_SIGNING_KEY,
            Holder::Audit => return self.reseal(key, &[]).await,
            Holder::Shared => ABANDON_SHARED_SECRET,
            Holder::Person => ABANDON_SECOND_FACTOR,
        };
        Ok(execute!(self, sql, key.kid.as_str(), &key.sealed_private)? > 0)
    }
}
