//! Hashing and checking client secrets.
//!
//! What a check costs follows from the *form* of the presented secret alone (see [`crate::domain::secret`]):
//! a mistyped one costs nothing, a generated one a light hash if it is one of the client's, anything else
//! the costly profile on a bounded pool, even when there is no such client. What was verified or refused
//! once is remembered under a keyed hash whose key dies with the process.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use moka::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Semaphore, mpsc};

use super::clock::Ambient;
use super::foreign_secrets::{self, Upgrade};
use super::meters::Recalls;
use crate::config::Limits;
use crate::domain::client::{ClientSecret, MOST_CHOSEN_SECRETS, Registration};
use crate::domain::error::Fault;
use crate::domain::foreign_hash::ForeignScheme;
use crate::domain::ids::{ClientId, SecretId};
use crate::domain::secret::{Form, SecretOrigin, form};

/// Argon2id parameters for 256 random bits: (KiB, passes). Guessing is hopeless at any cost.
const LIGHT: (u32, u32) = (64, 1);

/// Argon2id parameters for secrets of unknown entropy, as OWASP recommends: (KiB, passes).
const COSTLY: (u32, u32) = (19 * 1_024, 2);

/// How many outcomes are remembered (about 100 bytes each).
const REMEMBERED: u64 = 100_000;

/// Checks presented secrets against a client's.
pub struct SecretVerifier {
    key: hmac::Key,
    outcomes: Cache<[u8; 32], Outcome>,
    recalls: Recalls,
    pool: Arc<Semaphore>,
    queue: Queue,
    decoy: SecretString,
    ambient: Ambient,
    upgrades: Option<mpsc::Sender<Upgrade>>,
}

/// What waits for the pool, and what was turned away.
struct Queue {
    most: usize,
    length: AtomicUsize,
    turned_away: AtomicU64,
}

/// What is remembered of a presented secret for one client.
#[derive(Clone)]
enum Outcome {
    /// It is this one of the client's. Whether that one still counts is asked every time.
    Is(SecretId),
    /// It was none of those that the client had then.
    IsNone { of: Arc<[SecretId]> },
}

/// Hashes a secret for storing, as its origin demands.
///
/// # Errors
/// The hash function or the source of randomness failed.
pub fn hash(secret: &SecretString, origin: SecretOrigin, ambient: &Ambient) -> Result<SecretString, Fault> {
    let cost = match origin {
        SecretOrigin::Generated => LIGHT,
        SecretOrigin::Chosen => COSTLY,
    };
    let salt = ambient.bytes::<16>()?;
    argon2id(cost)?
        .hash_password_with_salt(secret.expose_secret().as_bytes(), &salt)
        .map(|hash| SecretString::from(hash.to_string()))
        .map_err(|error| Fault::internal(format!("argon2: {error}")))
}

// === impl SecretVerifier ===

