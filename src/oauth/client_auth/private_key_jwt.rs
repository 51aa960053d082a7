//! `private_key_jwt`: a statement that the client signs with a private key (RFC 7523 §2.2, OpenID Connect Core §9).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::assertion::{Assertion, Expected};
use super::federation::is_about_another;
use super::{Claim, Method, Presentation, Presented, Proof, Verified, spiffe_jwt};
use crate::domain::client::{AuthMethod, Registration};
use crate::domain::client_key::{ClientKey, key_id};
use crate::domain::error::{Failure, Fault, OAuthError};
use crate::domain::ids::{ClientId, CredentialId};
use crate::domain::time::Timestamp;
use crate::jose::ForeignKey;
use crate::oauth::Boxed;
use crate::oauth::foreign_jwt::Reason;
use crate::runtime::lately_told::LatelyTold;
use crate::runtime::remote_keys::{KeySet, NoKeys, RemoteKeys};

/// Its `client_assertion_type` (RFC 7523 §2.2), which it shares with `federated_jwt`.
pub(super) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What is verified with where there is no key: one of each type. What it says is never believed, so it does not matter
/// who has the private parts.
const DECOYS: &[&str] = &[
    concat!(
        r#"{"kty":"EC","crv":"P-256","x":"Y5yau0DGWZoFSkwOoFf2-hcNQDRVm_9KFnXOVkUbi08","y":"nErdNp6vYqg-aQJqMXz"#,
        r#"vkc3dRk2JFRQG9UV7M03lgp0"}"#,
    ),
    concat!(
        r#"{"kty":"EC","crv":"P-384","x":"bYLf-Z8BZRIItH5Q3fq2jdfQxbzPYBtTSvDiFhRNGq-6AR1-wwwbG2aafcpzXReU","y""#,
        r#":"ONLSscnFrLpev9i-8ptw3wzMDDr9p60YNnJWSultzWIxXwOjoXShC15_4Zl8slX-"}"#,
    ),
    concat!(
        r#"{"kty":"RSA","e":"AQAB","n":"wM5bpD-0WQOb9QozmQDg_NoZ8JFaQeTG2UArTiqgVtWYriyu2kFIHK-ZQ0ndRPb1KnGSH6k"#,
        r#"29aOI5G9QbOxou3qKhzIzDAjnWwQQ2zMUOjPg3Q1dRsN64z7w1cviF6v0v1AssLJVAFUDR5LBFfwyjXWD_umqAJKk4EwWk2q9SmB"#,
        r#"4HmMBsxhpjg5JaVhOfwZP3JLqFa_SOIF3FiBp1fI8guqSY8IlIIrP1W7nW_U1bATbRVLjHope29BJ-kyv5MxSEtwJjGh5cA7zQXf"#,
        r#"qVXB601QmFPQ4SNN_nr0JUqmDA0KAT3D6SVOnwL_DivMi_hiNnw01pN14xvQ3xsOlwIQYCw"}"#,
    ),
    r#"{"kty":"OKP","crv":"Ed25519","x":"lFPbwezbKcViAEVjj5-pxiRqgAhaSDGbxco9liBra_I"}"#,
];

/// How often the audit hears of one client that its switch let an assertion pass, where that is an event of its own.
const TOLD_FOR: Duration = Duration::from_mins(1);

pub(super) struct PrivateKeyJwt;

/// What assertions are checked with.
pub struct Assertions {
    /// Our issuer identifier.
    issuer: String,
    token_endpoint: String,
    /// How far ahead the end of one may be.
    max_lifetime: Duration,
    /// The keys that clients publish themselves.
    remote: Arc<RemoteKeys>,
    /// What is verified with when there is no key, so that it takes the same time.
    decoys: Vec<ForeignKey>,
    legacy_audiences: AtomicU64,
    /// Clients of which the audit has lately heard that one of theirs was accepted by their switch.
    told: LatelyTold,
}

/// A key that an assertion may be signed with.
struct Candidate {
    key: Arc<ForeignKey>,
    key_id: CredentialId,
    not_after: Option<Timestamp>,
    /// Why it does not count, if it does not.
    lapsed: Option<Reason>,
    /// What it was found in, if somebody else publishes it.
    published: Option<Arc<KeySet>>,
}

// === impl PrivateKeyJwt ===

