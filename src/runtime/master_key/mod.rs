//! The master keys: what seals private keys at rest.
//!
//! One of them seals, the current one, and each of them opens what it has sealed, so that the master key can be
//! changed while servers run (`docs/configuration.md`). An envelope names its master key, so that a wrong one is
//! told from a damaged envelope. The additional data is what the envelope is for, so that a sealed key cannot
//! be passed for another one.

mod envelope;
mod in_memory;
#[cfg(feature = "pkcs11")]
mod in_token;

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

pub use self::envelope::MasterKeyId;
#[cfg(feature = "pkcs11")]
pub use self::in_token::create as create_in_token;

use self::envelope::{Envelope, NONCE, damaged};
use self::in_memory::InMemory;
#[cfg(feature = "pkcs11")]
use self::in_token::{InToken, Opened, open as open_token};
use super::clock::Ambient;
use crate::config::{Config, MasterKeySource};
use crate::domain::error::Fault;

/// The keys that seal and open. Its `Debug` form has their ids.
#[derive(Clone)]
pub struct MasterKeys(Arc<Vec<MasterKey>>);

/// What keys in a token need: nothing, where there can be none.
#[cfg(not(feature = "pkcs11"))]
type Opened = Option<std::convert::Infallible>;

#[cfg(not(feature = "pkcs11"))]
#[expect(clippy::unused_async, reason = "a token's waits")]
async fn open_token(_: &Config) -> Result<Opened, Fault> {
    Ok(None)
}

/// One key.
enum MasterKey {
    InMemory(InMemory),
    #[cfg(feature = "pkcs11")]
    InToken(InToken),
}

// === impl MasterKeys ===

impl MasterKeys {
    /// Reads the keys. A managed one (SQLite) is made when it is absent and `may_create`, which must not
    /// be said while anything is sealed: a new key would open none of it.
    ///
    /// # Errors
    /// A key is absent, unreadable or not 32 bytes; the token is away, or does not let us in.
    pub async fn load(config: &Config, may_create: bool, ambient: &Ambient) -> Result<Self, Fault> {
        let current = config.master_key.as_ref().ok_or_else(|| {
            Fault::setup(
                "PostgreSQL needs a master key, which all replicas and commands share: \
                 run `(umask 077; openssl rand -base64 32 > master.key)` once and set JETON_MASTER_KEY_FILE to it",
            )
        })?;
        let token = open_token(config).await?;
        let mut keys: Vec<MasterKey> = Vec::with_capacity(1 + config.other_master_keys.len());
        for source in std::iter::once(current).chain(&config.other_master_keys) {
            let key = match source {
                MasterKeySource::Managed(path) if may_create && !path.exists() => {
                    MasterKey::InMemory(InMemory::create(path, ambient)?)
                }
                _ => MasterKey::read(source, keys.is_empty(), &token).await?,
            };
            // Twice the same is no harm: the list may be the same file on all replicas, at every step.
            if keys.iter().all(|known| known.id() != key.id()) {
                keys.push(key);
            }
        }
        Ok(Self(Arc::new(keys)))
    }