impl SecretVerifier {
    /// A verifier that remembers nothing yet.
    ///
    /// # Errors
    /// The source of randomness failed.
    pub fn new(limits: &Limits, ambient: &Ambient) -> Result<Self, Fault> {
        let decoy = SecretString::from(BASE64URL.encode(ambient.bytes::<16>()?));
        // Half of the cores for costly checks leaves the other half for everybody else.
        let half = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get) / 2;
        let at_once = limits.costly_checks.map_or_else(half, NonZeroUsize::get).max(1);
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &ambient.bytes::<32>()?),
            outcomes: Cache::new(REMEMBERED),
            recalls: Recalls::default(),
            pool: Arc::new(Semaphore::new(at_once)),
            queue: Queue::new(limits.costly_waiting),
            decoy: hash(&decoy, SecretOrigin::Chosen, ambient)?,
            ambient: ambient.clone(),
            upgrades: None,
        })
    }

    /// The same, which hands on what is to be stored in place of another server's hash.
    #[must_use]
    pub fn upgrading(self, upgrades: mpsc::Sender<Upgrade>) -> Self {
        Self { upgrades: Some(upgrades), ..self }
    }

    /// Which of the client's secrets was presented, expired ones included; `None` when it is none of
    /// them. Pass no registration for a client that is unknown or out of force: it costs the same.
    ///
    /// # Errors
    /// The pool's queue is full.
    pub async fn identify<'r>(
        &self,
        client_id: &ClientId,
        registration: Option<&'r Registration>,
        presented: &SecretString,
    ) -> Result<Option<&'r ClientSecret>, Fault> {
        match form(presented) {
            Form::Impossible => Ok(None),
            Form::Generated(secret_id) => {
                let candidate = registration.and_then(|registration| {
                    registration.secrets.iter().find(|secret| {
                        secret.origin == SecretOrigin::Generated && secret.secret_id == secret_id
                    })
                });
                match candidate {
                    Some(secret) if self.matches_generated(client_id, secret, presented)? => Ok(Some(secret)),
                    _ => Ok(None),
                }
            }
            Form::Chosen => Box::pin(self.identify_chosen(client_id, registration, presented)).await,
        }
    }

    /// Which secret this was when it was verified before. Whether it still counts is asked by
    /// [`identify`](Self::identify).
    #[must_use]
    pub fn remembered(&self, client_id: &ClientId, presented: &SecretString) -> Option<SecretId> {
        match self.outcomes.get(&self.memory_key(client_id, presented)) {
            Some(Outcome::Is(secret_id)) => Some(secret_id),
            _ => None,
        }
    }

    /// How often a secret was remembered that was presented.
    #[must_use]
    pub const fn recalls(&self) -> &Recalls {
        &self.recalls
    }

    /// How many costly checks run or wait.
    #[must_use]
    pub fn costly_waiting(&self) -> usize {
        self.queue.length.load(Ordering::Relaxed)
    }

    /// How many were turned away because too many waited.
    #[must_use]
    pub fn costly_turned_away(&self) -> u64 {
        self.queue.turned_away.load(Ordering::Relaxed)
    }

    /// Hashes a password that a person chose, where it can hold up nothing else.
    ///
    /// # Errors
    /// The pool's queue is full, or the source of randomness failed.
    pub async fn hash_password(
        &self,
        password: SecretString,
        ambient: &Ambient,
    ) -> Result<SecretString, Fault> {
        let ambient = ambient.clone();
        self.on_pool(move || hash(&password, SecretOrigin::Chosen, &ambient)).await
    }

    /// Whether this is the password. Pass no hash where there is none: it costs the same. Nothing is remembered:
    /// people sign in seldom.
    ///
    /// # Errors
    /// The pool's queue is full.
    pub async fn verify_password(
        &self,
        password: SecretString,
        stored: Option<SecretString>,
    ) -> Result<bool, Fault> {
        let exists = stored.is_some();
        let against = stored.unwrap_or_else(|| self.decoy.clone());
        let matches = self.on_pool(move || verify(&password, &against)).await?;
        Ok(exists && matches)
    }

    fn matches_generated(
        &self,
        client_id: &ClientId,
        secret: &ClientSecret,
        presented: &SecretString,
    ) -> Result<bool, Fault> {
        let memory = self.memory_key(client_id, presented);
        if let Some(Outcome::Is(known)) = self.outcomes.get(&memory) {
            self.recalls.note(true);
            return Ok(known == secret.secret_id);
        }
        self.recalls.note(false);
        let matches = verify(presented, &secret.hash)?;
        if matches {
            self.outcomes.insert(memory, Outcome::Is(secret.secret_id.clone()));
        }
        Ok(matches)
    }

    async fn identify_chosen<'r>(
        &self,
        client_id: &ClientId,
        registration: Option<&'r Registration>,
        presented: &SecretString,
    ) -> Result<Option<&'r ClientSecret>, Fault> {
        let chosen: Vec<&'r ClientSecret> = registration
            .iter()
            .flat_map(|registration| &registration.secrets)
            .filter(|secret| secret.origin == SecretOrigin::Chosen)
            .collect();
        let find =
            |secret_id: &SecretId| chosen.iter().copied().find(|secret| secret.secret_id == *secret_id);
        let ids: Arc<[SecretId]> = chosen.iter().map(|secret| secret.secret_id.clone()).collect();
        let memory = self.memory_key(client_id, presented);
        match self.outcomes.get(&memory) {
            Some(Outcome::Is(secret_id)) => {
                if let Some(secret) = find(&secret_id) {
                    self.recalls.note(true);
                    return Ok(Some(secret));
                }
            }
            Some(Outcome::IsNone { of }) if of == ids => {
                self.recalls.note(true);
                return Ok(None);
            }
            _ => {}
        }
        self.recalls.note(false);
        // Always as many checks as a client can have chosen secrets: how many it has, and whether it
        // exists at all, does not show in the time of a refusal.
        let decoys = (chosen.len()..MOST_CHOSEN_SECRETS).map(|_| (None, self.decoy.clone()));
        let hashes = chosen
            .iter()
            .map(|secret| (Some(secret.secret_id.clone()), secret.hash.clone()))
            .chain(decoys)
            .collect();
        let Some((secret_id, ours)) = self.verify_on_pool(presented.clone(), hashes).await? else {
            self.outcomes.insert(memory, Outcome::IsNone { of: ids });
            return Ok(None);
        };
        let found = find(&secret_id);
        // What could not be handed on is not remembered: the next request tries again.
        if found.is_none_or(|secret| self.hand_on(registration, secret, ours)) {
            self.outcomes.insert(memory, Outcome::Is(secret_id));
        }
        Ok(found)
    }

    /// Which of these it is, and our own hash of it where it was verified by another server's.
    async fn verify_on_pool(
        &self,
        presented: SecretString,
        hashes: Vec<(Option<SecretId>, SecretString)>,
    ) -> Result<Option<(SecretId, Option<SecretString>)>, Fault> {
        let ambient = self.ambient.clone();
        let check = move || {
            for (secret_id, stored) in hashes {
                if verify(&presented, &stored)? {
                    let foreign = ForeignScheme::of(stored.expose_secret()).is_some();
                    // It was right, whatever becomes of the better hash.
                    let ours =
                        foreign.then(|| hash(&presented, SecretOrigin::Chosen, &ambient).ok()).flatten();
                    return Ok(secret_id.map(|secret_id| (secret_id, ours)));
                }
            }
            Ok(None)
        };
        self.on_pool(check).await
    }

    /// Has our own hash stored of a secret that was verified by another server's. Answers whether that is under way, or
    /// not needed.
    fn hand_on(
        &self,
        registration: Option<&Registration>,
        secret: &ClientSecret,
        ours: Option<SecretString>,
    ) -> bool {
        let (Some(scheme), Some(registration)) = (foreign_secrets::scheme_of(secret), registration) else {
            return true;
        };
        let (Some(after), Some(upgrades)) = (ours, &self.upgrades) else { return false };
        let client = &registration.client;
        let upgrade = Upgrade {
            client: client.uid,
            client_id: client.client_id.clone(),
            secret_id: secret.secret_id.clone(),
            scheme,
            before: secret.hash.clone(),
            after,
        };
        upgrades.try_send(upgrade).is_ok()
    }

    /// Runs costly work where it cannot hold up anything else.
    async fn on_pool<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let _place = self.queue.take()?;
        let permit = Arc::clone(&self.pool).acquire_owned().await.map_err(Fault::internal)?;
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        })
        .await
        .map_err(Fault::internal)?
    }

    /// Under the *claimed* client id, so that an unknown client is remembered like a known one.
    fn memory_key(&self, client_id: &ClientId, presented: &SecretString) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(client_id.as_str().as_bytes());
        context.update(&[0]);
        context.update(presented.expose_secret().as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(context.sign().as_ref());
        key
    }
}

