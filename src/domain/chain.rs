//! The hash chain that events stand in: what makes a changed, missing or moved one show.
//!
//! Each process keeps one chain at a time. An event's hash covers its place, its time, its text and the hash
//! before it; from time to time the process signs how far it has come. [`super::chain_check`] checks all that.

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::time::Timestamp;

/// What the hashed bytes start with: no hash for another purpose can be passed for one of these.
const DOMAIN: &[u8] = b"jeton audit event 1\n";

/// SHA-256 of an event in its place. Its text form is hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 32]);

/// A text or a column is not a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a SHA-256 hash: 64 hexadecimal digits")]
pub struct NotAHash;

/// An event's place in a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The chain.
    pub writer: Uuid,
    /// Its place, from 1 without gaps.
    pub seq: u64,
    /// When it was recorded; never before the event before it.
    pub at: Timestamp,
    /// The hash of the event before it; zeros before the first.
    pub prev: Hash,
    /// Its own hash.
    pub hash: Hash,
}

/// How far a chain has come. Signed, it is a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChainEnd {
    /// The chain.
    #[schema(value_type = String)]
    pub writer: Uuid,
    /// Its last event.
    pub seq: u64,
    /// When that was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// That event's hash.
    #[schema(value_type = String)]
    pub hash: Hash,
}

/// A chain that is being written.
#[derive(Clone, Debug)]
pub struct Chain(ChainEnd);

// === impl Hash ===

impl Hash {
    /// What stands for the hash before the first event.
    pub const NONE: Self = Self([0; 32]);

    /// The hash of an event in its place: SHA-256 over a fixed text, the chain (16 bytes), the place and the
    /// time (eight bytes each, big endian), the hash before (32 bytes) and the event's text in UTF-8. Only
    /// the last has no fixed length, so no two events are hashed from the same bytes.
    #[must_use]
    pub fn of(writer: Uuid, seq: u64, at: Timestamp, prev: &Self, text: &str) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(DOMAIN);
        context.update(writer.as_bytes());
        context.update(&seq.to_be_bytes());
        context.update(&at.as_micros().to_be_bytes());
        context.update(&prev.0);
        context.update(text.as_bytes());
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Self(hash)
    }

    /// From stored bytes.
    ///
    /// # Errors
    /// They are not 32.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotAHash> {
        bytes.try_into().map(Self).map_err(|_| NotAHash)
    }

    /// The bytes to store.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for Hash {
    type Error = NotAHash;

    fn try_from(text: String) -> Result<Self, NotAHash> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(NotAHash);
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| NotAHash)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| NotAHash)?;
        }
        Ok(Self(bytes))
    }
}

// === impl Chain ===

impl Chain {
    /// A chain without events.
    #[must_use]
    pub const fn new(writer: Uuid, at: Timestamp) -> Self {
        Self(ChainEnd { writer, seq: 0, at, hash: Hash::NONE })
    }

    /// A chain that goes on behind this place.
    #[must_use]
    pub const fn after(end: ChainEnd) -> Self {
        Self(end)
    }

    /// Puts an event into the next place. A chain's times never go back, so that cutting off what is older
    /// than a time cuts off its beginning and nothing else.
    pub fn append(&mut self, at: Timestamp, text: &str) -> Link {
        let end = &self.0;
        let (writer, seq, at, prev) = (end.writer, end.seq + 1, at.max(end.at), end.hash);
        let hash = Hash::of(writer, seq, at, &prev, text);
        self.0 = ChainEnd { writer, seq, at, hash };
        Link { writer, seq, at, prev, hash }
    }

    /// How far it has come: no event yet, when its place is 0.
    #[must_use]
    pub const fn end(&self) -> &ChainEnd {
        &self.0
    }

    /// When its last event was recorded; when it began, before the first.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.0.at
    }
}
