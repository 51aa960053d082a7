//! Nonces for DPoP proofs (RFC 9449 §8): nothing is kept of those that were handed out.
//!
//! A nonce says which window of time it was made in, and that we made it. Every replica has the same secret and
//! so the same nonces; whoever starts first makes it. After a restore there is another one.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;

use super::clock::Ambient;
use super::master_key::MasterKeys;
use super::patiently;
use crate::domain::error::Fault;
use crate::domain::time::Timestamp;
use crate::storage::{ChangeKind, Store, StoreError};

/// How long a nonce is handed out. It is accepted for as long again, so a proof is never older than five minutes,
/// and a client that keeps its nonce is told a new one every two and a half.
const WINDOW: Duration = Duration::from_secs(150);

/// What the secret is called in the store.
const NAME: &str = "dpop-nonce";

/// What the tags are made for, so that the secret could serve something else without one passing for the other.
const CONTEXT: &[u8] = b"jeton dpop nonce";

/// Bytes of the number and of the tag in a nonce.
const NUMBER: usize = 8;
const TAG: usize = 16;

/// Makes nonces and knows its own again. It holds a secret, so it has no `Debug` form.
pub struct Nonces(ArcSwap<hmac::Key>);

/// The secret of the nonces, as the store has it.
pub struct NonceSecret {
    store: Store,
    master_keys: MasterKeys,
    ambient: Ambient,
    nonces: Arc<Nonces>,
    /// What the nonces are made with, sealed.
    known: ArcSwap<Vec<u8>>,
}

/// What a nonce of ours is still good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// Until when it is accepted.
    pub until: Timestamp,
    /// Whether another one is handed out by now.
    pub renew: bool,
}

// === impl NonceSecret ===

impl NonceSecret {
    /// Opens the stored secret, or makes it.
    ///
    /// # Errors
    /// The database is away, or the master key that sealed it is not configured.
    pub async fn open(store: Store, master_keys: MasterKeys, ambient: Ambient) -> Result<Arc<Self>, Fault> {
        let sealed = Box::pin(stored(&store, &master_keys, &ambient)).await?;
        let nonces = Nonces::new(&master_keys.open(&purpose(NAME), &sealed).await?);
        let known = ArcSwap::from_pointee(sealed);
        Ok(Arc::new(Self { store, master_keys, ambient, nonces: Arc::new(nonces), known }))
    }

    /// The nonces that are made with it.
    #[must_use]
    pub const fn nonces(&self) -> &Arc<Nonces> {
        &self.nonces
    }

    /// Takes up the stored secret, or makes one, if it is another by now: after a restore, the one of before ends.
    ///
    /// # Errors
    /// As for [`NonceSecret::open`]; the nonces stay what they were.
    pub async fn reload(&self) -> Result<(), Fault> {
        // Boxed, because it is large: the future of every change that is waited for would carry its size about.
        let sealed = Box::pin(stored(&self.store, &self.master_keys, &self.ambient)).await?;
        if sealed != **self.known.load() {
            self.nonces.make_with(&self.master_keys.open(&purpose(NAME), &sealed).await?);
            self.known.store(Arc::new(sealed));
        }
        Ok(())
    }
}

// === impl Nonces ===

impl Nonces {
    /// From the secret.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self(ArcSwap::from_pointee(key(secret)))
    }

    fn make_with(&self, secret: &[u8]) {
        self.0.store(Arc::new(key(secret)));
    }

    /// The nonce that is handed out now, 32 characters of base64url.
    #[must_use]
    pub fn current(&self, now: Timestamp) -> String {
        let number = window(now).to_be_bytes();
        let mut nonce = [0; NUMBER + TAG];
        nonce[..NUMBER].copy_from_slice(&number);
        nonce[NUMBER..].copy_from_slice(&self.tag(number).as_ref()[..TAG]);
        BASE64URL.encode(nonce)
    }

    /// Whether a nonce is one of ours and of this window, the one before, or the next one, which a replica whose
    /// clock is ahead hands out already.
    #[must_use]
    pub fn check(&self, nonce: &str, now: Timestamp) -> Option<Fresh> {
        let bytes: [u8; NUMBER + TAG] = BASE64URL.decode(nonce).ok()?.try_into().ok()?;
        let (number, tag) = bytes.split_at(NUMBER);
        let number: [u8; NUMBER] = number.try_into().ok()?;
        verify_slices_are_equal(&self.tag(number).as_ref()[..TAG], tag).ok()?;
        let (made, current) = (i64::from_be_bytes(number), window(now));
        let end = |number: i64| {
            let seconds = i64::try_from(WINDOW.as_secs()).unwrap_or(i64::MAX);
            Timestamp::from_seconds(number.saturating_add(1).saturating_mul(seconds))
        };
        (current - 1..=current + 1)
            .contains(&made)
            .then(|| Fresh { until: end(made.saturating_add(1)), renew: made < current })
    }

    fn tag(&self, number: [u8; NUMBER]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0.load());
        context.update(CONTEXT);
        context.update(&number);
        context.sign()
    }
}

