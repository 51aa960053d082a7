//! Signing keys, their private parts sealed.

use std::time::Duration;

use serde::Deserialize;
use sqlx::FromRow;
use sqlx::types::Json;

use super::engine::{execute, read};
use super::rows::algorithm;
use super::{Store, StoreError, Tx, corrupt, postgres, sqlite, statements};
use crate::domain::ids::KeyId;
use crate::domain::rotation::RingKey;
use crate::domain::time::Timestamp;
use crate::jose::{Algorithm, PublicJwk};

statements! {
    ALL_KEYS = r"
        SELECT kid, algorithm, generation, public_jwk, sealed_private, created_at, activates_at, leaves_at,
            revoked_at, longest_token, pkcs11_token
        FROM signing_keys ORDER BY algorithm, generation";

    /// Nothing behind the others: a replica that made its key for days comes when its generation has gone.
    INSERT_KEY = r"
        INSERT INTO signing_keys (kid, algorithm, generation, public_jwk, sealed_private,
            created_at, activates_at, leaves_at, revoked_at, longest_token, pkcs11_token)
        SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11
        WHERE NOT EXISTS (SELECT 1 FROM signing_keys WHERE algorithm = $2 AND generation > $3)";

    /// Never later: another replica may have planned it sooner.
    ADVANCE_KEY = r"
        UPDATE signing_keys SET activates_at = $2
        WHERE kid = $1 AND activates_at > $2 AND revoked_at IS NULL";

    /// Only as it was when that was decided: another replica may have decided the same, or better.
    END_KEY = r"
        UPDATE signing_keys SET leaves_at = $2
        WHERE kid = $1 AND leaves_at IS NOT DISTINCT FROM $3 AND revoked_at IS NULL";

    LENGTHEN_TOKENS = "UPDATE signing_keys SET longest_token = $1 WHERE longest_token < $1";

    REVOKE_KEY = "UPDATE signing_keys SET revoked_at = $2 WHERE kid = $1 AND revoked_at IS NULL";

    /// Only as it was when that was decided: it may be wanted again.
    REMOVE_KEY = "DELETE FROM signing_keys WHERE kid = $1 AND leaves_at IS NOT DISTINCT FROM $2";

    USED_ALGORITHMS = "SELECT DISTINCT signing_algorithm, signing_algorithm_before FROM resource_servers";
}

/// A signing key as stored.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// What it signs with.
    pub algorithm: Algorithm,
    /// Its name, its place in the ring of its algorithm, and when it signs and leaves.
    pub life: RingKey,
    /// The public part.
    pub public_jwk: PublicJwk,
    /// The private part.
    pub private: StoredPrivate,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Where the private part of a signing key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredPrivate {
    /// Here, sealed under a master key.
    Sealed(Vec<u8>),
    /// In the PKCS#11 token with this label; `CKA_ID` is the key's identifier.
    InToken(String),
}

#[derive(FromRow)]
struct KeyRow {
    kid: String,
    algorithm: String,
    generation: i64,
    public_jwk: Json<serde_json::Value>,
    sealed_private: Option<Vec<u8>>,
    created_at: i64,
    activates_at: i64,
    leaves_at: Option<i64>,
    revoked_at: Option<i64>,
    longest_token: i64,
    pkcs11_token: Option<String>,
}

/// How many tokens are alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveTokens {
    /// Among those that were looked at.
    pub count: u64,
    /// Whether there were more to look at.
    pub at_least: bool,
}

#[derive(FromRow)]
struct LiveRow {
    seen: i64,
    live: i64,
}

// === impl KeyRow ===

impl TryFrom<KeyRow> for StoredKey {
    type Error = StoreError;

    fn try_from(row: KeyRow) -> Result<Self, StoreError> {
        let public_jwk = PublicJwk::deserialize(row.public_jwk.0);
        Ok(Self {
            algorithm: algorithm(&row.algorithm)?,
            public_jwk: public_jwk.map_err(|_| corrupt("public part of key", &row.kid))?,
            life: RingKey {
                kid: KeyId::new(&row.kid).map_err(|_| corrupt("key id", &row.kid))?,
                generation: row.generation,
                activates_at: Timestamp::from_micros(row.activates_at),
                leaves_at: row.leaves_at.map(Timestamp::from_micros),
                revoked_at: row.revoked_at.map(Timestamp::from_micros),
                longest_token: Duration::from_micros(row.longest_token.unsigned_abs()),
            },
            private: match (row.sealed_private, row.pkcs11_token) {
                (Some(sealed), None) => StoredPrivate::Sealed(sealed),
                (None, Some(token)) => StoredPrivate::InToken(token),
                // The engine does not let them be.
                _ => return Err(corrupt("place of a private key", &row.kid)),
            },
            created_at: Timestamp::from_micros(row.created_at),
        })
    }
}

// === impl Store ===

