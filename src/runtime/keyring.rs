//! The keyring: signing keys in memory, parsed once.
//!
//! A snapshot holds every key with the instants of its life, so that which one signs is a question of the time
//! alone, and all replicas switch together. What makes, ends and removes keys is [`super::rotator`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::known_signatures::KnownSignatures;
use super::master_key::MasterKeys;
use super::meters::Recalls;
use super::patiently;
use super::token_keys::{HeldKey, TokenKeys};
use crate::domain::error::Fault;
use crate::domain::ids::KeyId;
use crate::domain::rotation::{self, KeyState, RingKey};
use crate::domain::time::Timestamp;
use crate::jose::{
    self, Algorithm, PublicJwk, PublicJwkSet, SigningInput, SigningKey, TokenType, Unverified, VerifyingKey,
};
use crate::storage::{Store, StoredKey, StoredPrivate};

/// Signs and verifies with the keys of the store.
pub struct Keyring {
    store: Store,
    master_keys: MasterKeys,
    token_keys: Option<TokenKeys>,
    /// Whether new keys in a token are tried as soon as they are read.
    tries_tokens: AtomicBool,
    rings: ArcSwap<Rings>,
    reads: Mutex<Reads>,
    known_signatures: KnownSignatures,
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
    private: Private,
    verifying: VerifyingKey,
    public_jwk: PublicJwk,
}

/// The private part of a key.
enum Private {
    Here(SigningKey),
    InToken(Arc<HeldKey>),
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
    pub async fn open(
        store: Store,
        master_keys: MasterKeys,
        token_keys: Option<TokenKeys>,
    ) -> Result<Arc<Self>, Fault> {
        let (rings, reads, tries_tokens) = (ArcSwap::default(), Mutex::default(), AtomicBool::new(false));
        let known_signatures = KnownSignatures::new();
        let keyring = Self { store, master_keys, token_keys, tries_tokens, rings, reads, known_signatures };
        keyring.reload().await?;
        Ok(Arc::new(keyring))
    }

    /// Makes sure that every key that signs or is to sign does, if it is in a token. A key that only verifies may be
    /// missing there. From now on new ones are tried too, and the log says which do not.
    ///
    /// # Errors
    /// Which key does not, and why.
    pub async fn try_tokens(&self, now: Timestamp) -> Result<(), Fault> {
        self.tries_tokens.store(true, Ordering::Relaxed);
        let rings = self.rings.load_full();
        for ring in rings.values() {
            for (index, key) in ring.keys.iter().enumerate() {
                if let Private::InToken(held) = &key.private
                    && matches!(
                        rotation::state(&ring.lives, index, now),
                        KeyState::Pending | KeyState::Active
                    )
                {
                    try_token(self.token_keys.as_ref(), Arc::clone(held)).await?;
                }
            }
        }
        Ok(())
    }

    /// Reads the stored keys again.
    ///
    /// # Errors
    /// The database is away, and the keys in memory stay; or a key cannot be opened, and the others count: what is known
    /// to be revoked stops signing here all the same.
    pub async fn reload(&self) -> Result<(), Fault> {
        let reads = || self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        let number = {
            let mut reads = reads();
            reads.begun += 1;
            reads.begun
        };
        let stored = patiently(self.store.signing_keys()).await?;
        let mut rings = Rings::new();
        let mut unread = None;
        for stored in stored {
            match self.parsed(&stored).await {
                Ok(key) => {
                    let ring = rings.entry(stored.algorithm).or_default();
                    ring.keys.push(key);
                    ring.lives.push(stored.life);
                }
                Err(fault) => unread = Some(fault),
            }
        }
        let mut reads = reads();
        // One that began later has found whatever this one was asked for. To put this one over it could take a
        // key away again, of whose change nobody would hear a second time.
        if number > reads.shown {
            reads.shown = number;
            self.rings.store(Arc::new(rings));
        }
        unread.map_or(Ok(()), Err)
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
        let not_its_own = || Fault::internal(format!("the stored public part of key {kid} is another key's"));
        let verifying = || VerifyingKey::from_jwk(&stored.public_jwk).map_err(Fault::internal);
        let private = match &stored.private {
            StoredPrivate::Sealed(sealed) => {
                let private = self.master_keys.open(&purpose(kid), sealed).await?;
                let signing = SigningKey::from_pkcs8(stored.algorithm, &private).map_err(Fault::internal)?;
                // Nobody could verify what such a key signs.
                if signing.public_jwk() != stored.public_jwk {
                    return Err(not_its_own());
                }
                Private::Here(signing)
            }
            StoredPrivate::InToken(token) => {
                if stored.public_jwk.thumbprint() != kid.as_str() {
                    return Err(not_its_own());
                }
                let held = Arc::new(HeldKey {
                    token: token.clone(),
                    kid: kid.clone(),
                    algorithm: stored.algorithm,
                    verifying: verifying()?,
                });
                self.try_later(Arc::clone(&held));
                Private::InToken(held)
            }
        };
        Ok(Arc::new(Key { private, verifying: verifying()?, public_jwk: stored.public_jwk.clone() }))
    }

