//! Client authentication (RFC 6749 §2.3): exactly one method per request, and one the client is
//! registered for.
//!
//! An unknown client, a disabled one, one that calls from elsewhere and one with a wrong secret get the
//! same answer and cost the same work; only the audit knows which it was.

pub mod assertion;
mod client_secret_basic;
mod client_secret_post;
mod guard;
mod private_key_jwt;
mod secret;

pub use self::client_secret_basic::parse as parse_basic;
pub use self::guard::Stake;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

pub use self::private_key_jwt::Assertions;
use super::Boxed;
use super::form::Form;
use crate::domain::client::{AuthMethod, Registration};
use crate::domain::error::{Failure, OAuthError};
use crate::domain::ids::{ClientId, CredentialId};
use crate::domain::time::Timestamp;
use crate::runtime::failures::Failures;
use crate::runtime::secrets::SecretVerifier;
use crate::storage::UsedId;

/// Every method. Discovery, registration and the audit follow from this list.
pub static METHODS: &[&dyn Method] = &[
    &client_secret_basic::ClientSecretBasic,
    &client_secret_post::ClientSecretPost,
    &private_key_jwt::PrivateKeyJwt,
];

/// One way for a client to authenticate.
pub trait Method: Send + Sync {
    /// Its registered name.
    fn name(&self) -> AuthMethod;

    /// Whether it takes its credential from the `Authorization` header.
    fn reads_header(&self) -> bool {
        false
    }

    /// What the request presents for this method: nothing, a credential, or an attempt at one.
    fn present(&self, request: &Presentation<'_>) -> Option<Result<Presented, OAuthError>>;
}

/// What is presented as proof of a client's identity. Its `Debug` form holds no secret.
pub trait Proof: fmt::Debug + Send + Sync {
    /// What its check is worth to whoever guesses. Proofs that can be guessed, or cost much to check, say so, and are
    /// limited where too much has failed.
    fn stake(&self, _verifiers: &Verifiers, _client_id: &ClientId) -> Stake {
        Stake::Little
    }

    /// Checks it against the client. Without one (unknown or not admitted) it must cost the same and fail.
    fn verify<'a>(&'a self, claim: Claim<'a>) -> Boxed<'a, Result<Verified, Failure>>;
}

/// What a proof is checked against.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// What checks.
    pub verifiers: &'a Verifiers,
    /// The claimed client.
    pub client_id: &'a ClientId,
    /// That client, if it is admitted.
    pub registration: Option<&'a Registration>,
    /// When.
    pub now: Timestamp,
}

/// What credentials are checked with.
pub struct Verifiers {
    /// Secrets.
    pub secrets: Arc<SecretVerifier>,
    /// What counts failures.
    pub failures: Failures,
    /// Assertions.
    pub assertions: Assertions,
}

/// The parts of a request that can hold a credential; hence no `Debug` form.
pub struct Presentation<'a> {
    /// Every `Authorization` header.
    pub authorization: &'a [&'a [u8]],
    /// The body's parameters.
    pub form: &'a Form,
}

/// Who a request says it is from, and the proof.
#[derive(Debug)]
pub struct Presented {
    /// The claimed client.
    pub client_id: ClientId,
    /// The proof.
    pub proof: Box<dyn Proof>,
}

/// A credential that held.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Which one.
    pub credential_id: CredentialId,
    /// Its own end.
    pub not_after: Option<Timestamp>,
    /// What of it counts once. Whoever answers the request records it first.
    pub used: Option<UsedId>,
    /// Whether it was accepted only because of the client's `legacy_assertion_audience`.
    pub legacy_audience: bool,
}

/// A client whose identity is proven.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The client as registered.
    pub registration: Arc<Registration>,
    /// How it proved itself.
    pub method: AuthMethod,
    /// With which credential.
    pub credential: Verified,
}

