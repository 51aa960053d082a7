//! Makes signing keys where they are to be kept, and destroys those in the token that nobody needs any more.
//!
//! Nothing ties a token to the database, so what is made in it is written down in the database first, as left over.
//! The transaction that stores the key strikes that off. So whatever a process that was killed has left is known,
//! and nothing is destroyed that somebody else has in the same token.

use std::time::Duration;

use super::clock::Ambient;
use super::keyring::purpose;
use super::master_key::MasterKeys;
use super::patiently;
use super::token_keys::{Flawed, TokenKeys};
use crate::config::HeldIn;
use crate::domain::error::Fault;
use crate::domain::ids::KeyId;
use crate::domain::time::Timestamp;
use crate::jose::{Algorithm, PublicJwk, RsaBits, SigningKey};
use crate::storage::{Store, StoreError, StoredPrivate, Tx};

/// How long a pair in a token may go without a stored key. Making and storing one takes seconds.
const UNCLAIMED: Duration = Duration::from_hours(1);

/// How many pairs are made until one can be used.
const TRIES: u32 = 3;

/// How long a pair that is to be destroyed is looked for. It may be there and not be seen yet: `SoftHSM2` can miss what
/// another process has made while this one made something too, until there is another change.
const LOOKED_FOR: Duration = Duration::from_hours(1);

/// Makes and destroys keys.
pub struct KeyMaker {
    store: Store,
    master_keys: MasterKeys,
    token_keys: Option<TokenKeys>,
    held_in: HeldIn,
    rsa_bits: RsaBits,
    ambient: Ambient,
}

/// A key that is not stored yet.
pub(super) struct Made {
    pub(super) kid: KeyId,
    pub(super) public_jwk: PublicJwk,
    pub(super) private: StoredPrivate,
    /// The label of its pair, under which it counts as left over.
    pair: Option<String>,
}

// === impl KeyMaker ===

impl KeyMaker {
    /// Makes keys that are kept there; of RSA with so many bits.
    #[must_use]
    pub const fn new(
        store: Store,
        master_keys: MasterKeys,
        token_keys: Option<TokenKeys>,
        (held_in, rsa_bits): (HeldIn, RsaBits),
        ambient: Ambient,
    ) -> Self {
        Self { store, master_keys, token_keys, held_in, rsa_bits, ambient }
    }

    /// Why keys for an algorithm cannot be made where they are to be kept; `None` when they can.
    ///
    /// # Errors
    /// The token is away.
    pub async fn obstacle(&self, algorithm: Algorithm) -> Result<Option<String>, Fault> {
        if self.held_in == HeldIn::Database {
            return Ok(None);
        }
        let token = self.token()?;
        Ok((!token.can(algorithm).await?).then(|| {
            format!(
                "the PKCS#11 token '{}', which the signing keys are held in (keys.held_in), cannot make keys for \
                 {algorithm}",
                token.label()
            )
        }))
    }

    fn token(&self) -> Result<&TokenKeys, Fault> {
        self.token_keys.as_ref().ok_or_else(|| Fault::internal("there is no PKCS#11 token"))
    }

    /// Makes a key.
    pub(super) async fn make(&self, algorithm: Algorithm) -> Result<Made, Fault> {
        match self.held_in {
            HeldIn::Database => self.make_here(algorithm).await,
            HeldIn::Pkcs11 => self.make_in_token(algorithm).await,
        }
    }

    async fn make_here(&self, algorithm: Algorithm) -> Result<Made, Fault> {
        let rsa_bits = self.rsa_bits;
        let signing = tokio::task::spawn_blocking(move || SigningKey::generate(algorithm, rsa_bits))
            .await
            .map_err(Fault::internal)?
            .map_err(Fault::internal)?;
        let public_jwk = signing.public_jwk();
        let kid = KeyId::new(public_jwk.key_id()).map_err(Fault::internal)?;
        let private = signing.to_pkcs8().map_err(Fault::internal)?;
        let sealed = self.master_keys.seal(&purpose(&kid), &private).await?;
        Ok(Made { kid, public_jwk, private: StoredPrivate::Sealed(sealed), pair: None })
    }