    /// Whether the master key with this id is configured. Each source is looked at by itself: while the file of one is
    /// lost, that of another may be there.
    ///
    /// # Errors
    /// One cannot be read, though it may be there: then nobody knows.
    pub async fn is_configured(config: &Config, id: &str) -> Result<bool, Fault> {
        let token = open_token(config).await?;
        for (place, source) in config.master_key.iter().chain(&config.other_master_keys).enumerate() {
            if let MasterKeySource::File(path) | MasterKeySource::Managed(path) = source
                && matches!(path.try_exists(), Ok(false))
            {
                continue;
            }
            if MasterKey::read(source, place == 0, &token).await?.id().to_string() == id {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The one that seals.
    #[must_use]
    pub fn current(&self) -> MasterKeyId {
        self.0[0].id()
    }

    /// Those that only open.
    pub fn others(&self) -> impl Iterator<Item = MasterKeyId> {
        self.0.iter().skip(1).map(MasterKey::id)
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn has(&self, id: MasterKeyId) -> bool {
        self.0.iter().any(|key| key.id() == id)
    }

    /// Seals `plain` for one purpose, under the current key.
    ///
    /// # Errors
    /// The cryptographic library failed, or the token is away.
    pub async fn seal(&self, purpose: &str, plain: &[u8]) -> Result<Vec<u8>, Fault> {
        let current = &self.0[0];
        let (nonce, sealed) = current.seal(purpose, plain).await?;
        Ok(Envelope { master_key: current.id(), nonce, sealed: &sealed }.write())
    }

    /// Opens an envelope that was sealed for this purpose.
    ///
    /// # Errors
    /// It was sealed under a master key that is not configured, for another purpose, or was altered; or the token
    /// is away.
    pub async fn open(&self, purpose: &str, envelope: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let envelope = Envelope::read(purpose, envelope)?;
        let Some(key) = self.0.iter().find(|key| key.id() == envelope.master_key) else {
            return Err(Fault::internal(format!(
                "the {purpose} is sealed under master key {}; configured: {self}. If the master key is being \
                 changed, give that one as well, in other_master_key_files; else give the one that this database \
                 was started with (docs/configuration.md)",
                envelope.master_key
            )));
        };
        key.open(purpose, envelope).await
    }

    /// Seals anew under the current key what another one has sealed. The new envelope is opened again before it is
    /// handed out, because the old one is about to be thrown away.
    ///
    /// # Errors
    /// As with [`MasterKeys::open`] and [`MasterKeys::seal`].
    pub async fn reseal(&self, purpose: &str, envelope: &[u8]) -> Result<Vec<u8>, Fault> {
        let plain = self.open(purpose, envelope).await?;
        let resealed = self.seal(purpose, &plain).await?;
        if *self.open(purpose, &resealed).await? != *plain {
            return Err(Fault::internal(format!("the {purpose} does not open as it was sealed")));
        }
        Ok(resealed)
    }
}

/// The ids, as errors and logs name them.
impl fmt::Display for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (current)", self.current())?;
        self.others().try_for_each(|id| write!(f, ", {id} (only opens)"))
    }
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKeys({self})")
    }
}

// === impl MasterKey ===

impl MasterKey {
    #[cfg_attr(not(feature = "pkcs11"), expect(clippy::unused_async, reason = "a token's key waits for it"))]
    async fn read(
        source: &MasterKeySource,
        is_current: bool,
        #[cfg_attr(not(feature = "pkcs11"), expect(unused_variables, reason = "there is none"))]
        token: &Opened,
    ) -> Result<Self, Fault> {
        match source {
            MasterKeySource::Value(text) => {
                let setting = if is_current { "JETON_MASTER_KEY" } else { "JETON_OTHER_MASTER_KEYS" };
                InMemory::parse(text, setting).map(Self::InMemory)
            }
            MasterKeySource::File(path) => InMemory::read(path).map(Self::InMemory),
            // Nobody but a first start writes it: what is lost does not come by itself.
            MasterKeySource::Managed(path) => InMemory::read(path)
                .map(Self::InMemory)
                .map_err(|fault| if path.exists() { fault } else { Fault::setup(fault) }),
            #[cfg(feature = "pkcs11")]
            MasterKeySource::Token(label) => in_token::find(token.as_ref(), label).await.map(Self::InToken),
            #[cfg(not(feature = "pkcs11"))]
            MasterKeySource::Token(_) => Err(Fault::setup("built without PKCS#11")),
        }
    }

    const fn id(&self) -> MasterKeyId {
        match self {
            Self::InMemory(key) => key.id,
            #[cfg(feature = "pkcs11")]
            Self::InToken(key) => key.id,
        }
    }

