//! The keyring: signing keys in memory, parsed once.
//!
//! A snapshot holds every key with the instants of its life, so that which one signs is a question of
//! the time alone, and all replicas switch together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::clock::Ambient;
use super::fault;
use super::master_key::MasterKeys;
use crate::domain::audit::{AuditEvent, Event, Origin, WrittenEvent};
use crate::domain::error::Fault;
use crate::domain::ids::KeyId;
use crate::domain::rotation::{self, KeySchedule, KeyState};
use crate::domain::time::Timestamp;
use crate::jose::{self, Algorithm, Jwk, JwkSet, SigningKey, TokenType, Unverified, VerifyingKey};
use crate::storage::{ChangeKind, Store, StoreError, StoredKey};

/// How long verifiers may keep the published keys: well below any lead at which a new key is published
/// before it signs.
pub const JWKS_MAX_AGE: Duration = Duration::from_mins(5);

/// How much longer they may keep them while this server is away. Both together stay below the shortest
/// lead that will be allowed (2 h 15 min, DESIGN §10), so that no cache misses a key that signs.
pub const JWKS_STALE_IF_ERROR: Duration = Duration::from_hours(1);

/// Signs and verifies with the keys of the store.
pub struct Keyring {
    store: Store,
    master_keys: MasterKeys,
    rings: ArcSwap<Rings>,
}

type Rings = BTreeMap<Algorithm, Vec<Arc<Key>>>;

/// One key, ready for use.
struct Key {
    kid: KeyId,
    schedule: KeySchedule,
    signing: SigningKey,
    verifying: VerifyingKey,
    public_jwk: Jwk,
}

/// A signed token and the key that signed it. Whoever has the token may use it, so it has no `Debug` form.
pub struct Signed {
    /// The compact JWS.
    pub token: String,
    /// The key.
    pub kid: KeyId,
}

// === impl Keyring ===

impl Keyring {
    /// Opens the stored keys and makes the first one of each algorithm that has none.
    ///
    /// # Errors
    /// The database is away, or a master key that sealed one is not configured.
    pub async fn open(store: Store, master_keys: MasterKeys, ambient: &Ambient) -> Result<Arc<Self>, Fault> {
        let mut stored = store.signing_keys().await.map_err(fault)?;
        for algorithm in Algorithm::ALL {
            if !stored.iter().any(|key| key.algorithm == *algorithm) {
                create_first(&store, &master_keys, *algorithm, ambient).await?;
                stored = store.signing_keys().await.map_err(fault)?;
            }
        }
        let rings = ArcSwap::from_pointee(parse(&master_keys, stored).await?);
        Ok(Arc::new(Self { store, master_keys, rings }))
    }

    /// Reads the stored keys again.
    ///
    /// # Errors
    /// The database is away, or a key cannot be opened; the keys in memory stay.
    pub async fn reload(&self) -> Result<(), Fault> {
        let stored = self.store.signing_keys().await.map_err(fault)?;
        self.rings.store(Arc::new(parse(&self.master_keys, stored).await?));
        Ok(())
    }

    /// Signs claims with the algorithm's active key.
    ///
    /// # Errors
    /// No key of this algorithm is active, or signing failed.
    pub fn sign<T: Serialize>(
        &self,
        algorithm: Algorithm,
        token_type: TokenType,
        claims: &T,
        now: Timestamp,
    ) -> Result<Signed, Fault> {
        let rings = self.rings.load();
        let ring = rings.get(&algorithm).map_or(&[][..], Vec::as_slice);
        let key = rotation::active_index(&schedules(ring), now)
            .map(|index| &ring[index])
            .ok_or_else(|| Fault::internal(format!("no {algorithm} key is active")))?;
        let token =
            jose::sign(token_type, key.kid.as_str(), &key.signing, claims).map_err(Fault::internal)?;
        Ok(Signed { token, kid: key.kid.clone() })
    }

