//! Tokens for Jeton's own API (RFC 6750, and bound ones by RFC 9449 §7): the API is a resource server like any other, except
//! that it can ask the directory, so that a disabled client or a role taken away counts at once.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::dpop::{self, Dpop};
use super::live::{EXPIRED, LiveError, LiveTokens, NOT_OURS};
use crate::domain::audit::{Actor, AuditEvent, Event, Origin};
use crate::domain::binding::TokenBinding;
use crate::domain::builtin;
use crate::domain::certificate::PeerCertificate;
use crate::domain::claims::AccessTokenClaims;
use crate::domain::error::{Fault, OAuthError};
use crate::domain::ids::{ClientId, Permission};
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;
use crate::jose::TokenType;
use crate::runtime::clock::Ambient;
use crate::runtime::ledger::{Ledger, RecordError};
use crate::runtime::refusals::Refusals;

/// Whatever it is that stands behind the token and does not any more.
const NO_LONGER: &str = "the token's client may no longer use it";

/// Checks tokens for the API.
#[derive(Clone)]
pub struct AccessVerifier {
    /// Time.
    pub ambient: Ambient,
    /// Which tokens count.
    pub tokens: Arc<LiveTokens>,
    /// What records refusals.
    pub refusals: Refusals,
    /// What checks DPoP proofs.
    pub dpop: Arc<Dpop>,
    /// What uses them up.
    pub ledger: Ledger,
}

/// How a token is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// By itself.
    Bearer,
    /// With the proof of a key.
    Dpop,
}

/// A token as it came. Whoever has it may use it, so it has no `Debug` form.
pub struct Presented<'a> {
    /// How.
    pub scheme: Scheme,
    /// The token.
    pub token: &'a str,
    /// Every `DPoP` header.
    pub proofs: &'a [&'a [u8]],
    /// The request's method.
    pub method: &'a str,
    /// The request's URL as callers use it: under the issuer.
    pub url: &'a str,
    /// The certificate that the caller holds the key of, if it has shown one.
    pub certificate: Option<Arc<PeerCertificate>>,
}

/// Who calls the API, and what it may do now.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The client.
    pub client_id: ClientId,
    /// Its token.
    pub jti: String,
    /// What the token says and the roles still give.
    pub permissions: BTreeSet<Permission>,
}

/// Why a token does not open the API.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The token is not one for this API, or no longer (`invalid_token`, RFC 6750 §3.1).
    #[error("{0}")]
    Invalid(&'static str),
    /// The DPoP proof is missing, not one for this request, or needs a nonce (RFC 9449 §7.1, §9).
    #[error(transparent)]
    Proof(#[from] OAuthError),
    /// No verdict could be reached.
    #[error(transparent)]
    Fault(#[from] Fault),
}

// === impl Scheme ===

impl Scheme {
    /// The scheme of this name, which compares without case (RFC 9110 §11.1).
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let known = [("bearer", Self::Bearer), ("dpop", Self::Dpop)];
        known.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, scheme)| scheme)
    }
}

// === impl AccessVerifier ===

impl AccessVerifier {
    /// Who a token says is calling. A refusal is recorded before it is answered.
    ///
    /// # Errors
    /// The token is malformed, forged, expired, of another kind, issuer or audience, or its client is
    /// disabled, expired, gone, or elsewhere than it may be; or it is bound to a key that is not proven, or not
    /// bound where it must be.
    pub async fn principal(
        &self,
        presented: &Presented<'_>,
        origin: &Origin,
    ) -> Result<Principal, AccessError> {
        let mut actor = None;
        let outcome = self.check(presented, origin.address, &mut actor).await;
        let reason = match &outcome {
            Ok(_) | Err(AccessError::Fault(_)) => None,
            Err(AccessError::Invalid(reason)) => Some((*reason).to_owned()),
            Err(AccessError::Proof(error)) => Some(quoted(&error.private)),
        };
        if let Some(reason) = reason {
            let known = actor.is_some();
            let event =
                Event::AccessRefused { actor, claimed: None, permission: None, reason, repeated: None };
            let event = AuditEvent { at: self.ambient.now(), origin: origin.clone(), event };
            self.refusals.record(event, known).await?;
        }
        outcome
    }

