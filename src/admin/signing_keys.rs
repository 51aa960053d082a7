//! Use-cases: signing keys. They rotate by themselves; this is for looking, and for emergencies.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Admin, AdminError, By};
use crate::domain::builtin;
use crate::domain::error::FieldError;
use crate::domain::ids::KeyId;
use crate::domain::rotation::{self, KeyState, RingKey};
use crate::domain::schedule::HEARD;
use crate::domain::time::Timestamp;
use crate::jose::Algorithm;
use crate::runtime::rotator::{Rotated, Wanted};
use crate::storage::StoredKey;

/// How many of the newest tokens of a key are looked at to count those that live.
const COUNTED: u32 = 100_000;

/// A signing key.
#[derive(Debug, Serialize, ToSchema)]
pub struct SigningKeyView {
    /// Its identifier: the RFC 7638 thumbprint.
    pub kid: KeyId,
    /// What it signs with.
    #[schema(value_type = String, example = "ES256")]
    pub algorithm: Algorithm,
    /// Where it stands in its life.
    pub state: KeyState,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Seconds since it was made.
    pub age: i64,
    /// When it signs, or began to.
    #[schema(value_type = String, format = DateTime)]
    pub activates_at: Timestamp,
    /// When it is no longer published; absent while it may sign for longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub leaves_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
    /// How many of the tokens that it signed have not ended.
    pub live_tokens: u64,
    /// Whether there may be more than were counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub live_tokens_at_least: bool,
}

/// The keys of one algorithm.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyRingView {
    /// The algorithm.
    #[schema(value_type = String, example = "ES256")]
    pub algorithm: Algorithm,
    /// When the next key begins to sign: a pending one, or one that is still to be made. Absent when nothing uses
    /// the algorithm any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_activation_at: Option<Timestamp>,
    /// The keys, oldest first.
    pub keys: Vec<SigningKeyView>,
}

/// Every signing key.
#[derive(Debug, Serialize, ToSchema)]
pub struct SigningKeysView {
    /// By algorithm.
    pub rings: Vec<KeyRingView>,
}

/// What to rotate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSigningKey {
    /// Its algorithm.
    #[schema(value_type = String, example = "ES256")]
    pub algorithm: Algorithm,
}

/// A key that was revoked.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevokedKeyView {
    /// The key.
    pub kid: KeyId,
    /// What it signed with.
    #[schema(value_type = String, example = "ES256")]
    pub algorithm: Algorithm,
    /// Until when verifiers may go on trusting what it signed: they may keep the old key set for so long
    /// (`keys.verifier_cache`). To end that sooner, restart them or empty their caches.
    #[schema(value_type = String, format = DateTime)]
    pub trusted_until: Timestamp,
}

// === impl Admin ===

impl Admin {
    /// Every signing key.
    ///
    /// # Errors
    /// `signing-keys:read` is missing, or the database is away.
    pub async fn signing_keys(&self, by: &By) -> Result<SigningKeysView, AdminError> {
        self.require(by, builtin::SIGNING_KEYS_READ).await?;
        let stored = self.store.signing_keys().await?;
        // As the rotator sees it: what it does next is what people are told.
        self.rotator.needs().await?;
        let mut rings = Vec::new();
        for stored in stored.chunk_by(|a, b| a.algorithm == b.algorithm) {
            rings.push(self.key_ring(stored[0].algorithm, stored).await?);
        }
        Ok(SigningKeysView { rings })
    }

    async fn key_ring(&self, algorithm: Algorithm, stored: &[StoredKey]) -> Result<KeyRingView, AdminError> {
        let now = self.ambient.now();
        let lives: Vec<_> = stored.iter().map(|key| key.life.clone()).collect();
        let mut keys = Vec::new();
        for (index, key) in stored.iter().enumerate() {
            // What was issued before has ended, whatever lifetime its resource server had then.
            let since = now.minus(key.life.longest_token).max(key.life.activates_at);
            keys.push(self.signing_key(key, &lives, index, (since, now)).await?);
        }
        let next_activation_at = self.rotator.next_activation(algorithm, &lives, now);
        Ok(KeyRingView { algorithm, next_activation_at, keys })
    }

