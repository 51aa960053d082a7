//! Tokens whose signature was found good before.
//!
//! A resource server asks about the same token again and again while it lives, and a signature costs more to verify
//! than everything else about it. That it is good never changes. Whether its key still counts, and the token, does,
//! and is asked every time: that is not remembered here.

use aws_lc_rs::digest;
use moka::sync::Cache;

/// How many are remembered (about 100 bytes each).
const REMEMBERED: u64 = 20_000;

/// Remembers good signatures, never bad ones, so that nobody without a token of ours can make it forget.
pub(super) struct KnownSignatures(Cache<[u8; 32], ()>);

// === impl KnownSignatures ===

impl KnownSignatures {
    pub(super) fn new() -> Self {
        Self(Cache::new(REMEMBERED))
    }

    /// Whether a compact JWS is signed by the key that its header names, as `verify` says if it is not known yet.
    pub(super) fn is_good(&self, compact: &str, verify: impl FnOnce() -> bool) -> bool {
        // All of it: header with the key's name, payload and signature.
        let hash = digest::digest(&digest::SHA256, compact.as_bytes());
        let mut token = [0; 32];
        token.copy_from_slice(hash.as_ref());
        if self.0.get(&token).is_some() {
            return true;
        }
        let is_good = verify();
        if is_good {
            self.0.insert(token, ());
        }
        is_good
    }
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
}