/// Finds the one method that the request uses, and what it presents.
///
/// # Errors
/// `invalid_request` for two methods at once or contradicting client ids, `invalid_client` for none.
pub fn present(request: &Presentation<'_>) -> Result<(&'static dyn Method, Presented), OAuthError> {
    if request.authorization.len() > 1 {
        return Err(OAuthError::invalid_request("send one Authorization header"));
    }
    let mut presented =
        METHODS.iter().filter_map(|method| method.present(request).map(|presented| (*method, presented)));
    let (method, first) = presented.next().ok_or_else(no_credential)?;
    // A header that no method takes is a second attempt as well, whatever it means.
    let stray_header = !request.authorization.is_empty() && !method.reads_header();
    if presented.next().is_some() || stray_header {
        return Err(OAuthError::invalid_request(
            "authenticate in one way only: the Authorization header or the body (RFC 6749 section 2.3)",
        ));
    }
    let presented = first?;
    // RFC 6749 §3.2.1 lets a client name itself in the body as well, but not as somebody else.
    if request.form.get("client_id").is_some_and(|client_id| client_id != presented.client_id.as_str()) {
        return Err(OAuthError::invalid_request("client_id is not the client that authenticates"));
    }
    Ok((method, presented))
}

/// The refusal of an assertion whose `jti` the ledger knows.
#[must_use]
pub fn used_before() -> OAuthError {
    OAuthError::invalid_client("the assertion was used before")
}

/// Says nothing about any client, so it can be plain.
fn no_credential() -> OAuthError {
    OAuthError {
        public: "send client_id and client_secret, by HTTP Basic or in the body, or a client_assertion"
            .into(),
        ..OAuthError::invalid_client("the request has no client credential that is understood")
    }
}

/// Where and when a client authenticates.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Its address, if that is known.
    pub address: Option<IpAddr>,
    /// When.
    pub now: Timestamp,
}

/// Checks what was presented against the client of this name, if there is one.
///
/// # Errors
/// `invalid_client` or, when too much has failed, `temporarily_unavailable`, with the reason for the audit only; or a
/// fault.
pub async fn verify(
    verifiers: &Verifiers,
    method: &'static dyn Method,
    presented: &Presented,
    registration: Option<Arc<Registration>>,
    caller: Caller,
) -> Result<Authenticated, Failure> {
    let stake = presented.proof.stake(verifiers, &presented.client_id);
    let check = verify_unlimited(verifiers, method, presented, registration, caller);
    guard::limited(&verifiers.failures, stake, &presented.client_id, caller, check).await
}

async fn verify_unlimited(
    verifiers: &Verifiers,
    method: &'static dyn Method,
    presented: &Presented,
    registration: Option<Arc<Registration>>,
    caller: Caller,
) -> Result<Authenticated, Failure> {
    let admitted = admit(registration.as_deref(), method.name(), caller);
    // Verified in any case, so that the time it takes does not tell who is registered.
    let claim = Claim {
        verifiers,
        client_id: &presented.client_id,
        registration: admitted.as_ref().ok().copied(),
        now: caller.now,
    };
    let verified = presented.proof.verify(claim).await;
    if let (Err(reason), Ok(_) | Err(Failure::Refused(_))) = (&admitted, &verified) {
        return Err(OAuthError::invalid_client(reason.clone()).into());
    }
    let credential = verified?;
    let registration =
        registration.ok_or_else(|| OAuthError::invalid_client("no client has this client_id"))?;
    Ok(Authenticated { registration, method: method.name(), credential })
}

/// Whether the client may try at all: the one place where *absent*, *disabled* and *expired* refuse.
fn admit(
    registration: Option<&Registration>,
    method: AuthMethod,
    caller: Caller,
) -> Result<&Registration, String> {
    let registration = registration.ok_or("no client has this client_id")?;
    let client = &registration.client;
    client.check(caller.now).map_err(|why| format!("the client is {}", why.as_str()))?;
    if !client.auth_methods.contains(&method) {
        return Err(format!("the client is not registered for {method}"));
    }
    if !client.may_call_from(caller.address) {
        return Err("the caller's address is outside the client's allowed networks".to_owned());
    }
    Ok(registration)
}
