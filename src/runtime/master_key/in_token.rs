//! A master key that never leaves its PKCS#11 token.

use std::ffi::c_ulong;
use std::sync::Arc;

use aws_lc_rs::rand;
use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use zeroize::Zeroizing;

use super::envelope::{MasterKeyId, NONCE};
use crate::config::{self, Config, MasterKeySource};
use crate::domain::error::Fault;
use crate::runtime::clock::Ambient;
use crate::runtime::pkcs11::Token;

/// How long `CKA_ID` has to be: the key's name in envelopes is made from it, so no two may have the same.
const LEAST_ID: usize = 8;

const KEY: c_ulong = 32;
const TAG_BITS: c_ulong = 128;

/// A key in a token. It has no `Debug` form.
#[derive(Clone)]
pub(super) struct InToken {
    pub(super) id: MasterKeyId,
    token: Arc<Token>,
    label: Arc<str>,
    object_id: Arc<[u8]>,
}

/// The token, if a key in it is wanted.
pub(super) type Opened = Option<Arc<Token>>;

/// Opens the token, if a key in it is wanted.
pub(super) async fn open(config: &Config) -> Result<Opened, Fault> {
    let in_token = |source: &MasterKeySource| matches!(source, MasterKeySource::Token(_));
    match &config.pkcs11 {
        Some(settings) if config.master_key.iter().chain(&config.other_master_keys).any(in_token) => {
            let settings = settings.clone();
            waiting(move || Token::open(&settings)).await.map(Arc::new).map(Some)
        }
        _ => Ok(None),
    }
}

/// Finds the key with this label.
pub(super) async fn find(token: Option<&Arc<Token>>, label: &str) -> Result<InToken, Fault> {
    let token = Arc::clone(token.ok_or_else(|| Fault::setup("there is no PKCS#11 token"))?);
    let label: Arc<str> = label.into();
    waiting(move || {
        let object_id = describe(&token, &label)?;
        // By an attribute of the key that copies of it keep, and not by the token: several devices may have the
        // same key, for availability.
        let id = MasterKeyId::new("jeton pkcs11 master key id", &object_id);
        Ok(InToken { id, token, label, object_id: object_id.into() })
    })
    .await
}

/// Makes an AES-256 key with this label that cannot be read out of the token.
///
/// # Errors
/// There is one already; the token is away, or does not let us in.
pub async fn create(settings: &config::Pkcs11, label: &str, ambient: &Ambient) -> Result<MasterKeyId, Fault> {
    let (settings, label) = (settings.clone(), label.to_owned());
    let object_id = ambient.bytes::<16>()?;
    waiting(move || {
        let token = Token::open(&settings)?;
        if !objects(&token, &label)?.is_empty() {
            return Err(Fault::internal(format!(
                "the PKCS#11 token '{}' has a key '{label}' already: choose another label",
                token.label()
            )));
        }
        token.write(|session| {
            session.generate_key(
                &Mechanism::AesKeyGen,
                &[
                    Attribute::Token(true),
                    Attribute::Private(true),
                    Attribute::Sensitive(true),
                    Attribute::Extractable(false),
                    Attribute::Encrypt(true),
                    Attribute::Decrypt(true),
                    Attribute::ValueLen(KEY.into()),
                    Attribute::Label(label.as_bytes().to_vec()),
                    Attribute::Id(object_id.to_vec()),
                ],
            )
        })?;
        Ok(MasterKeyId::new("jeton pkcs11 master key id", &object_id))
    })
    .await
}

// === impl InToken ===

impl InToken {
    pub(super) async fn seal(&self, purpose: &str, plain: &[u8]) -> Result<([u8; NONCE], Vec<u8>), Fault> {
        let (key, purpose) = (self.clone(), purpose.to_owned());
        let plain = Zeroizing::new(plain.to_vec());
        waiting(move || {
            let sealed = key.token.run(|session| {
                let mut nonce = [0; NONCE];
                rand::fill(&mut nonce).map_err(|_| Error::InvalidValue)?;
                let parameters = GcmParams::new(&mut nonce, purpose.as_bytes(), TAG_BITS.into())?;
                let sealed = session.encrypt(&Mechanism::AesGcm(parameters), key.handle(session)?, &plain)?;
                // Some tokens write a nonce of their own into it.
                Ok((nonce, sealed))
            })?;
            sealed.map_err(|error| key.trouble("seal", &purpose, &error))
        })
        .await
    }

    pub(super) async fn open(
        &self,
        purpose: &str,
        nonce: [u8; NONCE],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let (key, purpose, sealed) = (self.clone(), purpose.to_owned(), sealed.to_vec());
        waiting(move || {
            let plain = key.token.run(|session| {
                let mut nonce = nonce;
                let parameters = GcmParams::new(&mut nonce, purpose.as_bytes(), TAG_BITS.into())?;
                session.decrypt(&Mechanism::AesGcm(parameters), key.handle(session)?, &sealed)
            })?;
            // Damaged, or the token has some trouble: many tell no difference.
            plain.map(Zeroizing::new).map_err(|error| key.trouble("open", &purpose, &error))
        })
        .await
    }

    /// Handles are good in one login only, so the key is looked for each time.
    fn handle(&self, session: &Session) -> Result<ObjectHandle, Error> {
        let wanted = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Label(self.label.as_bytes().to_vec()),
            Attribute::Id(self.object_id.to_vec()),
        ];
        session.find_objects(&wanted)?.first().copied().ok_or(Error::InvalidValue)
    }

    fn trouble(&self, what: &str, purpose: &str, error: &Error) -> Fault {
        Fault::unavailable(format!(
            "the key '{}' of the PKCS#11 token '{}' does not {what} the {purpose}: {error}",
            self.label,
            self.token.label()
        ))
    }
}

/// The `CKA_ID` of the one key with this label, if it is one that will do.
fn describe(token: &Token, label: &str) -> Result<Vec<u8>, Fault> {
    let place = format!("the PKCS#11 token '{}'", token.label());
    let found = objects(token, label)?;
    let [key] = found[..] else {
        return Err(Fault::setup(if found.is_empty() {
            format!("{place} has no key '{label}': make it with `jeton keys create-master {label}`")
        } else {
            format!("{place} has several keys '{label}': give each a label of its own")
        }));
    };
    let wanted = [AttributeType::KeyType, AttributeType::ValueLen, AttributeType::Id];
    let attributes =
        token.run(|session| session.get_attributes(key, &wanted))?.map_err(|error| token.trouble(&error))?;
    let mut object_id = Vec::new();
    for attribute in attributes {
        match attribute {
            Attribute::KeyType(kind) if kind != KeyType::AES => {
                return Err(Fault::setup(format!("the key '{label}' of {place} is no AES key")));
            }
            Attribute::ValueLen(length) if *length != KEY => {
                return Err(Fault::setup(format!("the key '{label}' of {place} is not of 256 bits")));
            }
            Attribute::Id(id) => object_id = id,
            _ => {}
        }
    }
    if object_id.len() < LEAST_ID {
        return Err(Fault::setup(format!(
            "the key '{label}' of {place} needs a CKA_ID of {LEAST_ID} random bytes or more, because sealed keys \
             name it by that"
        )));
    }
    Ok(object_id)
}

fn objects(token: &Token, label: &str) -> Result<Vec<ObjectHandle>, Fault> {
    let wanted = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Label(label.as_bytes().to_vec())];
    token.run(|session| session.find_objects(&wanted))?.map_err(|error| token.trouble(&error))
}

/// Runs what waits for a token on a thread that may.
async fn waiting<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(Fault::internal)?
}
