//! Tokens whose signature is known to be good: those that this process signed, and those that it found good before.
//!
//! A signature costs more to verify than everything else about a token. That it is good never changes. Whether its key
//! still counts, and the token, does, and is asked every time: that is not remembered here.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest;

use super::meters::Recalls;

/// How many are remembered at most, in 8 MiB: all that live when 870 a second are issued for 300 seconds.
const REMEMBERED: usize = 1 << 18;

/// Into how many parts they are divided, each with a lock of its own.
const PARTS: usize = 64;

/// How many tokens that fall to the same place are known together.
const WAYS: usize = 4;

/// The SHA-256 of a compact JWS; of all zeros there is none.
type Hash = [u8; 32];

/// The hashes that share a place, the latest first.
type Place = [Hash; WAYS];

/// Remembers good signatures, never bad ones, so that nobody without a token of ours can make it forget.
pub(super) struct KnownSignatures {
    parts: Vec<Mutex<Vec<Place>>>,
    recalls: Recalls,
}

// === impl KnownSignatures ===

impl KnownSignatures {
    pub(super) fn new() -> Self {
        let part = || Mutex::new(vec![[[0; 32]; WAYS]; REMEMBERED / PARTS / WAYS]);
        Self { parts: (0..PARTS).map(|_| part()).collect(), recalls: Recalls::default() }
    }

    /// How often a signature was known that was asked for.
    pub(super) const fn recalls(&self) -> &Recalls {
        &self.recalls
    }

    /// Whether a compact JWS is signed by the key that its header names, as `verify` says if it is not known yet.
    pub(super) fn is_good(&self, compact: &str, verify: impl FnOnce() -> bool) -> bool {
        let hash = hash(compact);
        let is_known = self.at(&hash, |place| place.contains(&hash));
        if self.recalls.note(is_known) || !verify() {
            return is_known;
        }
        self.keep(hash);
        true
    }

    /// Takes notice of a token that has just been signed.
    pub(super) fn is_ours(&self, compact: &str) {
        self.keep(hash(compact));
    }

    fn keep(&self, hash: Hash) {
        self.at(&hash, |place| {
            place.rotate_right(1);
            place[0] = hash;
        });
    }

    fn at<T>(&self, hash: &Hash, what: impl FnOnce(&mut Place) -> T) -> T {
        let [a, b, c, d, ..] = *hash;
        let number = u32::from_le_bytes([a, b, c, d]) as usize;
        // Nothing that is done with a place leaves it half done.
        let mut part = self.parts[number % PARTS].lock().unwrap_or_else(PoisonError::into_inner);
        let places = part.len();
        what(&mut part[number / PARTS % places])
    }
}

/// Of all of it: header with the key's name, payload and signature.
fn hash(compact: &str) -> Hash {
    let digest = digest::digest(&digest::SHA256, compact.as_bytes());
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_one_is_verified_once_and_a_bad_one_every_time() {
        let known = KnownSignatures::new();
        assert!(!known.is_good("a.b.c", || false));
        assert!(known.is_good("a.b.c", || true), "a bad one is not remembered");
        assert!(known.is_good("a.b.c", || panic!("it is known")));
        assert!(!known.is_good("a.b.d", || false), "another signature is another token");
    }

    #[test]
    fn what_was_signed_here_is_never_verified() {
        let known = KnownSignatures::new();
        known.is_ours("a.b.c");
        assert!(known.is_good("a.b.c", || panic!("it is known")));
        assert!(!known.is_good("a.B.c", || false));
    }

    #[test]
    fn the_latest_are_known_in_bounded_memory() {
        let known = KnownSignatures::new();
        let token = |number: usize| format!("a.b.{number}");
        for number in 0..3 * REMEMBERED {
            known.is_ours(&token(number));
        }
        let count = |numbers: std::ops::Range<usize>| {
            numbers.filter(|number| known.is_good(&token(*number), || false)).count()
        };
        // Of the last half of what there is room for, nearly all: places fill unevenly.
        let latest = count(5 * REMEMBERED / 2..3 * REMEMBERED);
        assert!(latest > REMEMBERED / 2 * 9 / 10, "{latest}");
        assert!(count(0..REMEMBERED) < REMEMBERED / 10);
        assert!(known.parts.iter().all(|part| part.lock().unwrap().len() == REMEMBERED / PARTS / WAYS));
    }
}