impl Store {
    /// Every signing key, in the order of algorithm and generation. One of an algorithm that this version does not
    /// know is left to the version that made it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn signing_keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        let rows = read!(self, pool => sqlx::query_as::<_, KeyRow>(ALL_KEYS).fetch_all(pool).await)?;
        let known = |row: &KeyRow| {
            let known = algorithm(&row.algorithm).is_ok();
            if !known {
                tracing::warn!(
                    kid = row.kid,
                    algorithm = row.algorithm,
                    "a key of an unknown algorithm is passed over"
                );
            }
            known
        };
        rows.into_iter().filter(known).map(StoredKey::try_from).collect()
    }

    /// The algorithms that resource servers want their tokens signed with, each with what they were signed with
    /// before.
    ///
    /// # Errors
    /// The database is away.
    pub async fn used_algorithms(&self) -> Result<Vec<(Algorithm, Option<Algorithm>)>, StoreError> {
        let rows: Vec<(String, Option<String>)> =
            read!(self, pool => sqlx::query_as(USED_ALGORITHMS).fetch_all(pool).await)?;
        // One that this version does not know is provided for by the version that does.
        let known = |word: &str| algorithm(word).ok();
        let pair =
            |(now, before): (String, Option<String>)| Some((known(&now)?, before.as_deref().and_then(known)));
        Ok(rows.into_iter().filter_map(pair).collect())
    }

    /// How many tokens that a key signed from `from` until `to` have not ended at `now`. Only the newest `most`
    /// tokens of that time are looked at.
    ///
    /// # Errors
    /// The database is away.
    pub async fn live_tokens(
        &self,
        kid: &KeyId,
        (from, to): (Timestamp, Timestamp),
        now: Timestamp,
        most: u32,
    ) -> Result<LiveTokens, StoreError> {
        let text = match self {
            Self::Postgres(_) => postgres::LIVE_TOKENS,
            Self::Sqlite { .. } => sqlite::LIVE_TOKENS,
        };
        // To the second, because texts with and without a fraction do not compare.
        let second: String = now.to_string().chars().take(19).collect();
        let row: LiveRow = read!(self, pool => sqlx::query_as(text)
            .bind(from.as_micros())
            .bind(to.as_micros())
            .bind(i64::from(most))
            .bind(kid.as_str())
            .bind(second)
            .fetch_one(pool)
            .await)?;
        Ok(LiveTokens { count: row.live.unsigned_abs(), at_least: row.seen >= i64::from(most) })
    }
}

// === impl Tx ===

impl Tx {
    /// Stores a new key.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when another replica made this generation first, or there is a later one.
    pub async fn insert_key(&mut self, key: &StoredKey) -> Result<(), StoreError> {
        let (sealed, token) = match &key.private {
            StoredPrivate::Sealed(sealed) => (Some(sealed.as_slice()), None),
            StoredPrivate::InToken(token) => (None, Some(token.as_str())),
        };
        let stored = execute!(
            self,
            INSERT_KEY,
            key.life.kid.as_str(),
            key.algorithm.as_str(),
            key.life.generation,
            Json(&key.public_jwk),
            sealed,
            key.created_at.as_micros(),
            key.life.activates_at.as_micros(),
            key.life.leaves_at.map(Timestamp::as_micros),
            key.life.revoked_at.map(Timestamp::as_micros),
            micros(key.life.longest_token),
            token
        )?;
        if stored == 0 { Err(StoreError::AlreadyExists) } else { Ok(()) }
    }

    /// Lets a pending key sign earlier. Answers whether it was to sign later, and was not revoked.
    ///
    /// # Errors
    /// The database is away.
    pub async fn advance_key(&mut self, kid: &KeyId, activates_at: Timestamp) -> Result<bool, StoreError> {
        Ok(execute!(self, ADVANCE_KEY, kid.as_str(), activates_at.as_micros())? == 1)
    }

    /// Says when a key leaves. Answers whether it was there, to leave when it was `known` to, and not revoked.
    ///
    /// # Errors
    /// The database is away.
    pub async fn end_key(
        &mut self,
        kid: &KeyId,
        known: Option<Timestamp>,
        leaves_at: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let (known, leaves_at) = (known.map(Timestamp::as_micros), leaves_at.map(Timestamp::as_micros));
        Ok(execute!(self, END_KEY, kid.as_str(), leaves_at, known)? == 1)
    }

    /// Says that every key may sign tokens of this lifetime from now on. Answers whether that was not known of some.
    ///
    /// # Errors
    /// The database is away.
    pub async fn lengthen_tokens(&mut self, longest: Duration) -> Result<bool, StoreError> {
        Ok(execute!(self, LENGTHEN_TOKENS, micros(longest))? > 0)
    }

    /// Withdraws a key. Answers whether it was there, and not withdrawn before.
    ///
    /// # Errors
    /// The database is away.
    pub async fn revoke_key(&mut self, kid: &KeyId, at: Timestamp) -> Result<bool, StoreError> {
        Ok(execute!(self, REVOKE_KEY, kid.as_str(), at.as_micros())? == 1)
    }

    /// Destroys a key. Answers whether it was there, to leave when it was `known` to. Its pair in a token, if it
    /// has one, is left to be destroyed: see [`Store::due_leftovers`].
    ///
    /// # Errors
    /// The database is away.
    pub async fn remove_key(
        &mut self,
        kid: &KeyId,
        known: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.leave_removed_pair(kid, now).await?;
        Ok(execute!(self, REMOVE_KEY, kid.as_str(), known.map(Timestamp::as_micros))? == 1)
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
