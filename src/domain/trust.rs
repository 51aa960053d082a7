//! Trusted issuers: whose tokens count here, beside our own.
//!
//! Trust in an issuer alone gives nobody anything. Its tokens prove who somebody is; that this somebody is a client
//! here says a [`FederatedCredential`] of that client, and what else may be done with an identity from elsewhere says
//! an exchange rule.

use std::collections::BTreeSet;
use std::time::Duration;

use super::claim_conditions::Conditions;
use super::fingerprint::fingerprint;
use super::ids::{CredentialId, TrustedIssuerName, TrustedIssuerUid};
use super::standing::{NotInForce, Standing};
use super::time::Timestamp;
use super::words::words;
use crate::jose::Algorithm;

words! {
    /// What sort of tokens an issuer makes.
    IssuerProfile {
        /// JWTs with `iss`, `sub`, `aud`, `exp` and `iat`: Kubernetes, CI systems, clouds, OpenID providers.
        Jwt = "jwt",
        /// JWT-SVIDs and X.509-SVIDs of a SPIFFE trust domain. A JWT-SVID need not have `iss`; its `sub` is a SPIFFE
        /// ID of the domain.
        Spiffe = "spiffe",
    }
}

words! {
    /// Whether a token may be presented again within its life.
    Reuse {
        /// Never: by its `jti`, or where it has none by its signature.
        Once = "once",
        /// One that has a `jti` once, one that has none as often as it lives: many platforms hand out the same token
        /// until it is nearly over.
        WithoutJti = "without_jti",
        /// As often as it lives: Kubernetes gives a `jti` to tokens that it hands out again and again.
        WithinLife = "within_life",
    }
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// Where its metadata says: `jwks_uri` in `<issuer>/.well-known/openid-configuration`, or in RFC 8414's place.
    Discovery,
    /// A JWK Set at this URL.
    JwksUri(String),
    /// This JWK Set; of a SPIFFE trust domain this bundle. As it was registered.
    Inline(String),
    /// A SPIFFE bundle in a file of this name, in the directory that the configuration names.
    BundleFile(String),
    /// A SPIFFE bundle at this URL (SPIFFE Federation §5.2.1, `https_web`).
    BundleEndpoint(String),
}

/// Somebody else's issuer whose tokens are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedIssuer {
    /// Database key.
    pub uid: TrustedIssuerUid,
    /// Its name here. Several may have one `issuer`: clusters that all call themselves the same, with keys of their
    /// own.
    pub name: TrustedIssuerName,
    /// A note for people, which decides nothing.
    pub description: String,
    /// Switched on. Read it through [`TrustedIssuer::check`].
    pub enabled: bool,
    /// What its tokens are.
    pub profile: IssuerProfile,
    /// What its tokens say as `iss`, character by character; of a SPIFFE trust domain its id, `spiffe://example.org`.
    pub issuer: String,
    /// Where its keys are.
    pub keys: KeySource,
    /// What its tokens may be signed with.
    pub algorithms: BTreeSet<Algorithm>,
    /// The one audience that its tokens must have; our issuer identifier, when absent.
    pub audience: Option<String>,
    /// The longest time from a token's `iat` to its `exp`.
    pub max_lifetime: Duration,
    /// How far its clock may be off.
    pub leeway: Duration,
    /// Whether its tokens count more than once.
    pub reuse: Reuse,
    /// Counts changes; the `ETag` of the API.
    pub version: i64,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// The most trusted issuers of one name (`iss`, or trust domain) that are enabled: each token of that name is held
/// against the keys of all of them.
pub const MOST_OF_ONE_NAME: usize = 20;

/// The most federated credentials of one client.
pub const MOST_FEDERATED: usize = 50;

/// Tokens of a trusted issuer that prove a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederatedCredential {
    /// Names it to people, and in the audit; a fingerprint.
    pub credential_id: CredentialId,
    /// Whose tokens.
    pub trusted_issuer: TrustedIssuerUid,
    /// Which of them. All must hold.
    pub conditions: Conditions,
    /// A note for people, which decides nothing.
    pub description: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// Its end; never, when absent.
    pub expires_at: Option<Timestamp>,
}

// === impl TrustedIssuer ===

impl TrustedIssuer {
    /// Whether its tokens count at all.
    ///
    /// # Errors
    /// It is disabled. One that was removed is absent.
    pub fn check(&self, now: Timestamp) -> Result<(), NotInForce> {
        Standing { enabled: self.enabled, expires_at: None }.check(now)
    }
}

// === impl FederatedCredential ===

impl FederatedCredential {
    /// Whether it counts at `now`.
    ///
    /// # Errors
    /// It is expired. A removed one is deleted, hence absent.
    pub fn check(&self, now: Timestamp) -> Result<(), NotInForce> {
        Standing { enabled: true, expires_at: self.expires_at }.check(now)
    }
}

/// What names a federated credential: a fingerprint of its issuer and its conditions.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "it cannot")]
pub fn credential_id(issuer: TrustedIssuerUid, conditions: &Conditions) -> CredentialId {
    let conditions = serde_json::to_string(conditions).unwrap_or_default();
    #[expect(
        clippy::expect_used,
        reason = "eight letters and digits always have the form of a credential id"
    )]
    CredentialId::new(fingerprint(&format!("{} {conditions}", issuer.0))).expect("base32 digits")
}
