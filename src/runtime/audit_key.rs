//! The key that signs how far a chain of audit events has come.
//!
//! It is not one of the rotating keys of tokens: what it signed must be verifiable as long as there are events.

use std::sync::Arc;

use aws_lc_rs::hmac;

use super::clock::Ambient;
use super::fault;
use super::master_key::MasterKeys;
use crate::domain::chain::ChainEnd;
use crate::domain::error::Fault;
use crate::domain::ids::KeyId;
use crate::jose::{self, Algorithm, RsaBits, SigningKey, TokenType};
use crate::storage::{Store, StoreError, StoredAuditKey};

/// What the key of the spool is made for.
const SPOOL: &[u8] = b"jeton spool 1";

/// Signs checkpoints. It has no `Debug` form.
#[derive(Clone)]
pub struct AuditKey {
    kid: KeyId,
    key: Arc<SigningKey>,
    spool: hmac::Key,
}

// === impl AuditKey ===

impl AuditKey {
    /// Opens the stored key, or makes the first one.
    ///
    /// # Errors
    /// The database is away, or the master key that sealed it is not configured.
    pub async fn open(store: &Store, master_keys: &MasterKeys, ambient: &Ambient) -> Result<Self, Fault> {
        if signing(store).await?.is_none() {
            // When another process is as fast, there are two, and all use the older one.
            create(store, master_keys, ambient).await?;
        }
        let stored = signing(store).await?.ok_or_else(|| Fault::internal("there is no audit key"))?;
        let private = master_keys.open(&purpose(&stored.kid), &stored.sealed_private).await?;
        let key = SigningKey::from_pkcs8(Algorithm::Es256, &private).map_err(Fault::internal)?;
        let spool = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &private), SPOOL);
        let spool = hmac::Key::new(hmac::HMAC_SHA256, spool.as_ref());
        Ok(Self { kid: stored.kid.clone(), key: Arc::new(key), spool })
    }

    /// What seals events that wait in a file for the database. It is made from the private part, so that only whoever
    /// could sign for events can make one.
    #[must_use]
    pub fn spool(&self) -> hmac::Key {
        self.spool.clone()
    }

    /// How far a chain has come, as a compact JWS.
    ///
    /// # Errors
    /// Signing failed.
    pub fn sign(&self, end: &ChainEnd) -> Result<String, Fault> {
        jose::sign(TokenType::AuditCheckpoint, self.kid.as_str(), &self.key, end).map_err(Fault::internal)
    }
}

/// The oldest key that has a private part.
async fn signing(store: &Store) -> Result<Option<StoredAuditKey>, Fault> {
    let stored = store.audit_keys().await.map_err(fault)?;
    Ok(stored.into_iter().find(|key| !key.sealed_private.is_empty()))
}

async fn create(store: &Store, master_keys: &MasterKeys, ambient: &Ambient) -> Result<(), Fault> {
    let key = SigningKey::generate(Algorithm::Es256, RsaBits::default()).map_err(Fault::internal)?;
    let public_jwk = key.public_jwk();
    let kid = KeyId::new(public_jwk.key_id()).map_err(Fault::internal)?;
    let private = key.to_pkcs8().map_err(Fault::internal)?;
    let sealed_private = master_keys.seal(&purpose(&kid), &private).await?;
    let stored = StoredAuditKey { kid, public_jwk, sealed_private };
    insert(store, &stored, ambient).await.map_err(fault)
}

async fn insert(store: &Store, key: &StoredAuditKey, ambient: &Ambient) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    tx.insert_audit_key(key, ambient.now()).await?;
    tx.commit().await
}

/// What a private key is sealed for.
pub(super) fn purpose(kid: &KeyId) -> String {
    format!("audit key {kid}")
}
