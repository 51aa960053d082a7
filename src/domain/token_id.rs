//! Identifiers of tokens (`jti`) and of chains of tokens (`txn`).
//!
//! They end in 28 characters of base64url: the microsecond in which they were made (56 bits, big endian) and
//! 112 random bits. So the audit finds a token by its time and needs no index over random texts, which would
//! cost every token twice what its event costs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;

use super::time::Timestamp;

/// How many random bytes an identifier has.
pub const RANDOM: usize = 14;

const TIME: usize = 7;
const LENGTH: usize = 28;

/// Makes an identifier that starts with `mark`.
#[must_use]
pub fn make(mark: &str, at: Timestamp, random: [u8; RANDOM]) -> String {
    let mut bytes = [0; TIME + RANDOM];
    bytes[..TIME].copy_from_slice(&at.as_micros().to_be_bytes()[8 - TIME..]);
    bytes[TIME..].copy_from_slice(&random);
    let mut text = String::with_capacity(mark.len() + LENGTH);
    text.push_str(mark);
    BASE64URL.encode_string(bytes, &mut text);
    text
}

/// Whether a text is an identifier as this server makes them: a mark of six characters, the time and the random
/// bits.
#[must_use]
pub fn is_whole(text: &str) -> bool {
    text.len() == 6 + LENGTH
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && made_at(text).is_some()
}

/// When an identifier was made, if it looks like one of ours.
#[must_use]
pub fn made_at(text: &str) -> Option<Timestamp> {
    let tail = text.len().checked_sub(LENGTH).and_then(|start| text.get(start..))?;
    let bytes = BASE64URL.decode(tail).ok()?;
    let micros = bytes[..TIME].iter().fold(0, |micros, byte| micros << 8 | i64::from(*byte));
    Some(Timestamp::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tells_when_it_was_made(micros in 0_i64..(1 << 55), random in prop::array::uniform14(any::<u8>())) {
            let at = Timestamp::from_micros(micros);
            for mark in ["", "AbC-_9"] {
                let id = make(mark, at, random);
                prop_assert_eq!(made_at(&id), Some(at));
                prop_assert_eq!(id.len(), mark.len() + 28);
            }
        }

        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = made_at(&text);
        }
    }

    #[test]
    fn what_is_too_short_or_no_base64url_has_no_time() {
        for text in ["", "short", "!!!!!!!!!!!!!!!!!!!!!!!!!!!!", "ééééééééééééééééé"] {
            assert_eq!(made_at(text), None, "{text}");
        }
    }
}