    /// The claims of a token of this type that one of our published keys signed, or `None`. Nothing but
    /// the signature and the type is checked.
    #[must_use]
    pub fn verify<T: DeserializeOwned>(
        &self,
        token: &str,
        token_type: TokenType,
        now: Timestamp,
    ) -> Option<T> {
        let unverified = Unverified::parse(token).ok()?;
        if !unverified.is(token_type) {
            return None;
        }
        let kid = unverified.key_id()?;
        let rings = self.rings.load();
        let key = published(&rings, now).find(|key| key.kid.as_str() == kid)?;
        unverified.verify(&key.verifying).ok()
    }

    /// The public keys to publish now, in a stable order.
    #[must_use]
    pub fn jwks(&self, now: Timestamp) -> JwkSet {
        let rings = self.rings.load();
        JwkSet { keys: published(&rings, now).map(|key| key.public_jwk.clone()).collect() }
    }

    /// The algorithms that tokens may be signed with.
    #[must_use]
    pub fn algorithms(&self) -> Vec<Algorithm> {
        self.rings.load().keys().copied().collect()
    }
}

fn schedules(ring: &[Arc<Key>]) -> Vec<KeySchedule> {
    ring.iter().map(|key| key.schedule).collect()
}

fn published(rings: &Rings, now: Timestamp) -> impl Iterator<Item = &Arc<Key>> {
    rings.values().flat_map(move |ring| {
        let schedules = schedules(ring);
        ring.iter()
            .enumerate()
            .filter(move |(index, _)| rotation::state(&schedules, *index, now) != KeyState::Gone)
            .map(|(_, key)| key)
    })
}

async fn parse(master_keys: &MasterKeys, stored: Vec<StoredKey>) -> Result<Rings, Fault> {
    let mut rings = Rings::new();
    for key in stored {
        let private = master_keys.open(&purpose(&key.kid), &key.sealed_private).await?;
        let parsed = Key {
            signing: SigningKey::from_pkcs8(key.algorithm, &private).map_err(Fault::internal)?,
            verifying: VerifyingKey::from_jwk(&key.public_jwk).map_err(Fault::internal)?,
            kid: key.kid,
            schedule: key.schedule,
            public_jwk: key.public_jwk,
        };
        rings.entry(key.algorithm).or_default().push(Arc::new(parsed));
    }
    Ok(rings)
}

/// Makes the first key of an algorithm. Nobody has cached anything yet, so it signs at once. When
/// another replica is faster, its key is the one.
async fn create_first(
    store: &Store,
    master_keys: &MasterKeys,
    algorithm: Algorithm,
    ambient: &Ambient,
) -> Result<(), Fault> {
    let signing = tokio::task::spawn_blocking(move || SigningKey::generate(algorithm))
        .await
        .map_err(Fault::internal)?
        .map_err(Fault::internal)?;
    let public_jwk = signing.public_jwk().map_err(Fault::internal)?;
    let kid = KeyId::new(public_jwk.common.key_id.as_deref().unwrap_or_default()).map_err(Fault::internal)?;
    let private = signing.to_pkcs8().map_err(Fault::internal)?;
    let sealed_private = master_keys.seal(&purpose(&kid), &private).await?;
    let now = ambient.now();
    let key = StoredKey {
        sealed_private,
        kid: kid.clone(),
        algorithm,
        generation: 1,
        public_jwk,
        created_at: now,
        schedule: KeySchedule { activates_at: now, leaves_at: None },
    };
    let event = Event::KeyCreated { kid, algorithm, activates_at: now };
    let event = AuditEvent { at: now, origin: Origin::default(), event }.write_for_later()?;
    match store_key(store, &key, (ambient.uuid()?, event), now).await {
        Err(StoreError::AlreadyExists) => Ok(()),
        outcome => outcome.map_err(fault),
    }
}

async fn store_key(
    store: &Store,
    key: &StoredKey,
    (event_id, event): (Uuid, WrittenEvent),
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    tx.insert_key(key).await?;
    tx.leave_event(event_id, &event).await?;
    tx.note_change(&ChangeKind::Keys, now).await?;
    tx.commit().await
}

/// What a private key is sealed for. The kid in it ties the private part to the public one.
pub(super) fn purpose(kid: &KeyId) -> String {
    format!("signing key {kid}")
}