    async fn signing_key(
        &self,
        key: &StoredKey,
        ring: &[RingKey],
        index: usize,
        (since, now): (Timestamp, Timestamp),
    ) -> Result<SigningKeyView, AdminError> {
        let RingKey { kid, activates_at, leaves_at, revoked_at, .. } = key.life.clone();
        let until = rotation::signs_until(ring, index).unwrap_or(now);
        // Whoever has not heard at once of the next key has signed with this one for a little longer.
        let until = until.plus(self.rotator.schedule().clock_tolerance() + HEARD);
        let live = self.store.live_tokens(&kid, (since, until), now, COUNTED).await?;
        Ok(SigningKeyView {
            state: rotation::state(ring, index, now),
            kid,
            algorithm: key.algorithm,
            created_at: key.created_at,
            age: now.as_seconds() - key.created_at.as_seconds(),
            activates_at,
            leaves_at,
            revoked_at,
            live_tokens: live.count,
            live_tokens_at_least: live.at_least,
        })
    }

    /// Makes the next key of an algorithm before its time. It is published at once and signs after the lead.
    ///
    /// # Errors
    /// `signing-keys:write` is missing, the algorithm is not in use, a key is pending already, or the database is
    /// away.
    pub async fn rotate_signing_key(&self, by: &By, algorithm: Algorithm) -> Result<KeyRingView, AdminError> {
        self.require(by, builtin::SIGNING_KEYS_WRITE).await?;
        match self.rotator.rotate(algorithm, &wanted(by)).await? {
            Rotated::Made => {}
            Rotated::IsPending => {
                return Err(AdminError::Conflict(format!(
                    "the next {algorithm} key is published already and will sign in its turn; to withdraw the one \
                     that signs now, revoke it"
                )));
            }
            Rotated::NotInUse => {
                return Err(AdminError::Conflict(format!(
                    "no resource server uses {algorithm}, so there is no key to rotate"
                )));
            }
        }
        self.catch_up(by).await;
        let stored = self.store.signing_keys().await?;
        let ring: Vec<_> = stored.into_iter().filter(|key| key.algorithm == algorithm).collect();
        self.key_ring(algorithm, &ring).await
    }

    /// Withdraws a key that somebody else may have. It is published no longer, whatever it signed is refused here,
    /// and a fresh key signs at once if it was the one that did.
    ///
    /// # Errors
    /// `signing-keys:write` is missing, there is no such key or it was revoked before, or the database is away.
    pub async fn revoke_signing_key(&self, by: &By, kid: &str) -> Result<RevokedKeyView, AdminError> {
        self.require(by, builtin::SIGNING_KEYS_WRITE).await?;
        let unknown = || AdminError::not_found("signing key", kid);
        let kid = KeyId::new(kid).map_err(|_| unknown())?;
        let Some(revoked) = self.rotator.revoke(&kid, &wanted(by)).await? else {
            let is_there = self.store.signing_keys().await?.iter().any(|key| key.life.kid == kid);
            return Err(if is_there {
                AdminError::Conflict(format!("the signing key '{kid}' is revoked already"))
            } else {
                unknown()
            });
        };
        self.catch_up(by).await;
        Ok(RevokedKeyView { kid, algorithm: revoked.algorithm, trusted_until: revoked.trusted_until })
    }

    /// What is wrong with an algorithm that no key can be made for: without one there would be no tokens, and nobody
    /// would know why.
    pub(super) async fn wrong_algorithm(
        &self,
        algorithm: Algorithm,
    ) -> Result<Option<FieldError>, AdminError> {
        let obstacle = self.rotator.maker().obstacle(algorithm).await?;
        Ok(obstacle.map(|obstacle| FieldError::new("signing_algorithm", obstacle, "use another algorithm")))
    }

    /// A key for what a resource server has just begun to use. It is committed: a key that cannot be made now is
    /// made soon, and until then there are no tokens for it.
    pub(super) async fn provide_key(&self, by: &By, algorithm: Algorithm) {
        if !Algorithm::ALWAYS.contains(&algorithm)
            && let Err(error) = self.rotator.settle().await
        {
            let request_id = by.origin.request_id.as_deref();
            tracing::warn!(%error, %algorithm, request_id, "there is no key for it yet");
        }
    }
}

fn wanted(by: &By) -> Wanted {
    Wanted { actor: by.actor.clone(), origin: by.origin.clone() }
}
