//! DPoP (RFC 9449): a request proves a key, and the token that it gets is worth nothing without that key.
//!
//! A proof is checked after the client is authenticated and before anything that counts once is used up, so a
//! client that is sent back for a nonce (§8) comes again with the same assertion. The proof's own `jti` counts
//! once in the ledger, together with the event of the token.

mod htu;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::Deserialize;

use crate::domain::error::{ErrorCode, OAuthError};
use crate::domain::once::Purpose;
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;
use crate::jose::{Algorithm, Proven, TokenType, Unverified};
use crate::runtime::nonces::Nonces;
use crate::storage::UsedId;

/// What proofs may be signed with: every algorithm that Jeton signs with itself, but for ML-DSA, whose proofs
/// would not fit into the headers that proxies let through.
pub const ALGORITHMS: &[Algorithm] =
    &[Algorithm::Es256, Algorithm::Es384, Algorithm::Rs256, Algorithm::Ps256, Algorithm::EdDsa];

/// How old a proof without a nonce may be (§11.1 wants seconds or minutes): the request's way here, and a clock
/// that is behind.
const PAST: Duration = Duration::from_mins(1);

/// How far ahead of ours the clock of whoever made a proof without a nonce may be. Short: a proof for later is
/// one that somebody else can keep (§11.2).
const AHEAD: Duration = Duration::from_secs(10);

/// How much longer than a proof is accepted its `jti` is remembered: another replica's clock may be behind.
const LEEWAY: Duration = Duration::from_mins(5);

/// The most characters of a proof: four times one with an RSA key of 4096 bits.
const LONGEST: usize = 8_192;

/// The most characters of its `jti`.
const LONGEST_JTI: usize = 256;

/// Checks proofs.
pub struct Dpop {
    nonces: Arc<Nonces>,
    nonce_required: bool,
}

/// The request that a proof must be for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its URL as callers use it: under the issuer. Query and fragment do not matter.
    pub url: &'a str,
    /// The access token that comes along, which the proof must name.
    pub access_token: Option<&'a str>,
    /// When it came.
    pub now: Timestamp,
}

/// A key that was proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The thumbprint of the key (§6.1).
    pub jkt: String,
    /// The hash of the access token that it names, if it names one (§4.2).
    pub ath: Option<String>,
    /// What the proof uses up.
    pub used: UsedId,
    /// Whether its nonce is not the newest, so that the answer should bring that (§8.2).
    pub renew_nonce: bool,
}

/// The claims of a proof (§4.2), all of which may be missing until they are looked at.
#[derive(Deserialize)]
struct Claims {
    jti: Option<String>,
    htm: Option<String>,
    htu: Option<String>,
    iat: Option<i64>,
    ath: Option<String>,
    nonce: Option<String>,
}

// === impl Dpop ===

impl Dpop {
    /// With these nonces, which every proof must have if they are required.
    #[must_use]
    pub const fn new(nonces: Arc<Nonces>, nonce_required: bool) -> Self {
        Self { nonces, nonce_required }
    }

    /// The nonce to answer with (`DPoP-Nonce`).
    #[must_use]
    pub fn nonce(&self, now: Timestamp) -> String {
        self.nonces.current(now)
    }

    /// What the request's `DPoP` headers prove; nothing, when there is none.
    ///
    /// Nothing is used up yet: that is the ledger's, and whoever asks must not forget [`Proof::used`].
    ///
    /// # Errors
    /// `invalid_dpop_proof`, or `use_dpop_nonce`, to which the answer must bring [`Dpop::nonce`].
    pub fn check(&self, headers: &[&[u8]], expected: &Expected<'_>) -> Result<Option<Proof>, OAuthError> {
        match headers {
            [] => Ok(None),
            [header] => std::str::from_utf8(header)
                .map_err(|_| invalid("the DPoP header is not text"))
                .and_then(|proof| self.verify(proof, expected))
                .map(Some),
            _ => Err(invalid("send one DPoP header (RFC 9449 section 4.3)")),
        }
    }