impl Method for PrivateKeyJwt {
    fn name(&self) -> AuthMethod {
        AuthMethod::PrivateKeyJwt
    }

    fn present(&self, request: &Presentation<'_>) -> Option<Result<Presented, OAuthError>> {
        let (kind, assertion) =
            match (request.form.get("client_assertion_type"), request.form.get("client_assertion")) {
                (None, None) => return None,
                (Some(kind), Some(assertion)) => (kind, assertion),
                _ => {
                    return Some(Err(OAuthError::invalid_request(
                        "send client_assertion and client_assertion_type together (RFC 7521 section 4.2)",
                    )));
                }
            };
        if kind == spiffe_jwt::TYPE || (kind == TYPE && is_about_another(assertion)) {
            return None;
        }
        if kind != TYPE {
            // It says nothing about any client, so it can be plain.
            let public = format!("client_assertion_type can be {TYPE} or {}", spiffe_jwt::TYPE);
            return Some(Err(OAuthError {
                public: public.into(),
                ..OAuthError::invalid_client("another client_assertion_type")
            }));
        }
        Some(match Assertion::read(assertion) {
            Ok(assertion) => {
                Ok(Presented { client_id: Some(assertion.client_id.clone()), proof: Box::new(assertion) })
            }
            Err(reason) => Err(OAuthError::invalid_client(reason)),
        })
    }
}

// === impl Assertion ===

impl Proof for Assertion {
    fn verify<'a>(&'a self, claim: Claim<'a>) -> Boxed<'a, Result<Verified, Failure>> {
        Box::pin(async move { claim.verifiers.assertions.verify(self, claim).await })
    }
}

// === impl Assertions ===

impl Assertions {
    /// For assertions that are made for this issuer.
    ///
    /// # Errors
    /// A decoy is no key.
    pub fn new(issuer: &str, max_lifetime: Duration, remote: Arc<RemoteKeys>) -> Result<Self, Fault> {
        let decoys = DECOYS.iter().map(|jwk| ForeignKey::from_jwk(jwk));
        let decoys = decoys.collect::<Result<_, _>>().map_err(Fault::internal)?;
        Ok(Self {
            issuer: issuer.to_owned(),
            token_endpoint: format!("{issuer}/oauth2/token"),
            max_lifetime,
            remote,
            decoys,
            legacy_audiences: AtomicU64::new(0),
            told: LatelyTold::new(TOLD_FOR),
        })
    }

    /// How many assertions of this process's were accepted only because of their client's legacy switch.
    pub fn legacy_audiences(&self) -> u64 {
        self.legacy_audiences.load(Ordering::Relaxed)
    }

