//! A public key that a client is registered with, and proves itself by signing with its private part.

use std::sync::Arc;

use super::fingerprint::fingerprint;
use super::ids::CredentialId;
use super::standing::{NotInForce, Standing};
use super::time::Timestamp;
use crate::jose::ForeignKey;

/// The most keys one client is registered with: enough for any rotation.
pub const MOST_KEYS: usize = 10;

/// A registered public key.
#[derive(Clone, Debug)]
pub struct ClientKey {
    /// Names it to people, and in the audit.
    pub key_id: CredentialId,
    /// The key, parsed once.
    pub key: Arc<ForeignKey>,
    /// A note for people, which decides nothing.
    pub description: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// Its end; never, when absent.
    pub expires_at: Option<Timestamp>,
}

// === impl ClientKey ===

impl ClientKey {
    /// Whether the key counts at `now`.
    ///
    /// # Errors
    /// It is expired. A removed one is deleted, hence absent.
    pub fn check(&self, now: Timestamp) -> Result<(), NotInForce> {
        Standing { enabled: true, expires_at: self.expires_at }.check(now)
    }
}

/// What names a key: a fingerprint of its thumbprint.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "it cannot")]
pub fn key_id(key: &ForeignKey) -> CredentialId {
    #[expect(
        clippy::expect_used,
        reason = "eight letters and digits always have the form of a credential id"
    )]
    CredentialId::new(fingerprint(key.thumbprint())).expect("base32 digits")
}