    /// The points of §4.3, in an order in which a nonce is asked for last: whoever is sent back for one has
    /// nothing else to mend.
    fn verify(&self, proof: &str, expected: &Expected<'_>) -> Result<Proof, OAuthError> {
        if proof.len() > LONGEST {
            return Err(invalid("the DPoP proof is over 8192 characters"));
        }
        let unverified = Unverified::parse(proof).map_err(|error| {
            invalid("the DPoP proof is not a JWT that can be read").because(private(&error))
        })?;
        if !unverified.is(TokenType::DpopProof) {
            return Err(invalid("the DPoP proof's typ is not dpop+jwt"));
        }
        let Proven { claims, thumbprint }: Proven<Claims> =
            unverified.prove(ALGORITHMS).map_err(|error| {
                invalid("the DPoP proof does not prove the public key in its jwk").because(private(&error))
            })?;
        if claims.htm.as_deref() != Some(expected.method) {
            let said = quoted(claims.htm.as_deref().unwrap_or_default());
            return Err(invalid("the DPoP proof's htm is not the method of this request")
                .because(format!("htm is '{said}', not {}", expected.method)));
        }
        let htu = claims.htu.as_deref().unwrap_or_default();
        if !htu::same(htu, expected.url) {
            return Err(invalid(format!("the DPoP proof's htu is not {}", expected.url)).because(format!(
                "htu is '{}', not {}",
                quoted(htu),
                expected.url
            )));
        }
        if let Some(token) = expected.access_token
            && claims.ath != Some(hash_of(token))
        {
            return Err(invalid("the DPoP proof's ath is not the hash of the access token"));
        }
        let jti = claims.jti.filter(|jti| (1..=LONGEST_JTI).contains(&jti.chars().count()));
        let jti = jti.ok_or_else(|| invalid("the DPoP proof needs a jti of 1 to 256 characters"))?;
        let iat = claims.iat.map(Timestamp::from_seconds);
        let iat = iat.ok_or_else(|| invalid("the DPoP proof needs an iat in whole seconds"))?;
        let (until, renew_nonce) = self.timely(iat, claims.nonce.as_deref(), expected.now)?;
        // The key's thumbprint has one length, so no two pairs make one text.
        let id = digest(&SHA256, format!("{thumbprint}.{jti}").as_bytes());
        // With a nonce its own clock does not count. There is no need: a restored database has a new secret, so that
        // no nonce from before is accepted.
        let possible_since = if claims.nonce.is_some() { expected.now } else { iat.minus(AHEAD) };
        let (id, expires_at) = (BASE64URL.encode(id), until.plus(LEEWAY));
        // Nor may a clock that is ahead say that it was made since an outage began.
        let issued_at = (iat <= expected.now.plus(AHEAD)).then_some(iat);
        let used = UsedId { purpose: Purpose::DpopProof, id, issued_at, expires_at, possible_since };
        Ok(Proof { jkt: thumbprint, ath: claims.ath, used, renew_nonce })
    }

    /// Until when a proof of this time is accepted, and whether its nonce is to be renewed. The age of a nonce
    /// counts instead of `iat` (§4.3 point 11): the clock of whoever made the proof does not matter then.
    fn timely(
        &self,
        iat: Timestamp,
        nonce: Option<&str>,
        now: Timestamp,
    ) -> Result<(Timestamp, bool), OAuthError> {
        if let Some(nonce) = nonce {
            let fresh = self.nonces.check(nonce, now).ok_or_else(|| {
                use_nonce("the DPoP proof's nonce is not one of this server's, or too old: use the one in DPoP-Nonce")
            })?;
            return Ok((fresh.until, fresh.renew));
        }
        if self.nonce_required {
            return Err(use_nonce("the DPoP proof must have the nonce in DPoP-Nonce"));
        }
        if iat < now.minus(PAST) || iat > now.plus(AHEAD) {
            return Err(invalid("the DPoP proof's iat is over 60 s ago or over 10 s ahead")
                .because(format!("iat is {iat}, at {now}")));
        }
        Ok((iat.plus(PAST), false))
    }
}

// === impl Proof ===

impl Proof {
    /// Whether it proves the key with this thumbprint, for this token.
    #[must_use]
    pub fn is_for(&self, jkt: &str, token: &str) -> bool {
        self.jkt == jkt && self.ath == Some(hash_of(token))
    }
}

/// The `ath` of a token (§4.2).
fn hash_of(token: &str) -> String {
    BASE64URL.encode(digest(&SHA256, token.as_bytes()))
}

/// The refusal of a proof whose `jti` the ledger knows (§11.1).
#[must_use]
pub fn used_before() -> OAuthError {
    invalid("the DPoP proof was used before: make one for every request, with a jti of its own")
}

/// A proof that is missing, or not one for this request.
pub(super) fn invalid(public: impl Into<std::borrow::Cow<'static, str>>) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidDpopProof, public)
}

fn use_nonce(public: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::UseDpopNonce, public)
}

/// What only the audit is told.
fn private(error: &dyn std::error::Error) -> String {
    format!("the DPoP proof: {error}")
}

#[cfg(test)]
#[path = "dpop/tests.rs"]
mod tests;
