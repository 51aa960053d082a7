//! A resource server: an API that accepts tokens.

use std::collections::BTreeMap;
use std::time::Duration;

use super::binding::TokenBinding;
use super::ids::{Identifier, Permission, ResourceServerName, ResourceServerUid};
use super::standing::{NotInForce, Standing};
use super::time::Timestamp;
use super::words::words;
use crate::jose::{Algorithm, TokenType};

words! {
    /// The shape of the tokens that a resource server gets.
    TokenProfile {
        /// RFC 9068: `typ: at+jwt`, with `scope`.
        AccessToken = "at+jwt",
        /// A plain JWT (`typ: JWT`, no `scope`), for clouds that take an OIDC token of a workload.
        Jwt = "jwt",
    }
}

// === impl TokenProfile ===

impl TokenProfile {
    /// The `typ` of such a token's header.
    #[must_use]
    pub const fn token_type(self) -> TokenType {
        match self {
            Self::AccessToken => TokenType::AccessToken,
            Self::Jwt => TokenType::Jwt,
        }
    }
}

/// A registered resource server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceServer {
    /// Database key.
    pub uid: ResourceServerUid,
    /// Its short name.
    pub name: ResourceServerName,
    /// Its audience value.
    pub identifier: Identifier,
    /// A note for people, which decides nothing.
    pub description: String,
    /// What a token can allow there, with a description of each for people.
    pub permissions: BTreeMap<Permission, String>,
    /// How long its tokens live, unless something ends earlier.
    pub token_lifetime: Duration,
    /// What its tokens are signed with.
    pub signing_algorithm: Algorithm,
    /// What they were signed with before that. They still are while no key of the new algorithm signs, so that no
    /// verifier meets a key that it cannot have.
    pub signing_algorithm_before: Option<Algorithm>,
    /// The shape of its tokens.
    pub token_profile: TokenProfile,
    /// Whether its tokens must be bound to a key.
    pub token_binding: TokenBinding,
    /// Switched on. Read it through [`ResourceServer::check`].
    pub enabled: bool,
    /// Jeton's own API, which cannot be changed or removed.
    pub builtin: bool,
    /// Counts changes; the `ETag` of the API.
    pub version: i64,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// Lifetime of a resource server's tokens unless it says otherwise (DESIGN §3).
pub const DEFAULT_TOKEN_LIFETIME: Duration = Duration::from_mins(5);

// === impl ResourceServer ===

impl ResourceServer {
    /// Whether tokens for it may be issued at `now`.
    ///
    /// # Errors
    /// It is disabled.
    pub fn check(&self, now: Timestamp) -> Result<(), NotInForce> {
        Standing { enabled: self.enabled, expires_at: None }.check(now)
    }
}
