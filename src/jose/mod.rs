//! Signing and verifying JWTs (RFC 7515, 7517, 7519), around jsonwebtoken and aws-lc-rs.
//!
//! Verification is jsonwebtoken's. Signing is ours: its `encode` parses the private key again for every
//! token, which costs twice as much as keeping the parsed key does (`shared/CRATES.md`).

mod algorithm;
mod jwt;
mod key;

pub use algorithm::Algorithm;
pub use jsonwebtoken::jwk::{Jwk, JwkSet};
pub use jwt::{JwtError, TokenType, Unverified, VerifyingKey, sign};
pub use key::{KeyError, SigningKey};
