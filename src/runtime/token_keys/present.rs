use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::pool::Pool;
use super::turns::Turns;
use super::{Flawed, HeldKey, mechanisms, pairs};
use crate::config::{self, Config};
use crate::domain::error::Fault;
use crate::jose::{Algorithm, PublicJwk, RsaBits};
use crate::runtime::pkcs11::Token;

/// How long making or destroying a pair may take: RSA takes seconds, in a small device many.
const PATIENCE: Duration = Duration::from_mins(1);

/// The token of the configuration, opened when it is needed. Its `Debug` form has its label.
#[derive(Clone)]
pub struct TokenKeys {
    opened: Arc<Opened>,
    pool: Arc<OnceLock<Pool>>,
}

/// A token that is open once somebody has asked for it.
pub(super) struct Opened {
    settings: config::Pkcs11,
    token: Mutex<Option<Arc<Token>>>,
    pub(super) turns: Turns,
}

// === impl Opened ===

impl Opened {
    /// The token. Waits for it.
    pub(super) fn token(&self) -> Result<Arc<Token>, Fault> {
        let mut opened = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = &*opened {
            return Ok(Arc::clone(token));
        }
        let token = Arc::new(Token::load(&self.settings)?);
        // Kept whatever it says next: it remembers that a PIN was refused.
        *opened = Some(Arc::clone(&token));
        token.enter()?;
        Ok(token)
    }
}

// === impl TokenKeys ===

impl TokenKeys {
    /// The token that the configuration names, if it names one. It is not asked for anything yet.
    #[must_use]
    pub fn of(config: &Config) -> Option<Self> {
        let settings = config.pkcs11.clone()?;
        let opened = Arc::new(Opened { settings, token: Mutex::default(), turns: Turns::default() });
        Some(Self { opened, pool: Arc::default() })
    }

    /// The token's label.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.opened.settings.token
    }

    /// Whether the token can make keys for an algorithm and sign with them.
    ///
    /// # Errors
    /// The token is away, or does not let us in.
    pub async fn can(&self, algorithm: Algorithm) -> Result<bool, Fault> {
        let Some(needed) = mechanisms::needed(algorithm) else { return Ok(false) };
        let opened = Arc::clone(&self.opened);
        self.waiting(move || {
            let token = opened.token()?;
            Ok(token.has(needed[0])? && token.has(needed[1])?)
        })
        .await
    }

    /// The JWS signature of a message.
    ///
    /// # Errors
    /// The token is away, has no such key, or does not answer in time: all of that may pass.
    pub async fn sign(&self, key: Arc<HeldKey>, message: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let pool = if let Some(pool) = self.pool.get() {
            pool
        } else {
            let fresh = Pool::start(&self.opened, self.opened.settings.sessions.into())?;
            self.pool.get_or_init(|| fresh)
        };
        pool.sign(key, message).await
    }

    /// Makes a pair with this label; its `CKA_ID` is the key's identifier. It has been found by that in another session
    /// and has signed.
    ///
    /// # Errors
    /// Outside: the token is away. Inside: why it has not made a pair that can be used. A part of one may be left.
    pub async fn generate(
        &self,
        algorithm: Algorithm,
        rsa_bits: RsaBits,
        label: String,
    ) -> Result<Result<PublicJwk, Flawed>, Fault> {
        let opened = Arc::clone(&self.opened);
        self.waiting(move || {
            let token = opened.token()?;
            let session = token.session(true)?;
            let _turn = opened.turns.change();
            let flawed = |kid: Option<&PublicJwk>, problem: &str| {
                let token = token.label();
                let said =
                    format!("the PKCS#11 token '{token}' does not make a key for {algorithm}: {problem}");
                Flawed { fault: Fault::unavailable(said), kid: kid.map(|made| made.key_id().to_owned()) }
            };
            let made = match pairs::generate(&session, algorithm, rsa_bits, &label) {
                Ok(made) => made,
                Err(error) => return Ok(Err(flawed(None, &error.to_string()))),
            };
            Ok(match pairs::prove(&token.session(false)?, algorithm, &made) {
                Ok(Ok(())) => Ok(made),
                Ok(Err(problem)) => Err(flawed(Some(&made), problem)),
                Err(error) => Err(flawed(Some(&made), &error.to_string())),
            })
        })
        .await
    }

    /// Destroys the pair with this label or `CKA_ID`, if it is there and its `CKA_ID` is not `spared`. Answers how
    /// many objects that was.
    ///
    /// # Errors
    /// The token is away, or does not let it be destroyed.
    pub async fn destroy(&self, name: String, spared: Vec<String>) -> Result<usize, Fault> {
        let opened = Arc::clone(&self.opened);
        self.waiting(move || {
            let token = opened.token()?;
            let session = token.session(true)?;
            let _turn = opened.turns.change();
            let destroyed =
                pairs::destroy(&session, &name, &spared).map_err(|error| token.trouble(&error))?;
            if destroyed > 0 {
                let token = token.label();
                tracing::info!(%name, token, objects = destroyed, "destroyed in the PKCS#11 token");
            }
            Ok(destroyed)
        })
        .await
    }

    /// Runs what waits for the token on a thread that may.
    async fn waiting<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        match tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(work)).await {
            Ok(done) => done.map_err(Fault::internal)?,
            Err(_) => {
                Err(Fault::unavailable(format!("the PKCS#11 token '{}' does not answer", self.label())))
            }
        }
    }
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TokenKeys").field(&self.label()).finish()
    }
}