    async fn make_in_token(&self, algorithm: Algorithm) -> Result<Made, Fault> {
        let token = self.token()?;
        if let Some(obstacle) = self.obstacle(algorithm).await? {
            return Err(Fault::internal(obstacle));
        }
        let mut made = self.try_in_token(token, algorithm).await?;
        for _ in 1..TRIES {
            let Err(fault) = &made else { break };
            tracing::warn!(%fault, "another pair is made");
            made = self.try_in_token(token, algorithm).await?;
        }
        made
    }

    /// Makes a pair that can be used, or says inside why it cannot. Such a pair is destroyed.
    async fn try_in_token(
        &self,
        token: &TokenKeys,
        algorithm: Algorithm,
    ) -> Result<Result<Made, Fault>, Fault> {
        let label = format!("jeton-{}", self.ambient.uuid()?);
        self.leave(&label, token, self.ambient.now().plus(UNCLAIMED)).await?;
        let generated = token.generate(algorithm, self.rsa_bits, label.clone()).await;
        if !matches!(generated, Ok(Ok(_))) {
            self.discard_pair(&label).await;
        }
        let public_jwk = match generated? {
            Ok(public_jwk) => public_jwk,
            Err(Flawed { fault, kid }) => {
                if let Some(kid) = kid {
                    self.leave(&kid, token, self.ambient.now()).await?;
                    self.discard_pair(&kid).await;
                }
                return Ok(Err(fault));
            }
        };
        let kid = KeyId::new(public_jwk.key_id()).map_err(Fault::internal)?;
        let private = StoredPrivate::InToken(token.label().to_owned());
        Ok(Ok(Made { kid, public_jwk, private, pair: Some(label) }))
    }

    /// Writes down what may be left over.
    async fn leave(&self, name: &str, token: &TokenKeys, due: Timestamp) -> Result<(), Fault> {
        patiently(async {
            let mut tx = self.store.begin().await?;
            tx.insert_leftover(name, token.label(), due).await?;
            tx.commit().await
        })
        .await
    }

    /// Claims what was made for the key that the transaction stores.
    ///
    /// # Errors
    /// It took so long that the pair counts as left over, or the database is away.
    pub(super) async fn claim(tx: &mut Tx, made: &Made) -> Result<(), StoreError> {
        if let Some(pair) = &made.pair
            && !tx.delete_leftover(pair).await?
        {
            return Err(Fault::unavailable(format!("the pair {pair} was destroyed as left over")).into());
        }
        Ok(())
    }

    /// Destroys what was made for nothing. If that cannot be done now, it is when it counts as left over.
    pub(super) async fn discard(&self, made: &Made) {
        if let Some(pair) = &made.pair {
            self.discard_pair(pair).await;
        }
    }

    async fn discard_pair(&self, pair: &str) {
        if let Err(fault) = self.destroy(pair, Vec::new(), false).await {
            tracing::warn!(%fault, pair, "a pair that nobody needs stays in the PKCS#11 token for now");
        }
    }

    /// Destroys what is left over in this process's token: the pairs of removed keys, and those that a process which
    /// was killed has made for nothing.
    pub(super) async fn sweep(&self, now: Timestamp) {
        let Some(token) = &self.token_keys else { return };
        let swept = async {
            let due = patiently(self.store.due_leftovers(token.label(), now)).await?;
            if due.is_empty() {
                return Ok(());
            }
            let stored = patiently(self.store.signing_keys()).await?;
            let spared: Vec<_> = stored.into_iter().map(|key| key.life.kid.to_string()).collect();
            for (name, since) in due {
                self.destroy(&name, spared.clone(), now > since.plus(LOOKED_FOR)).await?;
            }
            Ok::<_, Fault>(())
        };
        if let Err(fault) = swept.await {
            tracing::warn!(%fault, "pairs that nobody needs stay in the PKCS#11 token for now");
        }
    }

    /// Destroys a pair and strikes it off the list. One that is not there, or
    /// half of it, stays on it unless this is the `last` look.
    async fn destroy(&self, name: &str, spared: Vec<String>, last: bool) -> Result<(), Fault> {
        if self.token()?.destroy(name.to_owned(), spared).await? < 2 && !last {
            return Ok(());
        }
        patiently(async {
            let mut tx = self.store.begin().await?;
            tx.delete_leftover(name).await?;
            tx.commit().await
        })
        .await
    }
}
