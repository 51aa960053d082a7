use std::sync::Arc;

use super::{Flawed, HeldKey};
use crate::config::Config;
use crate::domain::error::Fault;
use crate::jose::{Algorithm, PublicJwk, RsaBits};

/// What a program without the feature `pkcs11` has instead: none.
#[derive(Clone, Debug)]
pub enum TokenKeys {}

// === impl TokenKeys ===

#[expect(clippy::unused_async, reason = "as where there is a token")]
impl TokenKeys {
    /// None.
    #[must_use]
    pub const fn of(_: &Config) -> Option<Self> {
        None
    }

    /// The token's label.
    #[must_use]
    pub const fn label(&self) -> &str {
        match *self {}
    }

    /// Whether the token can do it.
    ///
    /// # Errors
    /// None.
    pub async fn can(&self, _: Algorithm) -> Result<bool, Fault> {
        match *self {}
    }

    /// Signs.
    ///
    /// # Errors
    /// None.
    pub async fn sign(&self, _: Arc<HeldKey>, _: Vec<u8>) -> Result<Vec<u8>, Fault> {
        match *self {}
    }

    /// Makes a pair.
    ///
    /// # Errors
    /// None.
    pub async fn generate(
        &self,
        _: Algorithm,
        _: RsaBits,
        _: String,
    ) -> Result<Result<PublicJwk, Flawed>, Fault> {
        match *self {}
    }

    /// Destroys a pair.
    ///
    /// # Errors
    /// None.
    pub async fn destroy(&self, _: String, _: Vec<String>) -> Result<usize, Fault> {
        match *self {}
    }
}
