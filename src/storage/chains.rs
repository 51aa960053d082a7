//! The chains that audit events stand in, their checkpoints, and the keys that sign those.

use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::engine::{execute, read, within};
use super::{LedgerTx, Store, StoreError, Tx, corrupt, statements};
use crate::domain::chain::{ChainEnd, Hash};
use crate::domain::chain_check::Window;
use crate::domain::ids::KeyId;
use crate::domain::time::Timestamp;
use crate::jose::PublicJwk;

statements! {
    UNSETTLED_CHAINS = r"
        SELECT writer, ended, named_seq FROM audit_chains
        WHERE NOT settled OR started_at = (SELECT MAX(started_at) FROM audit_chains)
        ORDER BY started_at, writer";

    CHAIN_END = r"
        SELECT writer, seq, hash, at FROM audit_events WHERE writer = $1 ORDER BY seq DESC LIMIT 1";

    INSERT_CHAIN = r"
        INSERT INTO audit_chains (writer, started_at, ended, named_seq, settled)
        VALUES ($1, $2, FALSE, 0, FALSE)";

    NAME_CHAIN = "UPDATE audit_chains SET named_seq = $2, settled = $3 WHERE writer = $1";

    END_CHAIN = "UPDATE audit_chains SET ended = TRUE WHERE writer = $1";

    INSERT_CHECKPOINT = r"
        INSERT INTO audit_checkpoints (writer, seq, at, jws) VALUES ($1, $2, $3, $4)
        ON CONFLICT (writer, seq) DO NOTHING";

    CHECKPOINTS = r"
        SELECT writer, seq, jws FROM audit_checkpoints
        WHERE at >= $5 AND at < $1 AND (writer, seq) > ($2, $3) ORDER BY writer, seq LIMIT $4";

    CHECKPOINT_FROM = r"
        SELECT writer, seq, jws FROM audit_checkpoints WHERE writer = $1 AND seq >= $2 ORDER BY seq LIMIT 1";

    LAST_CHECKPOINT = "SELECT MAX(at) FROM audit_checkpoints";

    /// Of a chain that goes on, the last one before the cut stays: what is left begins right after it.
    FORGET_CHECKPOINTS = r"
        DELETE FROM audit_checkpoints WHERE at < $1 AND (
            seq < (SELECT MAX(later.seq) FROM audit_checkpoints AS later
                   WHERE later.writer = audit_checkpoints.writer AND later.at < $1)
            OR NOT EXISTS (SELECT 1 FROM audit_events WHERE audit_events.writer = audit_checkpoints.writer))";

    FORGET_CHAINS = r"
        DELETE FROM audit_chains
        WHERE settled AND started_at < $1 AND started_at < (SELECT MAX(started_at) FROM audit_chains)
            AND NOT EXISTS (SELECT 1 FROM audit_events WHERE audit_events.writer = audit_chains.writer)";

    AUDIT_KEYS = "SELECT kid, public_jwk, sealed_private FROM audit_keys ORDER BY created_at, kid";

    INSERT_AUDIT_KEY = r"
        INSERT INTO audit_keys (kid, public_jwk, sealed_private, created_at) VALUES ($1, $2, $3, $4)";
}

/// A chain that a later one may have to name.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Eq)]
pub struct OpenChain {
    /// The chain.
    pub writer: Uuid,
    /// Whether it ended in order.
    pub ended: bool,
    /// How far it has been named.
    pub named_seq: i64,
}

/// A checkpoint, as stored.
#[derive(Clone, Debug, FromRow, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// The chain that it is kept for.
    pub writer: Uuid,
    /// The place that it is kept for.
    pub seq: i64,
    /// What was signed, as a compact JWS.
    pub jws: String,
}

/// A key that signs checkpoints, as stored.
#[derive(Clone, Debug)]
pub struct StoredAuditKey {
    /// Its identifier.
    pub kid: KeyId,
    /// The public part.
    pub public_jwk: PublicJwk,
    /// The private part, sealed under the master key; empty, where that was lost and the key only verifies.
    pub sealed_private: Vec<u8>,
}

#[derive(FromRow)]
struct EndRow {
    writer: Uuid,
    seq: i64,
    hash: Vec<u8>,
    at: i64,
}

#[derive(FromRow)]
struct AuditKeyRow {
    kid: String,
    public_jwk: Json<PublicJwk>,
    sealed_private: Vec<u8>,
}

// === impl AuditKeyRow ===

impl TryFrom<AuditKeyRow> for StoredAuditKey {
    type Error = StoreError;

    fn try_from(row: AuditKeyRow) -> Result<Self, StoreError> {
        Ok(Self {
            kid: KeyId::new(&row.kid).map_err(|_| corrupt("key id", &row.kid))?,
            public_jwk: row.public_jwk.0,
            sealed_private: row.sealed_private,
        })
    }
}

// === impl Store ===