    #[cfg_attr(not(feature = "pkcs11"), expect(clippy::unused_async, reason = "a token's key waits for it"))]
    async fn seal(&self, purpose: &str, plain: &[u8]) -> Result<([u8; NONCE], Vec<u8>), Fault> {
        match self {
            Self::InMemory(key) => key.seal(purpose, plain),
            #[cfg(feature = "pkcs11")]
            Self::InToken(key) => key.seal(purpose, plain).await,
        }
    }

    #[cfg_attr(not(feature = "pkcs11"), expect(clippy::unused_async, reason = "a token's key waits for it"))]
    async fn open(&self, purpose: &str, envelope: Envelope<'_>) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let Envelope { nonce, sealed, .. } = envelope;
        match self {
            Self::InMemory(key) => key.open(purpose, nonce, sealed).ok_or_else(|| damaged(purpose)),
            #[cfg(feature = "pkcs11")]
            Self::InToken(key) => key.open(purpose, nonce, sealed).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_memory(byte: u8) -> MasterKey {
        MasterKey::InMemory(InMemory::parse(&format!("{byte:02x}").repeat(32).into(), "test").unwrap())
    }

    /// The first is the current one.
    fn keys(bytes: &[u8]) -> MasterKeys {
        MasterKeys(Arc::new(bytes.iter().copied().map(in_memory).collect()))
    }

    #[tokio::test]
    async fn what_is_sealed_opens_for_its_purpose_only() {
        let sealed = keys(&[1]).seal("signing key a", b"private").await.unwrap();
        assert_eq!(*keys(&[1]).open("signing key a", &sealed).await.unwrap(), b"private");
        assert!(keys(&[1]).open("signing key b", &sealed).await.is_err());
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(keys(&[1]).open("signing key a", &altered).await.is_err(), "byte {at}");
            assert!(keys(&[1]).open("signing key a", &sealed[..at]).await.is_err(), "the first {at} bytes");
        }
    }

    #[tokio::test]
    async fn the_current_key_seals_and_each_opens_its_own() {
        let (old, new, both) = (keys(&[1]), keys(&[2]), keys(&[2, 3, 1]));
        let sealed = old.seal("signing key a", b"private").await.unwrap();
        assert_eq!(*both.open("signing key a", &sealed).await.unwrap(), b"private");
        let resealed = both.reseal("signing key a", &sealed).await.unwrap();
        assert_eq!(MasterKeyId::of("signing key a", &resealed).unwrap(), new.current());
        assert_eq!(*new.open("signing key a", &resealed).await.unwrap(), b"private");
        assert!(old.open("signing key a", &resealed).await.is_err());
        assert!(both.reseal("signing key b", &sealed).await.is_err(), "for its purpose only");
    }

    #[tokio::test]
    async fn a_master_key_that_is_missing_is_named_with_those_that_are_there() {
        let sealed = keys(&[1]).seal("signing key a", b"private").await.unwrap();
        let error = keys(&[2, 3]).open("signing key a", &sealed).await.unwrap_err().to_string();
        let expected = format!(
            "the signing key a is sealed under master key {}; configured: {} (current), {} (only opens). If",
            keys(&[1]).current(),
            keys(&[2]).current(),
            keys(&[3]).current()
        );
        assert!(error.starts_with(&expected), "{error}");
    }

    #[test]
    fn nothing_prints_but_ids() {
        assert_eq!(format!("{:?}", keys(&[1])), format!("MasterKeys({} (current))", keys(&[1]).current()));
        assert_eq!(keys(&[1]).current().to_string().len(), 16);
        assert!(!format!("{:?}", keys(&[1])).contains("0101"));
    }

    #[test]
    fn hexadecimal_and_base64_are_one_key_and_a_short_one_is_none() {
        let base64 = InMemory::parse(&"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n".into(), "t").unwrap();
        assert_eq!(base64.id, keys(&[1]).current());
        assert!(InMemory::parse(&"AAAA".into(), "t").is_err());
    }
}