    /// Says in `actor` whose token it is as soon as our signature has proven that.
    async fn check(
        &self,
        presented: &Presented<'_>,
        address: Option<IpAddr>,
        actor: &mut Option<Actor>,
    ) -> Result<Principal, AccessError> {
        let by = |claims: &AccessTokenClaims| Actor::Client {
            client_id: claims.client_id.clone(),
            jti: claims.jti.clone(),
        };
        let now = self.ambient.now();
        let live = match self.tokens.check(presented.token, now).await {
            Ok(live) => live,
            Err(LiveError::NotLive(dead)) => {
                *actor = dead.claims.as_deref().map(by);
                return Err(AccessError::Invalid(match dead.reason {
                    plain @ (NOT_OURS | EXPIRED) => plain,
                    _ => NO_LONGER,
                }));
            }
            Err(LiveError::Fault(fault)) => return Err(fault.into()),
        };
        *actor = Some(by(&live.claims));
        if live.token_type != TokenType::AccessToken {
            return Err(AccessError::Invalid(NOT_OURS));
        }
        let Some(api) = live.audience.iter().find(|server| server.builtin) else {
            return Err(AccessError::Invalid(
                "the token is for another audience: ask for one with resource=<issuer>/api/v1",
            ));
        };
        if !live.client.client.may_call_from(address) {
            return Err(AccessError::Invalid(NO_LONGER));
        }
        let jkt = bound_to(&live.claims, presented.scheme, presented.certificate.as_deref())?;
        // It may be from before that was wanted.
        for wanted in [live.client.client.token_binding, api.token_binding] {
            if !wanted.is_met_by(live.claims.cnf.as_ref()) {
                return Err(AccessError::Invalid(match wanted {
                    TokenBinding::Optional | TokenBinding::Dpop => {
                        "the token must be bound: ask for one with a DPoP proof"
                    }
                    TokenBinding::Mtls => "the token must be bound: ask for one with a client certificate",
                    TokenBinding::Either => {
                        "the token must be bound: ask for one with a DPoP proof or a client certificate"
                    }
                }));
            }
        }
        if let Some(jkt) = jkt {
            self.prove(jkt, presented, now).await?;
        }
        // A token by which one client acts for another is nobody's own.
        let own = live.claims.is_of_itself() && live.claims.act.is_none();
        let permissions = live.scope.iter().filter(|value| {
            api.permissions.contains_key(value.as_str()) && (own || value.as_str() != builtin::OWN_SECRETS)
        });
        Ok(Principal {
            permissions: permissions.cloned().collect(),
            client_id: live.claims.client_id,
            jti: live.claims.jti,
        })
    }

    /// Makes sure that whoever presents the token has the key of this thumbprint (RFC 9449 §7.1), and uses the
    /// proof up.
    async fn prove(&self, jkt: &str, presented: &Presented<'_>, now: Timestamp) -> Result<(), AccessError> {
        let &Presented { token, proofs, method, url, .. } = presented;
        let expected = dpop::Expected { method, url, access_token: Some(token), now };
        let proof = self.dpop.check(proofs, &expected)?;
        let proof = proof.ok_or_else(|| dpop::invalid("send a DPoP header with a proof"))?;
        if proof.jkt != jkt {
            return Err(AccessError::Invalid("the token is bound to another key than the proof's"));
        }
        match self.ledger.spend(proof.used).await {
            Ok(()) => Ok(()),
            Err(RecordError::UsedBefore { .. }) => Err(dpop::used_before().into()),
            Err(RecordError::Fault(fault)) => Err(fault.into()),
        }
    }
}

