//! What a sealed key looks like: `1 | master key id (8) | nonce (12) | AES-256-GCM ciphertext and tag`.

use std::fmt;

use aws_lc_rs::digest;

use crate::domain::error::Fault;

const VERSION: u8 = 1;
const ID: usize = 8;
pub(crate) const NONCE: usize = 12;
const HEADER: usize = 1 + ID + NONCE;

/// Which master key: a part of a hash that says nothing else about it. In hexadecimal it may be shown and logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MasterKeyId([u8; ID]);

/// An envelope, taken apart.
#[derive(Clone, Copy)]
pub(super) struct Envelope<'a> {
    pub(super) master_key: MasterKeyId,
    pub(super) nonce: [u8; NONCE],
    pub(super) sealed: &'a [u8],
}

// === impl MasterKeyId ===

impl MasterKeyId {
    /// The id of what these bytes stand for; `kind` keeps the kinds of keys apart.
    pub(crate) fn new(kind: &str, bytes: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(kind.as_bytes());
        context.update(&[0]);
        context.update(bytes);
        let mut id = [0; ID];
        id.copy_from_slice(&context.finish().as_ref()[..ID]);
        Self(id)
    }

    /// The master key that sealed this envelope.
    ///
    /// # Errors
    /// It is no envelope.
    pub fn of(purpose: &str, envelope: &[u8]) -> Result<Self, Fault> {
        Envelope::read(purpose, envelope).map(|envelope| envelope.master_key)
    }
}

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

// === impl Envelope ===

impl<'a> Envelope<'a> {
    pub(super) fn read(purpose: &str, envelope: &'a [u8]) -> Result<Self, Fault> {
        let (header, sealed) = envelope.split_at_checked(HEADER).ok_or_else(|| damaged(purpose))?;
        if header[0] != VERSION {
            return Err(Fault::internal(format!("the sealed {purpose} has a form of a newer Jeton")));
        }
        let (mut id, mut nonce) = ([0; ID], [0; NONCE]);
        id.copy_from_slice(&header[1..=ID]);
        nonce.copy_from_slice(&header[1 + ID..]);
        Ok(Self { master_key: MasterKeyId(id), nonce, sealed })
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut envelope = Vec::with_capacity(HEADER + self.sealed.len());
        envelope.push(VERSION);
        envelope.extend_from_slice(&self.master_key.0);
        envelope.extend_from_slice(&self.nonce);
        envelope.extend_from_slice(self.sealed);
        envelope
    }
}

/// What no key opens.
pub(super) fn damaged(purpose: &str) -> Fault {
    Fault::internal(format!("the sealed {purpose} is damaged"))
}