    /// Counts an assertion that the ledger has taken, for it is known only then that it was not used before.
    pub(in crate::oauth) fn count(&self, taken: &Verified) {
        if taken.legacy_audience {
            self.legacy_audiences.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the audit has not heard of this client lately, where no token's event tells it.
    pub(in crate::oauth) fn is_untold(&self, client_id: &ClientId) -> bool {
        !self.told.has(client_id)
    }

    /// It has now.
    pub(in crate::oauth) fn told(&self, client_id: ClientId) {
        self.told.note(client_id);
    }

    /// It could not be told.
    pub(in crate::oauth) fn not_told(&self, client_id: &ClientId) {
        self.told.forget(client_id);
    }

    async fn verify(&self, assertion: &Assertion, claim: Claim<'_>) -> Result<Verified, Failure> {
        let mut found = match claim.registration {
            Some(registration) => self.find(assertion, registration, claim.now).await?,
            None => Err("there is no client to check it against".into()),
        };
        // One signature is verified in any case, so that the time it takes does not tell who is registered.
        let mut verified = if let Ok(candidate) = &found {
            assertion.is_signed_with(&candidate.key)
        } else {
            let decoy = self.decoys.iter().find(|decoy| decoy.with(assertion.algorithm).is_some());
            std::hint::black_box(decoy.is_some_and(|decoy| assertion.is_signed_with(decoy)));
            false
        };
        if let Ok(candidate) = &found
            && !verified
            && let Some(newer) = self.replaced(assertion, claim.registration, candidate).await
        {
            verified = newer.as_ref().is_ok_and(|newer| assertion.is_signed_with(&newer.key));
            found = newer;
        }
        let candidate = found.map_err(OAuthError::invalid_client)?;
        if !verified {
            return Err(OAuthError::invalid_client(format!(
                "the assertion's signature is not that of the client's key {}",
                candidate.key_id
            ))
            .into());
        }
        if let Some(lapsed) = candidate.lapsed {
            return Err(OAuthError::invalid_client(lapsed).into());
        }
        let registration = claim.registration.ok_or_else(|| OAuthError::invalid_client("no client"))?;
        let expected = Expected {
            issuer: &self.issuer,
            token_endpoint: &self.token_endpoint,
            client: &registration.client,
            max_lifetime: self.max_lifetime,
            now: claim.now,
        };
        let held = assertion.judge(&expected).map_err(OAuthError::invalid_client)?;
        Ok(Verified {
            credential_id: candidate.key_id,
            not_after: candidate.not_after,
            used: Some(held.used),
            legacy_audience: held.legacy_audience,
        })
    }

    /// The client's key that the assertion says it was signed with.
    async fn find(
        &self,
        assertion: &Assertion,
        registration: &Registration,
        now: Timestamp,
    ) -> Result<Result<Candidate, Reason>, Failure> {
        let Some(url) = &registration.client.jwks_uri else {
            return Ok(registered(assertion, &registration.keys, now));
        };
        let set = match self.remote.keys(url).await {
            Ok(set) => set,
            Err(none) => return no_keys(none),
        };
        match published(assertion, &set) {
            // Perhaps a key that is newer than what is known of the set.
            Err(reason) => match self.remote.after(url, &set).await {
                Ok(Some(newer)) => Ok(published(assertion, &newer)),
                Ok(None) => Ok(Err(reason)),
                Err(none) => no_keys(none),
            },
            chosen => Ok(chosen),
        }
    }

    /// What a client publishes now, where the signature is not of the key that is known: it may have another of the same
    /// `kid`, or another one alone. Nothing, where there is nothing newer: while the place is away too, so that what is
    /// known of the key stands, and whoever forges gets the same answer as ever.
    async fn replaced(
        &self,
        assertion: &Assertion,
        registration: Option<&Registration>,
        known: &Candidate,
    ) -> Option<Result<Candidate, Reason>> {
        let url = registration?.client.jwks_uri.as_ref()?;
        match self.remote.after(url, known.published.as_ref()?).await {
            Ok(newer) => newer.map(|newer| published(assertion, &newer)),
            Err(NoKeys::Away(_)) => None,
            Err(NoKeys::None(why)) => Some(Err(taken_away(&why))),
        }
    }
}

/// The key in a set that its client publishes.
fn published(assertion: &Assertion, set: &Arc<KeySet>) -> Result<Candidate, Reason> {
    let key = assertion.choose(set.keys(), |key| key).map(|at| Arc::clone(&set.keys()[at]))?;
    let published = Some(Arc::clone(set));
    Ok(Candidate { key_id: key_id(&key), key, not_after: None, lapsed: None, published })
}

/// What it means that a client's `jwks_uri` has no keys: where that is not known, there is no verdict.
fn no_keys(none: NoKeys) -> Result<Result<Candidate, Reason>, Failure> {
    match none {
        NoKeys::Away(fault) => Err(fault.into()),
        NoKeys::None(why) => Ok(Err(taken_away(&why))),
    }
}

fn taken_away(why: &str) -> Reason {
    format!("no keys at the client's jwks_uri: {why}").into()
}

/// The key among those that the client is registered with. Where it does not say which, those that have lapsed are
/// none as long as there is another.
fn registered(assertion: &Assertion, keys: &[ClientKey], now: Timestamp) -> Result<Candidate, Reason> {
    let all: Vec<&ClientKey> = keys.iter().collect();
    let lasting: Vec<&ClientKey> = keys.iter().filter(|key| key.check(now).is_ok()).collect();
    let among = if assertion.kid.is_none() && !lasting.is_empty() { lasting } else { all };
    let key = assertion.choose(&among, |key| &key.key).map(|at| among[at])?;
    let lapsed = key.check(now).err().map(|why| format!("key {} is {}", key.key_id, why.as_str()).into());
    let (key_id, not_after) = (key.key_id.clone(), key.expires_at);
    Ok(Candidate { key: Arc::clone(&key.key), key_id, not_after, lapsed, published: None })
}