fn key(secret: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret)
}

/// The stored secret, sealed, which is made if there is none.
async fn stored(store: &Store, master_keys: &MasterKeys, ambient: &Ambient) -> Result<Vec<u8>, Fault> {
    if let Some(sealed) = patiently(store.shared_secret(NAME)).await? {
        return Ok(sealed);
    }
    let sealed = master_keys.seal(&purpose(NAME), &ambient.bytes::<32>()?).await?;
    patiently(insert(store, &sealed, ambient.now())).await?;
    // Another process may have been as fast: all use the first one.
    let stored = patiently(store.shared_secret(NAME)).await?;
    stored.ok_or_else(|| Fault::internal("there is no secret for nonces"))
}

/// Stores a secret, if there is none yet, and has every replica hear of it; also of a database that loses it again.
async fn insert(store: &Store, sealed: &[u8], at: Timestamp) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    if tx.insert_shared_secret(NAME, sealed, at).await? {
        tx.note_change(&ChangeKind::Nonces, at).await?;
    }
    tx.commit().await
}

/// The number of the window that this instant is in.
fn window(at: Timestamp) -> i64 {
    at.as_seconds().div_euclid(i64::try_from(WINDOW.as_secs()).unwrap_or(i64::MAX))
}

/// What a shared secret is sealed for.
pub(super) fn purpose(name: &str) -> String {
    format!("shared secret {name}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    /// By `python3 -c 'import hmac, hashlib, base64; n = (12).to_bytes(8, "big"); print(base64.urlsafe_b64encode(
    /// n + hmac.new(bytes(32), b"jeton dpop nonce" + n, hashlib.sha256).digest()[:16]))'`.
    #[test]
    fn a_nonce_is_the_number_of_its_window_and_a_tag() {
        let nonces = Nonces::new(&[0; 32]);
        assert_eq!(nonces.current(at(1_800)), "AAAAAAAAAAxnqoslwT4pYPyTyhLaUjpt");
    }

    #[test]
    fn a_nonce_lives_for_its_window_and_the_next_rfc9449_8() {
        let nonces = Nonces::new(&[1; 32]);
        let nonce = nonces.current(at(300));
        assert_eq!(nonces.current(at(449)), nonce);
        assert_ne!(nonces.current(at(450)), nonce);
        let until = at(600);
        // A replica whose clock is behind may be shown it.
        assert_eq!(nonces.check(&nonce, at(149)), None);
        assert_eq!(nonces.check(&nonce, at(150)), Some(Fresh { until, renew: false }));
        assert_eq!(nonces.check(&nonce, at(449)), Some(Fresh { until, renew: false }));
        assert_eq!(nonces.check(&nonce, at(450)), Some(Fresh { until, renew: true }));
        assert_eq!(nonces.check(&nonce, at(599)), Some(Fresh { until, renew: true }));
        assert_eq!(nonces.check(&nonce, at(600)), None);
    }

    #[test]
    fn another_secret_makes_other_nonces() {
        let nonce = Nonces::new(&[1; 32]).current(at(0));
        assert!(Nonces::new(&[1; 32]).check(&nonce, at(0)).is_some());
        assert!(Nonces::new(&[2; 32]).check(&nonce, at(0)).is_none());
    }

    proptest! {
        #[test]
        fn no_other_text_passes(
            secret in any::<[u8; 32]>(),
            now in 0_i64..4_000_000_000,
            place in 0..32_usize,
            to in "[A-Za-z0-9_=-]",
            made_up in "\\PC{0,40}",
        ) {
            let nonces = Nonces::new(&secret);
            let nonce = nonces.current(at(now));
            prop_assert!(nonces.check(&nonce, at(now)).is_some());
            let mut wrong = nonce.clone();
            wrong.replace_range(place..=place, &to);
            prop_assert_eq!(nonces.check(&wrong, at(now)).is_some(), wrong == nonce);
            prop_assert!(nonces.check(&made_up, at(now)).is_none());
        }
    }
}