    /// Says in the log if a key that was made while this runs cannot be used here: there is time to mend that before
    /// it signs. Nobody waits for it, because the other keys have nothing to do with that token.
    fn try_later(&self, held: Arc<HeldKey>) {
        if self.tries_tokens.load(Ordering::Relaxed) {
            let token_keys = self.token_keys.clone();
            tokio::spawn(async move {
                if let Err(fault) = try_token(token_keys.as_ref(), held).await {
                    tracing::error!(%fault, "a signing key cannot be used here");
                }
            });
        }
    }

    /// How often the signature of a token was known that was to be verified.
    #[must_use]
    pub const fn recalls(&self) -> &Recalls {
        self.known_signatures.recalls()
    }

    /// Signs claims with the active key of the first of these algorithms that has one. With a key in this process it
    /// is ready at once.
    ///
    /// # Errors
    /// None has one, or signing failed; the token of a key is away or too slow.
    pub async fn sign<T: Serialize>(
        &self,
        algorithms: impl IntoIterator<Item = Algorithm>,
        token_type: TokenType,
        claims: &T,
        now: Timestamp,
    ) -> Result<Signed, Fault> {
        let (held, input) = {
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
            let kid = life.kid.as_str();
            match &key.private {
                Private::Here(signing) => {
                    let token = jose::sign(token_type, kid, signing, claims).map_err(Fault::internal)?;
                    // A device's signature is not taken on trust.
                    self.known_signatures.is_ours(&token);
                    return Ok(Signed { token, kid: life.kid.clone() });
                }
                Private::InToken(held) => {
                    let input = SigningInput::new(token_type, held.algorithm, kid, claims)
                        .map_err(Fault::internal)?;
                    (Arc::clone(held), input)
                }
            }
        };
        // Boxed, so that whoever has no token does not carry its future about.
        Box::pin(async move {
            let kid = held.kid.clone();
            let signature = sign_in_token(self.token_keys.as_ref(), held, input.as_bytes().to_vec()).await?;
            Ok(Signed { token: input.attach(&signature), kid })
        })
        .await
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
        if !self.known_signatures.is_good(token, || unverified.is_signed_by(&key.verifying)) {
            return None;
        }
        Some((unverified.claimed()?, token_type))
    }

    /// What a token of one of these types says, if the key that it names is not in memory: nobody knows here whether it
    /// is true.
    #[must_use]
    pub fn claims_of_unknown_key<T: DeserializeOwned>(&self, token: &str, types: &[TokenType]) -> Option<T> {
        let unverified = Unverified::parse(token).ok()?;
        let kid = unverified.key_id()?;
        let rings = self.rings.load();
        let mut lives = rings.values().flat_map(|ring| &ring.lives);
        let is_of_type = types.iter().any(|token_type| unverified.is(*token_type));
        if !is_of_type || lives.any(|life| life.kid.as_str() == kid) {
            return None;
        }
        unverified.claimed()
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

/// The signature of a message by the key in its token.
async fn sign_in_token(
    token_keys: Option<&TokenKeys>,
    held: Arc<HeldKey>,
    message: Vec<u8>,
) -> Result<Vec<u8>, Fault> {
    match token_keys.filter(|token_keys| token_keys.label() == held.token) {
        Some(token_keys) => token_keys.sign(held, message).await,
        None => Err(Fault::unavailable(format!(
            "the signing key {} is in the PKCS#11 token '{}', and this process has {} (pkcs11.token)",
            held.kid,
            held.token,
            token_keys.map_or_else(|| "none".to_owned(), |other| format!("'{}'", other.label()))
        ))),
    }
}

/// How often a key is tried, and how long it is left alone in between: a token that several processes share may show
/// a new key to some of them a moment later.
const TRIES: u32 = 5;
const BREATH: Duration = Duration::from_millis(300);

/// Makes sure that a key signs in its token, and that the published key verifies that.
async fn try_token(token_keys: Option<&TokenKeys>, held: Arc<HeldKey>) -> Result<(), Fault> {
    // No JWS looks like this.
    let try_it = || sign_in_token(token_keys, Arc::clone(&held), b"Is this the key?".to_vec());
    let mut tried = try_it().await;
    for _ in 1..TRIES {
        if tried.is_ok() {
            break;
        }
        tokio::time::sleep(BREATH).await;
        tried = try_it().await;
    }
    tried.map(drop)
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
