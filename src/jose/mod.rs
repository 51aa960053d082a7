//! Signing and verifying JWTs (RFC 7515, 7517, 7519), around jsonwebtoken and aws-lc-rs.
//!
//! Verification is jsonwebtoken's, but of ML-DSA, which it does not know; for the same reason the header
//! and the public keys are read and written here. Signing is ours: jsonwebtoken's `encode` parses the
//! private key again for every token, which costs twice as much as keeping the parsed key does
//! (docs/performance.md).

mod algorithm;
mod embedded;
mod header;
mod jwk;
mod key;
mod sign;
#[cfg(test)]
mod tests;
mod token_type;
mod verify;

pub use algorithm::{Algorithm, RsaBits};
pub use embedded::{ProofError, Proven};
pub use jwk::{PublicJwk, PublicJwkSet};
pub use key::{KeyError, SigningKey};
pub use sign::{SigningInput, sign};
pub use token_type::TokenType;
pub use verify::{JwtError, Unverified, VerifyingKey};