impl Store {
    /// The keys that sign checkpoints, oldest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn audit_keys(&self) -> Result<Vec<StoredAuditKey>, StoreError> {
        let rows = read!(self, pool => {
            sqlx::query_as::<_, AuditKeyRow>(AUDIT_KEYS).fetch_all(pool).await
        })?;
        rows.into_iter().map(StoredAuditKey::try_from).collect()
    }

    /// Every checkpoint.
    ///
    /// # Errors
    /// The database is away.
    pub async fn checkpoints(&self) -> Result<Vec<StoredCheckpoint>, StoreError> {
        self.checkpoints_within(Window::ALL, None, u32::MAX).await
    }

    /// Some of the checkpoints of what was recorded in a window, chain after chain, from behind one on.
    ///
    /// # Errors
    /// The database is away.
    pub async fn checkpoints_within(
        &self,
        window: Window,
        after: Option<(Uuid, i64)>,
        limit: u32,
    ) -> Result<Vec<StoredCheckpoint>, StoreError> {
        let (writer, seq) = after.unwrap_or((Uuid::nil(), -1));
        Ok(read!(self, pool => {
            sqlx::query_as(CHECKPOINTS)
                .bind(window.to.as_micros())
                .bind(writer)
                .bind(seq)
                .bind(i64::from(limit))
                .bind(window.from.as_micros())
                .fetch_all(pool)
                .await
        })?)
    }

    /// The first checkpoint of a chain at this place or after it: the one that covers the event there.
    ///
    /// # Errors
    /// The database is away.
    pub async fn checkpoint_from(
        &self,
        writer: Uuid,
        seq: u64,
    ) -> Result<Option<StoredCheckpoint>, StoreError> {
        Ok(read!(self, pool => {
            sqlx::query_as(CHECKPOINT_FROM).bind(writer).bind(seq.cast_signed()).fetch_optional(pool).await
        })?)
    }

    /// When the newest event that is signed for was recorded.
    ///
    /// # Errors
    /// The database is away.
    pub async fn signed_until(&self) -> Result<Option<Timestamp>, StoreError> {
        let at: Option<i64> = read!(self, pool => sqlx::query_scalar(LAST_CHECKPOINT).fetch_one(pool).await)?;
        Ok(at.map(Timestamp::from_micros))
    }
}

// === impl Tx ===

impl Tx {
    /// Removes the chains and checkpoints that nothing from after `cut` needs.
    ///
    /// # Errors
    /// The database is away.
    pub async fn forget_chains(&mut self, cut: Timestamp) -> Result<(), StoreError> {
        execute!(self, FORGET_CHECKPOINTS, cut.as_micros())?;
        execute!(self, FORGET_CHAINS, cut.as_micros())?;
        Ok(())
    }

    /// Stores a key that signs checkpoints.
    ///
    /// # Errors
    /// The database is away.
    pub async fn insert_audit_key(&mut self, key: &StoredAuditKey, at: Timestamp) -> Result<(), StoreError> {
        execute!(
            self,
            INSERT_AUDIT_KEY,
            key.kid.as_str(),
            Json(&key.public_jwk),
            &key.sealed_private,
            at.as_micros()
        )?;
        Ok(())
    }
}

// === impl LedgerTx ===

impl LedgerTx<'_> {
    /// The chains that no later one has named to their end, and the one that was started last; oldest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn unsettled_chains(&mut self) -> Result<Vec<OpenChain>, StoreError> {
        Ok(within!(self, connection => sqlx::query_as(UNSETTLED_CHAINS).fetch_all(connection).await)?)
    }

    /// How far a chain has come; `None` when it has no events.
    ///
    /// # Errors
    /// The database is away.
    pub async fn chain_end(&mut self, writer: Uuid) -> Result<Option<ChainEnd>, StoreError> {
        let row: Option<EndRow> = within!(self, connection => {
            sqlx::query_as(CHAIN_END).bind(writer).fetch_optional(connection).await
        })?;
        row.map(|row| {
            let hash = Hash::from_bytes(&row.hash).map_err(|_| corrupt("hash", "audit_events.hash"))?;
            let at = Timestamp::from_micros(row.at);
            Ok(ChainEnd { writer: row.writer, seq: row.seq.unsigned_abs(), at, hash })
        })
        .transpose()
    }

    /// Begins a chain.
    ///
    /// # Errors
    /// The database is away.
    pub async fn insert_chain(&mut self, writer: Uuid, at: Timestamp) -> Result<(), StoreError> {
        execute!(self, INSERT_CHAIN, writer, at.as_micros())?;
        Ok(())
    }

    /// Notes how far a later chain's start has named this one, and whether that is all there will be of it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn name_chain(&mut self, writer: Uuid, seq: u64, settled: bool) -> Result<(), StoreError> {
        execute!(self, NAME_CHAIN, writer, seq.cast_signed(), settled)?;
        Ok(())
    }

    /// Notes that a chain ended in order.
    ///
    /// # Errors
    /// The database is away.
    pub async fn end_chain(&mut self, writer: Uuid) -> Result<(), StoreError> {
        execute!(self, END_CHAIN, writer)?;
        Ok(())
    }

    /// Stores a signed checkpoint.
    ///
    /// # Errors
    /// The database is away.
    pub async fn insert_checkpoint(&mut self, end: &ChainEnd, jws: &str) -> Result<(), StoreError> {
        execute!(self, INSERT_CHECKPOINT, end.writer, end.seq.cast_signed(), end.at.as_micros(), jws)?;
        Ok(())
    }
}
