//! The master key: what seals private signing keys at rest.
//!
//! An envelope is `1 | master key id (8) | nonce (12) | AES-256-GCM ciphertext and tag`. The additional
//! data is what the envelope is for, so that a sealed key cannot be passed for another one.

use std::fs;
use std::io::Write;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::clock::Ambient;
use crate::config::MasterKeySource;
use crate::domain::error::Fault;

const VERSION: u8 = 1;
const ID: usize = 8;
const NONCE: usize = 12;
const HEADER: usize = 1 + ID + NONCE;
const KEY: usize = 32;

/// The key that seals and opens. Its `Debug` form is its id.
pub struct MasterKey {
    id: [u8; ID],
    key: RandomizedNonceKey,
}

// === impl MasterKey ===

impl MasterKey {
    /// Reads the key. A managed one (SQLite) is made when it is absent and `may_create`, which must not
    /// be said while anything is sealed: a new key would open none of it.
    ///
    /// # Errors
    /// The key is absent, unreadable or not 32 bytes.
    pub fn load(source: &MasterKeySource, may_create: bool, ambient: &Ambient) -> Result<Self, Fault> {
        match source {
            MasterKeySource::Value(text) => Self::parse(text, "JETON_MASTER_KEY"),
            MasterKeySource::Managed(path) if may_create && !path.exists() => Self::create(path, ambient),
            MasterKeySource::File(path) | MasterKeySource::Managed(path) => Self::read(path),
        }
    }

    fn read(path: &Path) -> Result<Self, Fault> {
        let text = fs::read_to_string(path).map_err(|error| {
            Fault::internal(format!(
                "the master key {}: {error}; without it the stored signing keys cannot be opened",
                path.display()
            ))
        })?;
        Self::parse(&SecretString::from(text), &path.display().to_string())
    }

    fn create(path: &Path, ambient: &Ambient) -> Result<Self, Fault> {
        let text = Zeroizing::new(BASE64.encode(Zeroizing::new(ambient.bytes::<KEY>()?)));
        match write_new(path, text.as_bytes(), &ambient.uuid()?.simple().to_string()) {
            Ok(()) => {}
            // Another process was first: its key is the one.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Fault::internal(format!("writing {}: {error}", path.display()))),
        }
        Self::read(path)
    }

    fn parse(text: &SecretString, origin: &str) -> Result<Self, Fault> {
        let text = text.expose_secret().trim();
        let bytes = Zeroizing::new(
            if text.len() == 2 * KEY { from_hex(text) } else { BASE64.decode(text).ok() }.unwrap_or_default(),
        );
        if bytes.len() != KEY {
            return Err(Fault::internal(format!(
                "{origin} does not hold 32 bytes in base64 or hexadecimal; make one with `openssl rand -base64 32`"
            )));
        }
        let mut id = [0; ID];
        let mut digest = digest::Context::new(&digest::SHA256);
        digest.update(b"jeton master key id\0");
        digest.update(&bytes);
        id.copy_from_slice(&digest.finish().as_ref()[..ID]);
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes)
            .map_err(|_| Fault::internal(format!("{origin} is not an AES-256 key")))?;
        Ok(Self { id, key })
    }

    /// Seals `plain` for one purpose.
    ///
    /// # Errors
    /// The cryptographic library failed.
    pub fn seal(&self, purpose: &str, plain: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut sealed = Zeroizing::new(plain.to_vec());
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(purpose), &mut *sealed)
            .map_err(|_| Fault::internal("sealing failed"))?;
        let mut envelope = Vec::with_capacity(HEADER + sealed.len());
        envelope.push(VERSION);
        envelope.extend_from_slice(&self.id);
        envelope.extend_from_slice(nonce.as_ref());
        envelope.extend_from_slice(&sealed);
        Ok(envelope)
    }

    /// Opens an envelope that was sealed for this purpose.
    ///
    /// # Errors
    /// It was sealed under another master key, for another purpose, or was altered.
    pub fn open(&self, purpose: &str, envelope: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let damaged = || Fault::internal(format!("the sealed {purpose} is damaged"));
        let (header, sealed) = envelope.split_at_checked(HEADER).ok_or_else(damaged)?;
        if header[0] != VERSION {
            return Err(Fault::internal(format!("the sealed {purpose} has a form of a newer Jeton")));
        }
        if header[1..=ID] != self.id {
            return Err(Fault::internal(format!(
                "the {purpose} was sealed under another master key: give the one that this database was started with"
            )));
        }
        let nonce = Nonce::try_assume_unique_for_key(&header[1 + ID..]).map_err(|_| damaged())?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let length =
            self.key.open_in_place(nonce, Aad::from(purpose), &mut plain).map_err(|_| damaged())?.len();
        plain.truncate(length);
        Ok(plain)
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MasterKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Writes a file that only its owner reads, whole or not at all, and never over another.
fn write_new(path: &Path, content: &[u8], draft: &str) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let draft = directory.join(format!("master.key.{draft}"));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    // Unlike a rename, a link fails when the name is taken.
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    linked?;
    fs::File::open(directory)?.sync_all()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> MasterKey {
        MasterKey::parse(&SecretString::from(BASE64.encode([byte; KEY])), "test").unwrap()
    }

    #[test]
    fn what_is_sealed_opens_for_its_purpose_only() {
        let sealed = key(1).seal("signing key a", b"private").unwrap();
        assert_eq!(*key(1).open("signing key a", &sealed).unwrap(), b"private");
        assert!(key(1).open("signing key b", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(key(1).open("signing key a", &altered).is_err(), "byte {at}");
        }
    }

    #[test]
    fn another_master_key_is_named_as_the_cause() {
        let sealed = key(1).seal("signing key a", b"private").unwrap();
        let error = key(2).open("signing key a", &sealed).unwrap_err();
        assert!(error.to_string().contains("another master key"), "{error}");
    }

    #[test]
    fn hexadecimal_is_accepted_and_a_short_key_is_not() {
        assert_eq!(MasterKey::parse(&SecretString::from("01".repeat(32)), "t").unwrap().id, key(1).id);
        assert!(MasterKey::parse(&SecretString::from("AAAA"), "t").is_err());
    }
}
