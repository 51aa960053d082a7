//! Signing and verifying JWTs (RFC 7515, 7517, 7519), around aws-lc-rs.
//!
//! The cryptography is aws-lc-rs's, with every key parsed once. jsonwebtoken, which parses the key again for every
//! token, is what the tests compare with (docs/decisions/027-no-jsonwebtoken.md).

mod algorithm;
mod bundle;
mod embedded;
mod foreign;
mod header;
mod jwk;
mod key;
mod object;
mod pem;
mod sign;
#[cfg(test)]
mod tests;
mod token_type;
mod verify;

pub use algorithm::{Algorithm, RsaBits};
pub use bundle::{Bundle, read_bundle};
pub use embedded::{ProofError, Proven};
pub use foreign::{ForeignKey, ForeignKeyError, read_key_set};
pub use jwk::{PublicJwk, PublicJwkSet};
pub use key::{KeyError, SigningKey};
pub use object::Object;
pub use sign::{SigningInput, sign};
pub use token_type::TokenType;
pub use verify::{JwtError, Unverified, VerifyingKey};
