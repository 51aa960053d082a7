//! The keyring: signing keys in memory, parsed once.
//!
//! A snapshot holds every key with the instants of its life, so that which one signs is a question of the time
//! alone, and all replicas switch together. What makes, ends and removes keys is [`super::rotator`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::master_key::MasterKeys;
use super::patiently;
use crate::domain::error::Fault;
use crate::domain::ids::KeyId;
use crate::domain::rotation::{self, KeyState, RingKey};
use crate::domain::time::Timestamp;
use crate::jose::{
    self, Algorithm, PublicJwk, PublicJwkSet, SigningKey, TokenType, Unverified, VerifyingKey,
};
use crate::storage::{Store, StoredKey};

/// Signs and verifies with the keys of the store.
pub struct Keyring {
    store: Store,
    master_keys: MasterKeys,
    rings: ArcSwap<Rings>,
    reads: Mutex<Reads>,
}

/// Reads of the store, which may overlap, numbered as they begin.
#[derive(Default)]
struct Reads {
    begun: u64,
    /// The one that is in memory.
    shown: u64,
}

type Rings = BTreeMap<Algorithm, Ring>;

/// The keys of one algorithm, in the order of generation; both lists in the same order.
#[derive(Default)]
struct Ring {
    lives: Vec<RingKey>,
    keys: Vec<Arc<Key>>,
}

/// One key, ready for use.
struct Key {
    signing: SigningKey,
    verifying: VerifyingKey,
    public_jwk: PublicJwk,
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
    /// Opens the stored keys.
    ///
    /// # Errors
    /// The database is away, or a master key that sealed one is not configured.
    pub async fn open(store: Store, master_keys: MasterKeys) -> Result<Arc<Self>, Fault> {
        let keyring = Self { store, master_keys, rings: ArcSwap::default(), reads: Mutex::default() };
        keyring.reload().await?;
        Ok(Arc::new(keyring))
    }

    /// Reads the stored keys again.
    ///
    /// # Errors
    /// The database is away, or a key cannot be opened; the keys in memory stay.
    pub async fn reload(&self) -> Result<(), Fault> {
        let reads = || self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        let number = {
            let mut reads = reads();
            reads.begun += 1;
            reads.begun
        };
        let stored = patiently(self.store.signing_keys()).await?;
        let mut rings = Rings::new();
        for stored in stored {
            let ring = rings.entry(stored.algorithm).or_default();
            ring.keys.push(self.parsed(&stored).await?);
            ring.lives.push(stored.life);
        }
        let mut reads = reads();
        // One that began later has found whatever this one was asked for. To put this one over it could take a
        // key away again, of whose change nobody would hear a second time.
        if number > reads.shown {
            reads.shown = number;
            self.rings.store(Arc::new(rings));
        }
        Ok(())
    }

    /// A key ready for use: the one in memory, if it is there already.
    async fn parsed(&self, stored: &StoredKey) -> Result<Arc<Key>, Fault> {
        let kid = &stored.life.kid;
        let known = self.rings.load().get(&stored.algorithm).and_then(|ring| {
            let place = ring.lives.iter().position(|life| life.kid == *kid)?;
            Some(Arc::clone(&ring.keys[place]))
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let private = self.master_keys.open(&purpose(kid), &stored.sealed_private).await?;
        let signing = SigningKey::from_pkcs8(stored.algorithm, &private).map_err(Fault::internal)?;
        // Nobody could verify what such a key signs.
        if signing.public_jwk() != stored.public_jwk {
            return Err(Fault::internal(format!("the stored public part of key {kid} is another key's")));
        }
        let verifying = VerifyingKey::from_jwk(&stored.public_jwk).map_err(Fault::internal)?;
        Ok(Arc::new(Key { signing, verifying, public_jwk: stored.public_jwk.clone() }))
    }

    /// Signs claims with the active key of the first of these algorithms that has one.
    ///
    /// # Errors
    /// None has one, or signing failed.
    pub fn sign<T: Serialize>(
        &self,
        algorithms: impl IntoIterator<Item = Algorithm>,
        token_type: TokenType,
        claims: &T,
        now: Timestamp,
    ) -> Result<Signed, Fault> {
        let rings = self.rings.load();
        let (life, key) = algorithms
            .into_iter()
            .find_map(|algorithm| {
                let ring = rings.get(&algorithm)?;
                let active = rotation::active_index(&ring.lives, now)?;
                Some((&ring.lives[active], &ring.keys[active]))
            })
            // A resource server that was registered a moment ago, or a clock that is far behind.
            .ok_or_else(|| Fault::unavailable("no key of the wanted algorithm signs yet"))?;
        let token =
            jose::sign(token_type, life.kid.as_str(), &key.signing, claims).map_err(Fault::internal)?;
        Ok(Signed { token, kid: life.kid.clone() })
    }

    /// The claims of a token of one of these types that one of our published keys signed, and its type; or
    /// `None`. Nothing but the signature and the type is checked.
    #[must_use]
    pub fn verify<T: DeserializeOwned>(
        &self,
        token: &str,
        types: &[TokenType],
        now: Timestamp,
    ) -> Option<(T, TokenType)> {
        let unverified = Unverified::parse(token).ok()?;
        let token_type = types.iter().copied().find(|token_type| unverified.is(*token_type))?;
        let kid = unverified.key_id()?;
        let rings = self.rings.load();
        let (_, key) = published(&rings, now).find(|(life, _)| life.kid.as_str() == kid)?;
        Some((unverified.verify(&key.verifying).ok()?, token_type))
    }

    /// The public keys to publish now, in a stable order.
    #[must_use]
    pub fn jwks(&self, now: Timestamp) -> PublicJwkSet {
        let rings = self.rings.load();
        PublicJwkSet { keys: published(&rings, now).map(|(_, key)| key.public_jwk.clone()).collect() }
    }

    /// The algorithms of the keys to publish now.
    #[must_use]
    pub fn algorithms(&self, now: Timestamp) -> Vec<Algorithm> {
        let rings = self.rings.load();
        let has_any = |ring: &Ring| (0..ring.lives.len()).any(|index| is_published(&ring.lives, index, now));
        rings.iter().filter(|(_, ring)| has_any(ring)).map(|(algorithm, _)| *algorithm).collect()
    }

    /// The lives of the keys in memory, by algorithm.
    #[must_use]
    pub fn lives(&self) -> BTreeMap<Algorithm, Vec<RingKey>> {
        self.rings.load().iter().map(|(algorithm, ring)| (*algorithm, ring.lives.clone())).collect()
    }
}

fn published(rings: &Rings, now: Timestamp) -> impl Iterator<Item = (&RingKey, &Key)> {
    rings.values().flat_map(move |ring| {
        (0..ring.lives.len())
            .filter(move |index| is_published(&ring.lives, *index, now))
            .map(|index| (&ring.lives[index], &*ring.keys[index]))
    })
}

fn is_published(lives: &[RingKey], index: usize, now: Timestamp) -> bool {
    matches!(rotation::state(lives, index, now), KeyState::Pending | KeyState::Active | KeyState::Retired)
}

/// What a private key is sealed for. The kid in it ties the private part to the public one.
pub(super) fn purpose(kid: &KeyId) -> String {
    format!("signing key {kid}")
}
