//! Short names of credentials.

use aws_lc_rs::digest;

/// Forty bits of SHA-256, as eight base32 digits: enough to tell a client's credentials apart and to find out which
/// one leaked, and nothing against the 256 bits of a secret.
pub(super) fn fingerprint(text: &str) -> String {
    const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let bits = hash.as_ref()[..5].iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    (0..8).rev().map(|digit| char::from(BASE32[(bits >> (digit * 5) & 31) as usize])).collect()
}