/// The thumbprint of the key that must still be proven by DPoP, if the token is bound to one. The token must have come
/// under the scheme that fits (RFC 9449 §7.2), over a connection with the certificate that it is bound to (RFC 8705
/// §3), and be bound in no way that is not checked here.
fn bound_to<'a>(
    claims: &'a AccessTokenClaims,
    scheme: Scheme,
    shown: Option<&PeerCertificate>,
) -> Result<Option<&'a str>, AccessError> {
    let refused = |reason| Err(AccessError::Invalid(reason));
    let cnf = claims.cnf.as_ref();
    if cnf.is_some_and(|cnf| !cnf.is_understood()) {
        return refused("the token is bound in a way that is not checked here");
    }
    if let Some(thumbprint) = cnf.and_then(|cnf| cnf.x5t_s256.as_deref())
        && shown.is_none_or(|shown| shown.thumbprint != thumbprint)
    {
        return refused("the token is bound to a certificate: send it over a connection with that one");
    }
    match (cnf.and_then(|cnf| cnf.jkt.as_deref()), scheme) {
        (Some(jkt), Scheme::Dpop) => Ok(Some(jkt)),
        (Some(_), Scheme::Bearer) => {
            refused("the token is bound to a key: send it as Authorization: DPoP, with a proof")
        }
        (None, Scheme::Bearer) => Ok(None),
        (None, Scheme::Dpop) => refused("the token is not bound to a key: send it as Authorization: Bearer"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn certificate() -> PeerCertificate {
        let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        PeerCertificate::parse(made.cert.der(), false).unwrap()
    }

    /// The key that is still to be proven, empty when none is; `None` when it is refused.
    fn bound(cnf: &Value, scheme: Scheme) -> Option<String> {
        bound_over(cnf, scheme, None)
    }

    fn bound_over(cnf: &Value, scheme: Scheme, shown: Option<&PeerCertificate>) -> Option<String> {
        let mut claims = json!({
            "iss": "i", "exp": 1, "aud": "a", "sub": "s", "client_id": "c", "iat": 0, "jti": "j", "txn": "t",
            "roles": [], "client_kind": "service",
        });
        if !cnf.is_null() {
            claims["cnf"] = cnf.clone();
        }
        let claims = serde_json::from_value(claims).unwrap();
        bound_to(&claims, scheme, shown).ok().map(|jkt| jkt.unwrap_or_default().to_owned())
    }

    #[test]
    fn a_token_is_taken_by_the_binding_that_it_has_and_no_other_rfc7800_3_1() {
        let (bearer, dpop) = (Scheme::Bearer, Scheme::Dpop);
        assert_eq!(bound(&Value::Null, bearer), Some(String::new()));
        assert_eq!(bound(&Value::Null, dpop), None);
        assert_eq!(bound(&json!({"jkt": "k"}), dpop), Some("k".to_owned()));
        assert_eq!(bound(&json!({"jkt": "k"}), bearer), None);
        // By something else, or by that too: what cannot be checked cannot be right.
        for unknown in [json!({}), json!({"x5t": "x"}), json!({"jkt": "k", "x5u": "x"}), json!({"jwk": {}})] {
            for scheme in [bearer, dpop] {
                assert_eq!(bound(&unknown, scheme), None, "{unknown}");
            }
        }
    }

    #[test]
    fn a_token_that_is_bound_to_a_certificate_needs_that_one_rfc8705_3() {
        let (own, other) = (certificate(), certificate());
        let (bearer, dpop) = (Scheme::Bearer, Scheme::Dpop);
        let one = json!({ "x5t#S256": own.thumbprint });
        assert_eq!(bound_over(&one, bearer, Some(&own)), Some(String::new()));
        assert_eq!(bound_over(&one, bearer, Some(&other)), None);
        assert_eq!(bound_over(&one, bearer, None), None);
        assert_eq!(bound_over(&one, dpop, Some(&own)), None);
        let both = json!({ "jkt": "k", "x5t#S256": own.thumbprint });
        assert_eq!(bound_over(&both, dpop, Some(&own)), Some("k".to_owned()));
        assert_eq!(bound_over(&both, bearer, Some(&own)), None);
        assert_eq!(bound_over(&both, dpop, Some(&other)), None);
        // A certificate beside a token that is not bound to it says nothing.
        assert_eq!(bound_over(&Value::Null, bearer, Some(&own)), Some(String::new()));
    }
}
