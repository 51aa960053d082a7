//! Signing keys, their private parts sealed.

use sqlx::FromRow;
use sqlx::types::Json;

use super::engine::{execute, read};
use super::{Store, StoreError, Tx, corrupt, statements};
use crate::domain::ids::KeyId;
use crate::domain::rotation::KeySchedule;
use crate::domain::time::Timestamp;
use crate::jose::{Algorithm, PublicJwk};

statements! {
    ALL_KEYS = r"
        SELECT kid, algorithm, generation, public_jwk, sealed_private, created_at, activates_at, leaves_at
        FROM signing_keys ORDER BY algorithm, generation";

    INSERT_KEY = r"
        INSERT INTO signing_keys (kid, algorithm, generation, public_jwk, sealed_private,
            created_at, activates_at, leaves_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
}

/// A signing key as stored.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// Its identifier.
    pub kid: KeyId,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// Counts the keys of its algorithm; unique, so that only one replica makes the next one.
    pub generation: i64,
    /// The public part.
    pub public_jwk: PublicJwk,
    /// The private part, sealed under the master key.
    pub sealed_private: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it signs, and when it leaves.
    pub schedule: KeySchedule,
}

#[derive(FromRow)]
struct KeyRow {
    kid: String,
    algorithm: String,
    generation: i64,
    public_jwk: Json<PublicJwk>,
    sealed_private: Vec<u8>,
    created_at: i64,
    activates_at: i64,
    leaves_at: Option<i64>,
}

// === impl KeyRow ===

impl TryFrom<KeyRow> for StoredKey {
    type Error = StoreError;

    fn try_from(row: KeyRow) -> Result<Self, StoreError> {
        Ok(Self {
            kid: KeyId::new(&row.kid).map_err(|_| corrupt("key id", &row.kid))?,
            algorithm: row.algorithm.parse().map_err(|_| corrupt("signing algorithm", &row.algorithm))?,
            generation: row.generation,
            public_jwk: row.public_jwk.0,
            sealed_private: row.sealed_private,
            created_at: Timestamp::from_micros(row.created_at),
            schedule: KeySchedule {
                activates_at: Timestamp::from_micros(row.activates_at),
                leaves_at: row.leaves_at.map(Timestamp::from_micros),
            },
        })
    }
}

// === impl Store ===

impl Store {
    /// Every signing key, in the order of algorithm and generation.
    ///
    /// # Errors
    /// The database is away.
    pub async fn signing_keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        let rows = read!(self, pool => sqlx::query_as::<_, KeyRow>(ALL_KEYS).fetch_all(pool).await)?;
        rows.into_iter().map(StoredKey::try_from).collect()
    }
}

// === impl Tx ===

impl Tx {
    /// Stores a new key.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when another replica made this generation first.
    pub async fn insert_key(&mut self, key: &StoredKey) -> Result<(), StoreError> {
        execute!(
            self,
            INSERT_KEY,
            key.kid.as_str(),
            key.algorithm.as_str(),
            key.generation,
            Json(&key.public_jwk),
            &key.sealed_private,
            key.created_at.as_micros(),
            key.schedule.activates_at.as_micros(),
            key.schedule.leaves_at.map(Timestamp::as_micros)
        )?;
        Ok(())
    }
}