/// A place in the pool's queue, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

// === impl Queue ===

impl Queue {
    const fn new(most: NonZeroUsize) -> Self {
        Self { most: most.get(), length: AtomicUsize::new(0), turned_away: AtomicU64::new(0) }
    }

    fn take(&self) -> Result<Place<'_>, Fault> {
        let place = Place(&self.length);
        if self.length.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            return Err(Fault::unavailable("too many secrets wait to be checked"));
        }
        Ok(place)
    }
}

// === impl Place ===

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn argon2id((memory, passes): (u32, u32)) -> Result<Argon2<'static>, Fault> {
    let params =
        Params::new(memory, passes, 1, None).map_err(|error| Fault::internal(format!("argon2: {error}")))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Whether the hash is this secret's. The hash says its own cost.
///
/// # Errors
/// The hash cannot be read: a corrupt store is no verdict about the caller.
fn verify(presented: &SecretString, hash: &SecretString) -> Result<bool, Fault> {
    if ForeignScheme::of(hash.expose_secret()).is_some() {
        return foreign_secrets::verify(presented, hash);
    }
    let unusable = |error| Fault::internal(format!("a stored secret's hash: {error}"));
    let hash = PasswordHash::new(hash.expose_secret()).map_err(|error| unusable(error.to_string()))?;
    match Argon2::default().verify_password(presented.expose_secret().as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(unusable(error.to_string())),
    }
}
