//! A master key whose bytes this process has: from a file or the environment.

use std::fs;
use std::io::Write;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::envelope::{MasterKeyId, NONCE};
use crate::domain::error::Fault;
use crate::runtime::clock::Ambient;
use crate::runtime::private_file;

const KEY: usize = 32;

/// The bytes, ready for use. It has no `Debug` form.
pub(super) struct InMemory {
    pub(super) id: MasterKeyId,
    key: RandomizedNonceKey,
}

// === impl InMemory ===

impl InMemory {
    pub(super) fn read(path: &Path) -> Result<Self, Fault> {
        let text = private_file::read(path).map_err(|error| {
            let what = format_args!(
                "the master key {}, without which the stored signing keys cannot be opened (where it is lost, see \
                 docs/operate/lost-master-key.md)",
                path.display()
            );
            private_file::fault(what, &error)
        })?;
        Self::parse(&text, &path.display().to_string())
    }

    pub(super) fn create(path: &Path, ambient: &Ambient) -> Result<Self, Fault> {
        let text = Zeroizing::new(BASE64.encode(Zeroizing::new(ambient.bytes::<KEY>()?)));
        match write_new(path, text.as_bytes(), &ambient.uuid()?.simple().to_string()) {
            Ok(()) => {}
            // Another process was first: its key is the one.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Fault::internal(format!("writing {}: {error}", path.display()))),
        }
        Self::read(path)
    }

    pub(super) fn parse(text: &SecretString, origin: &str) -> Result<Self, Fault> {
        let text = text.expose_secret().trim();
        let bytes = Zeroizing::new(
            if text.len() == 2 * KEY { from_hex(text) } else { BASE64.decode(text).ok() }.unwrap_or_default(),
        );
        if bytes.len() != KEY {
            return Err(Fault::setup(format!(
                "{origin} does not hold 32 bytes in base64 or hexadecimal; make one with `openssl rand -base64 32`"
            )));
        }
        let id = MasterKeyId::new("jeton master key id", &bytes);
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes)
            .map_err(|_| Fault::internal(format!("{origin} is not an AES-256 key")))?;
        Ok(Self { id, key })
    }

    pub(super) fn seal(&self, purpose: &str, plain: &[u8]) -> Result<([u8; NONCE], Vec<u8>), Fault> {
        let mut sealed = Zeroizing::new(plain.to_vec());
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(purpose), &mut *sealed)
            .map_err(|_| Fault::internal("sealing failed"))?;
        Ok((*nonce.as_ref(), std::mem::take(&mut *sealed)))
    }

    /// The plain bytes, or nothing when this is not what was sealed for the purpose.
    pub(super) fn open(
        &self,
        purpose: &str,
        nonce: [u8; NONCE],
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let mut plain = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let length = self.key.open_in_place(nonce, Aad::from(purpose), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

/// Writes a file that only its owner reads, whole or not at all, and never over another.
fn write_new(path: &Path, content: &[u8], draft: &str) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let draft = directory.join(format!("master.key.{draft}"));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
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
