//! Signing keys that live in a PKCS#11 token: made there, used there, destroyed there.
//!
//! A key is found by its `CKA_ID`, which is its `kid`. Nothing is asked of the token before it is needed, so a
//! process that has no use for it runs without.

#[cfg(not(feature = "pkcs11"))]
mod absent;
#[cfg(feature = "pkcs11")]
mod mechanisms;
#[cfg(feature = "pkcs11")]
mod pairs;
#[cfg(feature = "pkcs11")]
mod pool;
#[cfg(feature = "pkcs11")]
mod present;
#[cfg(feature = "pkcs11")]
mod turns;
#[cfg(feature = "pkcs11")]
mod worker;

#[cfg(not(feature = "pkcs11"))]
pub use self::absent::TokenKeys;
#[cfg(feature = "pkcs11")]
pub use self::present::TokenKeys;

use crate::domain::error::Fault;
use crate::domain::ids::KeyId;
use crate::jose::{Algorithm, VerifyingKey};

/// A key in a token, and what is known of it here.
pub struct HeldKey {
    /// The token's label.
    pub token: String,
    /// Its identifier.
    pub kid: KeyId,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// What its signatures are checked with, because another pair may have its `CKA_ID`.
    pub verifying: VerifyingKey,
}

/// A pair that was made and cannot be used.
#[derive(Debug)]
pub struct Flawed {
    /// Why.
    pub fault: Fault,
    /// What it would have been called. A half of it may have this `CKA_ID` and nothing else that it was told.
    pub kid: Option<String>,
}
