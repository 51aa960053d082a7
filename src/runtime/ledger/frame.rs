//! What the spool keeps: a batch of events, and what is known of it.

use std::sync::Arc;

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

use crate::domain::audit::{NotAnEvent, WrittenEvent};
use crate::domain::chain::ChainEnd;
use crate::domain::time::Timestamp;
use crate::storage::UsedId;

/// The bytes of a frame beside its body: the body's length before it, and its seal behind.
const LENGTH: usize = 4;
pub(super) const SEAL: usize = 32;
pub(super) const AROUND: usize = LENGTH + SEAL;

/// What ties a frame to the one before it, and both to the key.
pub(super) type Seal = [u8; SEAL];

/// A batch that the database could not take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Frame {
    /// Set when it may have taken it all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tried: Option<Tried>,
    pub(super) events: Vec<Spooled>,
}

/// How to find out whether a batch was taken whose outcome is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tried {
    /// Its events are behind this place, in their order.
    Behind(ChainEnd),
    /// This identifier is used.
    Marked(String),
}

/// An event, and what it uses up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spooled {
    at: i64,
    text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) used: Vec<SpooledId>,
}

/// An identifier that counts once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SpooledId {
    pub(super) purpose: String,
    pub(super) id: String,
    expires_at: i64,
}

// === impl Spooled ===

impl Spooled {
    pub(super) fn new(event: &WrittenEvent, used: &[UsedId]) -> Self {
        let used = used.iter().map(|used| SpooledId {
            purpose: used.purpose.as_str().to_owned(),
            id: used.id.clone(),
            expires_at: used.expires_at.as_micros(),
        });
        Self { at: event.at.as_micros(), text: event.text.clone(), used: used.collect() }
    }

    pub(super) const fn at(&self) -> Timestamp {
        Timestamp::from_micros(self.at)
    }

    pub(super) fn event(&self) -> Result<Arc<WrittenEvent>, NotAnEvent> {
        WrittenEvent::read(self.at(), self.text.clone()).map(Arc::new)
    }
}

// === impl SpooledId ===

impl SpooledId {
    pub(super) const fn expires_at(&self) -> Timestamp {
        Timestamp::from_micros(self.expires_at)
    }
}

// === impl Frame ===

impl Frame {
    /// Its bytes behind the frame with this seal, and its own seal.
    pub(super) fn write(&self, key: &hmac::Key, before: &Seal) -> Result<(Vec<u8>, Seal), serde_json::Error> {
        let mut bytes = vec![0; LENGTH];
        serde_json::to_writer(&mut bytes, self)?;
        // No batch has four thousand million bytes; one that had could not be read back.
        let length = u32::try_from(bytes.len() - LENGTH).unwrap_or(u32::MAX);
        bytes[..LENGTH].copy_from_slice(&length.to_be_bytes());
        let seal = seal(key, before, &bytes);
        bytes.extend_from_slice(&seal);
        Ok((bytes, seal))
    }

    /// How many bytes its body has, by the first of its own.
    pub(super) fn length(first: [u8; LENGTH]) -> usize {
        u32::from_be_bytes(first) as usize
    }

    /// The frame with these bytes, and its seal; nothing, if it was not written behind the frame with the seal `before`.
    pub(super) fn read(bytes: &[u8], key: &hmac::Key, before: &Seal) -> Option<(Self, Seal)> {
        let (sealed, seal) = bytes.split_at_checked(bytes.len().checked_sub(SEAL)?)?;
        hmac::verify(key, &[before, sealed].concat(), seal).ok()?;
        let frame = serde_json::from_slice(sealed.get(LENGTH..)?).ok()?;
        Some((frame, seal.try_into().ok()?))
    }
}

/// What ties bytes to those before them.
pub(super) fn seal(key: &hmac::Key, before: &[u8], bytes: &[u8]) -> Seal {
    let mut context = hmac::Context::with_key(key);
    context.update(before);
    context.update(bytes);
    let mut seal = [0; SEAL];
    seal.copy_from_slice(context.sign().as_ref());
    seal
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(byte: u8) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32])
    }

    fn frame(texts: Vec<String>) -> Frame {
        let used = vec![SpooledId { purpose: "p".to_owned(), id: "i".to_owned(), expires_at: 9 }];
        let events = texts.into_iter().map(|text| Spooled { at: 7, text, used: used.clone() });
        Frame { tried: Some(Tried::Marked("m".to_owned())), events: events.collect() }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_nothing_else(
            texts in prop::collection::vec("\\PC*", 0..4), at: prop::sample::Index, bit in 0_u8..8,
        ) {
            let (frame, before) = (frame(texts), [3; SEAL]);
            let (bytes, seal) = frame.write(&key(1), &before).unwrap();
            prop_assert_eq!(Frame::length(bytes[..4].try_into().unwrap()) + AROUND, bytes.len());
            prop_assert_eq!(Frame::read(&bytes, &key(1), &before), Some((frame, seal)));
            prop_assert_eq!(Frame::read(&bytes, &key(2), &before), None, "another key");
            prop_assert_eq!(Frame::read(&bytes, &key(1), &[4; SEAL]), None, "another place");
            let mut altered = bytes.clone();
            altered[at.index(bytes.len())] ^= 1 << bit;
            prop_assert_eq!(Frame::read(&altered, &key(1), &before), None, "altered");
            prop_assert_eq!(Frame::read(&bytes[..at.index(bytes.len())], &key(1), &before), None, "cut off");
        }
    }
}
